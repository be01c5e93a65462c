/* inherit_test.c - src/numa/inherit.c: the table as text. A good one gives every field, a bad one is
 * refused with its reason and changes nothing. The boot id is the machine's, the nodes are the test's. */
#include "unit.h"

#include <string.h>

#include "numa/table.h"

#define TEXT_BYTES 16384
#define TWO "node=0 cpus=0-1 mem=512 tier=0 dist=0:10,1:21;node=1 cpus=2-3 mem=256 tier=1 dist=0:22,1:11;"

static char text[TEXT_BYTES], boot[64];

static void read_boot(void)
{
	assert_true(hk_os_read("/proc/sys/kernel/random/boot_id", boot, sizeof(boot), false) > 0);
	boot[strcspn(boot, "\n")] = 0;
}

/* A whole text for ONLINE with the records NODES. */
static const char *take(const char *online, const char *nodes)
{
	read_boot();
	int n = snprintf(text, sizeof(text), "v1;boot=%s;online=%s;%send\n", boot, online, nodes);
	assert_in_range(n, 1, sizeof(text) - 1);
	return hk_table_from_text(text, online);
}

static void must_take(const char *online, const char *nodes)
{
	const char *why = take(online, nodes);
	if (why)
		fail_msg("refused: %s; online=%s;%s", why, online, nodes);
}

static void expect_two(void)
{
	assert_int_equal(hk_table.count, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct hk_node *node = &hk_table.node[i];
		assert_int_equal(node->os, i);
		assert_true(node->cpus);
		assert_int_equal(node->mib, i ? 256 : 512);
		assert_int_equal(node->tier, i);
		assert_int_equal(node->distance[0], i ? 22 : 10);
		assert_int_equal(node->distance[1], i ? 11 : 21);
	}
	for (unsigned cpu = 0; cpu < HK_CPUS_MAX; cpu++)
		assert_int_equal(hk_table.of_cpu[cpu], cpu < 4 ? cpu / 2 : HK_NO_NODE);
}

static void good_text_gives_every_field(void **state)
{
	(void)state;
	must_take("0-1", TWO);
	expect_two();
}

static void lines_are_as_good_as_semicolons(void **state)
{
	(void)state;
	read_boot();
	snprintf(text, sizeof(text), "v1\nboot=%s\nonline=0-1\n\n" TWO "end\n", boot);
	for (char *s = text; *s; s++)
		*s = *s == ';' ? '\n' : *s;
	assert_null(hk_table_from_text(text, "0-1"));
	expect_two();
}

static void unknown_keys_are_ignored(void **state)
{
	(void)state;
	must_take("0-1", "node=0 bw=10240 cpus=0-1 mem=512  lat=80 tier=0 dist=0:10,1:21,77:40 speed word;"
			 "node=1 cpu=7 cpus=2-3 mem=256 tier=1 memory=9 dist=0:22,1:11 tiers=x;");
	expect_two();
}

static void ids_have_holes_and_are_large(void **state)
{
	(void)state;
	must_take("0,2-3,70,1023", "node=0 cpus=0 mem=1;node=2 cpus=1,3 mem=2;node=3 cpus=2 mem=3;"
				   "node=70 cpus=4095 mem=4 dist=1023:30,0:17,70:10;node=1023 cpus=- mem=5;");
	static const unsigned ids[] = {0, 2, 3, 70, 1023};
	assert_int_equal(hk_table.count, COUNT_OF(ids));
	for (unsigned i = 0; i < COUNT_OF(ids); i++) {
		assert_int_equal(hk_table.node[i].os, ids[i]);
		assert_int_equal(hk_table.node[i].mib, i + 1);
		assert_int_equal(hk_table_find(ids[i]), i);
	}
	assert_int_equal(hk_table_find(1), HK_NO_NODE);
	assert_int_equal(hk_table_find(71), HK_NO_NODE);
	/* By id, in whatever order; what is not said is 20, and 10 to itself. */
	static const unsigned from_70[] = {17, 20, 20, 10, 30}, from_0[] = {10, 20, 20, 20, 20};
	for (unsigned i = 0; i < COUNT_OF(ids); i++) {
		assert_int_equal(hk_table.node[3].distance[i], from_70[i]);
		assert_int_equal(hk_table.node[0].distance[i], from_0[i]);
	}
	static const unsigned of_cpu[] = {0, 1, 2, 1};
	for (unsigned cpu = 0; cpu < COUNT_OF(of_cpu); cpu++)
		assert_int_equal(hk_table.of_cpu[cpu], of_cpu[cpu]);
	assert_int_equal(hk_table.of_cpu[4095], 3);
}

static void without_memory_or_processors(void **state)
{
	(void)state;
	must_take("0-3", "node=0 cpus=0 mem=512;node=1 cpus=1 mem=0;node=2 cpus=- mem=4096 tier=1;node=3;");
	static const bool cpus[] = {true, true, false, false};
	static const unsigned mib[] = {512, 0, 4096, 0};
	for (unsigned i = 0; i < COUNT_OF(mib); i++) {
		assert_int_equal(hk_table.node[i].cpus, cpus[i]);
		assert_int_equal(hk_table.node[i].mib, mib[i]);
	}
}

static void largest_numbers(void **state)
{
	(void)state;
	must_take("0", "node=0 cpus=0,4095 mem=1073741823 tier=255 dist=0:255;");
	assert_int_equal(hk_table.node[0].mib, 1073741823);
	assert_int_equal(hk_table.node[0].tier, 255);
	assert_int_equal(hk_table.node[0].distance[0], 255);
}

/* One pool is for policies over several nodes, so the last of 64 nodes has none. */
static void nodes_beyond_the_pools_are_left_out(void **state)
{
	static char many[TEXT_BYTES];
	int at = 0;
	(void)state;
	for (int i = 0; i < 100; i++)
		at += snprintf(many + at, sizeof(many) - (size_t)at, "node=%d cpus=%d mem=%d;", i, i, i + 1);
	must_take("0-99", many);
	assert_int_equal(hk_table.count, HK_TABLE_MAX);
	assert_int_equal(hk_table.node[62].mib, 63);
	assert_int_equal(hk_table.of_cpu[62], 62);
	assert_int_equal(hk_table.of_cpu[63], HK_NO_NODE);
}

/* ---- refused ---- */

static void must_refuse(const char *online, const char *whole, const char *reason)
{
	static struct hk_table before;
	before = hk_table;
	assert_true(strlen(whole) < sizeof(text));
	strcpy(text, whole);
	const char *why = hk_table_from_text(text, online);
	if (!why || !strstr(why, reason))
		fail_msg("%s: %s, expected %s", whole, why ? why : "taken", reason);
	assert_memory_equal(&before, &hk_table, sizeof(before)); /* as it was */
}

static void headers_that_do_not_fit(void **state)
{
	static const struct {
		const char *head, *reason;
	} bad[] = {
		{"", "another version, or none of ours"},
		{"v2;boot=B;online=0-1;", "another version"},
		{"v11;boot=B;online=0-1;", "another version"},
		{" v1;boot=B;online=0-1;", "another version"},
		{"v1;boot=;online=0-1;", "an earlier boot"},
		{"v1;boot=B0;online=0-1;", "an earlier boot"},
		{"v1;boot=00000000-0000-0000-0000-000000000000;online=0-1;", "an earlier boot"},
		{"v1;online=0-1;", "which boot"},
		{"v1;boot=B;", "which nodes are online"},
		{"v1;boot=B;online=;", "other nodes are online now"},
		{"v1;boot=B;online=0;", "other nodes are online now"},
		{"v1;boot=B;online=0-2;", "other nodes are online now"},
		{"v1;boot=B;online=0,1;", "other nodes are online now"},
		{"v1;boot=B;online=0-1;x=1;", "none of ours"},
		{"v1;boot=B;online=0-1; ;", "none of ours"},
		{"v1;boot=B;online=0-1;end ;", "none of ours"},
		{"v1;boot=B;online=0-1;nodes=0;", "none of ours"},
	};
	char whole[600];
	(void)state;
	must_take("0-1", TWO);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		const char *b = strstr(bad[i].head, "boot=B");
		if (b)
			snprintf(whole, sizeof(whole), "%.*s%s%s" TWO "end\n", (int)(b + 5 - bad[i].head),
				 bad[i].head, boot, b + 6);
		else
			snprintf(whole, sizeof(whole), "%s" TWO "end\n", bad[i].head);
		must_refuse("0-1", whole, bad[i].reason);
	}
	must_refuse("0-1", "", "none of ours");
}

static void records_that_are_malformed(void **state)
{
	static const struct {
		const char *record, *reason;
	} bad[] = {
		{"node=", "node number"},
		{"node=x", "node number"},
		{"node=0x0", "node number"},
		{"node=-1", "node number"},
		{"node=0-1", "node number"},
		{"node=1024", "node number"},
		{"node=1", "other nodes than the machine"},
		{"node=0 node=1", "other nodes than the machine"},
		{"node=0;node=0", "other nodes than the machine"},
		{"node=0;node=1", "other nodes than the machine"},
		{"node=0 mem=", "size of memory"},
		{"node=0 mem=512k", "size of memory"},
		{"node=0 mem=-1", "size of memory"},
		{"node=0 mem=1073741824", "size of memory"},
		{"node=0 mem=18446744073709551617", "size of memory"},
		{"node=0 tier=", "tier"},
		{"node=0 tier=256", "tier"},
		{"node=0 tier=fast", "tier"},
		{"node=0 cpus=x", "list of processors"},
		{"node=0 cpus=0-", "list of processors"},
		{"node=0 cpus=3-1", "list of processors"},
		{"node=0 cpus=0,,1", "list of processors"},
		{"node=0 cpus=0,", "list of processors"},
		{"node=0 cpus=4096", "list of processors"},
		{"node=0 cpus=0-4096", "list of processors"},
		{"node=0 dist=0", "distance"},
		{"node=0 dist=0:", "distance"},
		{"node=0 dist=:10", "distance"},
		{"node=0 dist=0:0", "distance"},
		{"node=0 dist=0:256", "distance"},
		{"node=0 dist=x:10", "distance"},
		{"node=0 dist=0:10,,1:20", "distance"},
		{"node=0 dist=1024:10", "distance"},
		{"node=0 dist=0:1:2", "distance"},
	};
	char whole[300];
	(void)state;
	must_take("0", "node=0 cpus=0 mem=7;");
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		snprintf(whole, sizeof(whole), "v1;boot=%s;online=0;%s;end\n", boot, bad[i].record);
		must_refuse("0", whole, bad[i].reason);
	}
}

static void missing_nodes(void **state)
{
	char whole[300];
	(void)state;
	must_take("0-1", TWO);
	snprintf(whole, sizeof(whole), "v1;boot=%s;online=0-1;node=0 cpus=0 mem=5;end", boot);
	must_refuse("0-1", whole, "all nodes");
	snprintf(whole, sizeof(whole), "v1;boot=%s;online=0-1;end", boot);
	must_refuse("0-1", whole, "all nodes");
	snprintf(whole, sizeof(whole), "v1;boot=%s;online=0-1;node=1 cpus=0 mem=5;node=0;end", boot);
	must_refuse("0-1", whole, "other nodes than the machine");
}

static void cut_anywhere_it_is_refused(void **state)
{
	char whole[400], part[400];
	(void)state;
	must_take("0-1", TWO);
	int n = snprintf(whole, sizeof(whole), "v1;boot=%s;online=0-1;" TWO "end", boot);
	for (int cut = 0; cut < n; cut++) {
		snprintf(part, sizeof(part), "%.*s", cut, whole);
		must_refuse("0-1", part, "");
	}
	snprintf(part, sizeof(part), "%.*s", n - 3, whole);
	must_refuse("0-1", part, "its end is missing");
	must_take("0-1", TWO);
}

/* Whatever the bytes: refused or a table of two nodes, and nothing written beside it (asan). */
static void any_bytes(void **state)
{
	char whole[400];
	uint64_t seed = 11;
	(void)state;
	must_take("0-1", TWO);
	int n = snprintf(whole, sizeof(whole), "v1;boot=%s;online=0-1;" TWO "end", boot);
	for (unsigned round = 0; round < 20000; round++) {
		memcpy(text, whole, (size_t)n + 1);
		for (unsigned k = 0; k < 1 + round % 4; k++)
			text[unit_random(&seed) % (unsigned)n] = "0123456789;:=,- \nx"[unit_random(&seed) % 18];
		hk_table_from_text(text, "0-1");
		assert_int_equal(hk_table.count, 2);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(hk_table.node[i].os, i);
		for (unsigned cpu = 0; cpu < HK_CPUS_MAX; cpu++)
			assert_true(hk_table.of_cpu[cpu] < 2 || hk_table.of_cpu[cpu] == HK_NO_NODE);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(good_text_gives_every_field),
		cmocka_unit_test(lines_are_as_good_as_semicolons),
		cmocka_unit_test(unknown_keys_are_ignored),
		cmocka_unit_test(ids_have_holes_and_are_large),
		cmocka_unit_test(without_memory_or_processors),
		cmocka_unit_test(largest_numbers),
		cmocka_unit_test(nodes_beyond_the_pools_are_left_out),
		cmocka_unit_test(headers_that_do_not_fit),
		cmocka_unit_test(records_that_are_malformed),
		cmocka_unit_test(missing_nodes),
		cmocka_unit_test(cut_anywhere_it_is_refused),
		cmocka_unit_test(any_bytes),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
