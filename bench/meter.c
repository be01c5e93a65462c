/* meter.c - reads clocks and /proc for the benchmark programs. Formats and judges nothing. */
#define _GNU_SOURCE
#include "meter.h"

#include <stdio.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t hk_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

/* The second operand is a register: cores that fold adds of constants at rename (Golden Cove)
 * would run those faster than one a cycle. The best of three leaves out an interruption. */
double hk_clock_ghz(void)
{
	enum { LOOPS = 4000, CHAIN = 16 };
	double best = 0;

	for (int try = 0; try < 3; try++) {
		uint64_t sum = 1, one = 3, start = hk_now_ns();

		for (int i = 0; i < LOOPS; i++) {
#if defined(__x86_64__)
#define HK_ADD "add %1, %0\n\t"
#elif defined(__aarch64__)
#define HK_ADD "add %0, %0, %1\n\t"
#else
#error "no dependent add for this machine"
#endif
			__asm__ volatile(HK_ADD HK_ADD HK_ADD HK_ADD HK_ADD HK_ADD HK_ADD HK_ADD
				HK_ADD HK_ADD HK_ADD HK_ADD HK_ADD HK_ADD HK_ADD HK_ADD
				: "+r"(sum) : "r"(one));
		}
		double ghz = (double)LOOPS * CHAIN / (double)(hk_now_ns() - start);
		if (ghz > best)
			best = ghz;
	}
	return best;
}

static long field_of(const char *path, const char *name)
{
	char buf[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	buf[got > 0 ? got : 0] = 0;
	char *at = strstr(buf, name);
	return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

long hk_resident_kib(void)
{
	return field_of("/proc/self/smaps_rollup", "\nRss:");
}

long hk_peak_kib(void)
{
	return field_of("/proc/self/status", "\nVmHWM:");
}

void hk_usage_now(struct hk_usage *out)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	out->cpu_s = u.ru_utime.tv_sec + u.ru_stime.tv_sec +
		     (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
	out->minor_faults = u.ru_minflt;
}

void *hk_table(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "no memory for the benchmark's tables\n");
		exit(2);
	}
	return p;
}
