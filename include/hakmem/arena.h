/* arena.h - arenas: memory that is placed, faulted, pinned and accounted for before it is used.
 *
 * After hak_arena_create with populate HAK_POPULATE_NOW returned, allocating from the arena up to its initial size
 * makes no system call and takes no page fault: both were paid at creation.
 *
 * Pointers of an arena may be given to free(), realloc() and malloc_usable_size() as well; realloc keeps a block in
 * its arena. Threads: unless HAK_ARENA_SINGLE, alloc, free and realloc may be called from any thread at any time;
 * reset and destroy only while nobody uses the arena or its blocks. An arena of its parent may be used in the child
 * of a fork like other private memory, but allocates nothing there if another thread was inside it at the fork.
 * Errors: functions that return int return 0 or a negative errno; pointers are NULL with errno set. A pointer of
 * another arena, or of none, ends the process with one line, as free() does.
 */
#ifndef HAKMEM_ARENA_H
#define HAKMEM_ARENA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hak_arena hak_arena;

enum hak_arena_pages {
	HAK_PAGES_AUTO,       /* the first 2 MiB on small pages if little is asked for, then as HAK_PAGES_THP */
	HAK_PAGES_THP,        /* transparent huge pages, as the kernel has them */
	HAK_PAGES_HUGETLB_2M, /* of the kernel's hugetlb pool */
	HAK_PAGES_HUGETLB_1G,
	HAK_PAGES_SMALL,
};

enum hak_arena_populate {
	HAK_POPULATE_NEVER,      /* at the first touch */
	HAK_POPULATE_NOW,        /* before hak_arena_create returns, and whenever the arena grows */
	HAK_POPULATE_BACKGROUND, /* by a thread of its own, from creation on; what grows later, at first touch */
};

/* Flags. */
#define HAK_ARENA_STRICT 1u   /* the pages and the node asked for, or an error; else the next best, counted */
#define HAK_ARENA_SINGLE 2u   /* one thread at a time is inside, and sees to it itself: no per-thread caches */
#define HAK_ARENA_LOCK 4u     /* mlock */
#define HAK_ARENA_NO_DUMP 8u  /* not in core dumps */

/* All zero, but for size_bytes, is an arena like malloc's heap. */
struct hak_arena_options {
	size_t size_bytes;     /* sizeof(struct hak_arena_options) */
	const char *name;      /* at most 31 bytes are kept; NULL: none */
	const char *numa;      /* where its memory is, in the words of hak_numa_policy_set; NULL: the thread's node */
	unsigned pages;        /* enum hak_arena_pages */
	unsigned populate;     /* enum hak_arena_populate */
	unsigned flags;        /* HAK_ARENA_... */
	size_t initial_bytes;  /* had at creation, as one stretch; rounded up to 2 MiB (1 GiB for such pages) */
	size_t max_bytes;      /* never passed; rounded down to 2 MiB; at least 2 MiB (1 GiB) and what initial_bytes is rounded
	                        * up to; 0: none */
	void *memory;          /* given by the program, and never unmapped: the whole 2 MiB of it are used, and no other.
	                        * Readable, writable; pages, numa, initial_bytes and max_bytes must be 0 then */
	size_t memory_bytes;
	/* Called in hak_arena_destroy for each stretch of memory before it is let go. */
	void (*released)(void *arg, void *where, size_t bytes);
	void *released_arg;
};

/* A new arena to *OUT. -EINVAL: wrong size_bytes, unknown pages, populate or flags, max_bytes below initial_bytes, a
 * malformed policy, memory that holds no whole 2 MiB; -ENODEV: a node that can't be used; -EEXIST: memory that
 * another arena has; -ENOMEM: not to be had; -EAGAIN: HAK_ARENA_LOCK beyond RLIMIT_MEMLOCK. */
int hak_arena_create(const struct hak_arena_options *options, hak_arena **out);

/* SIZE bytes, aligned to 16; zeroed; aligned to ALIGNMENT, a power of two (else EINVAL). NULL and ENOMEM, also where
 * max_bytes would be passed. */
void *hak_arena_alloc(hak_arena *arena, size_t size);
void *hak_arena_zalloc(hak_arena *arena, size_t size);
void *hak_arena_aligned_alloc(hak_arena *arena, size_t alignment, size_t size);

/* As realloc, within the arena: NULL allocates, size 0 frees. */
void *hak_arena_realloc(hak_arena *arena, void *ptr, size_t size);

/* NULL is allowed. */
void hak_arena_free(hak_arena *arena, void *ptr);

/* The same for a block that hak_arena_alloc or hak_arena_zalloc gave for SIZE bytes, and was not resized: a SIZE that
 * can't be ends the process with one line. */
void hak_arena_free_sized(hak_arena *arena, void *ptr, size_t size);

size_t hak_arena_usable_size(hak_arena *arena, const void *ptr);

/* Frees all blocks at once and keeps the memory, in a time that depends on the number of its SuperSlabs alone.
 * -EBUSY while something is attached to the memory; -EINVAL: no arena. */
int hak_arena_reset(hak_arena *arena);

/* Frees all blocks and gives the memory back. -EBUSY, and nothing changed, while something is attached or a thread has the
 * arena pushed; -EINVAL: no arena, or destroyed before. */
int hak_arena_destroy(hak_arena *arena);

/* The arena whose memory PTR points into, or NULL. No system call, no lock. */
hak_arena *hak_arena_owner(const void *ptr);

/* From here on the calling thread's malloc takes from ARENA: for libraries that call malloc inside. Nests 8 deep
 * (-ENOSPC). hak_arena_pop: back to what it was before; -EINVAL: nothing was pushed. A thread's end pops all of its own. */
int hak_arena_push(hak_arena *arena);
int hak_arena_pop(void);

struct hak_arena_stats {
	size_t size_bytes;
	char name[32];
	uint64_t supers;         /* SuperSlabs of 2 MiB had */
	uint64_t free_supers;    /* of them, nothing in them */
	uint64_t used_bytes;     /* in slabs and large blocks */
	uint64_t max_bytes;      /* UINT64_MAX: none */
	uint64_t hugetlb_supers; /* on pages of the hugetlb pool */
	uint64_t fallbacks;      /* SuperSlabs on other pages, or of another node, than asked for */
	uint64_t heaps;          /* threads that have a heap in it, or had */
	uint64_t attached;       /* what hak_arena_watch counts */
	int node;                /* -1: several, or memory of the program's */
};

/* 0 or -EINVAL. Set size_bytes first. */
int hak_arena_stats(hak_arena *arena, struct hak_arena_stats *stats);

/* For libraries that register the memory with a device: FUNCTION is called for each stretch the arena has, before this
 * returns, and for each it gets later, before a block of it is handed out: in the thread that allocates, under the
 * arena's lock. It must call nothing of this arena, and should call no malloc, which has but a little memory for calls
 * from within itself. While watched, the arena is not reset or destroyed. One watcher an arena: -EBUSY.
 * hak_arena_unwatch: -EINVAL if there is none. */
typedef void hak_arena_watcher(void *arg, void *where, size_t bytes);
int hak_arena_watch(hak_arena *arena, hak_arena_watcher *function, void *arg);
int hak_arena_unwatch(hak_arena *arena);

/* ---- a single owner's way past the calls ---- */

/* What the functions below do without a call. Another layout gets another number. */
#define HAK_ARENA_CACHE_LAYOUT 2u
#define HAK_ARENA_CACHE_BYTES 14400u /* larger blocks are a call */

struct hak_arena_bin {
	void *head;     /* blocks that are free, linked by their first words */
	int32_t budget; /* frees until the arena looks after it */
	uint32_t pops;
};

struct hak_arena_cache {
	uint64_t reserved[8];
	struct hak_arena_bin bins[79]; /* by size: 16-byte steps to 1 KiB, then four to each doubling; more follow */
};

/* Of an arena with HAK_ARENA_SINGLE, the same until it is destroyed, through resets and whoever owns it. NULL, which the
 * functions below allow: an arena of any thread, a library with another layout than LAYOUT, HAK_ARENA_CACHE_LAYOUT, one
 * in its debug build, no memory. */
struct hak_arena_cache *hak_arena_cache_of(hak_arena *arena, unsigned layout);

/* Of sizes above 1 KiB, the bin by (size - 1) / 64: four to each doubling, and blocks a line longer than such a step. */
static const unsigned char hak_arena_cache_steps[225] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 63, 64, 64, 64, 64, 65, 65, 65, 65,
	66, 66, 66, 66, 67, 67, 67, 67, 68, 68, 68, 68, 68, 68, 68, 68, 69, 69, 69, 69, 69, 69, 69, 69, 70,
	70, 70, 70, 70, 70, 70, 70, 71, 71, 71, 71, 71, 71, 71, 71, 72, 72, 72, 72, 72, 72, 72, 72, 72, 72,
	72, 72, 72, 72, 72, 72, 73, 73, 73, 73, 73, 73, 73, 73, 73, 73, 73, 73, 73, 73, 73, 73, 74, 74, 74,
	74, 74, 74, 74, 74, 74, 74, 74, 74, 74, 74, 74, 74, 75, 75, 75, 75, 75, 75, 75, 75, 75, 75, 75, 75,
	75, 75, 75, 75, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76,
	76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 76, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77,
	77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 77, 78, 78, 78, 78, 78, 78, 78,
	78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78, 78,
};

/* SIZE 1 .. HAK_ARENA_CACHE_BYTES. Without a jump: sizes that vary across 1 KiB would have it guessed wrong. */
static inline struct hak_arena_bin *hak_arena_cache_bin(struct hak_arena_cache *cache, size_t size)
{
	size_t last = size - 1, step = hak_arena_cache_steps[last / 64], fine = last / 16;
	return &cache->bins[step + ((fine - step) & ((size_t)0 - (last < 1024)))];
}

/* As hak_arena_alloc. CACHE is what hak_arena_cache_of said of ARENA. */
static inline void *hak_arena_alloc_from(hak_arena *arena, struct hak_arena_cache *cache, size_t size)
{
	struct hak_arena_bin *bin;
	void **block;
	if (__builtin_expect(!cache || size - 1 >= HAK_ARENA_CACHE_BYTES, 0))
		return hak_arena_alloc(arena, size);
	bin = hak_arena_cache_bin(cache, size);
	block = (void **)bin->head;
	if (__builtin_expect(!block, 0))
		return hak_arena_alloc(arena, size);
	bin->head = *block;
	__builtin_prefetch(*block);
	bin->pops++;
	return block;
}

/* As hak_arena_free_sized, but looks at one in some tens of frees alone, and trusts the rest: a pointer or a size that is
 * wrong corrupts the arena before it is seen. */
static inline void hak_arena_free_to(hak_arena *arena, struct hak_arena_cache *cache, void *ptr, size_t size)
{
	struct hak_arena_bin *bin;
	if (__builtin_expect(!cache || !ptr || size - 1 >= HAK_ARENA_CACHE_BYTES, 0)) {
		hak_arena_free_sized(arena, ptr, size);
		return;
	}
	bin = hak_arena_cache_bin(cache, size);
	if (__builtin_expect(bin->budget <= 0, 0)) {
		hak_arena_free_sized(arena, ptr, size);
		return;
	}
	*(void **)ptr = bin->head;
	bin->head = ptr;
	bin->budget--;
}

#ifdef __cplusplus
}
#endif
#endif
