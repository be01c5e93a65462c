/* kernel_test.c - what was paid at creation is not paid again: after populate now, a thread that the kernel kills at
 * any other system call than write and exit allocates, frees and resets, and takes no page fault.
 * time limit: 400 s, quick 90 s */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long faults(void)
{
	struct rusage u;

	CHECK(getrusage(RUSAGE_THREAD, &u) == 0, "getrusage");
	return u.ru_minflt + u.ru_majflt;
}

/* From here on, this thread may write and exit; all else ends the process. getrusage: to tell how it went. */
static void leave_the_kernel(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrusage, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = COUNT_OF(code), .filter = code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0)
		test_skip("this kernel has no seccomp filters");
}

static hak_arena *arena;
static struct hak_arena_cache *cache; /* NULL: by calls */
static hak_pool *pool;

enum { LIVE = 1024 };

/* Blocks of 16 B .. 8 KiB in the way of a program that has LIVE of them: N calls of each kind. */
static void churn(uint64_t n, uint64_t seed)
{
	static __thread void *slot[LIVE];
	static __thread size_t had[LIVE];
	uint64_t i, since_reset = 0;

	for (i = 0; i < n; i++) {
		size_t at = test_rand(&seed) % LIVE;

		if (cache)
			hak_arena_free_to(arena, cache, slot[at], had[at]);
		else
			hak_arena_free(arena, slot[at]);
		had[at] = 16 + (size_t)(seed >> 20) % (i % 16 ? 512 : 8176);
		slot[at] = hak_arena_alloc_from(arena, cache, had[at]);
		CHECK(slot[at], "alloc %llu", (unsigned long long)i);
		*(char *)slot[at] = 1;
		if (++since_reset == 1000000) {
			CHECK(hak_arena_reset(arena) == 0, "reset");
			memset(slot, 0, sizeof(slot));
			since_reset = 0;
		}
	}
	CHECK(hak_arena_reset(arena) == 0, "reset");
	memset(slot, 0, sizeof(slot));
}

/* Larger than a slab's blocks, zeroed, aligned, resized. */
static void churn_large(uint64_t n)
{
	uint64_t i, seed = 5;

	for (i = 0; i < n; i++) {
		size_t size = test_rand_size(&seed, 8 * KIB, 3 * MIB);
		char *p = hak_arena_alloc(arena, size), *q = hak_arena_aligned_alloc(arena, 4096, size);
		char *z = hak_arena_zalloc(arena, 200);

		CHECK(p && q && z, "alloc of %zu", size);
		p[size - 1] = q[size - 1] = 1;
		p = hak_arena_realloc(arena, p, size + size / 2);
		CHECK(p, "realloc to %zu", size + size / 2);
		hak_arena_free(arena, p);
		test_free(q);
		test_free(z);
		if (i % 1000 == 0)
			CHECK(hak_arena_reset(arena) == 0, "reset");
	}
	CHECK(hak_arena_reset(arena) == 0, "reset");
}

/* What is not the arena's: the program's code, the thread's stack, and what its first call makes. */
static void warm_up(void)
{
	hak_arena *real = arena;
	struct hak_arena_cache *real_cache = cache;

	arena = arena_make(OPTIONS(.max_bytes = 64 * SUPER));
	cache = NULL;
	churn(100000, 3);
	churn_large(200);
	CHECK(hak_arena_destroy(arena) == 0, "destroy");
	arena = real;
	cache = real_cache;
	hak_arena_free(arena, hak_arena_alloc(arena, 1));
}

static void *in_sandbox(void *arg)
{
	uint64_t n = test_quick() ? 5000000 : 100000000;
	long before;

	(void)arg;
	warm_up();
	faults();
	leave_the_kernel();
	before = faults();
	churn(n, 3);
	churn_large(n / 10000);
	CHECK(faults() == before, "%ld page faults", faults() - before);
	syscall(SYS_exit, 0); /* pthread_exit would unmap */
	return NULL;
}

static void sandbox_with(const struct hak_arena_options *options, bool inlined)
{
	pthread_t t;

	if (arena_reset_replaces())
		return test_skip_part("the debug build's reset enters the kernel");
	arena = arena_make(options);
	cache = inlined ? hak_arena_cache_of(arena, HAK_ARENA_CACHE_LAYOUT) : NULL;
	CHECK(!cache == !inlined, "the cache");
	CHECK(pthread_create(&t, NULL, in_sandbox, NULL) == 0, "no thread");
	pthread_join(t, NULL);
	CHECK(arena_stats(arena).supers == 64, "it grew: %llu", (unsigned long long)arena_stats(arena).supers);
	CHECK(hak_arena_destroy(arena) == 0, "destroy");
}

static void no_system_call(void)
{
	sandbox_with(OPTIONS(.initial_bytes = 64 * SUPER, .populate = HAK_POPULATE_NOW), false);
}

static void no_system_call_single(void)
{
	sandbox_with(OPTIONS(.initial_bytes = 64 * SUPER, .populate = HAK_POPULATE_NOW, .flags = HAK_ARENA_SINGLE), false);
}

static void no_system_call_inlined(void)
{
	sandbox_with(OPTIONS(.initial_bytes = 64 * SUPER, .populate = HAK_POPULATE_NOW, .flags = HAK_ARENA_SINGLE), true);
}

static void no_system_call_small_pages(void)
{
	sandbox_with(OPTIONS(.initial_bytes = 64 * SUPER, .populate = HAK_POPULATE_NOW, .pages = HAK_PAGES_SMALL), false);
}

static void no_system_call_locked(void)
{
	sandbox_with(OPTIONS(.initial_bytes = 64 * SUPER, .flags = HAK_ARENA_LOCK), false);
}

static void *large_in_sandbox(void *arg)
{
	long long until;

	(void)arg;
	warm_up();
	until = now_ms() + 3000;
	leave_the_kernel();
	while (now_ms() < until)
		churn_large(20);
	syscall(SYS_exit, 0);
	return NULL;
}

/* The calls' own work, for seconds, while malloc's heap has much that it would like to give back. */
static void no_system_call_for_malloc(void)
{
	pthread_t t;

	if (arena_reset_replaces())
		return test_skip_part("the debug build's reset enters the kernel");
	memset(test_malloc(16), 1, 16);
	for (int i = 0; i < 100; i++)
		test_free(memset(test_malloc(SUPER), 1, SUPER));
	void *p[60];
	for (int i = 0; i < 60; i++)
		p[i] = memset(test_malloc(SUPER), 1, SUPER);
	for (int i = 0; i < 60; i++)
		test_free(p[i]);
	arena = arena_make(OPTIONS(.initial_bytes = 64 * SUPER, .populate = HAK_POPULATE_NOW));
	CHECK(pthread_create(&t, NULL, large_in_sandbox, NULL) == 0, "no thread");
	pthread_join(t, NULL);
}

/* The filter does bite: the same thread, with one call that it forbids. */
static void must_be_killed(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		leave_the_kernel();
		syscall(SYS_getppid);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status 0x%x", status);
}

static void *pool_in_sandbox(void *arg)
{
	static void *objects[1000];
	uint64_t n = test_quick() ? 1000000 : 20000000, i;
	long before;

	(void)arg;
	memset(objects, 1, sizeof(objects));
	hak_pool_put(pool, hak_pool_get(pool));
	leave_the_kernel();
	before = faults();
	for (i = 0; i < n; i++) {
		size_t want = 1 + i * 7 % COUNT_OF(objects);

		CHECK(hak_pool_get_bulk(pool, objects, want) == 0, "get %zu", want);
		*(char *)objects[0] = *(char *)objects[want - 1] = 1;
		hak_pool_put_bulk(pool, objects, want);
		i += want;
	}
	CHECK(faults() == before, "%ld page faults", faults() - before);
	syscall(SYS_exit, 0);
	return NULL;
}

static void pool_without_system_calls(void)
{
	struct hak_pool_options o = {.size_bytes = sizeof(o), .object_bytes = 2000, .count = 20000};
	pthread_t t;

	CHECK(hak_pool_create(&o, &pool) == 0, "pool");
	CHECK(pthread_create(&t, NULL, pool_in_sandbox, NULL) == 0, "no thread");
	pthread_join(t, NULL);
}

/* Growth of a populated arena is populated as well. */
static void growth(void)
{
	long before;
	char *p;

	arena = arena_make(OPTIONS(.populate = HAK_POPULATE_NOW));
	p = hak_arena_alloc(arena, 10 * SUPER);
	CHECK(p, "alloc");
	before = faults();
	memset(p, 1, 10 * SUPER);
	CHECK(faults() == before, "%ld faults in what grew", faults() - before);
	hak_arena_destroy(arena);
}

/* A thread faults it in meanwhile; what is written before it comes by stays. */
static void background(void)
{
	size_t bytes = 128 * SUPER, i;
	uint64_t *p;
	long long until = now_ms() + 50000;

	arena = arena_make(OPTIONS(.initial_bytes = bytes, .populate = HAK_POPULATE_BACKGROUND));
	p = hak_arena_alloc(arena, bytes);
	CHECK(p, "alloc");
	for (i = 0; i < bytes / 8; i += 64)
		p[i] = i;
	while (resident_bytes(p, bytes) < (long long)bytes)
		CHECK(now_ms() < until, "not populated after a long time");
	for (i = 0; i < bytes / 8; i += 64)
		CHECK(p[i] == i, "changed");
	CHECK(hak_arena_destroy(arena) == 0, "destroy");
	/* ends while its thread still works */
	for (i = 0; i < 20; i++) {
		arena = arena_make(OPTIONS(.initial_bytes = bytes, .populate = HAK_POPULATE_BACKGROUND));
		p = hak_arena_alloc(arena, 3 * SUPER);
		if (i & 1)
			CHECK(hak_arena_reset(arena) == 0, "reset");
		CHECK(hak_arena_destroy(arena) == 0, "destroy");
	}
}

static volatile sig_atomic_t in_main;
static pthread_t main_thread;

static void on_signal(int sig)
{
	(void)sig;
	in_main = pthread_equal(pthread_self(), main_thread) ? 1 : 2;
}

/* A library's thread must not be the one that runs the program's signal handlers. */
static void background_takes_no_signals(void)
{
	sigset_t set;
	int i;

	main_thread = pthread_self();
	signal(SIGUSR1, on_signal);
	arena = arena_make(OPTIONS(.initial_bytes = GIB, .populate = HAK_POPULATE_BACKGROUND));
	/* the main thread has it blocked: it stays pending, unless there is another that takes it */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGUSR1);
	for (i = 0; i < 200 && !in_main; i++)
		usleep(100);
	CHECK(in_main == 0, "the program's handler ran in the arena's thread");
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	CHECK(in_main == 1, "lost");
	hak_arena_destroy(arena);
}

static void never(void)
{
	char *p;

	arena = arena_make(OPTIONS(.initial_bytes = 64 * SUPER, .populate = HAK_POPULATE_NEVER));
	p = hak_arena_alloc(arena, 64 * SUPER);
	CHECK(resident_bytes(p, 64 * SUPER) == 0, "%lld bytes before the first touch", resident_bytes(p, 64 * SUPER));
	hak_arena_destroy(arena);
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"must_be_killed", must_be_killed}, {"no_system_call", no_system_call},
		{"no_system_call_single", no_system_call_single}, {"no_system_call_inlined", no_system_call_inlined},
		{"no_system_call_small_pages", no_system_call_small_pages},
		{"no_system_call_locked", no_system_call_locked},
		{"no_system_call_for_malloc", no_system_call_for_malloc}, {"pool_without_system_calls", pool_without_system_calls},
		{"growth", growth}, {"background", background},
		{"background_takes_no_signals", background_takes_no_signals}, {"never", never},
	};

	return test_run_parts(argc, argv, parts, COUNT_OF(parts), test_quick() ? 80 : 380);
}
