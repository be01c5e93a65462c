/* placement_test.c - pools of several nodes at work: which NUMA calls are made, and whose blocks a thread
 * gets. src/numa/node.c and src/api/numa.c, on machines of the test's. */
#include "machine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "numa/node.h"

/* ---- NUMA calls: a fork of the case is traced, since under a filter none would be made ---- */

enum { PLACED, ASKED, WHERE, OTHERS, CALLS };

static const struct {
	long number;
	unsigned kind;
} calls[] = {
	{SYS_mbind, PLACED},         {SYS_get_mempolicy, ASKED}, {SYS_move_pages, WHERE},
	{SYS_set_mempolicy, OTHERS}, {SYS_migrate_pages, OTHERS},
#ifdef SYS_set_mempolicy_home_node
	{SYS_set_mempolicy_home_node, OTHERS},
#endif
};

static bool note_call(pid_t pid, unsigned counts[CALLS])
{
	struct __ptrace_syscall_info info;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
		return false;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		for (size_t i = 0; i < COUNT_OF(calls); i++)
			if (calls[i].number == (long)info.entry.nr)
				counts[calls[i].kind]++;
	return true;
}

static void count_calls(void (*run)(const char *), const char *arg, unsigned counts[CALLS])
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE;
	int status, live = 1;
	memset(counts, 0, CALLS * sizeof(*counts));
	pid_t first = fork(), pid;
	if (!first) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		run(arg);
		_exit(0);
	}
	assert_int_equal(waitpid(first, &status, 0), first);
	if (!WIFSTOPPED(status) || ptrace(PTRACE_SETOPTIONS, first, NULL, options))
		unit_skip("ptrace is forbidden here");
	ptrace(PTRACE_SYSCALL, first, NULL, 0L);
	while (live && (pid = waitpid(-1, &status, __WALL)) > 0) {
		if (!WIFSTOPPED(status)) {
			if (pid == first)
				assert_int_equal(status, 0);
			live -= pid == first;
			continue;
		}
		int sig = WSTOPSIG(status);
		if (sig == (SIGTRAP | 0x80) && !note_call(pid, counts))
			unit_skip("the kernel has no PTRACE_GET_SYSCALL_INFO (5.3)");
		ptrace(PTRACE_SYSCALL, pid, NULL, (long)(sig == (SIGTRAP | 0x80) || sig == SIGTRAP || sig == SIGSTOP ? 0 : sig));
	}
}

static void *work(void *arg)
{
	static void *p[4][2000]; /* by thread */
	void **mine = p[(uintptr_t)arg];
	unit_take(mine, 1000, 100);
	unit_take(mine + 1000, 300, 40000);
	for (unsigned i = 1300; i < 1310; i++)
		memset(mine[i] = hak_malloc(4u << 20), 1, 4u << 20);
	mine[1300] = hak_realloc(mine[1300], 32u << 20); /* by mremap */
	unit_give(mine, 2000);
	hak_malloc_trim(0);
	return NULL;
}

/* A little of all that a program does. */
static void start_and_work(const char *options)
{
	pthread_t thread;
	unit_start(options);
	work(NULL);
	if (pthread_create(&thread, NULL, work, (void *)1))
		abort();
	pthread_join(thread, NULL);
	if (hak_numa_policy_set("local") && hk_node_count() > 1)
		abort();
	work(NULL);
}

static void call_one_each(const char *arg)
{
	(void)arg;
	syscall(SYS_mbind, NULL, 0, 0, NULL, 0, 0);
	syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0);
	syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0);
	syscall(SYS_set_mempolicy, -1, NULL, 0);
}

static void one_node_makes_no_call(void **state)
{
	static const char *const options[] = {NULL, "HAKMEM_NUMA=auto", "HAKMEM_NUMA=local", "HAKMEM_NUMA=interleave",
					      "HAKMEM_NUMA=bind=0", "HAKMEM_NUMA=off", "HAKMEM_HUGE=hugetlb"};
	unsigned counts[CALLS];
	(void)state;
	unit_two_nodes();
	unit_machine.online = "0";
	count_calls(call_one_each, NULL, counts);
	for (unsigned kind = 0; kind < CALLS; kind++)
		assert_int_equal(counts[kind], 1); /* they would be seen */
	for (size_t i = 0; i < COUNT_OF(options); i++) {
		count_calls(start_and_work, options[i], counts);
		if (counts[PLACED] + counts[ASKED] + counts[WHERE] + counts[OTHERS])
			fail_msg("%s: NUMA calls were made", options[i] ? options[i] : "no option");
	}
}

static const char *online_now(void)
{
	static char online[100];
	return unit_real_read(NODES "online", online, sizeof(online), false) > 0 ? online : "0";
}

static void this_machine_as_it_is(void **state)
{
	unsigned counts[CALLS];
	(void)state;
	if (strpbrk(online_now(), ",-"))
		unit_skip("it has several nodes");
	count_calls(start_and_work, NULL, counts);
	assert_int_equal(counts[PLACED] + counts[ASKED] + counts[WHERE] + counts[OTHERS], 0);
}

static void one_call_a_stripe(void **state)
{
	unsigned counts[CALLS];
	(void)state;
	unit_two_nodes();
	unit_skip_sanitized(); /* the region comes in parts there */
	/* Two nodes, several nodes; and where moved spans were. Under limits: as often as it doubles. */
	bool whole = hk_os_limit_address_space() == SIZE_MAX && hk_os_limit_locked() == SIZE_MAX;
	unsigned least = whole ? 3 : 1, most = whole ? 6 : 40;
	count_calls(start_and_work, NULL, counts);
	assert_int_equal(counts[ASKED], 1);  /* the process's own policy */
	assert_in_range(counts[PLACED], least, most);
	assert_int_equal(counts[WHERE] + counts[OTHERS], 0);
	count_calls(start_and_work, "HAKMEM_NUMA=off", counts);
	assert_int_equal(counts[PLACED] + counts[ASKED], 0);
	count_calls(start_and_work, "HAKMEM_NUMA=local", counts);
	assert_int_equal(counts[ASKED], 0); /* overrides it: not asked */
	unit_machine.filter = "2";
	count_calls(start_and_work, NULL, counts);
	assert_int_equal(counts[PLACED] + counts[ASKED] + counts[WHERE] + counts[OTHERS], 0);
	count_calls(start_and_work, "HAKMEM_NUMA=local", counts);
	assert_in_range(counts[PLACED], least, most); /* asked for: then in spite of the filter */
}

/* ---- pools at work ---- */

static void start_two(void)
{
	unit_two_nodes();
	unit_start(NULL);
	assert_int_equal(hk_node_count(), 3);
	assert_int_equal(hak_thread_node(), 0);
}

static void blocks_from_a_node_asked_for(void **state)
{
	static const size_t sizes[] = {0, 1, 100, 5000, 100000, 600u << 10, 3u << 20};
	void *p[2][COUNT_OF(sizes)];
	(void)state;
	start_two();
	for (unsigned i = 0; i < COUNT_OF(sizes); i++)
		for (unsigned n = 0; n < 2; n++) {
			p[n][i] = hak_malloc_onnode(sizes[i], n ? 900 : 0);
			assert_non_null(p[n][i]);
			memset(p[n][i], 1, sizes[i]);
			assert_int_equal(hak_node_of(p[n][i]), n ? 900 : 0);
		}
	for (unsigned i = 0; i < COUNT_OF(sizes); i++)
		for (unsigned n = 0; n < 2; n++)
			hak_free(p[n][i]);
	static const int bad[] = {-1, 1, 2, 899, 901, 1023, 1024, INT32_MAX, INT32_MIN};
	for (unsigned i = 0; i < COUNT_OF(bad); i++) {
		errno = 0;
		assert_null(hak_malloc_onnode(1, bad[i]));
		assert_int_equal(errno, EINVAL);
	}
	assert_null(hak_malloc_onnode((size_t)PTRDIFF_MAX + 1, 900));
	assert_int_equal(errno, ENOMEM);
	unit_audit();
}

static uint64_t sum_of(size_t offset)
{
	struct hak_numa_node nodes[4];
	uint64_t sum = 0;
	assert_int_equal(hak_numa_stats(nodes, 4), 3);
	for (unsigned i = 0; i < 3; i++)
		sum += *(const uint64_t *)((const char *)&nodes[i] + offset);
	return sum;
}
#define SUM(field) sum_of(offsetof(struct hak_numa_node, field))

static void a_thread_moves(void **state)
{
	static void *p[2000];
	(void)state;
	start_two();
	unit_take(p, 1000, 100);
	assert_int_equal(SUM(migrations), 0);
	assert_int_equal(hak_numa_policy_set("bind=900"), 0);
	assert_int_equal(hak_thread_node(), 900);
	assert_int_equal(SUM(migrations), 1);
	unit_take(p + 1000, 1000, 100);
	for (unsigned i = 0; i < 2000; i++)
		assert_int_equal(hak_node_of(p[i]), i < 1000 ? 0 : 900);
	/* Its first node's blocks are a dead thread's now, and go back there: never into bins of this one. */
	unit_give(p, 1000);
	unit_take(p, 1000, 100);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(hak_node_of(p[i]), 900);
	hak_malloc_trim(0); /* what it gathered is counted when it is posted */
	assert_int_equal(SUM(remote_frees), 1000);
	assert_int_equal(SUM(remote_adoptions), 0);
	unit_give(p, 2000);
	assert_int_equal(hak_numa_policy_set("auto"), 0);
	assert_int_equal(hak_thread_node(), 0);
	assert_int_equal(SUM(migrations), 2);
	/* A policy that says the same moves nothing. */
	assert_int_equal(hak_numa_policy_set("local"), 0);
	assert_int_equal(hak_numa_policy_set("preferred=0"), 0);
	assert_int_equal(SUM(migrations), 2);
	assert_int_equal(hak_numa_policy_set("interleave"), 0);
	assert_int_equal(hak_thread_node(), -1);
	p[0] = hak_malloc(100);
	assert_int_equal(hak_node_of(p[0]), -1);
	hak_free(p[0]);
	unit_audit();
}

static void *thread_node(void *arg)
{
	hak_free(hak_malloc(10));
	*(int *)arg = hak_thread_node();
	return NULL;
}

static void a_policy_is_its_threads_own(void **state)
{
	static const char *const bad[] = {"", "off", "bind", "bind=", "bind=7", "bind=0-900", "preferred=0,900", "nearest"};
	pthread_t thread;
	int node = 5;
	(void)state;
	start_two();
	assert_int_equal(hak_numa_policy_set("preferred=900"), 0);
	for (unsigned i = 0; i < COUNT_OF(bad); i++) {
		assert_int_equal(hak_numa_policy_set(bad[i]), -EINVAL);
		assert_int_equal(hak_thread_node(), 900);
	}
	assert_int_equal(pthread_create(&thread, NULL, thread_node, &node), 0);
	pthread_join(thread, NULL);
	assert_int_equal(node, 0);
}

static void stats_know_each_pool(void **state)
{
	struct hak_numa_node nodes[4];
	(void)state;
	start_two();
	void *p = hak_malloc_onnode(8u << 20, 900);
	memset(nodes, 0x77, sizeof(nodes));
	assert_int_equal(hak_numa_stats(NULL, 0), 3);
	assert_int_equal(hak_numa_stats(nodes, 2), 3);
	assert_int_equal(nodes[0].node, 0);
	assert_int_equal(nodes[1].node, 900);
	assert_int_equal(nodes[2].node, 0x77777777); /* as it was */
	assert_int_equal(nodes[1].supers, 4);
	assert_int_equal(nodes[1].used_bytes, 8u << 20);
	assert_true(nodes[1].committed_bytes >= 8u << 20);
	assert_int_equal(nodes[1].hugetlb_bytes, 0);
	assert_int_equal(hak_numa_stats(nodes, 4), 3);
	assert_int_equal(nodes[2].node, -1);
	assert_int_equal(nodes[2].supers, 0);
	assert_int_equal(nodes[0].allowed, 1);
	assert_int_equal(nodes[1].allowed, 1);
	assert_int_equal(nodes[2].allowed, 0);
	hak_free(p);
	/* The kernel has no node 900: refused, counted, and the first touch decides. */
	assert_true(hk_numa.refused >= 1);
}

/* The hot path's one compare, and what looks closer. */
static void look_at_bounds(bool two)
{
	if (two)
		unit_two_nodes();
	unit_start(NULL);
	hak_free(hak_malloc(1));
	const char *base = (const char *)hk_region.base;
	size_t stripe = 1ul << hk_region.stripe_shift;
	size_t end = hk_region.stripe[0].committed_bytes, bound = hk_region.bound_bytes;
	assert_true(two ? bound >= 3 * stripe : bound == end);
	assert_true(hk_region_may_have(base) && hk_region_may_have(base + bound - 1));
	assert_false(hk_region_may_have(base - 1) || hk_region_may_have(base + bound));
	assert_true(hk_region_has(base + end - 1));
	assert_false(hk_region_has(base + end) || (two && hk_region_has(base + bound - 1)));
	if (!two)
		return;
	assert_false(hk_region_has(base + stripe)); /* nothing of that node yet */
	assert_int_equal(hak_node_of(base + stripe), -1);
	hak_free(hak_malloc_onnode(1, 900));
	assert_true(hk_region_has(base + stripe));
	assert_int_equal(hak_node_of(base + stripe), 900);
}

static void what_is_ours_with_one_stripe(void **state)
{
	(void)state;
	if (strpbrk(online_now(), ",-"))
		unit_skip("this machine has several nodes");
	look_at_bounds(false);
}

static void what_is_ours_with_several(void **state)
{
	(void)state;
	look_at_bounds(true);
}

/* Nothing can be reserved for the second stripe: a foreign mapping stands at its beginning. */
static void without_memory_the_next_pool_serves(void **state)
{
	(void)state;
	unit_two_nodes();
	unit_start("HAKMEM_REGION_MIB=64 HAKMEM_STARTER_MIB=0");
	assert_int_equal(hk_region.stripe[1].reserved_bytes, 0);
	void *there = (void *)(hk_region.base + (1ul << hk_region.stripe_shift));
	void *got = mmap(there, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(got, there);
	static const size_t sizes[] = {100, 100000, 700u << 10, 3u << 20};
	void *p[COUNT_OF(sizes)];
	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		p[i] = hak_malloc_onnode(sizes[i], 900);
		if (!p[i])
			fail_msg("%zu bytes: not served", sizes[i]);
		memset(p[i], 1, sizes[i]);
		assert_int_equal(hak_node_of(p[i]), 0);
		assert_int_equal(hk_pools[1].count.fallbacks, i + 1);
	}
	for (unsigned i = 0; i < COUNT_OF(sizes); i++)
		hak_free(p[i]);
	unit_audit();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(one_node_makes_no_call),
		cmocka_unit_test(this_machine_as_it_is),
		cmocka_unit_test(one_call_a_stripe),
		cmocka_unit_test(blocks_from_a_node_asked_for),
		cmocka_unit_test(a_thread_moves),
		cmocka_unit_test(a_policy_is_its_threads_own),
		cmocka_unit_test(stats_know_each_pool),
		cmocka_unit_test(what_is_ours_with_one_stripe),
		cmocka_unit_test(what_is_ours_with_several),
		cmocka_unit_test(without_memory_the_next_pool_serves),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
