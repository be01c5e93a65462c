/* stock.c - see stock.h. Knows no threads and no caches: those are pool.c's. */
#include "api/stock.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

#define SPARE_CHUNKS 64u /* beyond twice what full ones would take */
#define NUMBER_BITS 26
#define COUNT_BITS 7
#define TAG_SHIFT (NUMBER_BITS + COUNT_BITS)

_Static_assert(HK_STOCK_CHUNK < 1u << COUNT_BITS, "a chunk's count fits into a word");
_Static_assert(HK_STOCK_MAX + SPARE_CHUNKS + 2 < 1u << NUMBER_BITS, "a chunk's number fits into a word");

struct chunk {
	uint64_t next; /* [A] word of the chunk below */
	void *object[];
};

/* ---- words ---- */

static uint64_t word_of(size_t number, size_t count)
{
	return (uint64_t)count << NUMBER_BITS | (number + 1);
}

static size_t number_of(uint64_t word) /* + 1; 0: none */
{
	return word & ((1u << NUMBER_BITS) - 1);
}

static size_t count_of(uint64_t word)
{
	return word >> NUMBER_BITS & ((1u << COUNT_BITS) - 1);
}

/* WORD with the tag after HEAD's. */
static uint64_t after(uint64_t head, uint64_t word)
{
	uint64_t low = ((uint64_t)1 << TAG_SHIFT) - 1;
	return (word & low) | ((head & ~low) + low + 1);
}

static struct chunk *chunk_of(const struct hk_stock *stock, uint64_t word)
{
	return (struct chunk *)(stock->chunks + (number_of(word) - 1) * stock->chunk_bytes);
}

/* What was written to a chunk is seen by whoever sees the head that points to it. */
static bool swap_head(uint64_t *head, uint64_t *was, uint64_t word)
{
	return __atomic_compare_exchange_n(head, was, after(*was, word), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Puts the chunks from WORD to BOTTOM, linked, onto a stack. */
static void push_chunks(uint64_t *head, uint64_t word, struct chunk *bottom)
{
	uint64_t was = hk_load_acq(head);
	do {
		hk_store(&bottom->next, was);
	} while (!swap_head(head, &was, word));
}

/* The stack's first MOST chunks, linked, or what there is: the word of the first, with its count, and *FOUND, how many.
 * 0: none. */
static uint64_t pop_chunks(const struct hk_stock *stock, uint64_t *head, size_t most, size_t *found)
{
	uint64_t was = hk_load_acq(head), rest;
	do {
		rest = was;
		for (*found = 0; *found < most && number_of(rest); ++*found)
			rest = hk_load(&chunk_of(stock, rest)->next); /* of one that is gone: the swap fails then */
	} while (*found && !swap_head(head, &was, rest));
	return *found ? was : 0;
}

static uint64_t pop_chunk(const struct hk_stock *stock, uint64_t *head)
{
	size_t found;
	return pop_chunks(stock, head, 1, &found);
}

/* ---- objects ---- */

/* Copies what is in the chunks from HEAD on, HAVE objects in all, which nobody else has any more; the chunks are
 * spare then. */
static void empty_chunks(struct hk_stock *stock, uint64_t head, void **out, size_t have)
{
	struct chunk *bottom = NULL;
	for (uint64_t word = head; have; word = hk_load(&bottom->next)) {
		bottom = chunk_of(stock, word);
		memcpy(out, bottom->object, count_of(word) * sizeof(*out));
		out += count_of(word);
		have -= count_of(word);
	}
	if (bottom)
		push_chunks(&stock->spare, head, bottom);
}

size_t hk_stock_pop(struct hk_stock *stock, void **out, size_t least, size_t most)
{
	uint64_t head = hk_load_acq(&stock->head);
	for (;;) {
		uint64_t word = head;
		size_t have = 0, part = 0;
		while (number_of(word) && have + count_of(word) <= most) {
			have += count_of(word);
			word = hk_load(&chunk_of(stock, word)->next);
		}
		if (number_of(word) && have < most) {
			void *const *from = chunk_of(stock, word)->object + count_of(word) - (most - have);
			part = most - have;
			for (size_t i = 0; i < part; i++)
				out[have + i] = hk_load(&from[i]);
			word = word_of(number_of(word) - 1, count_of(word) - part);
		}
		if (have + part < least || !(have + part)) {
			uint64_t now;
			bool moving = __atomic_load_n(&stock->moving, __ATOMIC_ACQUIRE); /* before the head: I3 */
			if (moving)
				hk_cpu_relax();
			now = hk_load_acq(&stock->head);
			if (!moving && now == head)
				return 0;
			head = now;
			continue;
		}
		if (!swap_head(&stock->head, &head, word))
			continue;
		hk_sub(&stock->objects, have + part);
		hk_add(&stock->pops, 1);
		empty_chunks(stock, head, out, have);
		return have + part;
	}
}

/* For an offset that the stride divides, offset * inverse of the stride's odd part, turned right by its zeros, is the
 * quotient, and for any other a number that is larger than all of them (T. Granlund, P. Montgomery: Division by
 * invariant integers, 1994). So one compare is for bounds and divisibility. */
HK_INLINE uint64_t quotient(uint64_t offset, uint64_t inverse, unsigned zeros)
{
	uint64_t x = offset * inverse;
	return x >> zeros | x << (64 - zeros) % 64;
}

static uint64_t index_of(const struct hk_stock *stock, const void *p)
{
	return quotient((uintptr_t)p - stock->base, stock->inverse, stock->zeros);
}

static void must_be_objects(const struct hk_stock *stock, void *const *objects, size_t count)
{
	for (size_t i = 0; i < count; i++)
		HK_CHECK(index_of(stock, objects[i]) < stock->count,
			 "hak_pool_put of a pointer that is no object of the pool", objects[i]);
}

/* COUNT objects to a chunk that nobody else sees yet. They are looked at together in the end: a branch for each made a
 * push take a quarter longer. Where the stride is a power of two, offsets have no bit below it, none is negative, and
 * none larger than the last one's. */
HK_INLINE void fill_chunk(const struct hk_stock *stock, struct chunk *chunk, void *const *objects, size_t count)
{
	const uintptr_t base = stock->base; /* the compiler does not know that the stores below change none of these */
	const uint64_t inverse = stock->inverse;
	const unsigned zeros = stock->zeros;
	uint64_t most = 0;
	if (inverse == 1) {
		uint64_t last = (stock->count - 1) << zeros, bits = 0, beyond = 0;
		for (size_t i = 0; i < count; i++) {
			uint64_t offset = (uintptr_t)objects[i] - base;
			bits |= offset;
			beyond |= last - offset;
			hk_store(&chunk->object[i], objects[i]);
		}
		if (HK_UNLIKELY((bits & ((1ull << zeros) - 1)) || (bits | beyond) >> 63))
			must_be_objects(stock, objects, count);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t index = quotient((uintptr_t)objects[i] - base, inverse, zeros);
		most = index > most ? index : most;
		hk_store(&chunk->object[i], objects[i]);
	}
	if (HK_UNLIKELY(most >= stock->count))
		must_be_objects(stock, objects, count);
}

static uint64_t inverse_of(uint64_t odd)
{
	uint64_t x = odd; /* right in 3 bits, then in twice as many a step */
	for (unsigned i = 0; i < 5; i++)
		x *= 2 - odd * x;
	return x;
}

/* No chunk is spare: the object goes into one that is not full. There is one: all of them have room for more than
 * all objects. */
HK_COLD static void squeeze_in(struct hk_stock *stock, void *object)
{
	uint64_t chain = 0, word;
	struct chunk *bottom = NULL, *chunk;
	size_t count;
	hk_add(&stock->moving, 1); /* before the first pop, whose release shows it: I3 */
	for (;;) {
		count = 0;
		word = pop_chunk(stock, &stock->head);
		if (word)
			count = count_of(word);
		else
			word = pop_chunk(stock, &stock->spare);
		if (!word) {
			hk_os_yield(); /* others have them for a moment */
			continue;
		}
		chunk = chunk_of(stock, word);
		bottom = bottom ? bottom : chunk;
		if (count < stock->per_chunk)
			break;
		hk_store(&chunk->next, chain);
		chain = word_of(number_of(word) - 1, count);
	}
	hk_store(&chunk->object[count], object);
	hk_store(&chunk->next, chain);
	push_chunks(&stock->head, word_of(number_of(word) - 1, count + 1), bottom);
	__atomic_fetch_sub(&stock->moving, 1, __ATOMIC_RELEASE); /* after the push: I3 */
}

void hk_stock_push(struct hk_stock *stock, void *const *objects, size_t count)
{
	uint64_t chain = 0, word;
	struct chunk *bottom = NULL;
	size_t left = count, found;
	word = pop_chunks(stock, &stock->spare, (count + stock->per_chunk - 1) / stock->per_chunk, &found);
	while (found--) {
		struct chunk *chunk = chunk_of(stock, word);
		size_t n = hk_min(left, stock->per_chunk);
		left -= n;
		fill_chunk(stock, chunk, objects + left, n);
		uint64_t next = hk_load(&chunk->next);
		hk_store(&chunk->next, chain);
		chain = word_of(number_of(word) - 1, n);
		bottom = bottom ? bottom : chunk;
		word = next;
	}
	must_be_objects(stock, objects, left);
	/* Counted before they can be popped: never more than there are, unless one was put twice. */
	HK_CHECK((int64_t)(hk_add(&stock->objects, count) + count) <= (int64_t)stock->count,
		 "hak_pool_put of an object that is in the pool already", objects[0]);
	hk_add(&stock->pushes, 1);
	if (bottom)
		push_chunks(&stock->head, chain, bottom);
	while (left)
		squeeze_in(stock, objects[--left]);
}

/* ---- creation ---- */

static size_t chunks_for(size_t count, uint32_t per_chunk)
{
	return per_chunk == 1 ? count : 2 * ((count + per_chunk - 1) / per_chunk) + SPARE_CHUNKS;
}

size_t hk_stock_bytes(size_t count, uint32_t per_chunk)
{
	return chunks_for(count, per_chunk) * (sizeof(struct chunk) + per_chunk * sizeof(void *));
}

void hk_stock_init(struct hk_stock *stock, void *chunks, uintptr_t base, size_t stride, size_t count,
		   uint32_t per_chunk)
{
	*stock = (struct hk_stock){
		.chunks = chunks,
		.chunk_bytes = sizeof(struct chunk) + per_chunk * sizeof(void *),
		.per_chunk = per_chunk,
		.base = base,
		.count = count,
		.zeros = (unsigned)__builtin_ctzll(stride),
	};
	stock->inverse = inverse_of(stride >> stock->zeros);
	for (size_t i = chunks_for(count, per_chunk); i--;)
		push_chunks(&stock->spare, word_of(i, 1), chunk_of(stock, word_of(i, 1)));
}
