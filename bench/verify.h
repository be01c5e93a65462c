/* verify.h - proof, inside the measured process, of which allocator serves it.
 *
 * A figure of the wrong allocator is worse than none: a preload can be ignored, can forward to
 * libc, or can be another file of the same name. So each benchmark program asks here first, and
 * prints nothing if the answer is not proven.
 *
 *   HAK_VERIFY_LIB=/path/lib.so   this very file must serve (device and inode are compared)
 *   HAK_VERIFY_LIB=glibc          libc itself must serve
 *   unset or empty                nothing is claimed: hk_verify_state.wanted stays 0
 *   HAK_VERIFY_MIB=N              volume of the second step, where the program has no wish
 *
 * Step 1, bindings (allocates next to nothing; before the measured part):
 *   malloc, free, calloc, realloc, posix_memalign and, where a C++ runtime is present, operator
 *   new and delete resolve to a mapping of the intended file; so does each bound import of them
 *   in every loaded object; a block of each lies in anonymous memory or in that file's own image.
 * Step 2, volume (after the measured part, since it moves the heap):
 *   many live blocks are made by each function, and libc's own mallinfo2 must not see them (for
 *   glibc: must see them). Where the file exports hak_owns, that must know each sampled block.
 *
 * What it can't see: an object with a private malloc of its own under another name.
 * Threads: one at a time; static buffers, so that asking does not allocate.
 */
#ifndef HK_BENCH_VERIFY_H
#define HK_BENCH_VERIFY_H

#include <stddef.h>

#define HK_VERIFY_EXIT 3

struct hk_verify_state {
	int wanted;        /* 1 where HAK_VERIFY_LIB asked for a proof */
	int failed;        /* 1 once a step failed; reason says why */
	char file[512];    /* the file that malloc resolves to */
	char reason[768];
	char note[512];    /* what is odd but no failure */
};

/* Step 1. 0, or -1 with reason. */
int hk_verify_bindings(struct hk_verify_state *v);

/* Step 2 with VOLUME_BYTES over all functions. 0, or -1 with reason. */
int hk_verify_volume(struct hk_verify_state *v, size_t volume_bytes);

/* In the child of a fork: the bindings are a copy, a block is asked for anew. 0 or -1. */
int hk_verify_child(struct hk_verify_state *v);

/* For benchmark programs: the steps, ending the process with status 3 and one line. */
void hk_verify_begin_or_exit(void);
void hk_verify_end_or_exit(void);

/* The state of these two. */
const struct hk_verify_state *hk_verify_result(void);

/* The volume that HAK_VERIFY_MIB asks for, or FALLBACK_BYTES. */
size_t hk_verify_volume_bytes(size_t fallback_bytes);

#endif
