/* table_test.c - src/numa/table.c: lists of ids, and the table from sysfs. Other machines are files of
 * the test: the program is linked with --wrap=hk_os_read. The real ones of this machine come last. */
#include "unit.h"

#include <sched.h>
#include <string.h>

#include "numa/table.h"

#define NODES "/sys/devices/system/node/"

/* ---- files ---- */

struct file {
	const char *path, *text;
};

static const struct file *files; /* NULL: the real ones */
static size_t file_count;

int __real_hk_os_read(const char *path, char *buf, size_t bytes, bool roots);
int __wrap_hk_os_read(const char *path, char *buf, size_t bytes, bool roots);

int __wrap_hk_os_read(const char *path, char *buf, size_t bytes, bool roots)
{
	if (!files || !strncmp(path, "/proc/", 6))
		return __real_hk_os_read(path, buf, bytes, roots);
	for (size_t i = 0; i < file_count; i++)
		if (!strcmp(files[i].path, path))
			return snprintf(buf, bytes, "%s", files[i].text);
	return -1;
}

#define USE(list) (files = (list), file_count = COUNT_OF(list))

/* ---- lists ---- */

static void lists_are_read(void **state)
{
	static const struct {
		const char *list;
		unsigned ids[8], count;
	} good[] = {
		{"0", {0}, 1},
		{"0\n", {0}, 1},
		{"0-1,3", {0, 1, 3}, 3},
		{"007", {7}, 1},
		{"5-5", {5}, 1},
		{"63-65\n", {63, 64, 65}, 3},
		{"3,1", {1, 3}, 2},
		{"1,1,0-1", {0, 1}, 2},
		{"0,64,128,1023", {0, 64, 128, 1023}, 4},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		struct hk_os_nodes set, want = {{0}};
		memset(&set, 0xff, sizeof(set));
		for (unsigned k = 0; k < good[i].count; k++)
			want.bits[good[i].ids[k] / 64] |= 1ul << good[i].ids[k] % 64;
		if (!hk_list_parse(good[i].list, &set) || memcmp(&set, &want, sizeof(set)))
			fail_msg("%s", good[i].list);
	}
	struct hk_os_nodes all;
	assert_true(hk_list_parse("0-1023", &all));
	for (unsigned i = 0; i < COUNT_OF(all.bits); i++)
		assert_int_equal(all.bits[i], ~0ul);
}

static void malformed_lists_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "\n", ",", "-", "x", "0x1", " 0", "0 ", "0,", ",0", "0,,1", "0-", "-1", "0--1", "1-0",
		"0-1-2", "0-1,", "1.5", "1024", "0-1024", "4294967296", "18446744073709551616",
		"99999999999999999999999999", "0;1", "0,x",
	};
	struct hk_os_nodes set;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (hk_list_parse(bad[i], &set))
			fail_msg("\"%s\" is taken", bad[i]);
}

static void runs_come_one_by_one(void **state)
{
	const char *list = "0-1,3,70-99\n";
	unsigned first, last;
	(void)state;
	assert_true(hk_list_next(&list, 100, &first, &last) && first == 0 && last == 1);
	assert_true(hk_list_next(&list, 100, &first, &last) && first == 3 && last == 3);
	assert_true(hk_list_next(&list, 100, &first, &last) && first == 70 && last == 99);
	assert_false(hk_list_next(&list, 100, &first, &last));
	assert_int_equal(*list, 0); /* its end */
	list = "0-1,70-100";
	assert_true(hk_list_next(&list, 100, &first, &last));
	assert_false(hk_list_next(&list, 100, &first, &last)); /* below the limit only */
	assert_string_equal(list, "70-100"); /* not its end: malformed */
}

/* ---- sysfs ---- */

/* Holes, an id above 64, one node without memory (3), one without processors (70). */
static const struct file uneven[] = {
	{NODES "node0/cpulist", "0-1,8-9\n"},
	{NODES "node0/meminfo", "\nNode 0 MemTotal:         524288 kB\nNode 0 MemFree:          1 kB\n"},
	{NODES "node0/distance", "10 16 20 30\n"},
	{NODES "node2/cpulist", "2-7\n"},
	{NODES "node2/meminfo", "\nNode 2 MemTotal:       1048576 kB\nNode 2 MemFree:          1 kB\n"},
	{NODES "node2/distance", "16 10 21 31\n"},
	{NODES "node3/cpulist", "10\n"},
	{NODES "node3/meminfo", "\nNode 3 MemTotal:             0 kB\nNode 3 MemFree:          0 kB\n"},
	{NODES "node3/distance", "20 21 10 32\n"},
	{NODES "node70/cpulist", "\n"},
	{NODES "node70/meminfo", "\nNode 70 MemTotal:       2097152 kB\nNode 70 MemFree:         1 kB\n"},
	{NODES "node70/distance", "30 31 32 10\n"},
	{NODES "node70/numastat", "numa_hit 7\nnuma_miss 8\nnuma_foreign 123456789012\n"},
};

static void sysfs_gives_every_field(void **state)
{
	static const unsigned ids[] = {0, 2, 3, 70}, mib[] = {512, 1024, 0, 2048};
	static const unsigned distance[4][4] = {{10, 16, 20, 30}, {16, 10, 21, 31}, {20, 21, 10, 32}, {30, 31, 32, 10}};
	(void)state;
	USE(uneven);
	assert_true(hk_table_from_sysfs("0,2-3,70"));
	assert_int_equal(hk_table.count, 4);
	for (unsigned i = 0; i < 4; i++) {
		const struct hk_node *node = &hk_table.node[i];
		assert_int_equal(node->os, ids[i]);
		assert_int_equal(node->mib, mib[i]);
		assert_int_equal(node->cpus, i != 3);
		assert_int_equal(node->tier, i == 3);
		assert_int_equal(hk_table_find(ids[i]), i);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(node->distance[k], distance[i][k]);
	}
	for (unsigned cpu = 0; cpu < 12; cpu++) {
		unsigned want = cpu < 2 || cpu == 8 || cpu == 9 ? 0 : cpu < 8 ? 1 : cpu == 10 ? 2 : HK_NO_NODE;
		assert_int_equal(hk_table.of_cpu[cpu], want);
	}
	assert_int_equal(hk_table_number(70, "numastat", "numa_foreign"), 123456789012);
	assert_int_equal(hk_table_number(70, "numastat", "none"), 0);
	assert_int_equal(hk_table_number(0, "numastat", "numa_foreign"), 0); /* no such file */
}

/* A sandbox may hide a part of /sys. */
static void files_that_are_not_there(void **state)
{
	static const struct file few[] = {
		{NODES "node1/cpulist", "0,x\n"},
		{NODES "node1/meminfo", "nothing of use\n"},
		{NODES "node1/distance", "15 x\n"},
	};
	(void)state;
	USE(few);
	assert_true(hk_table_from_sysfs("0-1"));
	assert_int_equal(hk_table.count, 2);
	assert_int_equal(hk_table.node[0].distance[0], 10);
	assert_int_equal(hk_table.node[0].distance[1], 20);
	assert_int_equal(hk_table.node[1].distance[0], 15); /* as far as it can be read */
	assert_int_equal(hk_table.node[1].distance[1], 10);
	assert_int_equal(hk_table.node[0].mib + hk_table.node[1].mib, 0);
	assert_int_equal(hk_table.of_cpu[0], 1);
	assert_false(hk_table_from_sysfs("x"));
	assert_int_equal(hk_table.count, 0);
}

static void more_nodes_than_pools(void **state)
{
	(void)state;
	USE(uneven);
	assert_true(hk_table_from_sysfs("0-99"));
	assert_int_equal(hk_table.count, HK_TABLE_MAX);
	assert_int_equal(hk_table.node[62].os, 62);
	assert_int_equal(hk_table.node[62].distance[62], 10);
}

static void text_and_sysfs_agree(void **state)
{
	static struct hk_table sysfs;
	char boot[64], text[1000];
	(void)state;
	USE(uneven);
	assert_true(hk_table_from_sysfs("0,2-3,70"));
	sysfs = hk_table;
	memset(&hk_table, 0x5a, sizeof(hk_table));
	assert_true(hk_os_read("/proc/sys/kernel/random/boot_id", boot, sizeof(boot), false) > 0);
	boot[strcspn(boot, "\n")] = 0;
	snprintf(text, sizeof(text),
		 "v1;boot=%s;online=0,2-3,70;"
		 "node=0 cpus=0-1,8-9 mem=512 tier=0 dist=0:10,2:16,3:20,70:30;"
		 "node=2 cpus=2-7 mem=1024 tier=0 dist=0:16,2:10,3:21,70:31;"
		 "node=3 cpus=10 mem=0 tier=0 dist=0:20,2:21,3:10,70:32;"
		 "node=70 cpus=- mem=2048 tier=1 dist=0:30,2:31,3:32,70:10;end",
		 boot);
	assert_null(hk_table_from_text(text, "0,2-3,70"));
	assert_int_equal(hk_table.count, sysfs.count);
	assert_memory_equal(hk_table.of_cpu, sysfs.of_cpu, sizeof(sysfs.of_cpu));
	for (unsigned i = 0; i < sysfs.count; i++) {
		const struct hk_node *a = &hk_table.node[i], *b = &sysfs.node[i];
		assert_true(a->os == b->os && a->cpus == b->cpus && a->mib == b->mib && a->tier == b->tier);
		assert_memory_equal(a->distance, b->distance, sysfs.count);
	}
}

static void this_machine(void **state)
{
	char online[256];
	cpu_set_t mine;
	uint64_t mib = 0;
	(void)state;
	if (hk_os_read(NODES "online", online, sizeof(online), false) <= 0)
		unit_skip("the kernel shows no nodes in sysfs");
	assert_true(hk_table_from_sysfs(online));
	for (unsigned i = 0; i < hk_table.count; i++) {
		mib += hk_table.node[i].mib;
		assert_int_equal(hk_table.node[i].distance[i], 10);
	}
	assert_in_range(mib, 1, hk_os_memory_total() >> 20); /* the kernel's own is in neither */
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &mine))
			assert_true(hk_table.of_cpu[cpu] < hk_table.count);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(lists_are_read),
		cmocka_unit_test(malformed_lists_are_refused),
		cmocka_unit_test(runs_come_one_by_one),
		cmocka_unit_test(sysfs_gives_every_field),
		cmocka_unit_test(files_that_are_not_there),
		cmocka_unit_test(more_nodes_than_pools),
		cmocka_unit_test(text_and_sysfs_agree),
		cmocka_unit_test(this_machine),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
