/* os.h - the only door to the kernel.
 *
 * Memory calls return 0 or -errno; addresses and sizes are multiples of the OS page. None of them
 * allocates or takes a lock of hakmem, and each may be called from any thread.
 */
#ifndef HK_OS_OS_H
#define HK_OS_OS_H

#include "base/attr.h"

/* Address space without memory, inaccessible. WHERE 0: the kernel chooses; else exactly there or
 * -EEXIST. The address goes to *OUT. Not charged, not in core dumps. */
int hk_os_reserve(uintptr_t where, size_t bytes, uintptr_t *out);

/* Readable, writable, zero memory for hakmem's own tables, on small pages. NULL if there is none. */
void *hk_os_table(size_t bytes);

/* Makes reserved memory readable and writable, or inaccessible again (its content is lost). */
int hk_os_commit(uintptr_t where, size_t bytes);
int hk_os_decommit(uintptr_t where, size_t bytes);

/* Which pages the kernel should take at first touch. */
int hk_os_advise_huge(uintptr_t where, size_t bytes);
/* Copies what is there onto huge pages now; 0, -EINVAL where the kernel can't (before 6.1), or -errno. */
int hk_os_collapse(uintptr_t where, size_t bytes);
int hk_os_advise_small(uintptr_t where, size_t bytes);

/* Maps a range anew on pages of the hugetlb pool, of 2^SHIFT bytes, with a reservation: -ENOMEM where the pool
 * has fewer. The range must then be populated before it is touched. On an error there may be nothing mapped. */
int hk_os_hugetlb(uintptr_t where, size_t bytes, unsigned shift);

/* Faults all pages in, for writing; an error where one can't be had (or on kernels before 5.14). */
int hk_os_populate(uintptr_t where, size_t bytes);

/* Keeps the pages in memory, or no longer; -EAGAIN, -ENOMEM or -EPERM beyond RLIMIT_MEMLOCK. */
int hk_os_lock(uintptr_t where, size_t bytes);
int hk_os_unlock(uintptr_t where, size_t bytes);

/* Leaves the range out of core dumps, or not any more. */
int hk_os_dump(uintptr_t where, size_t bytes, bool dump);

/* Gives the pages back; the range reads as zero if and only if it returns 0 (locked memory keeps
 * its content and is -EINVAL). */
int hk_os_purge(uintptr_t where, size_t bytes);

/* True if something is mapped at WHERE, accessible or not. */
bool hk_os_is_mapped(uintptr_t where);

/* True if the committed page at WHERE, which nothing was written to, is locked: after mlockall(MCL_FUTURE). */
bool hk_os_is_locked(uintptr_t where);

/* Pages of the 2 MiB at WHERE that are in memory; 0 where the kernel does not say. */
unsigned hk_os_resident_pages(uintptr_t where);

/* Moves the pages of FROM onto TO (both committed, same size), leaving FROM committed and zero. Where it fails, TO may be
 * unmapped, and a part may have been moved. */
int hk_os_move(uintptr_t from, uintptr_t to, size_t bytes);

/* Maps a range where nothing is mapped, readable and writable; -EEXIST where something is (Linux 4.17). */
int hk_os_map_hole(uintptr_t where, size_t bytes);

/* Replaces a range by a fresh one, readable and writable, that merges with its neighbours once it has the
 * same advice. */
int hk_os_refresh(uintptr_t where, size_t bytes);

/* A word that reads 0 after a fork in the child, or NULL where the kernel has none (< 4.14). */
uint32_t *hk_os_fork_word(void);

/* ---- NUMA calls: 0 or -errno; sets of nodes are bits of OS ids ---- */

#define HK_OS_NODES 1024u /* OS ids below it */
struct hk_os_nodes {
	unsigned long bits[HK_OS_NODES / 64];
};

enum hk_os_mempolicy {
	HK_OS_DEFAULT,
	HK_OS_PREFERRED,
	HK_OS_BIND,
	HK_OS_INTERLEAVE,
	HK_OS_LOCAL,
	HK_OS_PREFERRED_MANY, /* kernel 5.15 */
	HK_OS_WEIGHTED,       /* kernel 6.9: interleave by bandwidth */
};

/* Where pages of the range come from at first touch. HOME >= 0: of NODES, the one nearest to HOME first
 * (5.17; without it, the one nearest to whoever touches). */
int hk_os_place(uintptr_t where, size_t bytes, enum hk_os_mempolicy mode,
		const struct hk_os_nodes *nodes, int home);

/* The calling thread's policy. */
int hk_os_mempolicy(enum hk_os_mempolicy *mode, struct hk_os_nodes *nodes);

/* The node of each page, or a negative number: -ENOENT and -EFAULT where there is none. */
int hk_os_page_nodes(void *const *pages, size_t count, int *nodes);

/* The processor that the caller is on; no system call where libc registered for rseq. */
unsigned hk_os_cpu(void);

/* The node, as the kernel numbers them, of the processor that this runs on, which goes to *CPU; -1: not to be had. */
int hk_os_node_of_cpu(unsigned *cpu);

/* The file's first BYTES - 1 as text, cut at its end; its length, or -1. ROOTS: only if it is a regular
 * file that root owns and no other may write, else -2. Keeps errno. */
int hk_os_read(const char *path, char *buf, size_t bytes, bool roots);

/* Limits: SIZE_MAX where there is none. */
size_t hk_os_limit_address_space(void);
size_t hk_os_limit_data(void);
size_t hk_os_limit_locked(void);
/* The least of the memory limits of this process's cgroup, or of the machine's memory. Reads files. */
size_t hk_os_memory_limit(void);
/* vm.overcommit_memory: 0 heuristic, 1 always, 2 strict; 0 where it can't be read. */
int hk_os_overcommit(void);
/* Memory and swap of the machine, bytes. */
size_t hk_os_memory_total(void);

/* Milliseconds since an arbitrary start; coarse (some ms), no system call. Wraps after 49 days. */
uint32_t hk_os_clock_ms(void);

/* Milliseconds from THEN to NOW; 0 where THEN, another thread's reading, is up to a second ahead. A THEN that nobody
 * cleared is long ago for ever, but for one second in each 49 days. */
HK_INLINE uint32_t hk_ms_since(uint32_t now, uint32_t then)
{
	uint32_t ms = now - then;
	return ms > UINT32_MAX - 1000 ? 0 : ms;
}

/* 128 random bits; from AT_RANDOM by a one-way mix where there is no getrandom. */
void hk_os_entropy(uint64_t out[2]);

/* A nonzero word that differs among the living threads, the same in a fork's only thread. */
HK_INLINE uintptr_t hk_os_thread_word(void)
{
	return (uintptr_t)__builtin_thread_pointer();
}

/* NAME as the object sees it that ADDRESS lies in: also from libraries loaded RTLD_LOCAL. */
void *hk_os_symbol_at(const void *address, const char *name);

/* The definition of a function that comes after ours in the search order (NEXT), or any one; NULL if
 * there is none, or the program is static. May allocate. */
void *hk_os_symbol(const char *name, bool next);

/* False where transparent huge pages are switched off. Reads a file. */
bool hk_os_has_thp(void);

/* True in the thread that began the process, or that a fork left. */
bool hk_os_is_first_thread(void);

void hk_os_yield(void);
void hk_os_sleep_us(unsigned us);

/* Folders in the folder PATH, where its file system counts them as links (sysfs does); -1: there is none. */
int hk_os_folders(const char *path);

/* Keeps all signals of the program from the calling thread, and from those that it makes meanwhile; the mask before. */
uint64_t hk_os_signals_block(void);
void hk_os_signals_set(uint64_t mask);

#endif
