/* probe.h - what the lab's programs share: the machine's nodes, threads on them, the kernel's answer
 * where pages are, and the closing line that the matrix reads.
 *
 * The programs link nothing of hakmem: the allocator comes by LD_PRELOAD and its questions are looked
 * up by name, so the same program measures any other allocator. Nothing here takes memory from malloc,
 * so that asking does not change what is asked.
 *
 * Nodes are OS node ids throughout; a set of nodes is a mask of the first 64.
 * Exit codes: 0 pass, 1 fail, 77 skipped.
 */
#ifndef HK_TEST_PROBE_H
#define HK_TEST_PROBE_H

#include <hakmem/hakmem.h>

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define NODES_MOST 64

struct probe_node {
	bool online;
	bool usable;   /* has memory, and this process may have it */
	int cpus;      /* that this process may run on */
	cpu_set_t set; /* these */
	int distance[NODES_MOST];
};
extern struct probe_node probe_nodes[NODES_MOST];

/* hakmem's questions; NULL where another allocator serves. */
struct probe_hak {
	int (*node_of)(const void *);
	int (*thread_node)(void);
	int (*policy_set)(const char *);
	void *(*malloc_onnode)(size_t, int);
	int (*numa_stats)(struct hak_numa_node *, unsigned);
	int (*numa_audit)(struct hak_numa_audit *, unsigned);
	int (*audit)(void);
	int (*trim)(size_t);
};
extern struct probe_hak probe_hak;

/* Bytes by where the kernel says they are. */
struct probe_tally {
	uint64_t asked;
	uint64_t off;     /* on no node of the wanted set */
	uint64_t unknown; /* the kernel named no node */
	uint64_t on[NODES_MOST];
};

/* What a program found; probe_end prints it. */
struct probe_result {
	struct probe_tally tally;
	double worst_percent;   /* of a thread's bytes off its node, in its worst round */
	uint64_t wrong_node_of; /* blocks that hak_node_of says are elsewhere */
	bool may_be_forced;     /* bytes off node are right where hakmem counted why */
	bool report;            /* say it, judge nothing */
	bool no_audit;          /* hak_numa_audit asks the kernel, which kills who asks */
	const char *note;       /* of the program's own, or NULL */
};

/* First: nodes, allocator, watchdog of SECONDS. PROGRAM stands in the closing line. */
void probe_begin(const char *program, unsigned seconds);

/* Reads the nodes again, as after a cpuset changed. */
void probe_nodes_read(void);

/* Nodes with CPUs that this process may run on, in order of their ids; returns how many. */
int probe_cpu_nodes(int ids[NODES_MOST]);

/* The node whose memory a thread on NODE gets by first touch: its own, or the nearest usable. */
int probe_home(int node);

/* The calling thread to the CPUs of NODE. */
void probe_pin(int node);

/* The mask of a list as "0-1,3". Ends the program where it is malformed. */
uint64_t probe_mask(const char *list);

/* Writes a byte into each page of it. */
void probe_touch(void *p, size_t size);

/* Where the pages of COUNT blocks are; adds to TALLY. WANTED: mask of the nodes that are right. Many at
 * once, as each question has its price where another process answers. */
struct probe_block {
	char *p;
	size_t size;
};
void probe_ask_all(const struct probe_block *blocks, size_t count, uint64_t wanted,
		   struct probe_tally *tally);
void probe_ask(void *p, size_t size, uint64_t wanted, struct probe_tally *tally);

/* Questions go to a process at the other end of this socket: this one may not ask the kernel. */
void probe_ask_through(int fd);

/* The other end: answers for process PID until the socket is closed. */
void probe_answer(int fd, int pid);

void probe_tally_add(struct probe_tally *to, const struct probe_tally *from);
double probe_percent(const struct probe_tally *tally);

/* Zeroed memory of the program's own, not from malloc. */
void *probe_own(size_t size);

/* Free memory of NODE, in bytes, as the kernel says. */
uint64_t probe_node_free(int node);

/* xorshift64*; sizes log-uniform, as many of each magnitude. */
uint64_t probe_rand(uint64_t *state);
size_t probe_rand_size(uint64_t *state, size_t low, size_t high);

/* Sum of one field over the pools: offsetof(struct hak_numa_node, field). 0 without hakmem. */
uint64_t probe_pools_sum(size_t offset);
#define PROBE_SUM(field) probe_pools_sum(offsetof(struct hak_numa_node, field))

/* False with LAB_REPORT=1: figures are printed of whatever allocator serves, and not judged. Else hakmem
 * must serve malloc, and have its questions about nodes, or the program ends with a failure. */
bool probe_judges(void);

/* A line on standard output, whole, and not through stdio, which allocates. */
void probe_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints the closing line, and returns the exit code for main. */
int probe_end(const struct probe_result *result);

/* A closing line with a reason, and the end with 1, or 77. */
void probe_fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void probe_skip(const char *reason) __attribute__((noreturn));

#define CHECK(cond, ...)                         \
	do {                                     \
		if (!(cond))                     \
			probe_fail(__VA_ARGS__); \
	} while (0)

#endif
