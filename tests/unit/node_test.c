/* node_test.c - src/numa/node.c: pools, orders, the node of a thread, providers and options, on machines
 * of the test's. */
#include "machine.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa/node.h"
#include "numa/table.h"
#include "observe/options.h"

static char boot[64];

static void read_boot(void)
{
	assert_true(unit_real_read("/proc/sys/kernel/random/boot_id", boot, sizeof(boot), false) > 0);
	boot[strcspn(boot, "\n")] = 0;
}

/* ---- pools ---- */

static void expect_one(int os)
{
	assert_int_equal(hk_node_count(), 1);
	assert_int_equal(hk_numa.node_pools, 1);
	assert_int_equal(hk_numa.os[0], os);
	assert_int_equal(hk_node_here(), 0);
	assert_false(hk_numa.may_ask);
	assert_false(hk_node_may_call());
	assert_false(hk_node_is_placed(0));
}

static void one_node(void **state)
{
	(void)state;
	unit_two_nodes();
	unit_machine.online = "7\n";
	hk_node_init();
	expect_one(7);
	assert_string_equal(hk_numa.provider, "none"); /* nothing was read */
	assert_int_equal(hk_numa.policy.kind, HK_NUMA_AUTO);
	assert_int_equal(hk_node_find(7), 0);
	assert_int_equal(hk_node_find(0), -1);
	assert_int_equal(hk_node_find(-1), -1);
}

/* The usual machine is known by the folders that are there. */
static void one_node_without_a_file(void **state)
{
	(void)state;
	unit_two_nodes();
	unit_machine.online = "0\n";
	unit_machine.node[1].cpus = NULL;
	hk_node_init();
	expect_one(0);
	assert_int_equal(unit_machine.reads, 0);
	assert_int_equal(hk_numa.policy.kind, HK_NUMA_AUTO);
}

/* Where that says nothing, or there is more, the files are asked. */
static void folders_that_say_nothing(void **state)
{
	(void)state;
	unit_two_nodes();
	unit_machine.no_power = true; /* two folders, and both are nodes */
	hk_node_init();
	assert_int_equal(hk_numa.node_pools, 2);
	assert_true(unit_machine.reads > 0);
}

static void a_cpuset_of_one_node(void **state)
{
	(void)state;
	unit_two_nodes();
	unit_machine.allowed = "900";
	hk_node_init();
	expect_one(900);
	assert_int_equal(hk_node_find(0), -1);
	assert_int_equal(hk_node_find(900), 0);
}

static void off(void **state)
{
	(void)state;
	unit_two_nodes();
	unit_start("HAKMEM_NUMA=off");
	expect_one(-1);
	assert_int_equal(hk_numa.policy.kind, HK_NUMA_OFF);
	assert_int_equal(hk_node_find(0), -1);
	void *p = hak_malloc(100);
	assert_int_equal(hak_node_of(p), -1);
	assert_int_equal(hak_thread_node(), -1);
	hak_free(p);
}

static void pools_are_for_nodes_with_memory(void **state)
{
	static const int ids[] = {2, 3, 4, -1};
	(void)state;
	unit_five_nodes();
	hk_node_init();
	assert_string_equal(hk_numa.provider, "sysfs");
	assert_int_equal(hk_numa.node_pools, 3);
	assert_int_equal(hk_node_count(), 4);
	for (unsigned p = 0; p < COUNT_OF(ids); p++)
		assert_int_equal(hk_numa.os[p], ids[p]);
	assert_int_equal(hk_node_find(2), 0);
	assert_int_equal(hk_node_find(4), 2);
	assert_int_equal(hk_node_find(5), -1);
	assert_int_equal(hk_node_find(6), -1);
	assert_int_equal(hk_node_find(-1), -1); /* not the pool over several nodes */
	assert_int_equal(hk_numa.policy.mask, 7);
	for (unsigned p = 0; p < 4; p++)
		assert_true(hk_node_is_placed(p));
}

static void expect_order(unsigned pool, unsigned first, unsigned second, unsigned third)
{
	assert_int_equal(hk_node_order(pool, 0), first);
	assert_int_equal(hk_node_order(pool, 1), second);
	assert_int_equal(hk_node_order(pool, 2), third);
}

static void nearest_first_and_no_processors_last(void **state)
{
	(void)state;
	unit_five_nodes();
	hk_node_init();
	expect_order(0, 0, 2, 1); /* node 3 is nearer than node 4, and has no processors */
	expect_order(2, 2, 0, 1);
	expect_order(3, 0, 1, 2); /* of several nodes: all of them */
}

/* What it has itself comes first for a node without processors too: it was asked for by name. */
static void its_own_pool_is_the_first(void **state)
{
	(void)state;
	unit_five_nodes();
	hk_node_init();
	expect_order(1, 1, 0, 2);
	for (unsigned p = 0; p < hk_node_count(); p++) {
		uint64_t seen = 1ull << p;
		struct hk_pool *next;
		hk_region.nodes = hk_node_count(); /* as hk_region_init would say */
		for (unsigned k = 0; (next = hk_pool_next(&hk_pools[p], &k));) {
			assert_false(seen >> hk_pool_index(next) & 1); /* each once */
			seen |= 1ull << hk_pool_index(next);
		}
		assert_int_equal(seen & 7, 7); /* all nodes' */
	}
}

static bool run_on(unsigned cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

static void a_thread_takes_from_the_nearest(void **state)
{
	static const struct {
		uint64_t mask;
		unsigned on_cpu_1, on_cpu_0; /* nodes 2 and 4 */
	} want[] = {{7, 0, 2}, {5, 0, 2}, {3, 0, 0}, {6, 2, 2}, {1, 0, 0}, {2, 1, 1}, {4, 2, 2}, {8, 3, 3}};
	(void)state;
	unit_five_nodes();
	hk_node_init();
	if (!run_on(1) || !run_on(0))
		unit_skip("two processors are wanted, 0 and 1");
	for (size_t i = 0; i < COUNT_OF(want); i++) {
		assert_true(run_on(1));
		assert_int_equal(hk_node_nearest(want[i].mask), want[i].on_cpu_1);
		assert_true(run_on(0));
		assert_int_equal(hk_node_nearest(want[i].mask), want[i].on_cpu_0);
	}
}

static void a_processor_that_is_not_known(void **state)
{
	(void)state;
	unit_five_nodes();
	unit_machine.node[0].cpus = unit_machine.node[2].cpus = "4000\n";
	hk_node_init();
	assert_true(run_on(0));
	assert_int_equal(hk_node_nearest(7), 0); /* the first of the mask */
	assert_int_equal(hk_node_nearest(6), 1);
}

/* Brought online after the start: the kernel knows its node. */
static void a_processor_that_came_later(void **state)
{
	(void)state;
	unit_two_nodes();
	unit_machine.node[0].cpus = unit_machine.node[1].cpus = "4000\n";
	hk_node_init();
	unsigned cpu;
	assert_true(run_on(0));
	if (hk_os_node_of_cpu(&cpu))
		unit_skip("processor 0 is not on node 0");
	assert_int_equal(hk_table.of_cpu[0], HK_NO_NODE);
	assert_int_equal(hk_node_nearest(3), 0);
	assert_int_equal(hk_table.of_cpu[0], hk_table_find(0));
}

static void most_nodes(void **state)
{
	static char text[8000];
	int at;
	(void)state;
	unit_two_nodes();
	read_boot();
	unit_machine.online = "0-99";
	at = snprintf(text, sizeof(text), "v1;boot=%s;online=0-99;", boot);
	for (int i = 0; i < 100; i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, "node=%d cpus=%d mem=9;", i, i + 1);
	snprintf(text + at, sizeof(text) - (size_t)at, "end");
	unit_machine.saved = text;
	unit_start(NULL);
	assert_int_equal(hk_node_count(), HK_NODES_MAX);
	for (unsigned p = 0; p < HK_NODES_MAX - 1; p++) {
		void *p8 = hak_malloc_onnode(100000, (int)p), *p2m = hak_malloc_onnode(2u << 20, (int)p);
		assert_int_equal(hak_node_of(p8), p);
		assert_int_equal(hak_node_of(p2m), p);
		memset(p8, 1, 100000);
		hak_free(p8);
		hak_free(p2m);
	}
	assert_null(hak_malloc_onnode(1, 63)); /* has no pool */
	assert_int_equal(errno, EINVAL);
}

/* ---- options ---- */

static char said[3000];

static void start_and_tell(void *arg)
{
	unit_start(arg);
	dprintf(2, "provider %s, policy %d mask %lx asked %d may_ask %d\n", hk_numa.provider, hk_numa.policy.kind,
		(long)hk_numa.policy.mask, hk_numa.asked, hk_numa.may_ask);
}

static unsigned lines(const char *text)
{
	unsigned n = 0;
	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* What the start prints: EXPECTED, in N lines with ours. */
static void expect_said(const char *options, unsigned n, const char *expected)
{
	int status = unit_capture(start_and_tell, (void *)options, said, sizeof(said));
	if (status || lines(said) != n || !strstr(said, expected))
		fail_msg("%s: status %x, %u lines; expected %u with \"%s\": %s", options, status, lines(said), n,
			 expected, said);
}

static void policies_by_option(void **state)
{
	(void)state;
	unit_five_nodes();
	expect_said(NULL, 1, "policy 0 mask 7 asked 0 may_ask 1");
	expect_said("HAKMEM_NUMA=auto", 1, "policy 0 mask 7 asked 0 may_ask 1");
	expect_said("HAKMEM_NUMA=local", 1, "policy 1 mask 7 asked 1 may_ask 1");
	expect_said("HAKMEM_NUMA=interleave", 1, "policy 2 mask 8 asked 1");
	expect_said("HAKMEM_NUMA=weighted", 1, "policy 3 mask 8 asked 1");
	expect_said("HAKMEM_NUMA=preferred=3", 1, "policy 4 mask 2 asked 1");
	expect_said("HAKMEM_NUMA=bind=2,4", 1, "policy 5 mask 5 asked 1");
}

static void bad_policies_are_named_once(void **state)
{
	(void)state;
	unit_five_nodes();
#define IGNORED(value, why) \
	"hakmem: HAKMEM_NUMA=" value " ignored: " why "; nodes with memory for this process: 2,3,4\n"
	expect_said("HAKMEM_NUMA=bind=7", 2, IGNORED("bind=7", "no such node"));
	expect_said("HAKMEM_NUMA=bind=5", 2, IGNORED("bind=5", "a node without memory"));
	expect_said("HAKMEM_NUMA=bind=6", 2, IGNORED("bind=6", "a node that this process may not use"));
	expect_said("HAKMEM_NUMA=bind=", 2, IGNORED("bind=", "no node is named"));
	expect_said("HAKMEM_NUMA=preferred=2-3", 2, IGNORED("preferred=2-3", "one node is wanted"));
	expect_said("HAKMEM_NUMA=bound=2", 2, "hakmem: HAKMEM_NUMA=bound=2 ignored: one of auto, local, ");
	expect_said("HAKMEM_NUMA=bind=7", 2, "policy 0 mask 7 asked 0 may_ask 1"); /* as if not given */
	/* On a machine with one node as well. */
	unit_two_nodes();
	unit_machine.online = "0";
	expect_said("HAKMEM_NUMA=bind=1", 2,
		    "bind=1 ignored: no such node; nodes with memory for this process: 0\n");
}

static void filters_forbid_to_ask(void **state)
{
	(void)state;
	unit_five_nodes();
	unit_machine.filter = "2";
	expect_said(NULL, 1, "policy 0 mask 7 asked 0 may_ask 0");
	expect_said("HAKMEM_NUMA=auto", 1, "asked 0 may_ask 0");
	expect_said("HAKMEM_NUMA=bind=7", 2, "asked 0 may_ask 0"); /* a bad one asks for nothing */
	expect_said("HAKMEM_NUMA=local", 1, "asked 1 may_ask 1");
	unit_machine.filter = "1";
	expect_said(NULL, 1, "may_ask 0");
	unit_machine.filter = NULL; /* not known */
	expect_said(NULL, 1, "may_ask 0");
}

static void filters_that_come_later(void **state)
{
	(void)state;
	unit_five_nodes();
	hk_node_init();
	assert_true(hk_node_may_call());
	unit_machine.filter = "2";
	assert_false(hk_node_may_call());
	hk_numa.asked = true;
	assert_true(hk_node_may_call());
}

/* ---- providers ---- */

static const char *text_of(const char *head)
{
	static char text[4][600];
	static unsigned next;
	char *out = text[next++ % 4];
	snprintf(out, sizeof(text[0]),
		 "%s;boot=%s;online=2-6;node=2 cpus=1 mem=9;node=3 cpus=- mem=9;node=4 cpus=0 mem=9;"
		 "node=5 cpus=2 mem=0;node=6 cpus=3 mem=9;end",
		 head, boot);
	return out;
}

static void providers_in_their_order(void **state)
{
	static char handed[70000], most[70000];
	(void)state;
	unit_five_nodes();
	read_boot();
	expect_said(NULL, 1, "provider sysfs");
	unit_machine.saved = text_of("v1");
	expect_said(NULL, 1, "provider file");
	setenv("HAKMEM_TOPOLOGY", text_of("v1"), 1);
	expect_said(NULL, 1, "provider inherited");
	setenv("HAKMEM_TOPOLOGY", text_of("v2"), 1);
	expect_said(NULL, 2, "hakmem: HAKMEM_TOPOLOGY ignored: it is of another version, or none of ours; "
			     "nodes online: 2-6\nprovider file");
	unit_machine.saved = text_of("v2");
	expect_said(NULL, 3, "hakmem: " SAVED " ignored: it is of another version, or none of ours; "
			     "nodes online: 2-6; `hakmem topo --save` makes it anew\nprovider sysfs");
	unsetenv("HAKMEM_TOPOLOGY");
	unit_machine.saved_by_others = true;
	expect_said(NULL, 2, "hakmem: " SAVED " ignored: others than root may write to it; nodes online: 2-6; "
			     "`hakmem topo --save` makes it anew\nprovider sysfs");
	unit_machine.saved_by_others = false;
	/* Longer than 64 KiB: not cut and taken for less. */
	memset(most, ' ', sizeof(most) - 1);
	memcpy(most, text_of("v1"), strlen(text_of("v1")) - 3);
	strcpy(most + sizeof(most) - 5, ";end");
	unit_machine.saved = most;
	expect_said(NULL, 2, "hakmem: " SAVED " ignored: it is too long");
	unit_machine.saved = NULL;
	strcpy(handed, most);
	setenv("HAKMEM_TOPOLOGY", handed, 1);
	expect_said(NULL, 2, "hakmem: HAKMEM_TOPOLOGY ignored: it is too long; nodes online: 2-6\n"
			     "provider sysfs");
}

static void must_read(const char *path, bool taken)
{
	char buf[100];
	int got = unit_real_read(path, buf, sizeof(buf), true);
	if (taken ? got < 0 : got != -2)
		fail_msg("%s: %d", path, got);
}

static void only_files_of_roots(void **state)
{
	char path[] = "/tmp/node_test.XXXXXX", link[sizeof(path) + 5], buf[10];
	int fd = mkstemp(path);
	(void)state;
	assert_true(fd >= 0 && write(fd, "v1", 2) == 2);
	snprintf(link, sizeof(link), "%s.link", path);
	assert_int_equal(symlink(path, link), 0);
	bool root = !geteuid();
	must_read(path, root); /* one's own is good only for root */
	must_read(link, root);
	if (root) {
		static const mode_t bad[] = {0664, 0646, 0666, 0620, 0602};
		for (size_t i = 0; i < COUNT_OF(bad); i++) {
			assert_int_equal(fchmod(fd, bad[i]), 0);
			must_read(path, false);
		}
		assert_int_equal(fchmod(fd, 0644), 0);
		must_read(path, true);
		assert_int_equal(fchown(fd, 65534, 65534), 0);
		must_read(path, false);
	}
	close(fd);
	unlink(path);
	unlink(link);
	must_read("/tmp", false);  /* none that is not a file, */
	must_read("/dev/null", false);
	assert_int_equal(mkfifo(path, 0600), 0);
	must_read(path, false); /* and nobody waits for a writer */
	unlink(path);
	assert_int_equal(unit_real_read(path, buf, sizeof(buf), true), -1);
	must_read("/proc/version", true);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(one_node),
		cmocka_unit_test(one_node_without_a_file),
		cmocka_unit_test(folders_that_say_nothing),
		cmocka_unit_test(a_cpuset_of_one_node),
		cmocka_unit_test(off),
		cmocka_unit_test(pools_are_for_nodes_with_memory),
		cmocka_unit_test(nearest_first_and_no_processors_last),
		cmocka_unit_test(its_own_pool_is_the_first),
		cmocka_unit_test(a_thread_takes_from_the_nearest),
		cmocka_unit_test(a_processor_that_is_not_known),
		cmocka_unit_test(a_processor_that_came_later),
		cmocka_unit_test(most_nodes),
		cmocka_unit_test(policies_by_option),
		cmocka_unit_test(bad_policies_are_named_once),
		cmocka_unit_test(filters_forbid_to_ask),
		cmocka_unit_test(filters_that_come_later),
		cmocka_unit_test(providers_in_their_order),
		cmocka_unit_test(only_files_of_roots),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
