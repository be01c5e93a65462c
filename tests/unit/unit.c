/* unit.c - see unit.h. Does not run cases side by side, and judges no time. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "observe/say.h"

#define SKIPPED 77
#define CASE_SECONDS 60

/* ---- inside a case ---- */

void unit_start(const char *options)
{
	char text[400], *save, *word;
	snprintf(text, sizeof(text), "%s", options ? options : "");
	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *value = strchr(word, '=');
		assert_non_null(value);
		*value++ = 0;
		setenv(word, value, 1);
	}
	assert_true(hk_process_init());
}

bool unit_resident(const void *p)
{
	unsigned char in;
	assert_int_equal(mincore((void *)((uintptr_t)p & ~(HK_PAGE_BYTES - 1)), 1, &in), 0);
	return in & 1;
}

void unit_skip(const char *reason)
{
	printf("skip: %s\n", reason);
	fflush(stdout);
	_exit(SKIPPED);
}

extern char asan_here __asm__("__asan_init") __attribute__((weak));
extern char tsan_here __asm__("__tsan_init") __attribute__((weak));

void unit_skip_sanitized(void)
{
	if (&asan_here || &tsan_here)
		unit_skip("the sanitizer's runtime has limits and an mlock of its own");
}

struct hk_heap *unit_heap(void)
{
	struct hk_heap *heap = hk_heap_make(0);
	assert_non_null(heap);
	heap->direct = 1;
	heap->ticked_ms = hk_os_clock_ms();
	hk_store_rel(&hk_heap_states[heap->index], HK_HEAP_LIVE);
	return heap;
}

struct hk_heap *unit_as(struct hk_heap *heap)
{
	struct hk_heap *was = hk_heap_tls;
	hk_heap_take(heap);
	return was;
}

void unit_audit(void)
{
	assert_int_equal(hk_pool_audit(POOL), 0);
	assert_int_equal(hk_heaps_audit(), 0);
}

void unit_wipe(void)
{
	assert_int_equal(*hk_fork_word, HK_FORK_WHOLE);
	*hk_fork_word = 0;
	hk_fork_check();
	assert_int_equal(*hk_fork_word, HK_FORK_WHOLE);
}

int unit_capture(void (*run)(void *), void *arg, char *text, size_t bytes)
{
	int ends[2], status;
	size_t have = 0;
	ssize_t got;
	struct hk_heap *heap = hk_heap_mine();
	bool born = hk_heap_is_born(heap);
	assert_int_equal(pipe(ends), 0);
	heap->busy = born; /* or the child's would be a young one */
	pid_t pid = fork();
	assert_true(pid >= 0);
	heap->busy = 0;
	if (!pid) {
		alarm(CASE_SECONDS);
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		hk_say_init(); /* messages go to fd 2 only while it is what it was */
		run(arg);
		fflush(NULL);
		_exit(0);
	}
	close(ends[1]);
	while (have < bytes - 1 && (got = read(ends[0], text + have, bytes - 1 - have)) > 0)
		have += (size_t)got;
	text[have] = 0;
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

void unit_must_abort(void (*run)(void *), void *arg, const char *text)
{
	char said[2000];
	int status = unit_capture(run, arg, said, sizeof(said));
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(said, text))
		fail_msg("wait status 0x%x, expected abort and \"%s\"; said: %s", status, text, said);
}

uint32_t unit_walk(const struct hk_block *list)
{
	uint32_t n = 0;
	for (; list && n < 1u << 24; list = list->next)
		n++;
	return n;
}

uint64_t unit_random(uint64_t *state)
{
	uint64_t x = *state;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

static void no_tick(void)
{
	if (hk_heap_is_born(hk_heap_mine()))
		hk_heap_mine()->slow_calls = 0;
}

void unit_take(void **ptrs, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++) {
		no_tick();
		ptrs[i] = hak_malloc(size);
		assert_non_null(ptrs[i]);
	}
}

void unit_give(void **ptrs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		no_tick();
		hak_free(ptrs[i]);
		ptrs[i] = NULL;
	}
}

void unit_drain(struct hk_heap *heap)
{
	hk_lock(&heap->lock);
	hk_remote_drain(heap, UINT32_MAX, HK_CLASSES, 0, NULL);
	hk_unlock(&heap->lock);
}

void unit_empty(struct hk_heap **heaps, size_t count)
{
	struct hk_heap *was = hk_heap_tls;
	for (size_t round = 0; round < 2; round++) /* what one holds of another goes back in two steps */
		for (size_t i = 0; i < count; i++) {
			unit_as(heaps[i]);
			hk_heaps_trim(0);
		}
	unit_as(was);
}

/* ---- the cases ---- */

static int audited(void **state)
{
	(void)state;
	if (!hk_region.base)
		return 0;
	if (POOL->lock.owner) /* the case died under it, and cmocka jumped out of the signal */
		return 1;
	return hk_pool_audit(POOL) + hk_heaps_audit();
}

/* The case alone, as a group of its own: cmocka's jumps stay inside the fork. */
static int run_here(const struct CMUnitTest *one)
{
	struct CMUnitTest group[1] = {*one};
	group[0].teardown_func = audited;
	alarm(CASE_SECONDS);
	int failed = cmocka_run_group_tests_name(one->name, group, NULL, NULL);
	fflush(NULL);
	return failed ? 1 : 0;
}

static int run_case(const struct CMUnitTest *one)
{
	FILE *out = tmpfile();
	int status;
	if (!out)
		return 1;
	fflush(NULL);
	pid_t pid = fork();
	if (!pid) {
		dup2(fileno(out), 1);
		dup2(fileno(out), 2);
		_exit(run_here(one));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	printf("%-7s %s", !code ? "passed" : code == SKIPPED ? "skipped" : "FAILED", one->name);
	if (WIFSIGNALED(status))
		printf(": signal %d", WTERMSIG(status));
	printf("\n");
	rewind(out);
	char line[600];
	while (code && fgets(line, sizeof(line), out))
		if (code != SKIPPED || !strncmp(line, "skip: ", 6))
			printf("    | %s", line);
	fclose(out);
	return code;
}

int unit_main(int argc, char **argv, const struct CMUnitTest *cases, size_t count)
{
	unsigned passed = 0, failed = 0, skipped = 0;
	for (size_t i = 0; i < count; i++) {
		if (argc > 1 && !strstr(cases[i].name, argv[1]))
			continue;
		int code = run_case(&cases[i]);
		if (!code)
			passed++;
		else if (code == SKIPPED)
			skipped++;
		else
			failed++;
	}
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed || !(passed + skipped) ? 1 : passed ? 0 : SKIPPED;
}

struct hk_heap *unit_begin(const char *options)
{
	unit_start(options);
	struct hk_heap *heap = unit_heap();
	unit_as(heap);
	return heap;
}

char *unit_span(size_t chunks, size_t align)
{
	bool zero;
	char *p = hk_pool_span_alloc(POOL, chunks, align, &zero);
	assert_non_null(p);
	return p;
}

struct hk_super *unit_super_of(const void *p)
{
	return hk_super_at(hk_super_index(p));
}
