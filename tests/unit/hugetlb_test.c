/* hugetlb_test.c - src/arena/hugetlb.c: pages of the kernel's hugetlb pool, without them, and the first
 * fork. The pool is as it is; where it has pages, the last cases use some. */
#include "unit.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "observe/options.h"

#define HUGE "HAKMEM_HUGE=hugetlb HAKMEM_STARTER_MIB=0"
#define GIGA "HAKMEM_HUGE=hugetlb-1g HAKMEM_STARTER_MIB=0"
#define POOLS "/sys/kernel/mm/hugepages/hugepages-"

static size_t number_in(const char *path)
{
	size_t x = 0;
	FILE *f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%zu", &x) != 1)
			x = 0;
		fclose(f);
	}
	return x;
}

/* Pages that a process may reserve; surplus ones too. */
static size_t pages_2m(void)
{
	return number_in(POOLS "2048kB/free_hugepages") - number_in(POOLS "2048kB/resv_hugepages") +
	       number_in(POOLS "2048kB/nr_overcommit_hugepages");
}

static size_t pages_1g(void)
{
	return number_in(POOLS "1048576kB/free_hugepages") + number_in(POOLS "1048576kB/nr_overcommit_hugepages");
}

static void must_be_empty(size_t pages)
{
	if (pages)
		unit_skip("the hugetlb pool has pages; an empty one is wanted");
}

static void *span(unsigned supers)
{
	void *p = hak_malloc(supers * HK_SUPER_BYTES);
	assert_non_null(p);
	memset(p, 1, supers * HK_SUPER_BYTES);
	return p;
}

static void nobody_asks_unless_told(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	hak_free(span(8));
	assert_int_equal(POOL->count.hugetlb_refused + POOL->hugetlb_supers, 0);
}

static void an_empty_pool_falls_back_and_counts(void **state)
{
	(void)state;
	must_be_empty(pages_2m());
	unit_start(HUGE);
	void *p = span(4), *small = hak_malloc(100);
	assert_non_null(small);
	assert_int_equal(POOL->hugetlb_supers, 0);
	assert_true(POOL->count.hugetlb_refused >= 4);
	for (size_t i = hk_stripe_first(0); i < hk_stripe_end(0); i++)
		assert_false(hk_super_at(i)->flags & (HK_SUPER_HUGETLB | HK_SUPER_UNPURGEABLE));
	hak_free(p);
	hak_free(small);
	assert_true(hak_malloc_trim(0)); /* what came instead goes back as ever */
	struct hak_numa_node node;
	assert_true(hak_numa_stats(&node, 1) >= 1);
	assert_int_equal(node.hugetlb_bytes, 0);
}

/* Not each SuperSlab is one more call in vain. */
static void a_refusal_holds_for_a_second(void **state)
{
	(void)state;
	must_be_empty(pages_2m());
	unit_start(HUGE);
	span(1);
	for (unsigned tries = 0; tries < 100; tries++) {
		uint64_t refused = POOL->count.hugetlb_refused;
		uint32_t since = POOL->hugetlb_refused_ms = hk_os_clock_ms() | 1;
		for (unsigned i = 0; i < 20; i++)
			span(1);
		if (hk_os_clock_ms() - since >= 900)
			continue; /* a slow machine: another try */
		assert_int_equal(POOL->count.hugetlb_refused, refused);
		POOL->hugetlb_refused_ms = (since - 2000) | 1;
		span(1);
		assert_int_equal(POOL->count.hugetlb_refused, refused + 1);
		return;
	}
	unit_skip("20 SuperSlabs took a second each time");
}

/* A GiB is mapped, and given back when its page can't be had: address space, no memory. */
static void a_gib_that_is_refused_costs_nothing(void **state)
{
	struct rusage use;
	(void)state;
	must_be_empty(pages_1g() + pages_2m());
	unit_start(GIGA);
	span(4);
	assert_int_equal(POOL->hugetlb_supers, 0);
	assert_true(POOL->gib_refused_ms != 0);
	assert_true(POOL->count.hugetlb_refused >= HK_GIB_SUPERS);
	assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
	assert_in_range(use.ru_maxrss, 0, 512 << 10); /* KiB */
	unit_audit();
}

/* ---- fork ---- */

static void fork_and_wait(void)
{
	int status;
	pid_t pid = fork();
	if (!pid)
		_exit(hak_malloc(100) ? 0 : 1);
	if (waitpid(pid, &status, 0) != pid || status)
		_exit(2);
}

static void fork_twice(void *arg)
{
	unit_start(arg);
	span(1);
	if (arg) /* as if some were had: what is to be seen is what a fork says and ends */
		POOL->hugetlb_supers += 3;
	fork_and_wait();
	fork_and_wait();
	uint64_t refused = POOL->count.hugetlb_refused;
	POOL->hugetlb_refused_ms = 0;
	span(2);
	dprintf(2, "asked %d\n", POOL->count.hugetlb_refused > refused);
	POOL->hugetlb_supers -= arg ? 3 : 0;
}

static void the_first_fork_says_what_is_at_risk(void **state)
{
	char said[1000];
	(void)state;
	must_be_empty(pages_2m());
	assert_int_equal(unit_capture(fork_twice, (void *)HUGE, said, sizeof(said)), 0);
	static const char line[] = "hakmem: fork with 6 MiB on hugetlb pages: ";
	assert_int_equal(strncmp(said, line, strlen(line)), 0);
	assert_non_null(strchr(said, '\n'));
	assert_string_equal(strchr(said, '\n') + 1, "asked 0\n"); /* once, and none are asked for again */
}

static void a_fork_without_them_says_nothing(void **state)
{
	char said[1000];
	(void)state;
	assert_int_equal(unit_capture(fork_twice, NULL, said, sizeof(said)), 0);
	assert_string_equal(said, "asked 0\n");
}

static void fork_before_the_first(void *arg)
{
	unit_start(arg);
	fork_and_wait();
	uint64_t refused = POOL->count.hugetlb_refused;
	span(2);
	dprintf(2, "asked %d\n", POOL->count.hugetlb_refused > refused);
}

/* Nothing was shared, so nothing is at risk. */
static void a_fork_before_the_first_page_ends_nothing(void **state)
{
	char said[1000];
	(void)state;
	must_be_empty(pages_2m());
	assert_int_equal(unit_capture(fork_before_the_first, (void *)HUGE, said, sizeof(said)), 0);
	assert_string_equal(said, "asked 1\n");
}

/* ---- where there are pages ---- */

static void pages_are_had_before_anyone_touches_them(void **state)
{
	(void)state;
	if (pages_2m() < 8)
		unit_skip("the hugetlb pool has no 8 free pages of 2 MiB");
	unit_start(HUGE);
	char *p = span(3);
	assert_true(POOL->hugetlb_supers >= 3);
	for (unsigned i = 0; i < 3; i++) {
		const struct hk_super *s = hk_super_at(hk_super_index(p + i * HK_SUPER_BYTES));
		assert_int_equal(s->flags, HK_SUPER_HUGETLB | HK_SUPER_UNPURGEABLE);
	}
	size_t had = POOL->hugetlb_supers;
	hak_free(p);
	hak_malloc_trim(0); /* stay until the process ends */
	assert_int_equal(POOL->hugetlb_supers, had);
	assert_true(POOL->kept_supers >= 3);
	assert_int_equal(POOL->warm_supers, 0);
	char *again = hak_calloc(3, HK_SUPER_BYTES);
	assert_non_null(again);
	for (size_t i = 0; i < 3 * HK_SUPER_BYTES; i += 4096)
		assert_int_equal(again[i], 0);
	unit_audit();
}

/* The rest of what is asked comes on other pages; no touch of a page that is not there. */
static void a_pool_that_runs_out(void **state)
{
	(void)state;
	size_t pages = pages_2m();
	if (pages < 8 || pages > 2000)
		unit_skip("a hugetlb pool with 8 to 2000 free pages of 2 MiB is wanted");
	unit_start(HUGE);
	for (size_t i = 0; i < pages + 8; i++)
		span(1);
	assert_in_range(POOL->hugetlb_supers, 1, pages);
	assert_true(POOL->count.hugetlb_refused > 0);
	unit_audit();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(nobody_asks_unless_told),
		cmocka_unit_test(an_empty_pool_falls_back_and_counts),
		cmocka_unit_test(a_refusal_holds_for_a_second),
		cmocka_unit_test(a_gib_that_is_refused_costs_nothing),
		cmocka_unit_test(the_first_fork_says_what_is_at_risk),
		cmocka_unit_test(a_fork_without_them_says_nothing),
		cmocka_unit_test(a_fork_before_the_first_page_ends_nothing),
		cmocka_unit_test(pages_are_had_before_anyone_touches_them),
		cmocka_unit_test(a_pool_that_runs_out),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
