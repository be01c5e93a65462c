/* find.h - from any pointer to what it points at, by the side table; the memory itself is read only
 * where the table says that a slab's header stands there. Threads: any, for live blocks. */
#ifndef HK_TINY_FIND_H
#define HK_TINY_FIND_H

#include "tiny/slab.h"

enum hk_found_kind {
	HK_FOUND_NOTHING, /* in the region, but no live block begins here */
	HK_FOUND_INNER,   /* inside a live span */
	HK_FOUND_BLOCK,   /* in a slab; hk_slab_has_block says whether a block begins here */
	HK_FOUND_SPAN,    /* the beginning of a span */
};

struct hk_found {
	enum hk_found_kind kind;
	struct hk_slab *slab; /* HK_FOUND_BLOCK */
	size_t bytes;         /* that the program may use */
};

/* P must lie in the region. */
HK_INLINE struct hk_found hk_find(const void *p)
{
	struct hk_found f = {HK_FOUND_NOTHING, NULL, 0};
	size_t index = hk_super_index(p);
	struct hk_super *s = hk_super_at(index);
	uint8_t state = hk_load(&s->state);
	if (HK_LIKELY(state == HK_SUPER_CHUNKED)) {
		unsigned chunk = hk_chunk_index(p);
		uint32_t code = hk_load(&s->code[chunk]);
		unsigned first = chunk - hk_code_back(code);
		if (hk_code_kind(code) == HK_CODE_CONT)
			code = hk_load(&s->code[first]);
		switch (hk_code_kind(code)) {
		case HK_CODE_TINY:
			f.kind = HK_FOUND_BLOCK;
			f.slab = hk_slab_of_tiny(p);
			break;
		case HK_CODE_MEDIUM:
			f.slab = hk_slab_at(index, first);
			f.kind = f.slab ? HK_FOUND_BLOCK : HK_FOUND_NOTHING; /* not a slab yet */
			break;
		case HK_CODE_SPAN:
			f.kind = (uintptr_t)p == hk_super_base(index) + first * HK_CHUNK_BYTES
					 ? HK_FOUND_SPAN
					 : HK_FOUND_INNER;
			f.bytes = hk_code_count(code) * HK_CHUNK_BYTES;
			break;
		case HK_CODE_TAIL:
			f.kind = HK_FOUND_INNER;
			break;
		default:
			break;
		}
		if (f.slab)
			f.bytes = hk_classes[f.slab->class_index].size;
	} else if (state == HK_SUPER_SPAN) {
		uint32_t chunks = hk_load(&s->span_chunks);
		bool base = (uintptr_t)p == hk_super_base(index) && chunks;
		f.kind = base ? HK_FOUND_SPAN : HK_FOUND_INNER;
		f.bytes = base ? chunks * HK_CHUNK_BYTES : 0;
	}
	return f;
}

#endif
