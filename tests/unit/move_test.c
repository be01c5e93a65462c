/* move_test.c - src/arena/move.c: a span's pages under another span's addresses, by kernels of all kinds. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "tiny/large.h"

#define NO_STARTERS "HAKMEM_STARTER_MIB=0"
#define SUPERS(n) ((n) * HK_SUPER_BYTES)

/* What hk_os_move does instead, and to which of its calls. */
static enum { AS_EVER, UNMAPS, UNMAPS_SECOND, IN_PART, IN_PART_AND_UNMAPS, REFUSES } kernel;
static unsigned calls;

int __real_hk_os_move(uintptr_t from, uintptr_t to, size_t bytes);
int __wrap_hk_os_move(uintptr_t from, uintptr_t to, size_t bytes);

int __wrap_hk_os_move(uintptr_t from, uintptr_t to, size_t bytes)
{
	size_t part = bytes / 4;
	calls++;
	if (kernel == REFUSES)
		return -EINVAL;
	if (kernel == AS_EVER || (kernel == UNMAPS_SECOND && calls != 2))
		return __real_hk_os_move(from, to, bytes);
	if (kernel == IN_PART || kernel == IN_PART_AND_UNMAPS) {
		if (__real_hk_os_move(from, to, part))
			unit_skip("the kernel has no MREMAP_DONTUNMAP");
		if (kernel == IN_PART_AND_UNMAPS)
			munmap((void *)(to + part), part);
		return -ENOMEM;
	}
	munmap((void *)to, bytes);
	return -EFAULT;
}

static void fill(char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 4096)
		*(size_t *)(p + i) = i % 12288 ? i + 1 : 0; /* every third page is zero */
}

static void check(const char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 4096) {
		assert_int_equal(*(const size_t *)(p + i), i % 12288 ? i + 1 : 0);
		assert_int_equal(*(const size_t *)(p + i + 2048), 0);
	}
}

static void move(char *from, char *to, size_t supers)
{
	if (!hk_pool_span_move(POOL, from, to, supers))
		unit_skip("the kernel has no MREMAP_DONTUNMAP");
}

static void pages_move(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *from = unit_span(4 * 32, 1), *to = unit_span(4 * 32, 1);
	for (size_t i = 0; i < 4 * HK_SUPER_BYTES; i += 4096)
		*(size_t *)(from + i) = i + 1;
	move(from, to, 4);
	for (size_t i = 0; i < 4 * HK_SUPER_BYTES; i += 4096) {
		assert_int_equal(*(size_t *)(to + i), i + 1);
		assert_int_equal(*(size_t *)(from + i), 0);
	}
	assert_true(unit_super_of(to)->flags & HK_SUPER_MOVED);
	assert_int_equal(POOL->moved_spans, 1);
	hk_pool_span_free(POOL, to);
	assert_int_equal(POOL->moved_spans, 0);
	assert_false(unit_super_of(to)->flags & HK_SUPER_MOVED);
	for (size_t i = 0; i < 4 * HK_SUPER_BYTES; i += 4096)
		assert_int_equal(*(size_t *)(to + i), 0); /* mapped afresh, and known to be */
	assert_int_equal(unit_super_of(to)->zero, ~0u);
}

/* Pages of an earlier life of the place must not show where a page that is zero was moved. */
static void moved_by(int kind, unsigned expected_calls)
{
	unit_start(NO_STARTERS);
	char *from = unit_span(4 * 32, 1), *to = unit_span(4 * 32, 1);
	fill(from, SUPERS(4));
	memset(to, 0x5a, SUPERS(4));
	kernel = kind;
	assert_true(hk_pool_span_move(POOL, from, to, 4));
	assert_int_equal(calls, expected_calls);
	kernel = AS_EVER;
	check(to, SUPERS(4));
	memset(to, 1, SUPERS(4)); /* all of it is mapped */
	for (size_t i = 0; i < SUPERS(4); i += 4096)
		assert_int_equal(*(size_t *)(from + i), 0);
	hk_pool_span_free(POOL, to);
	hk_pool_span_free(POOL, from);
	unit_audit();
}

/* To Linux 6.16 the place is gone before the call fails. */
static void a_place_that_was_unmapped(void **state)
{
	(void)state;
	moved_by(UNMAPS, 4);
}

static void one_of_the_calls_fails(void **state)
{
	(void)state;
	moved_by(UNMAPS_SECOND, 4);
}

/* From 6.17 on several mappings may be moved until one can't be. */
static void moved_in_part(void **state)
{
	(void)state;
	moved_by(IN_PART, 4);
}

static void moved_in_part_with_a_hole(void **state)
{
	(void)state;
	moved_by(IN_PART_AND_UNMAPS, 4);
}

/* Linux before 5.7: asked once, copied from then on. */
static void a_kernel_that_can_not(void **state)
{
	(void)state;
	moved_by(REFUSES, 1);
	char *from = unit_span(2 * 32, 1), *to = unit_span(2 * 32, 1);
	kernel = REFUSES;
	assert_false(hk_pool_span_move(POOL, from, to, 2));
	assert_int_equal(calls, 1);
}

/* What was moved is a mapping of its own, apart from what it grew by. */
static void a_grown_one_moves_again(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *from = unit_span(4 * 32, 1), *to = unit_span(4 * 32, 1), *last = unit_span(8 * 32, 1);
	hk_pool_span_free(POOL, last);
	fill(from, SUPERS(4));
	move(from, to, 4);
	assert_true(hk_pool_span_resize(POOL, to, 8 * 32));
	fill(to + SUPERS(4), SUPERS(4));
	last = unit_span(12 * 32, 1);
	move(to, last, 8);
	check(last, SUPERS(4));
	check(last + SUPERS(4), SUPERS(4));
	hk_pool_span_free(POOL, to);
	hk_pool_span_free(POOL, last);
	hk_pool_span_free(POOL, from);
	unit_audit();
}

/* A part of the block is a mapping of its own by what the program said of it. */
static void one_that_the_program_split(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *from = unit_span(4 * 32, 1), *to = unit_span(4 * 32, 1);
	fill(from, SUPERS(4));
	assert_int_equal(madvise(from + SUPERS(1) + 40960, 8192, MADV_DONTDUMP), 0);
	move(from, to, 4);
	check(to, SUPERS(4));
	memset(to, 1, SUPERS(4));
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(pages_move),
		cmocka_unit_test(a_place_that_was_unmapped),
		cmocka_unit_test(one_of_the_calls_fails),
		cmocka_unit_test(moved_in_part),
		cmocka_unit_test(moved_in_part_with_a_hole),
		cmocka_unit_test(a_kernel_that_can_not),
		cmocka_unit_test(a_grown_one_moves_again),
		cmocka_unit_test(one_that_the_program_split),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
