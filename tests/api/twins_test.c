/* twins_test.c - the hak_ names, looked up at run time: each twin does what the libc name does
 * and their blocks may cross over. Skipped whole where another allocator serves. */
#define _GNU_SOURCE
#include "cm.h"
#include "support.h"

#include "../../include/hakmem/hakmem.h"

#include <ctype.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* The declared type, the address found by name: nothing of hakmem is linked. */
#define TWIN(name) ((__typeof__(&name))must_have(#name))

static void *must_have(const char *name)
{
	void *p = test_symbol(name);

	CHECK(p, "%s is not exported", name);
	return p;
}

static void test_version(void **state)
{
	const char *text = TWIN(hak_version_string)();
	char want[32];

	(void)state;
	CHECK(TWIN(hak_version)() == HAK_VERSION, "library %d, header %d", TWIN(hak_version)(),
	      HAK_VERSION);
	snprintf(want, sizeof(want), "%d.%d.%d", HAK_VERSION_MAJOR, HAK_VERSION_MINOR,
		 HAK_VERSION_PATCH);
	CHECK(strcmp(text, want) == 0, "%s, not %s", text, want);
}

static void fill_and_free(void *p, size_t size, bool by_twin)
{
	CHECK(p, "no block of %zu", size);
	CHECK(TWIN(hak_malloc_usable_size)(p) >= size, "usable size");
	CHECK(TWIN(hak_malloc_usable_size)(p) == malloc_usable_size(p), "usable sizes differ");
	pat_fill(p, size, 1);
	pat_check(p, size, 1);
	if (by_twin)
		TWIN(hak_free)(p);
	else
		free(p);
}

static void test_blocks_cross_over(void **state)
{
	static const size_t sizes[] = {1, 100, 1024, 9000, 64 * KIB, 600 * KIB, 3 * MIB};
	void *p;
	size_t s;

	(void)state;
	for (s = 0; s < COUNT_OF(sizes); s++) {
		size_t n = sizes[s];

		fill_and_free(TWIN(hak_malloc)(n), n, false);
		fill_and_free(malloc(n), n, true);
		p = TWIN(hak_calloc)(n, 2);
		CHECK(p, "hak_calloc");
		check_zero(p, 2 * n, "hak_calloc");
		fill_and_free(TWIN(hak_realloc)(p, 3 * n), 3 * n, false);
		fill_and_free(TWIN(hak_realloc)(malloc(n), 2 * n), 2 * n, true);
		fill_and_free(TWIN(hak_reallocarray)(NULL, n, 3), 3 * n, false);
		fill_and_free(TWIN(hak_memalign)(4096, n), n, false);
		fill_and_free(TWIN(hak_aligned_alloc)(64, n), n, true);
		fill_and_free(TWIN(hak_valloc)(n), n, false);
		fill_and_free(TWIN(hak_pvalloc)(n), n, true);
		CHECK(TWIN(hak_posix_memalign)(&p, 256, n) == 0, "hak_posix_memalign");
		fill_and_free(p, n, false);
		TWIN(hak_free_sized)(malloc(n), n);
		TWIN(hak_free_aligned_sized)(aligned_alloc(64, 64 * n), 64, 64 * n);
	}
	TWIN(hak_free)(NULL);
	CHECK(TWIN(hak_malloc_usable_size)(NULL) == 0, "usable size of NULL");
}

static void test_errors(void **state)
{
	void *out = &out;

	(void)state;
	errno = 0;
	CHECK(!TWIN(hak_malloc)(test_hide_size(PTRDIFF_MAX)) && errno == ENOMEM, "%d", errno);
	errno = 0;
	CHECK(!TWIN(hak_calloc)(test_hide_size(SIZE_MAX), 2) && errno == ENOMEM, "%d", errno);
	errno = 0;
	CHECK(!TWIN(hak_reallocarray)(NULL, test_hide_size(SIZE_MAX), 2) && errno == ENOMEM, "%d",
	      errno);
	errno = 0;
	CHECK(!TWIN(hak_aligned_alloc)(test_hide_size(24), 8) && errno == EINVAL, "%d", errno);
	errno = 4711;
	CHECK(TWIN(hak_posix_memalign)(&out, 4, 8) == EINVAL, "no EINVAL");
	CHECK(out == &out && errno == 4711, "hak_posix_memalign touched its result or errno");
	CHECK(!TWIN(hak_realloc)(TWIN(hak_malloc)(8), 0), "hak_realloc(p, 0) gave a block");
}

static void test_owns(void **state)
{
	static const size_t sizes[] = {1, 100, 1024, 8 * KIB, 20 * KIB, 512 * KIB, 5 * MIB};
	static char in_data[64];
	char on_stack[64];
	size_t s;

	(void)state;
	for (s = 0; s < COUNT_OF(sizes); s++) {
		char *p = malloc(sizes[s]);

		CHECK(p, "malloc(%zu)", sizes[s]);
		CHECK(TWIN(hak_owns)(p) == 1, "does not own a block of %zu", sizes[s]);
		CHECK(TWIN(hak_owns)(p + sizes[s] - 1) == 1, "nor the last byte of %zu", sizes[s]);
		CHECK(TWIN(hak_owns)(p + sizes[s] / 2) == 1, "nor the middle of %zu", sizes[s]);
		free(p);
		if (sizes[s] > 512 * KIB)
			CHECK(TWIN(hak_owns)(p) == 0, "owns a freed span of %zu", sizes[s]);
	}
	CHECK(TWIN(hak_owns)(NULL) == 0, "owns NULL");
	CHECK(TWIN(hak_owns)(on_stack) == 0, "owns the stack");
	CHECK(TWIN(hak_owns)(in_data) == 0, "owns static data");
	CHECK(TWIN(hak_owns)((void *)(uintptr_t)0x10) == 0, "owns 0x10");
	CHECK(TWIN(hak_owns)((void *)UINTPTR_MAX) == 0, "owns the last byte");
	CHECK(TWIN(hak_owns)((void *)(uintptr_t)test_owns) == 0, "owns code");
}

static struct hak_stats stats_now(void)
{
	struct hak_stats st;
	int r;

	memset(&st, 0, sizeof(st));
	st.size_bytes = sizeof(st);
	r = TWIN(hak_stats_get)(&st);
	CHECK(r == 0, "hak_stats_get gave %d", r);
	return st;
}

static void test_stats_size_field(void **state)
{
	struct hak_stats st;

	(void)state;
	memset(&st, 0xcc, sizeof(st));
	st.size_bytes = 0;
	CHECK(TWIN(hak_stats_get)(&st) == -EINVAL, "size 0 was taken");
	st.size_bytes = offsetof(struct hak_stats, committed_bytes);
	CHECK(TWIN(hak_stats_get)(&st) == 0, "a short structure was refused");
	CHECK(st.region_bytes != UINT64_C(0xcccccccccccccccc), "region_bytes was not written");
	CHECK(st.committed_bytes == UINT64_C(0xcccccccccccccccc), "written beyond its end");
}

static void test_stats_move(void **state)
{
	enum { N = 10000, SPANS = 4 };
	static void *p[N];
	struct hak_stats a = stats_now(), b, c;
	void *span[SPANS];
	int i;

	(void)state;
	for (i = 0; i < N; i++)
		p[i] = malloc(100);
	for (i = 0; i < SPANS; i++)
		span[i] = malloc(3 * MIB);
	b = stats_now();
	CHECK(b.live_bytes >= a.live_bytes + N * 100 + SPANS * 3 * MIB, "live %llu, then %llu",
	      (unsigned long long)a.live_bytes, (unsigned long long)b.live_bytes);
	CHECK(b.span_bytes >= a.span_bytes + SPANS * 3 * MIB, "spans %llu, then %llu",
	      (unsigned long long)a.span_bytes, (unsigned long long)b.span_bytes);
	CHECK(b.region_bytes >= b.committed_bytes && b.committed_bytes >= b.chunk_bytes &&
		      b.chunk_bytes >= b.span_bytes && b.chunk_bytes >= b.live_bytes,
	      "region >= committed >= chunks >= live does not hold");
	CHECK(b.heaps >= 1 && b.heaps_live >= 1, "no heap");
	for (i = 0; i < N; i++)
		free(p[i]);
	for (i = 0; i < SPANS; i++)
		free(span[i]);
	c = stats_now();
	CHECK(c.span_bytes == a.span_bytes, "spans %llu, then %llu",
	      (unsigned long long)a.span_bytes, (unsigned long long)c.span_bytes);
	CHECK(b.malloc_blocks - a.malloc_blocks == N + SPANS, "%llu blocks handed out",
	      (unsigned long long)(b.malloc_blocks - a.malloc_blocks));
	CHECK(c.free_blocks - b.free_blocks == N + SPANS, "%llu blocks taken back",
	      (unsigned long long)(c.free_blocks - b.free_blocks));
}

static void test_reports(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	CHECK(f, "open_memstream");
	TWIN(hak_stats_print)(f);
	fclose(f);
	CHECK(size > 20 && strpbrk(text, "0123456789"), "the report is '%s'", text);
	free(text);
	f = open_memstream(&text, &size);
	CHECK(f && TWIN(hak_malloc_info)(0, f) == 0, "hak_malloc_info");
	fclose(f);
	CHECK(strstr(text, "<malloc") && strstr(text, "</malloc>"), "no XML: '%.40s'", text);
	free(text);
	must_have("hak_malloc_stats");
	CHECK(TWIN(hak_malloc_trim)(0) >= 0, "hak_malloc_trim");
	CHECK(TWIN(hak_audit)() == 0, "hak_audit found violations");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version),          cmocka_unit_test(test_blocks_cross_over),
		cmocka_unit_test(test_errors),           cmocka_unit_test(test_owns),
		cmocka_unit_test(test_stats_size_field), cmocka_unit_test(test_stats_move),
		cmocka_unit_test(test_reports),
	};

	test_begin();
	if (test_served() != SERVED_HAKMEM)
		test_skip("hakmem does not serve here, so there are no hak_ names");
	if (cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return test_end();
}
