/* series.h - a list of numbers for the line of JSON, and resident memory read cheaply enough to be
 * read within a run. */
#ifndef HK_BENCH_SERIES_H
#define HK_BENCH_SERIES_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct hk_series {
	size_t used;
	char text[6000];
};

static inline void hk_series_add(struct hk_series *s, double value)
{
	if (s->used + 32 < sizeof(s->text))
		s->used += (size_t)snprintf(s->text + s->used, sizeof(s->text) - s->used, "%s%.6g",
					    s->used ? ", " : "", value);
}

/* Within a few hundred KiB (the kernel's counters are kept per CPU); hk_resident_kib is exact and
 * takes milliseconds in a large heap. */
static inline long hk_resident_about_kib(void)
{
	char line[128] = "";
	long total = 0, resident = 0;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (read(fd, line, sizeof(line) - 1) <= 0 ||
	    sscanf(line, "%ld %ld", &total, &resident) != 2)
		resident = -1;
	close(fd);
	return resident < 0 ? -1 : resident * (sysconf(_SC_PAGESIZE) / 1024);
}

#endif
