/* probe.c - see probe.h. Where pages are is asked with move_pages(2) that moves nothing. What it does
 * not do: go through libnuma, which hides what the kernel answers. */
#define _GNU_SOURCE
#include "probe.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 512 };

/* Up to `page` is what goes over the socket; `status` comes back. */
struct question {
	size_t count;
	void *page[BATCH];
	int status[BATCH];
	size_t bytes[BATCH]; /* of the block in that page */
};

struct probe_node probe_nodes[NODES_MOST];
struct probe_hak probe_hak;
static const char *program_name;
static char allocator[64];
static int ask_fd = -1;
static pthread_mutex_t ask_lock = PTHREAD_MUTEX_INITIALIZER;

void probe_say(const char *fmt, ...)
{
	char line[1200];
	const char *at = line;
	va_list args;
	size_t left;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line) - 1, fmt, args);
	va_end(args);
	left = strlen(line);
	line[left++] = '\n';
	while (left) {
		ssize_t n = write(STDOUT_FILENO, at, left);

		if (n <= 0)
			return;
		at += n;
		left -= (size_t)n;
	}
}

static void end_early(const char *verdict, const char *why)
{
	probe_say(
		"{\"program\": \"%s\", \"allocator\": \"%s\", \"verdict\": \"%s\", \"why\": \"%s\"}",
		program_name, allocator, verdict, why);
}

void probe_fail(const char *fmt, ...)
{
	char why[700];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	end_early("fail", why);
	_exit(1);
}

void probe_skip(const char *reason)
{
	end_early("skip", reason);
	_exit(77);
}

/* Content of a small file of /sys or /proc, without its line end; empty where there is none. */
static const char *slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	return text;
}

/* Calls EACH for every number of a list as "0-1,3"; false where it is malformed. */
static bool list_walk(const char *list, void (*each)(int, void *), void *arg)
{
	while (*list) {
		char *end;
		long low = strtol(list, &end, 10), high = low;

		if (end == list)
			return false;
		if (*end == '-') {
			list = end + 1;
			high = strtol(list, &end, 10);
			if (end == list)
				return false;
		}
		for (; low <= high; low++)
			each((int)low, arg);
		if (*end && *end != ',')
			return false;
		list = *end ? end + 1 : end;
	}
	return true;
}

static void mask_add(int number, void *mask)
{
	if (number >= 0 && number < NODES_MOST)
		*(uint64_t *)mask |= (uint64_t)1 << number;
}

uint64_t probe_mask(const char *list)
{
	uint64_t mask = 0;

	CHECK(list_walk(list, mask_add, &mask) && mask, "not a list of nodes: %s", list);
	return mask;
}

static void cpu_add(int cpu, void *arg)
{
	struct probe_node *node = arg;
	cpu_set_t mine;

	/* asked of the main thread: others may be pinned */
	if (sched_getaffinity(getpid(), sizeof(mine), &mine) == 0 && CPU_ISSET(cpu, &mine)) {
		CPU_SET(cpu, &node->set);
		node->cpus++;
	}
}

/* The kernel's own list of nodes that this process may have memory of; from /proc, as the system call
 * may be denied. */
static uint64_t nodes_allowed(void)
{
	char text[8192], *at;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	at = strstr(text, "Mems_allowed_list:");
	CHECK(at, "no Mems_allowed_list in /proc/self/status");
	at += strlen("Mems_allowed_list:");
	at += strspn(at, " \t");
	at[strcspn(at, "\n")] = 0;
	return probe_mask(at);
}

static void node_read(int id, uint64_t with_memory)
{
	struct probe_node *node = &probe_nodes[id];
	char path[96], text[4096], *at = text;
	int other;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", id);
	node->cpus = 0;
	CPU_ZERO(&node->set);
	list_walk(slurp(path, text, sizeof(text)), cpu_add, node);
	node->usable = with_memory >> id & 1;
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/distance", id);
	slurp(path, text, sizeof(text));
	/* one number for each online node, in order of the ids */
	for (other = 0; other < NODES_MOST; other++)
		node->distance[other] = probe_nodes[other].online ? (int)strtol(at, &at, 10) : 0;
}

void probe_nodes_read(void)
{
	char text[256];
	uint64_t online, memory;
	int id;

	online = probe_mask(slurp("/sys/devices/system/node/online", text, sizeof(text)));
	memory = probe_mask(slurp("/sys/devices/system/node/has_memory", text, sizeof(text)));
	memory &= nodes_allowed();
	for (id = 0; id < NODES_MOST; id++)
		probe_nodes[id].online = online >> id & 1;
	for (id = 0; id < NODES_MOST; id++)
		if (probe_nodes[id].online)
			node_read(id, memory);
}

static void hak_find(void)
{
	static const struct {
		const char *name;
		void *to;
	} wanted[] = {
		{"hak_node_of", &probe_hak.node_of},
		{"hak_thread_node", &probe_hak.thread_node},
		{"hak_numa_policy_set", &probe_hak.policy_set},
		{"hak_malloc_onnode", &probe_hak.malloc_onnode},
		{"hak_numa_stats", &probe_hak.numa_stats},
		{"hak_numa_audit", &probe_hak.numa_audit},
		{"hak_audit", &probe_hak.audit},
		{"hak_malloc_trim", &probe_hak.trim},
	};
	size_t i;

	for (i = 0; i < COUNT_OF(wanted); i++) {
		void *found = dlsym(RTLD_DEFAULT, wanted[i].name);

		memcpy(wanted[i].to, &found, sizeof(found));
	}
}

void probe_begin(const char *program, unsigned seconds)
{
	Dl_info info;
	/* &malloc may be a stub of the program itself */
	void *serves = dlsym(RTLD_DEFAULT, "malloc");

	program_name = program;
	alarm(seconds);
	if (serves && dladdr(serves, &info) && info.dli_fname) {
		const char *slash = strrchr(info.dli_fname, '/');

		snprintf(allocator, sizeof(allocator), "%s", slash ? slash + 1 : info.dli_fname);
	}
	hak_find();
	probe_nodes_read();
}

bool probe_judges(void)
{
	if (getenv("LAB_REPORT"))
		return false;
	CHECK(probe_hak.audit, "hakmem does not serve malloc here");
	CHECK(probe_hak.numa_audit && probe_hak.numa_stats && probe_hak.node_of &&
		      probe_hak.thread_node,
	      "the library has no questions about nodes");
	return true;
}

int probe_cpu_nodes(int ids[NODES_MOST])
{
	int id, count = 0;

	for (id = 0; id < NODES_MOST; id++)
		if (probe_nodes[id].online && probe_nodes[id].cpus)
			ids[count++] = id;
	return count;
}

int probe_home(int node)
{
	int id, best = -1;

	if (probe_nodes[node].usable)
		return node;
	for (id = 0; id < NODES_MOST; id++)
		if (probe_nodes[id].usable &&
		    (best < 0 || probe_nodes[node].distance[id] < probe_nodes[node].distance[best]))
			best = id;
	CHECK(best >= 0, "no node has memory for this process");
	return best;
}

void probe_pin(int node)
{
	CHECK(sched_setaffinity(0, sizeof(cpu_set_t), &probe_nodes[node].set) == 0,
	      "cannot run on node %d: %s", node, strerror(errno));
}

void probe_touch(void *p, size_t size)
{
	volatile char *at = p;
	size_t i;

	for (i = 0; i < size; i += PAGE)
		at[i] = 1;
	at[size - 1] = 1;
}

/* Exactly LENGTH bytes to or from the socket. */
static bool transfer(int fd, void *data, size_t length, bool out)
{
	char *at = data;

	while (length) {
		ssize_t n = out ? send(fd, at, length, MSG_NOSIGNAL) : recv(fd, at, length, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

static void ask_kernel(int pid, struct question *q)
{
	long rc = syscall(SYS_move_pages, pid, q->count, q->page, NULL, q->status, 0);

	CHECK(rc == 0, "move_pages: %s", strerror(errno));
}

static void ask_pages(struct question *q)
{
	if (ask_fd < 0) {
		ask_kernel(0, q);
		return;
	}
	pthread_mutex_lock(&ask_lock);
	CHECK(transfer(ask_fd, q, offsetof(struct question, page) + q->count * sizeof(q->page[0]),
		       true) &&
		      transfer(ask_fd, q->status, q->count * sizeof(q->status[0]), false),
	      "nobody answers on the socket");
	pthread_mutex_unlock(&ask_lock);
}

void probe_ask_through(int fd)
{
	ask_fd = fd;
}

void probe_answer(int fd, int pid)
{
	static struct question q;

	while (transfer(fd, &q.count, sizeof(q.count), false)) {
		CHECK(q.count <= BATCH && transfer(fd, q.page, q.count * sizeof(q.page[0]), false),
		      "a broken question");
		ask_kernel(pid, &q);
		if (!transfer(fd, q.status, q.count * sizeof(q.status[0]), true))
			return;
	}
}

static void question_end(struct question *q, uint64_t wanted, struct probe_tally *tally)
{
	size_t i;

	if (q->count)
		ask_pages(q);
	for (i = 0; i < q->count; i++) {
		int node = q->status[i];

		tally->asked += q->bytes[i];
		if (node < 0 || node >= NODES_MOST) {
			tally->unknown += q->bytes[i];
			continue;
		}
		tally->on[node] += q->bytes[i];
		if (!(wanted >> node & 1))
			tally->off += q->bytes[i];
	}
	q->count = 0;
}

void probe_ask_all(const struct probe_block *blocks, size_t count, uint64_t wanted,
		   struct probe_tally *tally)
{
	struct question q;
	size_t i;

	q.count = 0;
	for (i = 0; i < count; i++) {
		uintptr_t at = (uintptr_t)blocks[i].p, end = at + blocks[i].size;

		while (at < end) {
			uintptr_t next = (at | (PAGE - 1)) + 1;

			next = next < end ? next : end;
			q.page[q.count] = (void *)(at & ~(PAGE - 1));
			q.bytes[q.count++] = next - at;
			at = next;
			if (q.count == BATCH)
				question_end(&q, wanted, tally);
		}
	}
	question_end(&q, wanted, tally);
}

void probe_ask(void *p, size_t size, uint64_t wanted, struct probe_tally *tally)
{
	struct probe_block block = {p, size};

	probe_ask_all(&block, 1, wanted, tally);
}

void probe_tally_add(struct probe_tally *to, const struct probe_tally *from)
{
	int id;

	to->asked += from->asked;
	to->off += from->off;
	to->unknown += from->unknown;
	for (id = 0; id < NODES_MOST; id++)
		to->on[id] += from->on[id];
}

double probe_percent(const struct probe_tally *tally)
{
	return tally->asked ? 100.0 * (double)tally->off / (double)tally->asked : 0.0;
}

void *probe_own(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED, "no %zu bytes for the program itself", size);
	return p;
}

uint64_t probe_node_free(int node)
{
	char path[96], text[4096];
	char *at;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	at = strstr(text, "MemFree:");
	CHECK(at, "no MemFree in %s", path);
	return strtoull(at + strlen("MemFree:"), NULL, 10) * KIB;
}

uint64_t probe_rand(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717ull;
}

size_t probe_rand_size(uint64_t *state, size_t low, size_t high)
{
	unsigned steps = 63 - (unsigned)__builtin_clzll(high / low);
	size_t from = low << probe_rand(state) % (steps ? steps : 1);

	return from + probe_rand(state) % (from + 1);
}

uint64_t probe_pools_sum(size_t offset)
{
	struct hak_numa_node pools[NODES_MOST];
	uint64_t sum = 0, value;
	int i, count;

	if (!probe_hak.numa_stats)
		return 0;
	count = probe_hak.numa_stats(pools, COUNT_OF(pools));
	for (i = 0; i < count && i < (int)COUNT_OF(pools); i++) {
		memcpy(&value, (char *)&pools[i] + offset, sizeof(value));
		sum += value;
	}
	return sum;
}

/* What the library says of itself; the kernel may not answer it. */
static int audit(const struct probe_result *r, struct hak_numa_audit *said)
{
	memset(said, 0, sizeof(*said));
	said->size_bytes = sizeof(*said);
	if (!probe_hak.numa_audit || r->no_audit)
		return -ENOSYS;
	return probe_hak.numa_audit(said, 10000);
}

/* What the stats say of pages, who ask the kernel for a shorter time, fits what the audit said. */
static bool stats_fit(const struct hak_numa_audit *said)
{
	if (!probe_hak.numa_stats || probe_hak.numa_stats(NULL, 0) < 2)
		return true;
	return (PROBE_SUM(resident_bytes) > 0) == (said->resident_bytes > 0) &&
	       PROBE_SUM(elsewhere_bytes) <= said->off_node_bytes;
}

static const char *judge(const struct probe_result *r, const struct hak_numa_audit *said, int rc,
			 char *why, size_t size)
{
	uint64_t unexplained = said->off_node_bytes - said->forced_bytes;

	if (r->may_be_forced && PROBE_SUM(fallbacks))
		unexplained = 0;
	why[0] = 0;
	if (r->report)
		return "report";
	if (r->tally.unknown)
		snprintf(why, size, "the kernel named no node for %llu bytes",
			 (unsigned long long)r->tally.unknown);
	else if (r->wrong_node_of)
		snprintf(why, size, "hak_node_of is wrong for %llu blocks",
			 (unsigned long long)r->wrong_node_of);
	else if (!rc && !stats_fit(said))
		snprintf(why, size, "stats: %llu bytes of %llu elsewhere, audit: %llu of %llu",
			 (unsigned long long)PROBE_SUM(elsewhere_bytes),
			 (unsigned long long)PROBE_SUM(resident_bytes),
			 (unsigned long long)said->off_node_bytes,
			 (unsigned long long)said->resident_bytes);
	else if (unexplained)
		snprintf(why, size, "the audit finds %llu bytes off node, %llu of them forced",
			 (unsigned long long)said->off_node_bytes,
			 (unsigned long long)said->forced_bytes);
	else if (r->tally.off && !r->may_be_forced)
		snprintf(why, size, "%llu bytes off node", (unsigned long long)r->tally.off);
	else if (r->tally.off && !said->forced_bytes && !PROBE_SUM(fallbacks))
		snprintf(why, size, "%llu bytes off node and nothing counted says why",
			 (unsigned long long)r->tally.off);
	else
		return r->tally.off ? "forced" : "pass";
	return "fail";
}

int probe_end(const struct probe_result *r)
{
	struct hak_numa_audit said;
	int rc = audit(r, &said);
	char why[256];
	const char *verdict = judge(r, &said, rc, why, sizeof(why));

	probe_say(
		"{\"program\": \"%s\", \"allocator\": \"%s\", \"asked_bytes\": %llu, \"off_bytes\": %llu, "
		"\"worst_percent\": %.2f, \"percent\": %.2f, \"audit\": %d, \"audit_off_bytes\": %llu, "
		"\"audit_forced_bytes\": %llu, \"fallbacks\": %llu, \"remote_adoptions\": %llu, "
		"\"migrations\": %llu, \"verdict\": \"%s\", \"why\": \"%s\", \"note\": \"%s\"}",
		program_name, allocator, (unsigned long long)r->tally.asked,
		(unsigned long long)r->tally.off, r->worst_percent, probe_percent(&r->tally), rc,
		(unsigned long long)said.off_node_bytes, (unsigned long long)said.forced_bytes,
		(unsigned long long)PROBE_SUM(fallbacks),
		(unsigned long long)PROBE_SUM(remote_adoptions),
		(unsigned long long)PROBE_SUM(migrations), verdict, why, r->note ? r->note : "");
	return strcmp(verdict, "fail") == 0;
}
