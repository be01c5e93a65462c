/* frame.c - see frame.h. Holds no workload and takes nothing from the heap it measures. */
#define _GNU_SOURCE
#include "frame.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../verify.h"

static const struct hk_program *program;
static struct hk_frame frame;

_Noreturn static void say_and_exit(int status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Without stdio and atexit: another thread may hold their locks. */
static void say_and_exit(int status, const char *format, ...)
{
	char line[512];
	va_list args;
	int n = snprintf(line, sizeof(line), "%s: ", program->name);

	va_start(args, format);
	n += vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	va_end(args);
	n = n < (int)sizeof(line) - 2 ? n : (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		status = status ? status : 1;
	_exit(status);
}

void hk_lost(const void *p)
{
	say_and_exit(1, "block %p was lost, damaged or handed out twice", p);
}

void hk_no_memory(size_t size)
{
	say_and_exit(1, "out of memory: no block of %zu bytes", size);
}

void hk_skip(const char *why)
{
	say_and_exit(HK_SKIP_EXIT, "skipped: %s", why);
}

static _Atomic size_t table_bytes, table_bytes_most;

void *hk_table_get(size_t bytes)
{
	size_t now = atomic_fetch_add(&table_bytes, bytes) + bytes, most = table_bytes_most;

	while (now > most && !atomic_compare_exchange_weak(&table_bytes_most, &most, now))
		continue;
	return hk_table(bytes);
}

void hk_table_drop(void *table, size_t bytes)
{
	atomic_fetch_sub(&table_bytes, bytes);
	munmap(table, bytes);
}

long hk_proc_number(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	char line[256];
	long number = -1;

	while (file && number < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			number = strtol(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return number;
}

/* --- the command line ----------------------------------------------------------------------- */

static struct hk_param *param_find(const char *name, size_t length)
{
	for (struct hk_param *p = program->params; p && p->name; p++)
		if (strlen(p->name) == length && !strncmp(p->name, name, length))
			return p;
	return NULL;
}

uint64_t hk_param(const struct hk_frame *f, const char *name)
{
	struct hk_param *p = param_find(name, strlen(name));

	(void)f;
	if (!p)
		say_and_exit(2, "no parameter %s: a defect of this program", name);
	return p->value;
}

static void usage(FILE *out)
{
	fprintf(out, "usage: %s [-t THREADS] [-s SECONDS or -n COUNT] [-p NAME=VALUE]... "
		"[--expect FILE] [--json] [--quick]\n%s\n"
		"  -t THREADS     default %d\n", program->name, program->what, program->threads);
	if (!program->only_count)
		fprintf(out, "  -s SECONDS     goes by time%s\n", program->seconds > 0 ?
			" (the default)" : "");
	fprintf(out, "  -n COUNT       fixed work: %s", program->unit);
	if (program->count)
		fprintf(out, ", default %llu", (unsigned long long)program->count);
	fprintf(out, "\n  --expect FILE  the file that must serve malloc, or glibc: proven, or status 3\n"
		"  --quick        a small part of the work\n"
		"  --json         nothing but the line of JSON (else one more on standard error)\n");
	for (struct hk_param *p = program->params; p && p->name; p++)
		fprintf(out, "  -p %s=%llu  %s\n", p->name, (unsigned long long)p->value, p->help);
	fprintf(out, "An operation is %s.\n", program->op);
}

static uint64_t number(const char *text, uint64_t lo, uint64_t hi, const char *what)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n < lo || n > hi)
		say_and_exit(2, "%s: a number from %llu to %llu is expected, not '%s'", what,
			     (unsigned long long)lo, (unsigned long long)hi, text);
	return n;
}

static double seconds_of(const char *text)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s > 0) || s > 1e6)
		say_and_exit(2, "-s: seconds above 0 are expected, not '%s'", text);
	if (program->only_count)
		say_and_exit(2, "-s: the work of this program is fixed; give -n");
	return s;
}

static void param_set(const char *text)
{
	const char *equals = strchr(text, '=');
	struct hk_param *p = equals ? param_find(text, equals - text) : NULL;

	if (!p)
		say_and_exit(2, "-p: NAME=VALUE with a name from --help is expected, not '%s'", text);
	p->value = number(equals + 1, p->lo, p->hi, p->name);
	p->quick = 0;
}

/* The value of an option: the next argument. */
static const char *value_of(char **argv, int *at)
{
	if (!argv[*at + 1])
		say_and_exit(2, "%s: a value is expected; see --help", argv[*at]);
	return argv[++*at];
}

static int parse(struct hk_frame *f, int argc, char **argv)
{
	const char *expect = NULL;
	int json = 0;

	f->threads = program->threads;
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];

		if (!strcmp(a, "-t")) {
			f->threads = (int)number(value_of(argv, &i), 1, program->threads_max ?
						 program->threads_max : HK_THREADS_MAX, "-t");
		} else if (!strcmp(a, "-s")) {
			f->seconds = seconds_of(value_of(argv, &i));
		} else if (!strcmp(a, "-n")) {
			f->count = number(value_of(argv, &i), 1, UINT64_MAX / 2, "-n");
		} else if (!strcmp(a, "-p")) {
			param_set(value_of(argv, &i));
		} else if (!strcmp(a, "--expect")) {
			expect = value_of(argv, &i);
		} else if (!strcmp(a, "--json")) {
			json = 1;
		} else if (!strcmp(a, "--quick")) {
			f->quick = 1;
		} else if (!strcmp(a, "--help") || !strcmp(a, "-h")) {
			usage(stdout);
			exit(0);
		} else {
			say_and_exit(2, "unknown argument '%s'; see --help", a);
		}
	}
	if (f->seconds > 0 && f->count)
		say_and_exit(2, "-s and -n: one of them, please");
	if (expect && setenv("HAK_VERIFY_LIB", expect, 1))
		say_and_exit(1, "no memory for the environment");
	return json;
}

static void defaults_set(struct hk_frame *f)
{
	for (struct hk_param *p = program->params; f->quick && p && p->name; p++)
		p->value = p->quick ? p->quick : p->value;
	if (f->seconds > 0 || f->count)
		return;
	f->seconds = program->seconds * (f->quick ? 0.1 : 1);
	f->count = program->count / (f->quick ? 20 : 1);
	f->count += !f->count && program->seconds <= 0;
}

/* --- clocks and threads ----------------------------------------------------------------------- */

void hk_clock_start(struct hk_frame *f)
{
	struct hk_usage usage;

	hk_usage_now(&usage);
	f->clock_cpu_s = usage.cpu_s;
	f->clock_ns = hk_now_ns();
}

void hk_clock_stop(struct hk_frame *f)
{
	struct hk_usage usage;

	f->wall_s += (double)(hk_now_ns() - f->clock_ns) / 1e9;
	hk_usage_now(&usage);
	f->cpu_s += usage.cpu_s - f->clock_cpu_s;
}

void hk_stop_after(struct hk_frame *f)
{
	struct timespec left = {(time_t)f->seconds, (long)((f->seconds - (time_t)f->seconds) * 1e9)};

	while (nanosleep(&left, &left) && errno == EINTR)
		continue;
	atomic_store_explicit(&f->stop, 1, memory_order_relaxed);
}

void hk_thread_start(uintptr_t *id, void *(*body)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	int err = pthread_create(&thread, &attr, body, arg);
	if (err)
		say_and_exit(1, "no thread: %s", strerror(err));
	pthread_attr_destroy(&attr);
	*id = (uintptr_t)thread;
}

void hk_thread_join(uintptr_t id)
{
	pthread_join((pthread_t)id, NULL);
}

static struct hk_worker workers[HK_THREADS_MAX];
static pthread_barrier_t gate;
static void (*worker_body)(struct hk_worker *w);

static double thread_cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void hk_ready(struct hk_worker *w)
{
	pthread_barrier_wait(&gate);
	w->cpu_s = thread_cpu_s();
	w->start_ns = hk_now_ns();
}

void hk_done(struct hk_worker *w)
{
	w->end_ns = hk_now_ns();
	w->cpu_s = thread_cpu_s() - w->cpu_s;
	pthread_barrier_wait(&gate);
}

static void *worker_main(void *arg)
{
	struct hk_worker *w = arg;

	worker_body(w);
	if (!w->start_ns)
		say_and_exit(1, "a body without hk_ready: a defect of this program");
	if (!w->end_ns)
		hk_done(w);
	return NULL;
}

void hk_threads_run(struct hk_frame *f, int count, void (*body)(struct hk_worker *w))
{
	static uintptr_t ids[HK_THREADS_MAX];
	uint64_t first = UINT64_MAX, last = 0;

	worker_body = body;
	atomic_store_explicit(&f->stop, 0, memory_order_relaxed);
	pthread_barrier_init(&gate, NULL, count + 1);
	for (int i = 0; i < count; i++) {
		workers[i] = (struct hk_worker){.f = f, .index = i, .left = f->count,
			.random = 88172645463325252u + 0x9e3779b97f4a7c15u * (uint64_t)(i + 1)};
		hk_thread_start(&ids[i], worker_main, &workers[i]);
	}
	pthread_barrier_wait(&gate);
	if (f->seconds > 0)
		hk_stop_after(f);
	pthread_barrier_wait(&gate);
	for (int i = 0; i < count; i++) {
		struct hk_worker *w = &workers[i];

		hk_thread_join(ids[i]);
		first = w->start_ns < first ? w->start_ns : first;
		last = w->end_ns > last ? w->end_ns : last;
		f->cpu_s += w->cpu_s;
		f->ops += (double)w->ops;
	}
	pthread_barrier_destroy(&gate);
	f->wall_s += (double)(last - first) / 1e9;
}

/* --- the run and its line ------------------------------------------------------------------- */

void hk_field(struct hk_frame *f, const char *name, const char *format, ...)
{
	size_t used = strlen(f->fields);
	va_list args;

	if (f->warming)
		return;
	used += snprintf(f->fields + used, sizeof(f->fields) - used, ", \"%s\": ", name);
	va_start(args, format);
	used += vsnprintf(f->fields + used, sizeof(f->fields) - used, format, args);
	va_end(args);
	if (used >= sizeof(f->fields))
		say_and_exit(1, "too many fields: a defect of this program");
}

/* A small part of the same work: caches, lists and the heap have their form, and its pages are
 * there. Fixed work is a 20th, time a tenth and at most half a second. */
static void warm_up(struct hk_frame *f)
{
	double seconds = f->seconds;
	uint64_t count = f->count;

	if (program->no_warm)
		return;
	f->warming = 1;
	f->seconds = seconds / 10 < 0.5 ? seconds / 10 : 0.5;
	f->count = count / 20 + (count > 0);
	program->run(f);
	f->seconds = seconds;
	f->count = count;
	f->ops = f->wall_s = f->cpu_s = 0;
	f->warming = 0;
}

/* SYMBOL of the very object that serves malloc; another's would purge a heap that nobody uses. */
static void *serving(const char *symbol)
{
	void *found = dlsym(RTLD_DEFAULT, symbol), *serves = dlsym(RTLD_DEFAULT, "malloc");
	Dl_info of_found, of_malloc;

	if (!found || !serves || !dladdr(found, &of_found) || !dladdr(serves, &of_malloc) ||
	    of_found.dli_fbase != of_malloc.dli_fbase)
		return NULL;
	return found;
}

/* Each allocator's own call to give back what it does not need, as its manual has it; 0: none is known. */
static int purge(void)
{
	enum { JEMALLOC_ARENAS_ALL = 4096, TBB_CLEAN_ALL_BUFFERS = 0 };
	void *f;

	if ((f = serving("malloc_trim"))) { /* glibc, hakmem */
		((int (*)(size_t))f)(0);
	} else if ((f = serving("mallctl"))) { /* jemalloc */
		char name[32];

		snprintf(name, sizeof(name), "arena.%d.purge", JEMALLOC_ARENAS_ALL);
		((int (*)(const char *, void *, size_t *, void *, size_t))f)("thread.tcache.flush", NULL, NULL, NULL, 0);
		((int (*)(const char *, void *, size_t *, void *, size_t))f)(name, NULL, NULL, NULL, 0);
	} else if ((f = serving("mi_collect"))) { /* mimalloc */
		((void (*)(bool))f)(true);
	} else if ((f = serving("MallocExtension_ReleaseFreeMemory"))) { /* gperftools */
		((void (*)(void))f)();
	} else if (serving("__TBB_malloc_proxy") && (f = dlsym(RTLD_DEFAULT, "scalable_allocation_command"))) {
		((int (*)(int, void *))f)(TBB_CLEAN_ALL_BUFFERS, NULL); /* its library is another than the proxy */
	} else {
		return 0;
	}
	return 1;
}

static long trimmed_kib(void)
{
	return purge() ? hk_resident_kib() : -1;
}

static void line_print(struct hk_frame *f, long peak, long end, long trimmed)
{
	const struct hk_verify_state *v = hk_verify_result();

	printf("{\"bench\": \"%s\", \"threads\": %d, \"ops\": %.0f, \"seconds\": %.6f, "
	       "\"cpu_seconds\": %.6f, \"ops_per_s\": %.1f, \"peak_rss_kib\": %ld, "
	       "\"end_rss_kib\": %ld, \"trimmed_rss_kib\": ",
	       program->name, f->threads, f->ops, f->wall_s, f->cpu_s,
	       f->wall_s > 0 ? f->ops / f->wall_s : 0, peak, end);
	if (trimmed < 0)
		printf("null");
	else
		printf("%ld", trimmed);
	printf(", \"tables_kib\": %zu", (size_t)table_bytes_most >> 10);
	printf("%s, \"op\": \"%s\", \"fixed_work\": %s, \"quick\": %s, \"params\": {", f->fields,
	       program->op, f->seconds > 0 ? "false" : "true", f->quick ? "true" : "false");
	if (f->seconds > 0)
		printf("\"-s\": %g", f->seconds);
	else
		printf("\"-n\": %llu", (unsigned long long)f->count);
	for (struct hk_param *p = program->params; p && p->name; p++)
		printf(", \"%s\": %llu", p->name, (unsigned long long)p->value);
	printf("}, \"allocator\": \"%s\", \"verified\": %s}\n", v->file,
	       v->wanted ? "true" : "false");
	if (fflush(stdout))
		say_and_exit(1, "standard output: %s", strerror(errno));
}

int hk_frame_main(const struct hk_program *p, int argc, char **argv)
{
	struct hk_frame *f = &frame;

	program = f->program = p;
	int json = parse(f, argc, argv);
	defaults_set(f);
	if (p->prepare)
		p->prepare(f);
	hk_verify_begin_or_exit();
	warm_up(f);
	p->run(f);
	long peak = hk_peak_kib(), end = hk_resident_kib(), trimmed = trimmed_kib();
	peak = peak > end ? peak : end; /* the kernel's mark lags by some pages a CPU */
	hk_verify_end_or_exit();
	line_print(f, peak, end, trimmed);
	if (!json)
		fprintf(stderr, "%s, %d thread(s): %.3f s (%.3f s cpu), %.3f M ops/s, peak %ld KiB, "
			"end %ld KiB, served by %s (%s)\n", p->name, f->threads, f->wall_s, f->cpu_s,
			f->ops / f->wall_s / 1e6, peak, end, hk_verify_result()->file,
			hk_verify_result()->wanted ? "proven" : "by name: no --expect");
	return 0;
}
