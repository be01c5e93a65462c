/* larson.c - a server's threads: each replaces random blocks of its array, then hands the array to a
 * new thread and dies; the heir frees what the dead thread allocated.
 * After: Larson and Krishnan, "Memory allocation for long-running server applications", ISMM 1998.
 * The defaults are "larson 5 8 1000 5000 100 4141". The first blocks are the main thread's, mixed
 * over all arrays. Does not measure memory over time: bench/larson.sh soak does. */
#define _GNU_SOURCE
#include "frame.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

static struct hk_param params[] = {
	{"min", 8, 0, 8, 1 << 24, "smallest block in bytes"},
	{"max", 1000, 0, 8, 1 << 24, "largest block in bytes"},
	{"blocks", 5000, 0, 1, 1 << 24, "blocks a thread"},
	{"rounds", 100, 0, 1, 1 << 30, "a thread dies after rounds * blocks replacements"},
	{"seed", 4141, 0, 1, UINT32_MAX, "of the random numbers"},
	{"sized", 0, 0, 0, 1, "1: operator new, and delete with the size"},
	{"trade", 0, 0, 0, 1 << 30, "N: every N replacements the array is traded for another one's"},
	{"touch", 0, 0, 0, 1, "1: every byte of a block is written"},
	{0},
};

struct slot {
	char *p;
	uint32_t size;
};

/* A line of threads: each is the heir of the one before. */
struct line {
	struct hk_frame *f;
	_Atomic(struct slot *) *pocket;  /* an array that waits to be traded, or NULL: no trade */
	struct slot *slots;
	uint64_t random;
	uint64_t left;                   /* generations, where the work is fixed */
	uint64_t ops, threads;
	uint64_t end_ns;
	sem_t *ended;
} __attribute__((aligned(128)));

/* What a generation needs, read once. */
static struct {
	size_t lo, hi, blocks;
	uint64_t steps, trade;
	int touch;
	void *(*new_block)(size_t);
	void (*delete_sized)(void *, size_t);
} set;

static inline void *get(size_t size, int sized)
{
	char *p = sized ? set.new_block(size) : malloc(size);

	if (__builtin_expect(!p, 0))
		hk_no_memory(size);
	if (set.touch)
		memset(p, 0x5a, size);
	hk_mark(p, size);
	return p;
}

static inline void put(struct slot *s, int sized)
{
	hk_unmark(s->p, s->size);
	if (sized)
		set.delete_sized(s->p, s->size);
	else
		free(s->p);
}

/* COUNT replacements; 0 once the time is over. */
static inline __attribute__((always_inline)) int
replace(struct line *l, uint64_t count, int sized)
{
	struct slot *slots = l->slots;

	for (uint64_t i = 0; i < count; i++) {
		struct slot *s = &slots[hk_pick(&l->random, 0, set.blocks - 1)];

		put(s, sized);
		s->size = (uint32_t)hk_pick(&l->random, set.lo, set.hi);
		s->p = get(s->size, sized);
		if (atomic_load_explicit(&l->f->stop, memory_order_relaxed)) {
			l->ops += i + 1;
			return 0;
		}
	}
	l->ops += count;
	return 1;
}

static void *generation(void *arg)
{
	struct line *l = arg;
	uint64_t part = set.trade ? set.trade : set.steps;
	int more = 1;

	l->threads++;
	for (uint64_t done = 0; more && done < set.steps; done += part) {
		uint64_t n = part < set.steps - done ? part : set.steps - done;

		more = set.delete_sized ? replace(l, n, 1) : replace(l, n, 0);
		if (set.trade) /* acquire sees the other's blocks, release shows ours */
			l->slots = atomic_exchange_explicit(l->pocket, l->slots,
							    memory_order_acq_rel);
	}
	if (l->f->seconds <= 0)
		more = --l->left > 0;
	if (more) {
		uintptr_t heir;

		hk_thread_start(&heir, generation, l);
		pthread_detach((pthread_t)heir);
		return NULL;
	}
	l->end_ns = hk_now_ns();
	sem_post(l->ended);
	return NULL;
}

/* The main thread's blocks, shuffled over all arrays. */
static void slots_fill(struct slot *slots, size_t count)
{
	uint64_t random = hk_param(NULL, "seed") * 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < count; i++) {
		slots[i].size = (uint32_t)hk_pick(&random, set.lo, set.hi);
		slots[i].p = get(slots[i].size, !!set.delete_sized);
	}
	for (size_t i = count - 1; i > 0; i--) {
		size_t j = hk_pick(&random, 0, i);
		struct slot other = slots[j];

		slots[j] = slots[i];
		slots[i] = other;
	}
}

static void settings_read(struct hk_frame *f)
{
	set.lo = hk_param(f, "min");
	set.hi = hk_param(f, "max") > set.lo ? hk_param(f, "max") : set.lo;
	set.blocks = hk_param(f, "blocks");
	set.steps = hk_param(f, "rounds") * set.blocks;
	set.trade = hk_param(f, "trade");
	set.touch = (int)hk_param(f, "touch");
}

static long threads_now(void)
{
	return hk_proc_number("/proc/self/status", "Threads:");
}

/* The last of a line says so while it still lives; what its end gives back is the allocator's, and
 * moves what the proof and the figures of memory look at. An allocator's own threads never end. */
static void threads_gone(long before)
{
	const struct timespec pause = {0, 1000000};

	for (int i = 0; i < 1000 && threads_now() > before; i++)
		nanosleep(&pause, NULL);
}

static void lines_run(struct hk_frame *f, struct line *lines)
{
	long before = threads_now();
	uint64_t last = 0;
	uintptr_t id;

	atomic_store_explicit(&f->stop, 0, memory_order_relaxed);
	hk_clock_start(f);
	uint64_t first = f->clock_ns;
	for (int i = 0; i < f->threads; i++) {
		hk_thread_start(&id, generation, &lines[i]);
		pthread_detach((pthread_t)id);
	}
	if (f->seconds > 0)
		hk_stop_after(f);
	for (int i = 0; i < f->threads; i++)
		while (sem_wait(lines[0].ended))
			continue;
	hk_clock_stop(f);
	for (int i = 0; i < f->threads; i++)
		last = lines[i].end_ns > last ? lines[i].end_ns : last;
	f->wall_s = (double)(last - first) / 1e9;
	threads_gone(before);
}

static void run(struct hk_frame *f)
{
	static _Atomic(struct slot *) pocket;
	static sem_t ended;
	uint64_t threads = 0;

	settings_read(f);
	size_t arrays = f->threads + !!set.trade, count = arrays * set.blocks;
	struct slot *slots = hk_table_get(count * sizeof(*slots));
	struct line *lines = hk_table_get(f->threads * sizeof(*lines));

	sem_init(&ended, 0, 0);
	slots_fill(slots, count);
	atomic_store(&pocket, slots + (arrays - 1) * set.blocks);
	for (int i = 0; i < f->threads; i++)
		lines[i] = (struct line){.f = f, .pocket = &pocket, .ended = &ended,
			.slots = slots + i * set.blocks, .left = f->count,
			.random = hk_param(f, "seed") + 0x9e3779b97f4a7c15u * (uint64_t)(i + 1)};
	lines_run(f, lines);
	for (int i = 0; i < f->threads; i++) {
		f->ops += (double)lines[i].ops;
		threads += lines[i].threads;
	}
	long loaded = hk_resident_kib();
	size_t live = 0;

	for (size_t i = 0; i < count; i++) {
		live += slots[i].size;
		put(&slots[i], !!set.delete_sized);
	}
	hk_table_drop(slots, count * sizeof(*slots));
	hk_table_drop(lines, f->threads * sizeof(*lines));
	hk_field(f, "threads_made", "%llu", (unsigned long long)threads);
	hk_field(f, "live_kib", "%zu", live >> 10);
	hk_field(f, "loaded_rss_kib", "%ld", loaded);
}

/* The C++ runtime is loaded before the proof, which then looks at operator new and delete too. A
 * preloaded allocator that has its own comes first in the search. */
static void prepare(struct hk_frame *f)
{
	if (!hk_param(f, "sized"))
		return;
	if (!dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL))
		hk_skip("no C++ runtime (libstdc++.so.6) for delete with a size");
	set.new_block = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "_Znwm");
	set.delete_sized = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "_ZdlPvm");
	if (!set.new_block || !set.delete_sized)
		hk_skip("no operator new, or no delete with a size");
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "larson",
		.what = "A server's threads: replace blocks, hand the array over, die.",
		.op = "a free and a malloc", .unit = "generations of each line of threads",
		.params = params, .threads = 2, .threads_max = 256, .seconds = 5,
		.prepare = prepare, .run = run};

	return hk_frame_main(&program, argc, argv);
}
