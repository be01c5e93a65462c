/* cache_scratch.c - passive false sharing: each thread is given a small block of the main thread's,
 * frees it, and from then on allocates a block, writes to it many times, frees it. An allocator that
 * gives the freed neighbours to different threads makes them share a line, and each write slow.
 * After: Berger, McKinley, Blumofe, Wilson, "Hoard", ASPLOS 2000.
 * The defaults are "cache-scratch THREADS 1000 1 2000000 CORES". */
#include "frame.h"
#include "cache.h"

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "cache_scratch",
		.what = "Passive false sharing: small blocks of one thread, freed by others.",
		.op = "a write to the block", .unit = "blocks a thread",
		.params = hk_cache_params, .threads = 2, .count = 1000, .only_count = 1,
		.run = hk_cache_scratch};

	return hk_frame_main(&program, argc, argv);
}
