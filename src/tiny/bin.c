/* bin.c - the exchange between a thread's bins and its slabs. Holds no policy about time (tick.c)
 * and none about threads that end (park.c). */
#include "tiny/bin.h"

#include "base/check.h"
#include "tiny/loans.h"
#include "tiny/remote.h"

#define BATCH_BYTES 2048u          /* a refill goes on until it has that much ... */
#define WHOLE_LIST 2u               /* a list of up to so many caps is taken whole, ... */
#define WHOLE_MAX_BYTES 256u        /* ... and of such blocks any: in pieces, its order would be lost: see HK_CHAIN_BYTES */
#define EMPTIED 8u                  /* slabs that a flush remembers */
#define SHED_CAPS 32u               /* a long list is walked once for so many caps of blocks that it was over */
#define BATCH_BLOCKS 16u           /* ... or that many */
#define CARVE_FIRST_BYTES 4096u    /* the page that a small program touches */
#define CARVE_BYTES 16384u
#define BIN_FIRST_BYTES 6144u      /* cap of a class to begin with */
#define BIN_MAX_BYTES (8u << 20)   /* and at most, on loan */
#define SELDOM_CAPS 32u            /* a bin that runs over once in so many caps of frees is large enough */
#define EMPTY_CHUNKS_MAX 8u       /* kept in a heap: a class's slabs come and go */
#define EVEN_BYTES 16384u          /* a class of which as many blocks are taken as freed is counted after so many, ... */
#define EVEN_BLOCKS 64u            /* ... though its bin might be over its cap by then, ... */
#define EVEN_LEAST 2u              /* ... and of the largest after so many, but for the first time: free twice is seen */
#define EVEN_LONG 8u               /* so many times in a row, and it is counted after ... */
#define EVEN_LONG_PART 8u          /* ... this part of what the heap may hold, in ... */
#define EVEN_LONG_CLASSES 4u       /* ... so many classes at a time: a thread that sleeps then keeps it */
#define SHARED_BATCH_BYTES 512u
#define SHARED_MAX_BYTES 16384u     /* of a class from the shared heap, before a thread has a slab of its own */

/* ---- partial lists ---- */

static unsigned fullness(const struct hk_slab *slab)
{
	if (!slab->live)
		return 0;
	uint32_t q = slab->live * hk_classes[slab->class_index].quarter >> 16;
	return 1 + (q > 3 ? 3 : q);
}

HK_INLINE bool has_room(const struct hk_slab *slab)
{
	return slab->free || slab->carved < hk_classes[slab->class_index].blocks;
}

void hk_slab_link(struct hk_heap *heap, struct hk_slab *slab)
{
	unsigned c = slab->class_index, f = fullness(slab);
	struct hk_slab **head = &heap->classes[c].partial[f];
	slab->prev = NULL;
	slab->next = *head;
	if (*head)
		(*head)->prev = slab;
	*head = slab;
	slab->list = (uint8_t)(f + 1);
	if (!f)
		heap->empty_chunks += hk_classes[c].chunks;
	hk_store(&heap->partial_mask[c / 64], heap->partial_mask[c / 64] | 1ull << c % 64);
}

void hk_slab_unlink(struct hk_heap *heap, struct hk_slab *slab)
{
	unsigned c = slab->class_index;
	struct hk_class_state *cs = &heap->classes[c];
	if (!slab->list)
		return;
	if (slab->prev)
		slab->prev->next = slab->next;
	else
		cs->partial[slab->list - 1] = slab->next;
	if (slab->next)
		slab->next->prev = slab->prev;
	if (slab->list == 1)
		heap->empty_chunks -= hk_classes[c].chunks;
	slab->list = 0;
	for (unsigned f = 0; f < HK_FULLNESS; f++)
		if (cs->partial[f])
			return;
	hk_store(&heap->partial_mask[c / 64], heap->partial_mask[c / 64] & ~(1ull << c % 64));
}

static void slab_release(struct hk_heap *heap, struct hk_slab *slab)
{
	struct hk_class_state *cs = &heap->classes[slab->class_index];
	hk_slab_unlink(heap, slab);
	if (cs->last == slab)
		cs->last = NULL;
	cs->slabs--;
	heap->slabs--;
	heap->count.slab_released++;
	hk_slab_release(slab);
}

void hk_slabs_release(struct hk_heap *heap, unsigned c)
{
	while (heap->classes[c].partial[0])
		slab_release(heap, heap->classes[c].partial[0]);
}

/* Empty slabs that the heap may keep, in chunks. */
static size_t empty_keep(const struct hk_heap *heap)
{
	if (hk_heap_state(heap) != HK_HEAP_LIVE && !heap->arena)
		return 0;
	return hk_min(1 + heap->slabs / 8, EMPTY_CHUNKS_MAX);
}

/* Moves the slab to the list that it belongs in now. */
static void settle(struct hk_heap *heap, struct hk_slab *slab)
{
	unsigned list = has_room(slab) ? fullness(slab) + 1 : 0;
	if (HK_LIKELY(slab->list == list))
		return;
	hk_slab_unlink(heap, slab);
	if (!list)
		return;
	if (list == 1 && heap->empty_chunks + hk_classes[slab->class_index].chunks > empty_keep(heap))
		return slab_release(heap, slab);
	hk_slab_link(heap, slab);
}

void hk_slab_put(struct hk_heap *heap, struct hk_slab *slab, struct hk_block *head,
		 struct hk_block *tail, uint32_t count)
{
	HK_CHECK(slab->live >= count, "double free, or a corrupt list of free blocks", head);
	tail->next = slab->free;
	slab->free = head;
	slab->live = (uint16_t)(slab->live - count);
	settle(heap, slab);
}

/* ---- refill ---- */

static void even_ends(struct hk_heap *heap, struct hk_class_state *cs)
{
	heap->long_classes -= cs->even == EVEN_LONG;
	cs->even = 0;
}

/* Gives the class's bin the cap that it begins with. */
static void class_open(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	uint32_t size = hk_classes[c].size;
	uint32_t cap = c < HK_TINY_CLASSES ? (uint32_t)hk_max(BIN_FIRST_BYTES / size, 4)
		       : size <= 32768     ? 2
					   : size <= 65536;
	heap->cap_bytes -= (size_t)cs->cap * size;
	while (cap && heap->cap_bytes + (size_t)cap * size > hk_loans_own())
		cap /= 2; /* 0: each free goes to its slab */
	cs->cap = cap;
	heap->cap_bytes += (size_t)cap * size;
}

void hk_bin_quiet(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	if (heap->bins[c].head) {
		hk_bin_cut(heap, c, 0);
		heap->count.bin_quiet++;
	}
	if (cs->cap)
		class_open(heap, c);
	even_ends(heap, cs);
	cs->draining = HK_DRAINS_NOT;
	hk_bin_grant(heap, c, 0, (int32_t)cs->cap);
	hk_slabs_release(heap, c);
}

static struct hk_slab *fullest(struct hk_class_state *cs)
{
	for (unsigned f = HK_FULLNESS; f-- > 1;)
		if (cs->partial[f])
			return cs->partial[f];
	return cs->partial[0];
}

/* Splits LIST behind its first COUNT blocks (it has more); returns the rest. */
static struct hk_block *split(struct hk_block *list, uint32_t count)
{
	while (--count)
		list = list->next;
	struct hk_block *rest = list->next;
	list->next = NULL;
	return rest;
}

/* Takes the slab's free blocks, MOST if there are far more, or carves some. A whole list is taken in
 * O(1), MOST of it by walking. *ZERO: they were never used. */
static struct hk_block *slab_take(struct hk_heap *heap, struct hk_slab *slab, uint32_t most,
				  uint32_t *count, bool *zero)
{
	struct hk_class_state *cs = &heap->classes[slab->class_index];
	struct hk_block *list = slab->free;
	*zero = false;
	if (list) {
		uint32_t n = hk_slab_carved_blocks(slab) - slab->live;
		bool all = n / WHOLE_LIST <= most ||
			   (hk_classes[slab->class_index].size <= WHOLE_MAX_BYTES && !heap->shared);
		slab->free = all ? NULL : split(list, most);
		*count = all ? n : most;
		if (cs->last == slab)
			heap->count.refill_slab++;
		else if (slab->list == 1)
			heap->count.refill_empty++;
		else
			heap->count.refill_partial++;
	} else {
		bool small = cs->slabs <= 1 || heap->shared;
		list = hk_slab_carve(slab, small ? CARVE_FIRST_BYTES : CARVE_BYTES, count);
		*zero = slab->zero;
		heap->count.refill_carve++;
	}
	slab->live = (uint16_t)(slab->live + *count);
	cs->last = slab;
	settle(heap, slab);
	return list;
}

static struct hk_slab *slab_new(struct hk_heap *heap, unsigned c)
{
	struct hk_pool *home = hk_heap_pool(heap), *pool;
	struct hk_slab *slab = HK_UNLIKELY(heap->young) ? hk_youth_slab(heap, c) : NULL;
	bool parked = false;
	if (!slab && !heap->arena)
		parked = (slab = hk_heap_adopt(heap, c, false)) != NULL;
	if (!slab)
		slab = hk_slab_new(home, c, heap);
	if (!slab && heap->arena) /* it has no more: what threads that ended left in it */
		parked = (slab = hk_arena_adopt(heap, c)) != NULL;
	if (!slab) { /* the node has no more: what others have, from the nearest on */
		slab = heap->arena ? NULL : hk_heap_adopt(heap, c, true);
		parked = slab != NULL;
		heap->count.refill_far += parked;
		for (unsigned k = 0; !slab && (pool = hk_pool_next(home, &k));)
			slab = hk_slab_new(pool, c, heap);
		if (!slab)
			return NULL;
		hk_add(&home->count.fallbacks, 1);
	}
	heap->count.refill_parked += parked;
	heap->count.refill_chunk += !parked;
	heap->classes[c].slabs++;
	heap->slabs++;
	hk_slab_link(heap, slab);
	return slab;
}

/* A list of blocks of class C from slabs, WANT of them if that is easy, MOST at most. */
static struct hk_block *gather(struct hk_heap *heap, unsigned c, uint32_t want, uint32_t most,
			       uint32_t *count, bool *zero)
{
	struct hk_class_state *cs = &heap->classes[c];
	struct hk_block *list = NULL;
	uint32_t n = 0;
	while (n < want) {
		struct hk_slab *slab = fullest(cs);
		uint32_t got = 0;
		if (!slab) {
			if (n)
				break;
			slab = slab_new(heap, c);
			if (!slab)
				return NULL;
		}
		struct hk_block *more = slab_take(heap, slab, most, &got, zero);
		HK_ASSERT(more); /* a slab that has room is the only kind in the lists */
		if (list) {
			struct hk_block *tail = list;
			while (tail->next)
				tail = tail->next;
			tail->next = more;
			*zero = false;
		} else {
			list = more;
		}
		n += got;
	}
	*count = n;
	return list;
}

struct hk_block *hk_slabs_take(struct hk_heap *heap, unsigned c, uint32_t want, uint32_t *count)
{
	bool zero;
	struct hk_block *list = gather(heap, c, want, want, count, &zero), *rest;
	if (list && *count > want) {
		struct hk_slab *slab = heap->classes[c].last;
		rest = split(list, want);
		while (rest) { /* others want some as well */
			struct hk_block *next = rest->next;
			hk_slab_put(heap, slab, rest, rest, 1);
			rest = next;
			--*count;
		}
	}
	return list;
}

/* Threads that use a little of each class would have a slab of each, 64 KiB, nearly empty: so they share until they hold
 * a quarter of one. Blocks that share a line with another thread's don't stay with the thread that
 * frees them, and would travel: there a second refill is enough for a slab. */
static bool wants_shared(const struct hk_heap *heap, unsigned c)
{
	const struct hk_class_state *cs = &heap->classes[c];
	if (heap->direct || cs->slabs || c >= HK_TINY_CLASSES)
		return false;
	if (!cs->shared_bytes)
		return true;
	return hk_classes[c].size >= HK_LINE_BYTES && cs->shared_bytes < SHARED_MAX_BYTES;
}

bool hk_bin_refill(struct hk_heap *heap, unsigned c, bool *zero)
{
	struct hk_class_state *cs = &heap->classes[c];
	uint32_t size = hk_classes[c].size, n = 0;
	uint32_t want = (uint32_t)hk_min(hk_max(BATCH_BYTES / size, 1), BATCH_BLOCKS);
	struct hk_block *list = NULL;
	bool fresh = false;
	if (!cs->cap && !cs->used)
		class_open(heap, c);
	cs->used = true;
	cs->refills++;
	if (hk_load(&heap->xqueue) || heap->drain_rest) {
		n = hk_remote_drain(heap, UINT32_MAX, c, (uint32_t)hk_max(cs->cap, want), &list);
		heap->count.refill_remote += n != 0;
	}
	if (!list && wants_shared(heap, c)) {
		uint32_t few = (uint32_t)hk_max(hk_max(SHARED_BATCH_BYTES, cs->shared_bytes / 2) / size, 1);
		list = hk_shared_take(heap->node, c, few, &n);
		heap->count.refill_shared += list != NULL;
		cs->shared_bytes += n * size;
	}
	if (!list)
		list = gather(heap, c, want, (uint32_t)hk_max(cs->cap, want), &n, &fresh);
	if (!list) {
		heap->count.refill_failed++;
		return false;
	}
	if (zero)
		*zero = fresh && n == 1;
	heap->bins[c].head = list;
	heap->count.refill_blocks += n;
	hk_bin_grant(heap, c, n, (int32_t)(cs->cap > n ? hk_max(cs->cap - n, cs->cap / 4) : cs->cap / 4));
	return true;
}

/* ---- flush ---- */

uint32_t hk_bin_length(const struct hk_heap *heap, unsigned c)
{
	const struct hk_class_state *cs = &heap->classes[c];
	const struct hk_bin *bin = &heap->bins[c];
	return cs->counted + (uint32_t)(cs->grant - bin->budget) - bin->pops;
}

void hk_bin_grant(struct hk_heap *heap, unsigned c, uint32_t length, int32_t budget)
{
	struct hk_class_state *cs = &heap->classes[c];
	struct hk_bin *bin = &heap->bins[c];
	heap->count.tls_sll += (uint64_t)((int64_t)cs->grant - bin->budget);
	heap->count.tls_pops += bin->pops;
	bin->pops = 0;
	cs->counted = length;
	cs->grant = bin->budget = budget;
}

void hk_bin_recount(struct hk_heap *heap, unsigned c)
{
	uint32_t n = 0;
	for (const struct hk_block *b = heap->bins[c].head; b; b = b->next)
		n++;
	hk_bin_grant(heap, c, n, 0);
}

/* Gives the first COUNT blocks of *FROM to their slabs, and leaves the rest there. How many were others'. */
static uint32_t flush(struct hk_heap *heap, unsigned c, struct hk_block **from, uint32_t count)
{
	/* An emptied slab may be released, so it waits: a block that was freed twice leads back to it. */
	struct hk_slab *emptied[EMPTIED];
	unsigned waiting = 0;
	struct hk_block *list = *from, *block = list;
	uint32_t remote = 0, n = 0;
	for (; list && n < count; n++) {
		block = list;
		struct hk_slab *slab = hk_slab_of(block, c);
		list = block->next;
		HK_CHECK(slab->class_index == c && hk_slab_has_block(slab, block), "free of a pointer inside a block", block);
		if (HK_UNLIKELY(hk_load(&slab->heap) != heap)) {
			remote++;
			hk_remote_gather(heap, slab, block);
			continue;
		}
		HK_CHECK(slab->live && slab->free != block, "double free, or a corrupt list of free blocks", block);
		block->next = slab->free;
		slab->free = block;
		slab->live--;
		if (HK_LIKELY(slab->live)) {
			settle(heap, slab);
			continue;
		}
		if (waiting == EMPTIED)
			settle(heap, emptied[--waiting]);
		emptied[waiting++] = slab;
	}
	HK_CHECK(n == count, "double free, or a corrupt list of free blocks", block);
	*from = list;
	while (waiting)
		settle(heap, emptied[--waiting]);
	heap->count.flush_remote += remote;
	heap->count.ss_local += n - remote;
	return remote;
}

uint32_t hk_bin_cut(struct hk_heap *heap, unsigned c, uint32_t keep)
{
	struct hk_bin *bin = &heap->bins[c];
	struct hk_block *rest = bin->head;
	uint32_t n = hk_bin_length(heap, c);
	if (n <= keep)
		return 0;
	if (keep)
		rest = split(rest, keep);
	else
		bin->head = NULL;
	uint32_t others = flush(heap, c, &rest, n - keep);
	HK_CHECK(!rest, "double free, or a corrupt list of free blocks", rest);
	heap->classes[c].shed = 0;
	return others;
}

static void shrink(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	uint32_t less = cs->cap / 2;
	heap->cap_bytes -= (size_t)less * hk_classes[c].size;
	cs->cap -= less;
	hk_loans_give_back(heap);
}

/* Doubles the cap if the class and the heap may hold that much. */
static bool grow(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	uint32_t more = cs->cap ? cs->cap : 1;
	size_t bytes = (size_t)more * hk_classes[c].size;
	if (cs->cap * hk_classes[c].size + bytes > BIN_MAX_BYTES || !hk_loans_take(heap, heap->cap_bytes + bytes))
		return false;
	heap->cap_bytes += bytes;
	cs->cap += more;
	heap->count.bin_grown++;
	return true;
}

bool hk_bin_spent(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	if (HK_UNLIKELY(!cs->cap && !cs->used))
		class_open(heap, c);
	cs->used = true;
	uint32_t n = hk_bin_length(heap, c);
	if (cs->draining && !heap->bins[c].pops)
		return false;
	cs->draining = HK_DRAINS_NOT;
	cs->frees += (uint32_t)hk_min(cs->grant - heap->bins[c].budget, INT32_MAX - cs->frees);
	if (n > cs->cap - cs->cap / 8) {
		/* Grows where it runs over and empty in turn, and often: a length that wanders needs the square of the cap to
		 * run over. A program that only frees needs no more. */
		if (!cs->refills || cs->frees / SELDOM_CAPS > cs->cap || !grow(heap, c))
			return false;
		cs->refills = cs->frees = 0;
		if (n > cs->cap - cs->cap / 8)
			return false;
	}
	uint32_t budget = cs->cap - n;
	if (heap->bins[c].pops * 4ull >= (uint32_t)cs->grant * 3ull) {
		size_t bytes = cs->even == EVEN_LONG ? hk_max(hk_loans_own() / EVEN_LONG_PART, EVEN_BYTES) : EVEN_BYTES;
		budget = (uint32_t)hk_max(budget, hk_max(hk_min(bytes / hk_classes[c].size, EVEN_BLOCKS),
							 cs->even ? EVEN_LEAST : 0));
		if (cs->even < EVEN_LONG - (heap->long_classes == EVEN_LONG_CLASSES))
			heap->long_classes += ++cs->even == EVEN_LONG;
	} else {
		even_ends(heap, cs);
	}
	hk_bin_grant(heap, c, n, (int32_t)budget);
	heap->count.bin_granted++;
	return true;
}

void hk_bin_overflow(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	if (HK_UNLIKELY(hk_loans_over_share(heap)))
		shrink(heap, c);
	struct hk_bin *bin = &heap->bins[c];
	bool drains = !bin->pops; /* nothing was taken meanwhile: the program frees */
	uint32_t n = hk_bin_length(heap, c), keep = drains ? 0 : cs->cap / 2, others;
	cs->refills = cs->frees = 0;
	even_ends(heap, cs);
	heap->count.bin_flushed++;
	/* Of a long list the newest go, whose links are in the first cache: cold ones are read at the latency of memory,
	 * one after the other. Now and then all of it is walked nevertheless, to see that it has its length. */
	if (n - keep > 2 * HK_DRAIN_BLOCKS && n <= cs->cap + HK_DRAIN_BLOCKS && cs->shed < SHED_CAPS * cs->cap) {
		struct hk_block *list = bin->head;
		bin->head = NULL; /* a signal handler must not be given what is a slab's already */
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		keep = n - HK_DRAIN_BLOCKS;
		others = flush(heap, c, &list, HK_DRAIN_BLOCKS);
		bin->head = list;
		hk_bin_grant(heap, c, keep, 0);
		cs->shed += HK_DRAIN_BLOCKS;
	} else {
		others = hk_bin_cut(heap, c, keep);
		hk_bin_grant(heap, c, keep, 0);
	}
	cs->draining = !drains ? HK_DRAINS_NOT : others ? HK_DRAINS_OTHERS : HK_DRAINS_OWN;
	if (!drains)
		return hk_bin_grant(heap, c, keep, (int32_t)(cs->cap - keep));
	if (!others)
		return hk_bin_grant(heap, c, keep, (int32_t)hk_min(cs->cap - keep, HK_DRAIN_BLOCKS));
	hk_bin_cut(heap, c, 0); /* from now on each passes at once */
	hk_bin_grant(heap, c, 0, 0);
}
