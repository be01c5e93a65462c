/* hakmem.h - a malloc for NUMA servers on Linux: the public names.
 *
 * A program that is preloaded or linked with -lhakmem needs none of this: malloc, free and the
 * rest of the libc family are replaced. These twins serve programs that want hakmem beside
 * another malloc (libhakmem_core.a has them alone), or that want to ask it questions.
 *
 * Threads: each function may be called from any thread at any time, before main and after
 * thread-exit handlers too, and in the child of a fork. Pointers from hak_malloc may be freed by
 * free() and the other way round, in any thread.
 * Errors: allocation functions return NULL and set errno to ENOMEM (or EINVAL where it says so).
 * Misuse (a double free or an inner pointer where it is seen) writes one line to standard error
 * and aborts.
 */
#ifndef HAKMEM_HAKMEM_H
#define HAKMEM_HAKMEM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HAK_VERSION_MAJOR 0
#define HAK_VERSION_MINOR 1
#define HAK_VERSION_PATCH 0
#define HAK_VERSION (HAK_VERSION_MAJOR * 10000 + HAK_VERSION_MINOR * 100 + HAK_VERSION_PATCH)

/* The version of the library that runs: major * 10000 + minor * 100 + patch. */
int hak_version(void);

/* The same as text, "0.1.0". Never freed. */
const char *hak_version_string(void);

/* SIZE bytes, 1 .. PTRDIFF_MAX; 0 gives a distinct pointer that may be freed. Aligned to 16. */
void *hak_malloc(size_t size);

/* COUNT * SIZE bytes, all zero. ENOMEM where the product overflows. */
void *hak_calloc(size_t count, size_t size);

/* Resizes; NULL is malloc. size 0 frees and returns NULL, as glibc does. Keeps the block and
 * returns NULL where memory is exhausted. */
void *hak_realloc(void *ptr, size_t size);
void *hak_reallocarray(void *ptr, size_t count, size_t size);

/* Frees; NULL is allowed; errno is kept. The sized forms take the size (and alignment) asked for. */
void hak_free(void *ptr);
void hak_free_sized(void *ptr, size_t size);
void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size);

/* Aligned blocks: ALIGNMENT is a power of two (memalign rounds others up), at most PTRDIFF_MAX.
 * hak_aligned_alloc: EINVAL for an alignment that is none. hak_posix_memalign returns 0, EINVAL
 * (also below sizeof(void *)) or ENOMEM, leaves errno alone and *OUT too where it fails. */
void *hak_memalign(size_t alignment, size_t size);
void *hak_aligned_alloc(size_t alignment, size_t size);
int hak_posix_memalign(void **out, size_t alignment, size_t size);
void *hak_valloc(size_t size);
void *hak_pvalloc(size_t size);

/* Bytes that may be written at PTR: at least what was asked, the same until it is freed. 0 for
 * NULL. */
size_t hak_malloc_usable_size(void *ptr);

/* Gives free memory back to the kernel: drains every heap that can be drained, purges all free
 * SuperSlabs but PAD bytes, and free chunks of partial ones. 1 if memory went back, else 0. */
int hak_malloc_trim(size_t pad);

/* 1 if PTR points into memory that hakmem divides into blocks of one size, or into a large block; 0 elsewhere. So it
 * is 1 for a block that was freed, too. Takes no lock; a guess for memory that is given back meanwhile. */
int hak_owns(const void *ptr);

/* Figures of the whole process. Set size_bytes to sizeof(struct hak_stats) first: fields beyond
 * what the library knows stay untouched, fields beyond what the caller knows are left out. */
struct hak_stats {
	size_t size_bytes;
	uint64_t region_bytes;        /* address space reserved */
	uint64_t committed_bytes;     /* readable and writable, touched or not */
	uint64_t chunk_bytes;         /* in slabs and spans */
	uint64_t span_bytes;          /* of these, in spans (blocks above 512 KiB) */
	uint64_t live_bytes;          /* in blocks out of slabs (held by the program, in bins or queues) and spans */
	uint64_t bin_bytes;           /* of these, cached in thread bins */
	uint64_t warm_bytes;          /* free SuperSlabs kept resident */
	uint64_t purged_bytes;        /* given back to the kernel, since start */
	uint64_t malloc_blocks;       /* blocks handed out, since start */
	uint64_t free_blocks;         /* blocks taken back, since start */
	uint64_t heaps;               /* heaps made, of which ... */
	uint64_t heaps_live;          /* ... have a thread, and */
	uint64_t heaps_parked;        /* ... wait for one */
};

/* 0, or -EINVAL for a size_bytes below that of the first field. */
int hak_stats_get(struct hak_stats *stats);

/* Writes the report that HAKMEM_VERBOSE=1 gives at exit to OUT (NULL: standard error). */
void hak_stats_print(FILE *out);

/* malloc_info(3), malloc_stats(3) under names of their own. */
int hak_malloc_info(int options, FILE *out);
void hak_malloc_stats(void);

/* ---- NUMA: nodes are numbered as the OS does it ----
 *
 * Memory is kept in a pool for each node that this process may use, and one more, where there are
 * several, for policies over several nodes (interleave). HAKMEM_NUMA and hakmem(7) say which one a
 * thread takes from. On a machine with one node all of this works, and nothing is asked of the kernel. */

/* SIZE bytes from NODE's pool, whatever the thread's policy; the nearest node's where that has no memory
 * left. For blocks that stay: it takes a lock where NODE is not the thread's own. NULL and EINVAL for a node
 * that there is not, that has no memory, or that the cpuset forbids; NULL and ENOMEM. */
void *hak_malloc_onnode(size_t size, int node);

/* The node of the pool that the memory at PTR belongs to, by arithmetic: no system call. -1: not ours, or of
 * the pool over several nodes. Where the pages really are is the kernel's affair: hak_numa_audit. */
int hak_node_of(const void *ptr);

/* The node of the pool that the calling thread takes from; -1: several. A thread that moves to another node
 * takes from there after some slow paths and 10 ms. */
int hak_thread_node(void);

/* From here on the calling thread takes from where POLICY says: "local", "interleave", "weighted",
 * "preferred=N", "bind=LIST" (0-1,3: the nearest of them), or as the process does: "auto". 0; -EINVAL: malformed,
 * or a node that can't be used; -EAGAIN while an arena is pushed, in a thread past
 * its end, and in a signal handler that interrupted the allocator; -ENOMEM. */
int hak_numa_policy_set(const char *policy);

/* A pool's figures. Counters are since the start. */
struct hak_numa_node {
	int node;                  /* -1: the pool over several nodes */
	unsigned allowed;          /* 1 if the process's policy lets threads take from it */
	uint64_t supers;           /* SuperSlabs in use */
	uint64_t used_bytes;       /* in slabs and spans */
	uint64_t warm_bytes;       /* free SuperSlabs kept resident */
	uint64_t committed_bytes;
	uint64_t hugetlb_bytes;    /* on pages of the hugetlb pool, used or not */
	uint64_t fallbacks;        /* requests that another pool served, because this one had no memory */
	uint64_t remote_frees;     /* blocks that its threads freed for other threads */
	uint64_t remote_adoptions; /* slabs of dead threads of other nodes that its threads took over */
	uint64_t migrations;       /* threads that came from another pool */
	uint64_t resident_bytes;   /* of its SuperSlabs, as the kernel answers within 5 ms: all of a heap of some GiB on huge
				    * pages; 0: it was not asked (one node, a filter) or does not say */
	uint64_t elsewhere_bytes;  /* of these, on another node than `node` */
};

/* Fills up to COUNT entries of NODES; the number of pools there are, or -ENOMEM. */
int hak_numa_stats(struct hak_numa_node *nodes, unsigned count);

/* What the kernel says of where pages are. Set size_bytes first, as in hak_stats. */
struct hak_numa_audit {
	size_t size_bytes;
	uint64_t pages_asked;      /* one a huge page */
	uint64_t resident_bytes;   /* that these stand for */
	uint64_t off_node_bytes;   /* of these, on another node than their pool's */
	uint64_t forced_bytes;     /* of these, as many as the kernel's counts of full nodes explain */
	uint64_t supers_seen;      /* SuperSlabs asked about */
	uint64_t supers_skipped;   /* left out: LIMIT_MS was over */
};

/* Asks, pool by pool, for at most LIMIT_MS or a batch more. 0; -EINVAL for size_bytes; -EPERM, -ENOSYS where
 * the kernel does not answer. Pages of the pool over several nodes are nowhere off. */
int hak_numa_audit(struct hak_numa_audit *out, unsigned limit_ms);

/* Walks all that can be locked and checks every invariant; 0, or the number of violations, each
 * said on standard error. For tests; slow. */
int hak_audit(void);

#ifdef __cplusplus
}
#endif
#endif
