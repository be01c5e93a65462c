/* toy_malloc.c - a small allocator for the tests of bench/verify, and the ways one can cheat.
 *
 * Blocks of powers of two from mmap'd pieces, lists by class, one lock. Not fast, never gives
 * memory back. Built several times, with one of
 *   (nothing)        honest
 *   TOY_FORWARD      every call goes to the next object's function: libc's
 *   TOY_FORWARD_CALLOC, TOY_FORWARD_LARGE   only calloc, only blocks from 8000 bytes on
 *   TOY_POOL         honest, but its pieces come from libc's malloc
 *   TOY_NO_MEMALIGN  leaves posix_memalign to libc
 *   TOY_ROOT         has hakmem's root symbol (with any of the above) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* In front of each block, at an address that is 16 modulo 32 or aligned further. */
struct head {
	uint64_t class_shift;
	void *start; /* what the lists hold: the piece that this block lies in */
};

static void *lists[64];
static volatile int lock;

static void lock_take(void)
{
	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
		;
}

static void lock_drop(void)
{
	__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

#if defined(TOY_FORWARD) || defined(TOY_FORWARD_CALLOC) || defined(TOY_FORWARD_LARGE) || \
	defined(TOY_POOL)
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);
#endif

static char *piece_new(size_t bytes)
{
#ifdef TOY_POOL
	/* All at once and early: later counts of libc show no rise. */
	static char *pool;
	static size_t used;

	if (!pool)
		pool = __libc_malloc((size_t)256 << 20);
	used += bytes;
	return pool && used <= (size_t)256 << 20 ? pool + used - bytes : NULL;
#else
	/* Pieces of 1 MiB, so that mappings stay few. */
	static char *piece;
	static size_t left;

	if (left < bytes) {
		left = bytes > 1 << 20 ? bytes : 1 << 20;
		piece = mmap(NULL, left, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (piece == MAP_FAILED) {
			left = 0;
			return NULL;
		}
	}
	left -= bytes;
	piece += bytes;
	return piece - bytes;
#endif
}

static void *toy_get(size_t size, size_t alignment)
{
	size_t need = size + sizeof(struct head) + alignment;
	uint64_t shift = need <= 64 ? 6 : 64 - (uint64_t)__builtin_clzll(need - 1);
	char *start;

	if (size > PTRDIFF_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	lock_take();
	start = lists[shift];
	if (start)
		memcpy(&lists[shift], start, sizeof(void *));
	else
		start = piece_new((size_t)1 << shift);
	lock_drop();
	if (!start) {
		errno = ENOMEM;
		return NULL;
	}
	char *p = (char *)(((uintptr_t)start + sizeof(struct head) + alignment - 1) &
			   ~(uintptr_t)(alignment - 1));
	struct head *h = (struct head *)p - 1;
	h->class_shift = shift;
	h->start = start;
	return p;
}

static size_t toy_usable(const void *p)
{
	const struct head *h = (const struct head *)p - 1;

	return ((size_t)1 << h->class_shift) - (size_t)((const char *)p - (const char *)h->start);
}

#ifdef TOY_FORWARD_LARGE
/* Blocks of libc's are told by a list, for want of anything better. */
static void *large[4096];

static int large_is(void *p, int drop)
{
	for (int i = 0; i < 4096; i++) {
		if (large[i] == p) {
			if (drop)
				large[i] = NULL;
			return 1;
		}
	}
	return 0;
}
#endif

void *malloc(size_t size)
{
#ifdef TOY_FORWARD
	return __libc_malloc(size);
#endif
#ifdef TOY_FORWARD_LARGE
	for (int i = 0; size >= 8000 && i < 4096; i++)
		if (!large[i])
			return large[i] = __libc_malloc(size);
#endif
	return toy_get(size, 16);
}

#ifdef TOY_FORWARD_CALLOC
static void *forwarded[1 << 20];
static uint32_t forwarded_hash(void *p)
{
	return (uint32_t)(((uintptr_t)p >> 4) * 2654435761u) >> 12;
}
#endif

void free(void *p)
{
	if (!p)
		return;
#ifdef TOY_FORWARD
	__libc_free(p);
	return;
#endif
#ifdef TOY_FORWARD_LARGE
	if (large_is(p, 1)) {
		__libc_free(p);
		return;
	}
#endif
#ifdef TOY_FORWARD_CALLOC
	if (forwarded[forwarded_hash(p)] == p) {
		forwarded[forwarded_hash(p)] = NULL;
		__libc_free(p);
		return;
	}
#endif
	struct head *h = (struct head *)p - 1;
	uint64_t shift = h->class_shift;
	void *start = h->start;

	lock_take();
	memcpy(start, &lists[shift], sizeof(void *));
	lists[shift] = start;
	lock_drop();
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
#ifdef TOY_FORWARD
	return __libc_calloc(count, size);
#endif
#ifdef TOY_FORWARD_CALLOC
	void *q = __libc_calloc(count, size);
	if (q && !forwarded[forwarded_hash(q)])
		return forwarded[forwarded_hash(q)] = q;
	__libc_free(q);
#endif
	void *p = malloc(bytes);
	return p ? memset(p, 0, bytes) : NULL;
}

void *realloc(void *p, size_t size)
{
#ifdef TOY_FORWARD
	return __libc_realloc(p, size);
#endif
	void *q = malloc(size);

	if (!p || !q)
		return q;
	size_t keep = size;
#ifdef TOY_FORWARD_LARGE
	if (large_is(p, 0)) {
		memcpy(q, p, keep < 8000 ? keep : 8000);
		free(p);
		return q;
	}
#endif
	keep = toy_usable(p) < keep ? toy_usable(p) : keep;
	memcpy(q, p, keep);
	free(p);
	return q;
}

#ifndef TOY_NO_MEMALIGN
int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *p;

	if (alignment < sizeof(void *) || (alignment & (alignment - 1)))
		return EINVAL;
#ifdef TOY_FORWARD
	p = __libc_memalign(alignment, size);
#else
	p = toy_get(size, alignment < 16 ? 16 : alignment);
#endif
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

void *memalign(size_t alignment, size_t size)
{
	void *p = NULL;

	errno = posix_memalign(&p, alignment, size);
	return p;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}
#endif

#ifdef TOY_ROOT
__attribute__((used)) char hak_root[64] = "toy";
#endif
