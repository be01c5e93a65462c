/* birth.c - the process's start, a thread's first heap. Ends are in park.c. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "heap/process.h"
#include "numa/node.h"
#include "observe/options.h"
#include "observe/say.h"

#define EXIT_ROUNDS 2u /* of PTHREAD_DESTRUCTOR_ITERATIONS 4: other destructors may still malloc, and
                        * a heap may be born in the first of them */

/* Their tags are random as well: user data stands where a header might be. All zero before the start, when no pointer
 * is ours. */
struct hk_heap hk_heap_unborn, hk_heap_dead;
HK_TLS uint32_t hk_unborn_frees;
HK_TLS struct hk_heap *hk_heap_tls = &hk_heap_unborn;
HK_TLS struct hk_heap *hk_home_tls = &hk_heap_unborn;

struct hk_heap *hk_heap_groups[HK_HEAPS_MAX / HK_HEAP_GROUP];
uint8_t hk_heap_states[HK_HEAPS_MAX];
HK_AT_START uint32_t hk_heaps_made;
HK_AT_START uint32_t hk_heaps_parked;
HK_AT_START struct hk_heap *hk_shared_heaps[HK_NODES_MAX];

static struct hk_heap first_heaps[HK_HEAP_GROUP]; /* a small program maps nothing for them */
HK_AT_START static struct hk_lock start_lock, make_lock;
HK_AT_START static bool started;
HK_AT_START static uint64_t tag_seed;
HK_AT_START static uint64_t tags[HK_NODES_MAX]; /* [C] of each node's heaps */
HK_AT_START static pthread_key_t exit_key;
HK_AT_START static bool exit_key_made;

uint64_t hk_heap_new_tag(void)
{
	HK_AT_START static uint64_t count;
	uint64_t x = tag_seed + (hk_add(&count, 1) + 1) * 0x9e3779b97f4a7c15ull; /* splitmix64, S. Vigna */
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (x ^ x >> 31) | 1;
}

/* Memory for the group of heaps that INDEX belongs to. */
static bool make_memory(uint32_t index)
{
	struct hk_heap **group = &hk_heap_groups[index / HK_HEAP_GROUP];
	hk_lock(&make_lock);
	if (!*group) /* pairs with hk_heap_at */
		hk_store_rel(group, hk_os_table(hk_align_up(sizeof(first_heaps), HK_PAGE_BYTES)));
	hk_unlock(&make_lock);
	return *group != NULL;
}

void hk_heap_tag(struct hk_heap *heap)
{
	heap->pool_tag = tags[heap->node];
	heap->tag_mask = hk_heap_mask(heap->index);
	heap->tag = heap->pool_tag & heap->tag_mask;
}

struct hk_heap *hk_heap_make(unsigned node)
{
	uint32_t index = hk_load(&hk_heaps_made);
	do {
		if (index >= HK_HEAPS_MAX || !make_memory(index))
			return NULL;
	} while (!hk_cas_acq(&hk_heaps_made, &index, index + 1));
	struct hk_heap *heap = hk_heap_at(index);
	heap->index = index;
	hk_store(&heap->node, (uint8_t)node);
	hk_heap_tag(heap);
	heap->pool = &hk_pools[node];
	return heap;
}

/* ---- the process ---- */

static void thread_exit(void *arg)
{
	(void)arg; /* in a forked child it may be the parent's */
	hk_fork_check();
	struct hk_heap *heap = hk_heap_ordinary();
	if (!hk_heap_is_born(heap))
		return hk_heap_take(&hk_heap_dead);
	if (++heap->exit_rounds <= EXIT_ROUNDS) {
		pthread_setspecific(exit_key, heap);
		return;
	}
	hk_heap_take(&hk_heap_dead);
	hk_arenas_leave(heap, NULL);
	hk_heap_park(heap);
}

/* HEAP is one that no thread has: nothing is in it, and no slab is its own. */
static void be_nobodys(struct hk_heap *heap)
{
	heap->index = UINT32_MAX;
	heap->tag_mask = ~0ull;
	hk_store(&heap->tag, hk_heap_new_tag() & ~1ull);
}

static bool start(void)
{
	uint64_t seed[2];
	hk_say_init();
	hk_options_read();
	if (hk_options.verbose && !hk_options.log)
		hk_say_keep();
	hk_node_init();
	if (hk_region_init())
		return false;
	hk_store_rel(&hk_heap_groups[0], first_heaps);
	hk_os_entropy(seed);
	tag_seed = seed[1] ^ hk_region.base;
	be_nobodys(&hk_heap_unborn);
	be_nobodys(&hk_heap_dead);
	for (unsigned node = 0; node < hk_node_count(); node++) {
		tags[node] = hk_heap_new_tag() | 1ull << 63;
		struct hk_heap *heap = hk_heap_make(node);
		heap->shared = 1;
		hk_shared_heaps[node] = heap;
		hk_store_rel(&hk_heap_states[heap->index], HK_HEAP_SHARED);
	}
	hk_fork_start();
	return true;
}

void hk_start_locks_reset(void)
{
	start_lock.owner = make_lock.owner = 0;
}

bool hk_process_init(void)
{
	if (hk_load_acq(&started)) /* pairs with the store below */
		return true;
	if (hk_lock_is_mine(&start_lock))
		return false; /* a signal handler, inside the first allocation */
	hk_lock(&start_lock);
	bool done = started || start();
	if (done)
		hk_store_rel(&started, true);
	hk_unlock(&start_lock);
	return done;
}

/* ---- a thread ---- */

/* A heap that a thread left, on this node. */
static struct hk_heap *claim(unsigned node)
{
	uint32_t made = hk_min(hk_load(&hk_heaps_made), HK_HEAPS_MAX);
	if (!hk_load(&hk_heaps_parked))
		return NULL;
	for (uint32_t i = 0; i < made; i++) {
		uint8_t parked = HK_HEAP_PARKED;
		if (hk_load_acq(&hk_heap_states[i]) != parked || hk_load(&hk_heap_at(i)->node) != node)
			continue;
		/* pairs with the state's store in hk_heap_park */
		if (!hk_cas_acq(&hk_heap_states[i], &parked, HK_HEAP_LIVE))
			continue;
		hk_sub(&hk_heaps_parked, 1);
		struct hk_heap *heap = hk_heap_at(i);
		hk_lock(&heap->lock); /* whoever works on it as a parked one is through now */
		if (heap->orphan)
			hk_heap_settle(heap);
		hk_heap_unpack(heap);
		hk_unlock(&heap->lock);
		return heap;
	}
	return NULL;
}

static struct hk_heap *create(unsigned node)
{
	struct hk_heap *heap = hk_heap_make(node);
	if (!heap)
		return NULL;
	heap->direct = heap->index == hk_node_count(); /* the first thread has no one to share with */
	hk_store_rel(&hk_heap_states[heap->index], HK_HEAP_LIVE);
	return heap;
}

/* A heap of pool NODE for the calling thread: one that a thread left, or a new one; NULL: none left. */
static struct hk_heap *obtain(unsigned node)
{
	bool young = hk_youth_take();
	struct hk_heap *heap = young ? create(node) : claim(node);
	if (!heap) { /* a child's child's child ..: no new ones are left */
		heap = young ? claim(node) : create(node);
		young = false;
	}
	if (!heap)
		return NULL;
	heap->exit_rounds = heap->drift = heap->busy = 0;
	heap->policy_mask = 0;
	heap->pushes = 0;
	memset(heap->seats, 0, sizeof(heap->seats)); /* of the thread that had it before */
	heap->ticked_ms = hk_os_clock_ms();
	if (HK_UNLIKELY(young))
		hk_youth_begin(heap);
	return heap;
}

static HK_TLS bool being_born; /* [O] */

struct hk_heap *hk_heap_birth(void)
{
	struct hk_heap *heap;
	int saved = errno;
	if (hk_heap_tls == &hk_heap_dead || !hk_process_init())
		return NULL;
	if (hk_lock_is_mine(&make_lock))
		return NULL; /* a signal handler, inside this thread's birth */
	hk_fork_check();
	if (being_born)
		return NULL; /* likewise: it may have locks */
	being_born = true;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	heap = obtain(hk_node_here());
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	being_born = false;
	errno = saved;
	if (!heap)
		return NULL;
	heap->count.heap_births++;
	if (HK_UNLIKELY(hk_heap_is_born(hk_home_tls))) { /* a signal handler was here meanwhile */
		hk_heap_park(heap);
		errno = saved;
		return hk_home_tls;
	}
	hk_heap_take(heap);
	/* From here on this thread's allocations are served: both calls below may make some. */
	if (!hk_load_acq(&exit_key_made)) {
		hk_lock(&make_lock);
		if (!exit_key_made)
			hk_store_rel(&exit_key_made, !pthread_key_create(&exit_key, thread_exit));
		hk_unlock(&make_lock);
	}
	if (exit_key_made)
		pthread_setspecific(exit_key, heap);
	errno = saved;
	return heap;
}

/* ---- threads that change their node ---- */

#define DRIFT_CALLS 4u /* slow paths in a row elsewhere, and ... */
#define DRIFT_MS 10u   /* ... so long, before a thread follows: oversubscribed sockets would thrash */

struct hk_heap *hk_heap_move(struct hk_heap *heap, unsigned node)
{
	int saved = errno;
	struct hk_heap *to = obtain(node);
	if (!to)
		return heap;
	to->policy_mask = heap->policy_mask;
	to->exit_rounds = heap->exit_rounds;
	to->count.heap_moves++;
	to->busy = 1; /* a signal handler that mallocs is served apart until the old heap is parked */
	hk_heap_take(to);
	hk_arenas_leave(heap, to);
	hk_heap_park(heap);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	to->busy = 0;
	if (exit_key_made)
		pthread_setspecific(exit_key, to); /* may allocate */
	errno = saved;
	return to;
}

void hk_heap_follow(struct hk_heap *heap)
{
	unsigned node = hk_heap_home(heap);
	if (HK_LIKELY(node == heap->node)) {
		heap->drift = 0;
		return;
	}
	if (!heap->drift++)
		heap->drift_since_ms = hk_os_clock_ms();
	if (heap->drift < DRIFT_CALLS)
		return;
	heap->drift = DRIFT_CALLS;
	if (hk_heap_tls == heap && !heap->pushes && hk_os_clock_ms() - heap->drift_since_ms >= DRIFT_MS)
		hk_heap_move(heap, node);
}
