/* programs_test_broken.c - a small malloc of its own with one defect, preloaded to see that the suite's
 * programs notice. Blocks come in powers of two from mapped memory, one lock for all; it is complete
 * enough to pass the proof of what serves. BROKEN says which defect, after 20,000 mallocs:
 *
 *   twice      a block that is alive is handed out again, now and then
 *   scribble   the first word of a live block is overwritten, now and then
 *   null       no memory any more
 *   leak       free does nothing
 *   control    none */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CLASSES = 40, SPAN = 1 << 20 };

/* Right before each block. */
struct head {
	uint32_t class;       /* 1 << class bytes, head included */
	uint32_t offset;      /* from the begin of that memory to the block */
	uint64_t next;        /* of a free one: written at the begin of the memory, plus 8 */
};

static atomic_flag lock = ATOMIC_FLAG_INIT;
static char *free_lists[CLASSES], *span, *span_end;
static long calls;
static char *last;
static size_t last_size;
static int mode; /* the first letter of BROKEN */

static void lock_take(void)
{
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		continue; /* pairs with lock_drop's release */
}

static void lock_drop(void)
{
	atomic_flag_clear_explicit(&lock, memory_order_release);
}

static char *map(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* 1 << CLASS bytes, under the lock. */
static char *memory_get(unsigned int class)
{
	size_t bytes = (size_t)1 << class;
	char *p = free_lists[class];

	if (p) {
		memcpy(&free_lists[class], p + 8, sizeof(char *));
		return p;
	}
	if (bytes >= SPAN)
		return map(bytes);
	if (!span || span + bytes > span_end) {
		span = map(SPAN);
		span_end = span ? span + SPAN : NULL;
	}
	p = span;
	span += p ? bytes : 0;
	return p;
}

static char *block_get(size_t align, size_t size)
{
	size_t bytes = size + sizeof(struct head) + (align > 16 ? align : 0);
	unsigned int class = 5;

	while (((size_t)1 << class) < bytes && class < CLASSES)
		class++;
	char *base = class < CLASSES ? memory_get(class) : NULL;
	if (!base)
		return NULL;
	uintptr_t at = ((uintptr_t)base + sizeof(struct head) + align - 1) & ~(uintptr_t)(align - 1);
	struct head head = {.class = class, .offset = (uint32_t)(at - (uintptr_t)base)};

	memcpy((char *)at - sizeof(head), &head, sizeof(head));
	return (char *)at;
}

/* Only malloc has the defect: what the C library takes for a new thread comes by calloc, and a thread
 * that lost its own tables would crash before any program could notice. */
static void *serve(size_t align, size_t size, int may_break)
{
	lock_take();
	if (!mode)
		mode = getenv("BROKEN") ? *getenv("BROKEN") : 1;
	int late = may_break && ++calls > 20000, now = late && calls % 1000 == 0;
	char *p = NULL;

	if (late && mode == 'n') {
		p = NULL;
	} else if (now && mode == 't' && size <= last_size) {
		p = last;
	} else {
		if (now && mode == 's')
			memset(last, 0x11, 8);
		p = block_get(align < 16 ? 16 : align, size);
		/* the block before this one: alive in every program that keeps a set */
		if (may_break && size >= 8 && size <= 1024) {
			last = p;
			last_size = size;
		}
	}
	lock_drop();
	if (!p)
		errno = ENOMEM;
	return p;
}

void *malloc(size_t size)
{
	return serve(16, size, 1);
}

void free(void *p)
{
	struct head head;

	if (!p || mode == 'l')
		return;
	memcpy(&head, (char *)p - sizeof(head), sizeof(head));
	char *base = (char *)p - head.offset;
	lock_take();
	/* neither into the block (a scribbled one may be free by now) nor over class and offset (one
	 * that was handed out twice is freed twice) */
	memcpy(base + 8, &free_lists[head.class], sizeof(char *));
	free_lists[head.class] = base;
	lock_drop();
}

void *calloc(size_t count, size_t size)
{
	void *p = serve(16, count * size, 0);

	return p ? memset(p, 0, count * size) : NULL;
}

void *realloc(void *old, size_t size)
{
	struct head head;
	void *p = serve(16, size, mode == 'n');

	if (!old || !p)
		return p;
	memcpy(&head, (char *)old - sizeof(head), sizeof(head));
	size_t had = ((size_t)1 << head.class) - head.offset;
	memmove(p, old, had < size ? had : size);
	free(old);
	return p;
}

void *aligned_alloc(size_t align, size_t size)
{
	return serve(align, size, 0);
}

int posix_memalign(void **out, size_t align, size_t size)
{
	void *p = serve(align, size, 0);

	*out = p ? p : *out;
	return p ? 0 : ENOMEM;
}
