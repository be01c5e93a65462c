/* realloc_growth.c - buffers that grow, as strings and arrays do: a random one of a set grows by
 * half; one that is large enough is freed, and begins anew. What the buffer began and ended with
 * must still be there. -p max=67108864 shows what growing by remapping is worth. */
#include "frame.h"

#include <string.h>

static struct hk_param params[] = {
	{"buffers", 64, 0, 1, 1 << 20, "buffers a thread"},
	{"min", 16, 0, 16, 1 << 20, "bytes that a buffer begins with"},
	{"max", 65536, 0, 64, 1 << 30, "bytes from which a buffer is freed"},
	{0},
};

struct buffer {
	char *p;
	size_t size;
	uint64_t tag;
};

static void tag_check(struct buffer *b, size_t size)
{
	uint64_t head, tail;

	memcpy(&head, b->p, sizeof(head));
	memcpy(&tail, b->p + size - sizeof(tail), sizeof(tail));
	if (head != b->tag || tail != b->tag)
		hk_lost(b->p);
}

static void tag_write(struct buffer *b)
{
	memcpy(b->p, &b->tag, sizeof(b->tag));
	memcpy(b->p + b->size - sizeof(b->tag), &b->tag, sizeof(b->tag));
}

static void grow(struct buffer *b, size_t min, size_t max)
{
	size_t old = b->size;

	if (old >= max) {
		tag_check(b, old);
		memset(b->p, 0, sizeof(b->tag));
		free(b->p);
		b->p = NULL;
		old = 0;
	}
	b->size = old ? old + old / 2 : min;
	char *p = realloc(b->p, b->size);
	if (!p)
		hk_no_memory(b->size);
	b->p = p;
	if (old)
		tag_check(b, old);
	b->tag += 0x100000001u;
	for (size_t at = old; at < b->size; at += 4096)
		p[at] = 1; /* the new part is used */
	tag_write(b);
}

static void body(struct hk_worker *w)
{
	const size_t count = hk_param(w->f, "buffers"), min = hk_param(w->f, "min");
	const size_t max = hk_param(w->f, "max");
	struct buffer *buffers = hk_table_get(count * sizeof(*buffers));

	for (size_t i = 0; i < count; i++)
		buffers[i].tag = hk_random(&w->random);
	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, 100)) > 0;) {
		w->ops += n;
		for (; n; n--)
			grow(&buffers[hk_pick(&w->random, 0, count - 1)], min, max);
	}
	hk_done(w);
	for (size_t i = 0; i < count; i++) {
		if (buffers[i].p)
			tag_check(&buffers[i], buffers[i].size);
		free(buffers[i].p);
	}
	hk_table_drop(buffers, count * sizeof(*buffers));
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "realloc_growth",
		.what = "Buffers that grow by half, up to 64 KiB.",
		.op = "a realloc", .unit = "reallocs a thread",
		.params = params, .threads = 1, .count = 2000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
