/* cache_thrash.c - active false sharing: each thread allocates a small block, writes to it many
 * times, frees it. An allocator that puts blocks of two threads into one line makes each write slow.
 * After: Berger, McKinley, Blumofe, Wilson, "Hoard", ASPLOS 2000.
 * The defaults are "cache-thrash THREADS 1000 1 2000000 CORES". */
#include "frame.h"
#include "cache.h"

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "cache_thrash",
		.what = "Active false sharing: small blocks of several threads.",
		.op = "a write to the block", .unit = "blocks a thread",
		.params = hk_cache_params, .threads = 2, .count = 1000, .only_count = 1,
		.run = hk_cache_thrash};

	return hk_frame_main(&program, argc, argv);
}
