/* slab_test.c - src/tiny/slab.c: birth, carving around the header, end. Lists are bin_test.c's. */
#include "unit.h"

#include <string.h>

#define PLACES_MAX 4096

/* Carves SLAB to its end in portions; marks each block's number in SEEN; how many. */
static uint32_t carve_all(struct hk_slab *slab, size_t portion, uint8_t seen[PLACES_MAX])
{
	const struct hk_class *k = &hk_classes[slab->class_index];
	uint32_t sum = 0, count = 1;
	memset(seen, 0, PLACES_MAX);
	for (;;) {
		struct hk_block *b = hk_slab_carve(slab, portion, &count);
		assert_int_equal(unit_walk(b), count);
		if (!b)
			return sum;
		assert_true(count == 1 || count * k->size <= portion);
		for (; b; b = b->next) {
			size_t offset = (uintptr_t)b - slab->base;
			assert_int_equal(offset % k->size, 0);
			assert_true(offset / k->size < k->blocks);
			assert_false(seen[offset / k->size]);
			seen[offset / k->size] = 1;
			assert_true(hk_slab_has_block(slab, b));
		}
		sum += count;
		assert_int_equal(hk_slab_carved_blocks(slab), sum);
		assert_true(slab->carved <= k->blocks);
	}
}

/* Every place but those under the header must have come, none of those. */
static void check_places(const struct hk_slab *slab, const uint8_t seen[PLACES_MAX], uint32_t sum)
{
	const struct hk_class *k = &hk_classes[slab->class_index];
	uintptr_t from = (uintptr_t)slab, to = from + sizeof(*slab);
	uint32_t want = 0;
	for (uint32_t i = 0; i < k->blocks; i++) {
		uintptr_t at = slab->base + (uintptr_t)i * k->size;
		bool covered = at < to && at + k->size > from;
		assert_int_equal(seen[i], !covered);
		want += !covered;
	}
	assert_int_equal(sum, want);
}

static void carves_all_but_the_header(void **state)
{
	(void)state;
	static uint8_t seen[PLACES_MAX];
	uint64_t seed = 3;
	unit_start("HAKMEM_STARTER_MIB=0");
	struct hk_heap *heap = unit_heap();
	for (unsigned c = 0; c < HK_CLASSES; c++)
		for (unsigned n = 0; n < (c < HK_TINY_CLASSES ? 33 : 3); n++) {
			/* The header's place goes through all 32 colours as chunk follows chunk. */
			struct hk_slab *slab = hk_slab_new(POOL, c, heap);
			assert_non_null(slab);
			assert_int_equal(slab->carved, 0);
			uint32_t sum = carve_all(slab, 16 + unit_random(&seed) % 20000, seen);
			assert_int_equal(slab->carved, hk_classes[c].blocks);
			check_places(slab, seen, sum);
		}
}

static void header_colours_differ(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	struct hk_heap *heap = unit_heap();
	uint64_t colours = 0;
	for (unsigned n = 0; n < 32; n++) {
		struct hk_slab *slab = hk_slab_new(POOL, 0, heap);
		unsigned at = (unsigned)((uintptr_t)slab - slab->base); /* 16 divides a chunk: it is where that begins */
		assert_int_equal(at % 64, 0);
		assert_int_equal(at / 64, hk_chunk_index((void *)slab->base));
		colours |= 1ull << at / 64;
	}
	assert_int_equal(colours, 0xffffffffull);
}

static void has_block_says_no_to_all_else(void **state)
{
	(void)state;
	static const unsigned classes[] = {0, 1, 2, 9, 40, 63, 64, 75, 76, 81, 90};
	unit_start("HAKMEM_STARTER_MIB=0");
	struct hk_heap *heap = unit_heap();
	for (size_t n = 0; n < COUNT_OF(classes); n++) {
		unsigned c = classes[n];
		struct hk_slab *slab = hk_slab_new(POOL, c, heap);
		size_t bytes = hk_classes[c].chunks * HK_CHUNK_BYTES, yes = 0;
		uint32_t count;
		assert_false(hk_slab_has_block(slab, (void *)slab->base));
		hk_slab_carve(slab, 5000, &count);
		for (size_t at = 0; at < bytes; at += 8)
			yes += hk_slab_has_block(slab, (void *)(slab->base + at));
		assert_int_equal(yes, count);
		for (yes = 0; hk_slab_carve(slab, 20000, &count);)
			;
		for (size_t at = 0; at < bytes; at += 8)
			yes += hk_slab_has_block(slab, (void *)(slab->base + at));
		assert_int_equal(yes, hk_slab_carved_blocks(slab));
		assert_false(hk_slab_has_block(slab, slab));
		assert_false(hk_slab_has_block(slab, (void *)(slab->base + 1)));
		assert_false(hk_slab_has_block(slab, (void *)(slab->base - hk_classes[c].size)));
	}
}

static void carve_gives_one_at_least(void **state)
{
	(void)state;
	unit_start(NULL);
	struct hk_heap *heap = unit_heap();
	uint32_t count;
	struct hk_slab *slab = hk_slab_new(POOL, HK_CLASSES - 1, heap);
	assert_ptr_equal(hk_slab_carve(slab, 1, &count), (void *)slab->base);
	assert_int_equal(count, 1);
	assert_null(hk_slab_carve(slab, 1 << 20, &count));
	assert_int_equal(count, 0);
}

static void blocks_of_powers_of_two_are_aligned(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	struct hk_heap *heap = unit_heap();
	for (unsigned c = 0; c < HK_CLASSES; c++) {
		uint32_t size = hk_classes[c].size, count;
		uint32_t align = (uint32_t)hk_min(size & -size, HK_CHUNK_BYTES);
		struct hk_slab *slab = hk_slab_new(POOL, c, heap);
		for (struct hk_block *b; (b = hk_slab_carve(slab, 1, &count));)
			assert_int_equal((uintptr_t)b % align, 0);
	}
}

/* What free goes by on its first path: of all places in the chunk, blocks alone. */
static void blocks_alone_divide(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	struct hk_heap *heap = unit_heap();
	for (unsigned c = 0; c < HK_TINY_CLASSES; c++) {
		const struct hk_class *k = &hk_classes[c];
		struct hk_slab *slab = hk_slab_new(POOL, c, heap);
		uintptr_t chunk = hk_align_down((uintptr_t)slab, HK_CHUNK_BYTES);
		assert_int_equal(slab->base + (size_t)k->blocks * k->size, chunk + HK_CHUNK_BYTES);
		for (uintptr_t at = chunk; at < chunk + HK_CHUNK_BYTES; at++)
			if (at % HK_GRANULE == 0 || at >= slab->base)
				assert_int_equal(hk_slab_divides(slab, (void *)at),
						 at >= slab->base && (at - slab->base) % k->size == 0);
	}
}

static void end_clears_the_tag_first(void **state)
{
	(void)state;
	unit_start(NULL);
	struct hk_heap *heap = unit_heap();
	struct hk_slab *slab = hk_slab_new(POOL, 3, heap);
	void *base = (void *)slab->base;
	assert_int_equal(slab->tag, heap->pool_tag);
	assert_int_equal(hk_slab_new(POOL, 2, heap)->tag, heap->pool_tag ^ ~heap->tag_mask);
	assert_ptr_equal(slab->heap, heap);
	assert_int_equal(hk_find(base).kind, HK_FOUND_BLOCK);
	assert_int_equal(slab->zero, 1);
	/* A neighbour keeps the SuperSlab, and with it the memory, in use. */
	struct hk_slab *other = hk_slab_new(POOL, 3, heap);
	hk_slab_release(slab);
	assert_int_equal(slab->tag, 0);
	assert_int_equal(hk_find(base).kind, HK_FOUND_NOTHING);
	slab = hk_slab_new(POOL, 5, heap);
	assert_ptr_equal(hk_align_down(slab->base, HK_CHUNK_BYTES), base);
	assert_int_equal(slab->zero, 0); /* was used: not known to be zero */
	assert_ptr_not_equal(other, slab);
}

static void medium_headers_stand_in_the_side_table(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	struct hk_heap *heap = unit_heap();
	for (unsigned c = HK_TINY_CLASSES; c < HK_CLASSES; c++) {
		struct hk_slab *slab = hk_slab_new(POOL, c, heap);
		assert_false(hk_region_has(slab));
		for (unsigned i = 0; i < hk_classes[c].blocks; i++) {
			uintptr_t at = slab->base + (uintptr_t)i * hk_classes[c].size;
			assert_ptr_equal(hk_slab_of((void *)at, c), slab);
			struct hk_found f = hk_find((void *)(at + hk_classes[c].size - 1));
			assert_ptr_equal(f.slab, slab);
			assert_int_equal(f.bytes, hk_classes[c].size);
		}
	}
}

/* What a free by the owner goes by, whichever chunk the block is in, and whoever the owner becomes. */
static void medium_chunks_name_class_and_owner(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	struct hk_heap *heaps[2] = {unit_heap(), unit_heap()};
	for (unsigned c = HK_TINY_CLASSES; c < HK_CLASSES; c++) {
		struct hk_slab *slab = hk_slab_new(POOL, c, heaps[0]);
		const uint32_t *code = hk_super_at(hk_super_index((void *)slab->base))->code;
		unsigned first = hk_chunk_index((void *)slab->base);
		for (unsigned owner = 0; owner < 2; owner++) {
			hk_slab_own(slab, heaps[owner]);
			for (unsigned i = 0; i < hk_classes[c].chunks; i++)
				assert_int_equal(code[first + i], hk_code_of_slab(i, c, heaps[owner]->index));
		}
		hk_slab_release(slab);
		for (unsigned i = 0; i < hk_classes[c].chunks; i++)
			assert_int_equal(code[first + i], 0);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(carves_all_but_the_header),
		cmocka_unit_test(header_colours_differ),
		cmocka_unit_test(has_block_says_no_to_all_else),
		cmocka_unit_test(carve_gives_one_at_least),
		cmocka_unit_test(blocks_of_powers_of_two_are_aligned),
		cmocka_unit_test(blocks_alone_divide),
		cmocka_unit_test(end_clears_the_tag_first),
		cmocka_unit_test(medium_headers_stand_in_the_side_table),
		cmocka_unit_test(medium_chunks_name_class_and_owner),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
