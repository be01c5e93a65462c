/* pages.c - which part of a stretch is on pages of one size. Changes nothing but that the pages are there.
 *
 * The kernel keeps one entry a huge page for a buffer that is on such alone, and one for each 4 KiB where a single page
 * is small: 1 GiB with 4 MiB of small pages took 98 ms to register instead of 1.6, and its requests gain nothing
 * (Linux 6.18). So sizes are not mixed within a buffer.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uring/inner.h"

/* Of the kernel's linux/fs.h, 6.7 and newer, which may be newer than the headers here. */
struct scan {
	uint64_t size, flags, start, end, walk_end, regions, regions_max, pages_max;
	uint64_t inverted, mask, any_of, wanted;
};
struct region {
	uint64_t start, end, categories;
};
#define SCAN _IOWR('f', 16, struct scan)
#define IS_HUGE (1u << 6)

/* The first range of huge pages between START and END; false: it can't be known. */
static bool find_huge(uintptr_t start, uintptr_t end, struct region *found)
{
	struct scan scan = {.size = sizeof(scan), .start = start, .end = end, .regions = (uintptr_t)found,
			    .regions_max = 1, .mask = IS_HUGE, .wanted = IS_HUGE};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	int rc = ioctl(fd, SCAN, &scan);
	close(fd);
	if (rc == 0)
		found->start = found->end = end;
	return rc >= 0;
}

static uintptr_t round_up(uintptr_t at)
{
	return (at + HK_SUPER_BYTES - 1) & ~(HK_SUPER_BYTES - 1);
}

size_t hk_uring_alike(uintptr_t start, size_t bytes)
{
	struct region huge;
	uintptr_t end = start + bytes;
	if (bytes <= HK_SUPER_BYTES)
		return bytes;
	madvise((void *)start, bytes, MADV_POPULATE_WRITE); /* registering faults them all the same */
	if (!find_huge(start, end, &huge))
		return bytes;
	if (huge.start > start)
		return round_up(huge.start) - start;
	return round_up(huge.end) - start;
}
