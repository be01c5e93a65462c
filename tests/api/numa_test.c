/* numa_test.c - the hak_ functions about nodes, on whatever machine this is. Where it has one node, all
 * of them work and answer for that one. Other machines are tests/numa's. */
#define _GNU_SOURCE
#include "cm.h"
#include "support.h"

#include "../../include/hakmem/hakmem.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The declared type, the address found by name: nothing of hakmem is linked. */
#define TWIN(name) ((__typeof__(&name))must_have(#name))

enum { POOLS_MOST = 64 };

static struct hak_numa_node nodes[POOLS_MOST];
static int pools;

static void *must_have(const char *name)
{
	void *p = test_symbol(name);

	CHECK(p, "%s is not exported", name);
	return p;
}

static void look(void)
{
	pools = TWIN(hak_numa_stats)(nodes, POOLS_MOST);
	CHECK(pools >= 1 && pools <= POOLS_MOST, "%d pools", pools);
}

/* The node's place among the pools, or -1. */
static int pool_of(int node)
{
	int i;

	for (i = 0; i < pools; i++)
		if (nodes[i].node == node)
			return i;
	return -1;
}

static void test_blocks_of_each_node(void **state)
{
	static const size_t sizes[] = {0, 1, 100, 1024, 9000, 64 * KIB, 600 * KIB, 3 * MIB};
	void *p;
	size_t s;
	int i;

	(void)state;
	for (i = 0; i < pools; i++)
		for (s = 0; nodes[i].node >= 0 && s < COUNT_OF(sizes); s++) {
			p = TWIN(hak_malloc_onnode)(sizes[s], nodes[i].node);
			CHECK(p, "no block of %zu on node %d", sizes[s], nodes[i].node);
			CHECK(TWIN(hak_malloc_usable_size)(p) >= sizes[s], "usable size");
			CHECK(TWIN(hak_node_of)(p) == nodes[i].node, "%zu bytes for node %d are of %d", sizes[s],
			      nodes[i].node, TWIN(hak_node_of)(p));
			pat_fill(p, sizes[s], 7);
			pat_check(p, sizes[s], 7);
			if (s % 2)
				free(p);
			else
				TWIN(hak_free)(p);
		}
}

static void test_nodes_that_there_are_not(void **state)
{
	static const int ids[] = {-1, -2, 1, 2, 63, 64, 1023, 1024, 65536, INT_MAX, INT_MIN};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT_OF(ids); i++) {
		if (ids[i] >= 0 && pool_of(ids[i]) >= 0)
			continue;
		errno = 0;
		CHECK(!TWIN(hak_malloc_onnode)(100, ids[i]), "a block of node %d", ids[i]);
		CHECK(errno == EINVAL, "node %d: errno %d", ids[i], errno);
	}
	errno = 0;
	CHECK(!TWIN(hak_malloc_onnode)(test_hide_size((size_t)PTRDIFF_MAX + 1), nodes[0].node) && errno == ENOMEM,
	      "beyond PTRDIFF_MAX: errno %d", errno);
}

static void test_node_of_what_is_not_ours(void **state)
{
	void *own = own_memory(4096);
	int local;

	(void)state;
	CHECK(TWIN(hak_node_of)(NULL) == -1, "NULL");
	CHECK(TWIN(hak_node_of)(&local) == -1, "the stack");
	CHECK(TWIN(hak_node_of)(&nodes) == -1, "data");
	CHECK(TWIN(hak_node_of)(own) == -1, "a mapping");
	CHECK(TWIN(hak_node_of)((void *)-1) == -1, "garbage");
}

static void test_thread_takes_from_its_node(void **state)
{
	int node = TWIN(hak_thread_node)();
	void *p = malloc(100000);

	(void)state;
	CHECK(p, "malloc");
	CHECK(pool_of(node) >= 0, "the thread is of node %d, which has no pool", node);
	if (pools == 1)
		CHECK(TWIN(hak_node_of)(p) == node && node == nodes[0].node, "node %d, block of %d", node,
		      TWIN(hak_node_of)(p));
	free(p);
}

static void test_policies(void **state)
{
	static const char *const good[] = {"local", "interleave", "weighted", "auto"};
	static const char *const bad[] = {
		"", " ", "Local", "locally", "off", "bind", "bind=", "bind=x", "bind=1-0", "bind=0,", "bind=0 1",
		"bind=1023", "bind=1024", "bind=0-1023", "bind=99999999999999999999", "preferred", "preferred=",
		"preferred=x", "preferred=0,1", "preferred=1023", "interleave=0", "weighted=0", "default"};
	char one[40];
	size_t i;
	void *p;

	(void)state;
	for (i = 0; i < COUNT_OF(bad); i++)
		CHECK(TWIN(hak_numa_policy_set)(bad[i]) == -EINVAL, "'%s' is %d", bad[i],
		      TWIN(hak_numa_policy_set)(bad[i]));
	for (i = 0; i < COUNT_OF(good) + 2; i++) {
		snprintf(one, sizeof(one), i % 2 ? "bind=%d" : "preferred=%d", nodes[0].node);
		if (i >= 2)
			snprintf(one, sizeof(one), "%s", good[i - 2]);
		CHECK(TWIN(hak_numa_policy_set)(one) == 0, "'%s' is refused", one);
		p = malloc(5000);
		CHECK(p, "no block under '%s'", one);
		if (i < 2)
			CHECK(TWIN(hak_thread_node)() == nodes[0].node, "'%s' gives node %d", one,
			      TWIN(hak_thread_node)());
		free(p);
	}
}

static void test_stats(void **state)
{
	struct hak_numa_node before, *after;
	void *p;
	int i;

	(void)state;
	before = nodes[0];
	p = TWIN(hak_malloc_onnode)(16 * MIB, before.node);
	CHECK(p, "no block");
	look();
	after = &nodes[0];
	CHECK(after->used_bytes >= before.used_bytes + 16 * MIB, "in use %llu, then %llu",
	      (unsigned long long)before.used_bytes, (unsigned long long)after->used_bytes);
	CHECK(after->supers >= before.supers + 8, "%llu SuperSlabs, then %llu", (unsigned long long)before.supers,
	      (unsigned long long)after->supers);
	for (i = 0; i < pools; i++)
		CHECK(nodes[i].committed_bytes >= nodes[i].used_bytes + nodes[i].warm_bytes &&
			      nodes[i].committed_bytes >= nodes[i].hugetlb_bytes,
		      "node %d", nodes[i].node);
	free(p);
	/* Entries beyond the count stay as they are. */
	memset(nodes, 0x55, sizeof(nodes));
	CHECK(TWIN(hak_numa_stats)(NULL, 0) == pools, "the number of pools");
	CHECK(TWIN(hak_numa_stats)(nodes, 1) == pools && nodes[1].node == 0x55555555, "one entry");
	look();
	if (pools > 1) {
		test_skip_part("this machine has several nodes: tests/numa looks at their figures");
		return;
	}
	CHECK(nodes[0].node >= 0 && nodes[0].allowed == 1, "node %d, allowed %u", nodes[0].node, nodes[0].allowed);
	CHECK(nodes[0].fallbacks + nodes[0].remote_adoptions + nodes[0].migrations == 0, "there is no other pool");
}

static void *free_all(void *arg)
{
	void **p = arg;
	int i;

	for (i = 0; i < 1000; i++)
		free(p[i]);
	return NULL;
}

static void test_remote_frees_are_counted(void **state)
{
	static void *p[1000];
	unsigned long long before = 0, after = 0;
	pthread_t thread;
	int i;

	(void)state;
	for (i = 0; i < pools; i++)
		before += nodes[i].remote_frees;
	for (i = 0; i < 1000; i++)
		CHECK((p[i] = malloc(48)), "malloc");
	CHECK(pthread_create(&thread, NULL, free_all, p) == 0, "pthread_create");
	pthread_join(thread, NULL);
	look();
	for (i = 0; i < pools; i++)
		after += nodes[i].remote_frees;
	CHECK(after >= before + 900, "%llu remote frees, then %llu", before, after);
}

static void test_audit(void **state)
{
	struct {
		struct hak_numa_audit a;
		uint64_t behind;
	} big = {.behind = 42};
	struct hak_numa_audit a = {.size_bytes = 0};
	const size_t size = 32 * MIB;
	char *p = malloc(size);
	int rc;

	(void)state;
	CHECK(p, "malloc");
	memset(p, 1, size);
	CHECK(TWIN(hak_numa_audit)(&a, 1000) == -EINVAL, "size 0");
	a.size_bytes = sizeof(size_t) - 1;
	CHECK(TWIN(hak_numa_audit)(&a, 1000) == -EINVAL, "size 7");
	memset(&a, 0x33, sizeof(a));
	a.size_bytes = sizeof(size_t);
	rc = TWIN(hak_numa_audit)(&a, 10000);
	if (rc == -EPERM || rc == -ENOSYS) {
		test_skip_part("the kernel does not say where pages are");
		free(p);
		return;
	}
	CHECK(rc == 0 && a.pages_asked == 0x3333333333333333, "size 8: %d", rc);
	big.a.size_bytes = sizeof(big);
	rc = TWIN(hak_numa_audit)(&big.a, 10000);
	CHECK(rc == 0 && big.behind == 42 && big.a.size_bytes == sizeof(big), "a larger structure: %d", rc);
	CHECK(big.a.supers_seen >= size / (2 * MIB), "%llu SuperSlabs", (unsigned long long)big.a.supers_seen);
	CHECK(big.a.supers_skipped == 0, "%llu left out", (unsigned long long)big.a.supers_skipped);
	rc = TWIN(hak_numa_audit)(&big.a, UINT_MAX);
	CHECK(rc == 0 && big.a.supers_skipped == 0, "without a limit: %llu left out", (unsigned long long)big.a.supers_skipped);
	CHECK(big.a.pages_asked >= big.a.supers_seen, "%llu pages", (unsigned long long)big.a.pages_asked);
	CHECK(big.a.resident_bytes >= size, "%llu bytes", (unsigned long long)big.a.resident_bytes);
	CHECK(big.a.off_node_bytes <= big.a.resident_bytes && big.a.forced_bytes <= big.a.off_node_bytes, "sums");
	if (pools == 1)
		CHECK(big.a.off_node_bytes == 0, "%llu bytes off the only node",
		      (unsigned long long)big.a.off_node_bytes);
	free(p);
}

static void test_child(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		void *p = TWIN(hak_malloc_onnode)(100, nodes[0].node);

		_exit(!(p && TWIN(hak_node_of)(p) == nodes[0].node && TWIN(hak_numa_policy_set)("auto") == 0 &&
			TWIN(hak_numa_stats)(nodes, POOLS_MOST) == pools));
	}
	child_must_pass(pid, "a child");
}

static pthread_key_t late_key;
static void *late_block;
static int late_error;

/* The last round of destructors, when the thread's heap is gone. */
static void asks_late(void *round)
{
	if ((uintptr_t)round < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(late_key, (char *)round + 1);
		return;
	}
	free(malloc(1));
	errno = 0;
	late_block = TWIN(hak_malloc_onnode)(SIZE_MAX - 100, nodes[0].node);
	late_error = errno;
}

static void *asks_at_its_end(void *arg)
{
	free(malloc(1));
	pthread_setspecific(late_key, (void *)1);
	return arg;
}

static void test_sizes_that_overflow(void **state)
{
	pthread_t t;

	(void)state;
	errno = 0;
	CHECK(!TWIN(hak_malloc_onnode)(SIZE_MAX - 100, nodes[0].node) && errno == ENOMEM, "errno %d", errno);
	CHECK(!pthread_key_create(&late_key, asks_late) && !pthread_create(&t, NULL, asks_at_its_end, NULL), "no thread");
	pthread_join(t, NULL);
	CHECK(!late_block && late_error == ENOMEM, "past the thread's end: %p, errno %d", late_block, late_error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks_of_each_node),
		cmocka_unit_test(test_nodes_that_there_are_not),
		cmocka_unit_test(test_node_of_what_is_not_ours),
		cmocka_unit_test(test_thread_takes_from_its_node),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_remote_frees_are_counted),
		cmocka_unit_test(test_audit),
		cmocka_unit_test(test_child),
		cmocka_unit_test(test_sizes_that_overflow),
	};

	test_begin();
	if (test_served() != SERVED_HAKMEM)
		test_skip("hakmem does not serve here, so there are no hak_ names");
	look();
	if (cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return test_end();
}
