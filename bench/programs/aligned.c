/* aligned.c - aligned blocks, by posix_memalign and aligned_alloc in turn: alignments of 16 bytes to
 * 4 KiB, sizes of 16 bytes to 16 KiB, replaced at random. A wrong alignment fails the run; -p strict=0 counts them instead, so
 * that an allocator known for it still has its time taken. */
#include "frame.h"

#include <stdio.h>
#include <unistd.h>

static struct hk_param params[] = {
	{"set", 2000, 0, 1, 1 << 20, "live blocks a thread"},
	{"align_max", 4096, 0, 32, 1 << 26, "largest alignment in bytes, a power of two"},
	{"max", 16384, 0, 32, 1 << 26, "largest block in bytes, a power of two"},
	{"strict", 1, 0, 0, 1, "0: a block that is not aligned as asked is counted, no failure"},
	{0},
};

struct slot {
	void *p;
	size_t size;
};

static size_t power_below(uint64_t n)
{
	return (size_t)1 << (63 - __builtin_clzll(n));
}

static _Atomic uint64_t misaligned;

static void misaligned_note(const void *p, size_t align, size_t size)
{
	atomic_fetch_add_explicit(&misaligned, 1, memory_order_relaxed);
	if (!hk_param(NULL, "strict"))
		return;
	fprintf(stderr, "aligned: block %p of %zu bytes is not aligned to %zu, as asked\n", p, size,
		align);
	_exit(1);
}

static void slot_fill(struct slot *s, uint64_t *random, size_t align_max, size_t max)
{
	unsigned int most = (unsigned int)__builtin_ctzll(align_max);
	size_t align = (size_t)1 << hk_pick(random, 4, most);

	/* aligned_alloc wants a multiple */
	s->size = (hk_pick_log(random, 16, max) + align - 1) & ~(align - 1);
	if (hk_random(random) & 1 << 20)
		s->p = aligned_alloc(align, s->size);
	else if (posix_memalign(&s->p, align, s->size))
		s->p = NULL;
	if (!s->p)
		hk_no_memory(s->size);
	if ((uintptr_t)s->p % align)
		misaligned_note(s->p, align, s->size);
	hk_mark(s->p, s->size);
}

static void body(struct hk_worker *w)
{
	const size_t set = hk_param(w->f, "set"), max = power_below(hk_param(w->f, "max"));
	const size_t align_max = power_below(hk_param(w->f, "align_max"));
	struct slot *slots = hk_table_get(set * sizeof(*slots));

	for (size_t i = 0; i < set; i++)
		slot_fill(&slots[i], &w->random, align_max, max);
	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, 100)) > 0;) {
		w->ops += n;
		for (; n; n--) {
			struct slot *s = &slots[hk_pick(&w->random, 0, set - 1)];

			hk_put(s->p, s->size);
			slot_fill(s, &w->random, align_max, max);
		}
	}
	hk_done(w);
	for (size_t i = 0; i < set; i++)
		hk_put(slots[i].p, slots[i].size);
	hk_table_drop(slots, set * sizeof(*slots));
}

static void run(struct hk_frame *f)
{
	atomic_store(&misaligned, 0);
	hk_threads_run(f, f->threads, body);
	hk_field(f, "misaligned_blocks", "%llu", (unsigned long long)atomic_load(&misaligned));
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "aligned",
		.what = "Aligned blocks, replaced at random.",
		.op = "a free and an aligned allocation", .unit = "replacements a thread",
		.params = params, .threads = 1, .count = 5000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
