/* bin.c - the exchange between a thread's bins and its slabs. Holds no policy about time (tick.c)
 * and none about threads that end (park.c). */
#include "tiny/bin.h"

#include "base/check.h"
#include "observe/options.h"
#include "tiny/remote.h"

#define BATCH_BYTES 2048u          /* a refill goes on until it has that much ... */
#define WHOLE_LIST 4u               /* a list of up to so many caps is taken whole */
#define BATCH_BLOCKS 16u           /* ... or that many */
#define CARVE_FIRST_BYTES 4096u    /* the page that a small program touches */
#define CARVE_BYTES 16384u
#define BIN_FIRST_BYTES 6144u      /* cap of a class to begin with */
#define BIN_MAX_BYTES (256u << 10) /* and at most */
#define MEDIUM_BIN_MAX_BYTES (128u << 10)
#define EMPTY_CHUNKS_MAX 32u       /* kept in a heap: a class's slabs come and go */
#define SHARED_BATCH_BYTES 512u

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
	if (hk_heap_state(heap) != HK_HEAP_LIVE)
		return 0;
	return hk_min(1 + heap->slabs / 2, EMPTY_CHUNKS_MAX);
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
	slab->live -= count;
	settle(heap, slab);
}

/* ---- refill ---- */

/* Gives the class's bin the cap that it begins with. */
static void class_open(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	uint32_t size = hk_classes[c].size;
	heap->cap_bytes -= (size_t)cs->cap * size;
	if (c < HK_TINY_CLASSES)
		cs->cap = (uint32_t)hk_max(BIN_FIRST_BYTES / size, 4);
	else
		cs->cap = size <= 32768 ? 2 : size <= 65536;
	heap->cap_bytes += (size_t)cs->cap * size;
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
		bool all = n / WHOLE_LIST <= most;
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
	slab->live += *count;
	cs->last = slab;
	settle(heap, slab);
	return list;
}

static struct hk_slab *slab_new(struct hk_heap *heap, unsigned c)
{
	struct hk_slab *slab = hk_heap_adopt(heap, c);
	if (slab) {
		heap->count.refill_parked++;
	} else {
		slab = hk_slab_new(hk_heap_pool(heap), c, heap);
		if (!slab)
			return NULL;
		heap->count.refill_chunk++;
	}
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
		if (!more)
			continue; /* what was left lay under the header */
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
	if (!list && !heap->direct && !cs->slabs && cs->refills == 1 && c < HK_TINY_CLASSES) {
		uint32_t few = (uint32_t)hk_max(SHARED_BATCH_BYTES / size, 1);
		list = hk_shared_take(heap->node, c, few, &n);
		heap->count.refill_shared += list != NULL;
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

void hk_bin_grant(struct hk_heap *heap, unsigned c, uint32_t counted, int32_t budget)
{
	struct hk_bin *bin = &heap->bins[c];
	heap->count.tls_sll += (uint64_t)((int64_t)bin->grant - bin->budget);
	heap->classes[c].counted = counted;
	bin->grant = bin->budget = budget;
}

/* Blocks in the bin, by walking, or MOST + 1 if there are more. */
static uint32_t count_up_to(const struct hk_heap *heap, unsigned c, uint32_t most)
{
	const struct hk_bin *bin = &heap->bins[c];
	const struct hk_block *block = bin->head;
	uint32_t n = 0, bound = heap->classes[c].counted + (uint32_t)(bin->grant - bin->budget);
	for (; block && n <= most; block = block->next)
		n++;
	HK_CHECK(n <= bound, "double free, or a corrupt list of free blocks", bin->head);
	return n;
}

/* Gives the blocks of LIST to their slabs, neighbours of one slab together. */
static void flush(struct hk_heap *heap, unsigned c, struct hk_block *list)
{
	while (list) {
		struct hk_slab *slab = hk_slab_of(list, c);
		struct hk_block *head = list, *tail = list;
		uint32_t n = 1;
		HK_CHECK(slab->class_index == c && hk_slab_has_block(slab, head),
			 "free of a pointer inside a block", head);
		list = list->next;
		if (hk_load(&slab->heap) != heap) {
			heap->count.flush_remote++;
			hk_remote_gather(heap, slab, head);
			continue;
		}
		while (list && hk_slab_of(list, c) == slab) {
			HK_CHECK(hk_slab_has_block(slab, list), "free of a pointer inside a block", list);
			tail = list;
			list = list->next;
			n++;
		}
		heap->count.ss_local += n;
		hk_slab_put(heap, slab, head, tail, n);
	}
}

void hk_bin_cut(struct hk_heap *heap, unsigned c, uint32_t keep)
{
	struct hk_bin *bin = &heap->bins[c];
	struct hk_block *rest = bin->head;
	if (!rest)
		return;
	if (keep) {
		struct hk_block *last = rest;
		for (uint32_t i = 1; i < keep && last->next; i++)
			last = last->next;
		rest = last->next;
		last->next = NULL;
	} else {
		bin->head = NULL;
	}
	flush(heap, c, rest);
}

/* Doubles the cap if the class and the heap may hold that much. */
static bool grow(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	size_t more = (size_t)cs->cap * hk_classes[c].size;
	size_t most = c < HK_TINY_CLASSES ? BIN_MAX_BYTES : MEDIUM_BIN_MAX_BYTES;
	if (!more || 2 * more > most || heap->cap_bytes + more > hk_options.bin_kib << 10)
		return false;
	heap->cap_bytes += more;
	cs->cap *= 2;
	heap->count.bin_grown++;
	return true;
}

bool hk_bin_spent(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	if (HK_UNLIKELY(!cs->cap && !cs->used))
		class_open(heap, c);
	cs->used = true;
	heap->count.bin_counted++;
	uint32_t n = count_up_to(heap, c, cs->cap / 2);
	if (n > cs->cap / 2)
		return false;
	if (n > cs->cap / 8)
		grow(heap, c); /* counted often for what is there */
	hk_bin_grant(heap, c, n, (int32_t)(cs->cap - n));
	return true;
}

void hk_bin_overflow(struct hk_heap *heap, unsigned c)
{
	struct hk_class_state *cs = &heap->classes[c];
	if (cs->refills)
		grow(heap, c); /* it runs over and empty in turn; a program that only frees needs no more */
	cs->refills = 0;
	heap->count.bin_flushed++;
	hk_bin_cut(heap, c, cs->cap / 2);
	hk_bin_grant(heap, c, cs->cap / 2, (int32_t)(cs->cap - cs->cap / 2));
}
