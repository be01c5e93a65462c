/* cache.h - what cache_scratch and cache_thrash share: the loop of writes. */
#ifndef HK_BENCH_CACHE_H
#define HK_BENCH_CACHE_H

#include <unistd.h>

#include "frame.h"

static struct hk_param hk_cache_params[] = {
	{"size", 1, 0, 1, 64, "bytes of a block, each written"},
	{"writes", 2000000, 0, 1, UINT32_MAX, "writes to each byte, over all cores"},
	{"cores", 0, 0, 0, 4096, "writes are shared among so many; 0: what the machine has"},
	{0},
};

static void hk_cache_writes(struct hk_worker *w)
{
	size_t size = hk_param(w->f, "size"), cores = hk_param(w->f, "cores");
	uint64_t writes = hk_param(w->f, "writes");

	writes /= cores ? cores : (size_t)sysconf(_SC_NPROCESSORS_ONLN);
	for (uint64_t left = w->left; left; left--) {
		volatile char *p = malloc(size);

		if (!p)
			hk_no_memory(size);
		for (uint64_t i = 0; i < writes; i++) {
			for (size_t k = 0; k < size; k++) {
				p[k] = (char)k;
				(void)p[k];
			}
		}
		free((void *)p);
		w->ops += writes * size;
	}
}

static char *hk_cache_given[HK_THREADS_MAX];

static inline void hk_cache_scratch_body(struct hk_worker *w)
{
	hk_ready(w);
	free(hk_cache_given[w->index]);
	hk_cache_writes(w);
}

static inline void hk_cache_scratch(struct hk_frame *f)
{
	for (int i = 0; i < f->threads; i++) {
		hk_cache_given[i] = malloc(hk_param(f, "size"));
		if (!hk_cache_given[i])
			hk_no_memory(1);
		*hk_cache_given[i] = 1;
	}
	hk_threads_run(f, f->threads, hk_cache_scratch_body);
}

static inline void hk_cache_thrash_body(struct hk_worker *w)
{
	hk_ready(w);
	hk_cache_writes(w);
}

static inline void hk_cache_thrash(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, hk_cache_thrash_body);
}

#endif
