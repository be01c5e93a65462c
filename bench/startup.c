/* startup.c - what a preloaded object adds to the start of a process.
 *
 *   startup [-n RUNS] [-p PROGRAM] EMPTY.so name=/path/lib.so ...
 *
 * Spawns PROGRAM (/bin/true) with each object preloaded in turn, RUNS times (200), each time in another order (what ran
 * before leaves its traces in the caches), on one core,
 * and prints one line of JSON: for each name the median and the least time from posix_spawn to
 * the end of the process, the median of its difference to the EMPTY object's run of the same
 * round, and the minor faults. "none" is a run without any preload.
 * Does not prove that an object serves malloc: bench/verify does that for the same command. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "meter.h"

enum { MAX_OBJECTS = 16, MAX_RUNS = 10000 };

struct object {
	char name[64];
	char preload[4096];       /* "LD_PRELOAD=...", or empty */
	double us[MAX_RUNS];
	double over_us[MAX_RUNS]; /* less the empty object's of the same round */
	double faults[MAX_RUNS];
};

static struct object objects[MAX_OBJECTS];
static int object_count;
static const char *program = "/bin/true";

static void die(const char *what, const char *why)
{
	fprintf(stderr, "startup: %s: %s\n", what, why);
	exit(2);
}

/* The loader only warns about an object that it can't open, so it is looked at here. */
static void object_add(const char *name, size_t name_length, const char *path)
{
	struct object *o = &objects[object_count++];

	if (object_count > MAX_OBJECTS || name_length >= sizeof(o->name))
		die(name, "too many objects, or a name that is too long");
	snprintf(o->name, sizeof(o->name), "%.*s", (int)name_length, name);
	if (!path)
		return;
	if (access(path, R_OK))
		die(path, strerror(errno));
	snprintf(o->preload, sizeof(o->preload), "LD_PRELOAD=%s", path);
}

static void run_once(struct object *o, int run)
{
	char *argv[] = {(char *)program, NULL};
	char *env[] = {o->preload[0] ? o->preload : NULL, NULL};
	struct rusage usage;
	int status;
	pid_t pid;
	uint64_t start = hk_now_ns();
	int err = posix_spawn(&pid, program, NULL, NULL, argv, env);

	if (err)
		die(program, strerror(err));
	if (wait4(pid, &status, 0, &usage) != pid || status)
		die(o->name, "the program failed");
	o->us[run] = (double)(hk_now_ns() - start) / 1e3;
	o->faults[run] = (double)usage.ru_minflt;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof(*v), compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* One core: a child on another one would find other caches and another clock. */
static void pin(void)
{
	cpu_set_t all, one;

	CPU_ZERO(&one);
	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &all)) {
			CPU_SET(i, &one);
			break;
		}
	}
	sched_setaffinity(0, sizeof(one), &one);
}

/* Fisher and Yates, by a linear congruential generator: the same orders in each run of this program. */
static void shuffle(int *order)
{
	static uint64_t random = 88172645463325252u;

	for (int i = object_count - 1; i > 0; i--) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		int j = (int)((random >> 33) % (uint64_t)(i + 1)), other = order[i];

		order[i] = order[j];
		order[j] = other;
	}
}

static void measure(int runs)
{
	int order[MAX_OBJECTS];

	for (int i = 0; i < object_count; i++)
		order[i] = i;
	for (int warm = 0; warm < 3; warm++)
		for (int i = 0; i < object_count; i++)
			run_once(&objects[i], 0);
	for (int run = 0; run < runs; run++) {
		shuffle(order);
		for (int i = 0; i < object_count; i++)
			run_once(&objects[order[i]], run);
		for (int i = 0; i < object_count; i++)
			objects[i].over_us[run] = objects[i].us[run] - objects[1].us[run];
	}
}

int main(int argc, char **argv)
{
	int runs = 200, c;

	while ((c = getopt(argc, argv, "n:p:")) != -1) {
		if (c == 'n')
			runs = atoi(optarg);
		else if (c == 'p')
			program = optarg;
		else
			return 2;
	}
	if (optind >= argc || runs < 1 || runs > MAX_RUNS)
		die("usage", "startup [-n RUNS] [-p PROGRAM] EMPTY.so name=/path/lib.so ...");
	object_add("none", 4, NULL);
	object_add("empty", 5, argv[optind]);
	for (int i = optind + 1; i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		if (!equals)
			die(argv[i], "name=/path expected");
		object_add(argv[i], equals - argv[i], equals + 1);
	}
	pin();
	measure(runs);
	printf("{\"program\": \"%s\", \"runs\": %d, \"objects\": {", program, runs);
	for (int i = 0; i < object_count; i++) {
		struct object *o = &objects[i];
		double over = median(o->over_us, runs), mid = median(o->us, runs);

		printf("%s\"%s\": {\"median_us\": %.2f, \"best_us\": %.2f, \"over_empty_us\": %.2f, "
		       "\"minor_faults\": %.0f}",
		       i ? ", " : "", o->name, mid, o->us[0], over, median(o->faults, runs));
	}
	printf("}}\n");
	return 0;
}
