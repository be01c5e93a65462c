/* os_test.c - what the kernel is asked about pages, on pages whose state is known. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* 2 MiB, aligned so, and none of it touched. */
static char *fresh(void)
{
	char *p = mmap(NULL, 2 * HK_SUPER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	p = (char *)hk_align_up((uintptr_t)p, HK_SUPER_BYTES);
	assert_int_equal(madvise(p, HK_SUPER_BYTES, MADV_NOHUGEPAGE), 0);
	return p;
}

static void resident_pages_are_counted(void **state)
{
	(void)state;
	char *p = fresh();
	unsigned touched = 0;
	assert_int_equal(hk_os_resident_pages((uintptr_t)p), 0);
	for (size_t at = 0; at < HK_SUPER_BYTES; at += 3 * HK_PAGE_BYTES, touched++)
		p[at] = 1;
	assert_int_equal(hk_os_resident_pages((uintptr_t)p), touched);
	memset(p, 1, HK_SUPER_BYTES);
	assert_int_equal(hk_os_resident_pages((uintptr_t)p), HK_SUPER_BYTES / HK_PAGE_BYTES);
}

static void mappings_are_seen(void **state)
{
	(void)state;
	char *p = fresh();
	assert_true(hk_os_is_mapped((uintptr_t)p));
	assert_int_equal(mprotect(p, HK_PAGE_BYTES, PROT_NONE), 0);
	assert_true(hk_os_is_mapped((uintptr_t)p));
	assert_int_equal(munmap(p, HK_PAGE_BYTES), 0);
	errno = 7;
	assert_false(hk_os_is_mapped((uintptr_t)p));
	assert_int_equal(errno, 7);
	assert_true(hk_os_is_mapped((uintptr_t)p + HK_PAGE_BYTES));
}

static void locks_are_seen(void **state)
{
	(void)state;
	char *p = fresh();
	assert_false(hk_os_is_locked((uintptr_t)p));
	assert_false(unit_resident(p));
	if (mlock(p, HK_PAGE_BYTES))
		unit_skip("mlock of a page is not allowed");
	errno = 7;
	assert_true(hk_os_is_locked((uintptr_t)p));
	assert_int_equal(errno, 7);
	assert_false(hk_os_is_locked((uintptr_t)p + HK_PAGE_BYTES));
	assert_int_equal(munlock(p, HK_PAGE_BYTES), 0);
	assert_false(hk_os_is_locked((uintptr_t)p));
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(resident_pages_are_counted),
		cmocka_unit_test(mappings_are_seen),
		cmocka_unit_test(locks_are_seen),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
