/* policy_test.c - src/numa/policy.c: the words of HAKMEM_NUMA with each error, and what the kernel says
 * of the process's own policy. The nodes are the test's; the kernel is the machine's. */
#include "unit.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "numa/policy.h"
#include "numa/table.h"

#define STATIC_NODES (1u << 15)

/* Pools 0, 1, 2 for the nodes 0, 2, 70, and 3 for several; node 3 has no memory, node 5 is forbidden. */
static void four_pools(void)
{
	static const int16_t ids[] = {0, 2, 70, -1};
	char boot[64], text[400];
	assert_true(hk_os_read("/proc/sys/kernel/random/boot_id", boot, sizeof(boot), false) > 0);
	boot[strcspn(boot, "\n")] = 0;
	snprintf(text, sizeof(text),
		 "v1;boot=%s;online=0,2-3,5,70;node=0 cpus=0 mem=9;node=2 cpus=1 mem=9;node=3 cpus=2 mem=0;"
		 "node=5 cpus=3 mem=9;node=70 cpus=- mem=9;end",
		 boot);
	assert_null(hk_table_from_text(text, "0,2-3,5,70"));
	hk_numa.node_pools = 3;
	hk_numa.pools = 4;
	memcpy(hk_numa.os, ids, sizeof(ids));
}

static void must_be(const char *text, enum hk_numa_kind kind, uint64_t mask)
{
	struct hk_policy got = {HK_NUMA_OFF, 0};
	const char *why = hk_policy_parse(text, &got);
	if (why || got.kind != kind || got.mask != mask)
		fail_msg("%s: %s, kind %d, pools 0x%lx", text, why ? why : "taken", got.kind, (long)got.mask);
}

static void must_fail(const char *text, const char *reason)
{
	struct hk_policy got = {HK_NUMA_WEIGHTED, 42};
	const char *why = hk_policy_parse(text, &got);
	if (!why || !strstr(why, reason))
		fail_msg("\"%s\": %s, expected %s", text, why ? why : "taken", reason);
	assert_true(got.kind == HK_NUMA_WEIGHTED && got.mask == 42); /* as it was */
}

static void words_with_several_nodes(void **state)
{
	(void)state;
	four_pools();
	must_be("auto", HK_NUMA_AUTO, 7);
	must_be("local", HK_NUMA_LOCAL, 7);
	must_be("interleave", HK_NUMA_INTERLEAVE, 8);
	must_be("weighted", HK_NUMA_WEIGHTED, 8);
	must_be("preferred=0", HK_NUMA_PREFERRED, 1);
	must_be("preferred=2", HK_NUMA_PREFERRED, 2);
	must_be("preferred=70", HK_NUMA_PREFERRED, 4);
	must_be("bind=70", HK_NUMA_BIND, 4);
	must_be("bind=0,70", HK_NUMA_BIND, 5);
	must_be("bind=70,2,0", HK_NUMA_BIND, 7);
	assert_null(hk_policy_parse("off", &(struct hk_policy){0}));
}

static void words_with_one_node(void **state)
{
	(void)state;
	must_be("auto", HK_NUMA_AUTO, 1);
	must_be("interleave", HK_NUMA_INTERLEAVE, 1);
	must_be("weighted", HK_NUMA_WEIGHTED, 1);
	must_be("preferred=0", HK_NUMA_PREFERRED, 1);
	must_be("bind=0", HK_NUMA_BIND, 1);
	must_fail("bind=1", "no such node");
	must_fail("bind=0-1", "no such node");
	must_fail("preferred=1", "no such node");
}

static void other_words(void **state)
{
	static const char *const bad[] = {"", " ", "x", "autox", "aut", "Auto", "locally", "bind", "preferred",
					  "interleave=0", "weighted ", "off=1", "bindd=0", "0", "=0", "none"};
	(void)state;
	four_pools();
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		must_fail(bad[i], "one of auto, local, interleave, weighted, preferred=N, bind=LIST, off is wanted");
}

static void lists_of_nodes(void **state)
{
	static const struct {
		const char *text, *reason;
	} bad[] = {
		{"bind=", "no node is named"},
		{"preferred=", "no node is named"},
		{"bind=x", "a list of nodes such as"},
		{"bind=0,", "a list of nodes such as"},
		{"bind=2-0", "a list of nodes such as"},
		{"bind=-1", "a list of nodes such as"},
		{"bind=0 2", "a list of nodes such as"},
		{"bind=all", "a list of nodes such as"},
		{"bind=1024", "a list of nodes such as"},
		{"bind=99999999999999999999", "a list of nodes such as"},
		{"preferred=x", "a list of nodes such as"},
		{"preferred=0,2", "one node is wanted"},
		{"preferred=2-2", "one node is wanted"},
		{"preferred=1", "no such node"},
		{"bind=0-2", "no such node"},
		{"bind=71", "no such node"},
		{"bind=1023", "no such node"},
		{"bind=3", "a node without memory"},
		{"bind=2-3", "a node without memory"},
		{"preferred=3", "a node without memory"},
		{"preferred=5", "may not use"},
		{"bind=0,5", "may not use"},
	};
	(void)state;
	four_pools();
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		must_fail(bad[i].text, bad[i].reason);
}

static void reports_say_what_was_asked(void **state)
{
	static const char *const words[] = {"auto", "local", "interleave", "weighted", "preferred", "bind", "off"};
	(void)state;
	for (unsigned kind = 0; kind < COUNT_OF(words); kind++)
		assert_string_equal(hk_policy_word((enum hk_numa_kind)kind), words[kind]);
}

/* ---- the process's own ---- */

static unsigned real_node(void)
{
	char online[256];
	const char *list = online;
	unsigned first = 0, last;
	if (hk_os_read("/sys/devices/system/node/online", online, sizeof(online), false) > 0)
		hk_list_next(&list, HK_OS_NODES, &first, &last);
	return first;
}

/* The calling thread's, set by the kernel's own means; skipped where they are forbidden. */
static void set_own(enum hk_os_mempolicy mode, unsigned flags, int node)
{
	unsigned long bits[HK_OS_NODES / 64] = {0};
	if (node >= 0)
		bits[node / 64] |= 1ul << node % 64;
	if (syscall(SYS_set_mempolicy, (long)mode | flags, node >= 0 ? bits : NULL, node >= 0 ? HK_OS_NODES + 1 : 0))
		unit_skip("set_mempolicy is forbidden here, or not known");
}

static void own_policy_is_found(void **state)
{
	static const struct {
		enum hk_os_mempolicy mode;
		enum hk_numa_kind kind;
		uint64_t mask;
	} modes[] = {
		{HK_OS_PREFERRED, HK_NUMA_PREFERRED, 2},
		{HK_OS_BIND, HK_NUMA_BIND, 2},
		{HK_OS_INTERLEAVE, HK_NUMA_INTERLEAVE, 8},
	};
	int node = (int)real_node();
	(void)state;
	four_pools();
	hk_numa.os[0] = (int16_t)(node ? 0 : 1);
	hk_numa.os[1] = (int16_t)node;
	for (size_t i = 0; i < 2 * COUNT_OF(modes); i++) {
		struct hk_policy got = {HK_NUMA_OFF, 0};
		set_own(modes[i / 2].mode, i % 2 ? STATIC_NODES : 0, node); /* flags are no part of the mode */
		assert_true(hk_policy_of_process(&got));
		assert_int_equal(got.kind, modes[i / 2].kind);
		assert_int_equal(got.mask, modes[i / 2].mask);
	}
	/* Bound to a node that has no pool: nothing to go by. */
	hk_numa.os[1] = 900;
	set_own(HK_OS_BIND, 0, node);
	assert_false(hk_policy_of_process(&(struct hk_policy){0}));
}

static void local_is_no_policy(void **state)
{
	struct hk_policy got = {HK_NUMA_WEIGHTED, 42};
	(void)state;
	four_pools();
	set_own(HK_OS_DEFAULT, 0, -1);
	assert_false(hk_policy_of_process(&got));
	set_own(HK_OS_PREFERRED, 0, -1); /* of no node */
	assert_false(hk_policy_of_process(&got));
	set_own(HK_OS_LOCAL, 0, -1);
	assert_false(hk_policy_of_process(&got));
	assert_true(got.kind == HK_NUMA_WEIGHTED && got.mask == 42);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(words_with_several_nodes),
		cmocka_unit_test(words_with_one_node),
		cmocka_unit_test(other_words),
		cmocka_unit_test(lists_of_nodes),
		cmocka_unit_test(reports_say_what_was_asked),
		cmocka_unit_test(own_policy_is_found),
		cmocka_unit_test(local_is_no_policy),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
