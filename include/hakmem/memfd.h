/* memfd.h - an arena on a memfd, that other processes map at the same address: what is allocated in it can be
 * shared by pointer.
 *
 *   owner: hak_arena_memfd           peer: hak_memfd_map           both: hak_memfd_unmap
 *          fd (SCM_RIGHTS, or inherited), `where`, `bytes`  -->
 *
 * One process allocates and frees, the others read and write what it tells them of. The file can't shrink or grow.
 * A fork's child has none of the memory until it calls hak_memfd_map, and allocates nothing in it then either; until then
 * nothing of it may be touched there, by free() neither.
 * Errors: 0 or a negative errno.
 */
#ifndef HAKMEM_MEMFD_H
#define HAKMEM_MEMFD_H

#include <stddef.h>

#include "hakmem/arena.h"

#ifdef __cplusplus
extern "C" {
#endif

struct hak_memfd {
	int fd;            /* close-on-exec */
	void *where;       /* the same in all processes */
	size_t bytes;
	size_t page_bytes; /* what pages it got; not needed to map it */
};

/* An arena of OPTIONS->initial_bytes that can't grow, in *OUT, and what others need to map it in *MEMFD. Of the options,
 * numa, memory and memory_bytes must be 0, max_bytes 0 or as initial_bytes, which is not 0; pages of hugetlb that are not
 * there are replaced by others unless HAK_ARENA_STRICT. -EINVAL: options; -ENOMEM; -EAGAIN: HAK_ARENA_LOCK beyond
 * RLIMIT_MEMLOCK; -EOPNOTSUPP: transparent huge pages with HAK_ARENA_STRICT, which the kernel promises for no memfd. */
int hak_arena_memfd(const struct hak_arena_options *options, hak_arena **out, struct hak_memfd *memfd);

/* In another process: maps MEMFD's fd (its own number for it) at MEMFD's address. -EEXIST: something is there;
 * -EINVAL: not such a file, or another size. */
int hak_memfd_map(const struct hak_memfd *memfd);

/* Unmaps the memory and closes the fd. -EBUSY: the arena is there (hak_arena_destroy comes first). */
int hak_memfd_unmap(struct hak_memfd *memfd);

#ifdef __cplusplus
}
#endif
#endif
