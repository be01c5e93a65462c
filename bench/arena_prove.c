/* arena_prove.c - which file serves a subject, and that its blocks are its own: before anything is timed.
 * What it does not do: compare the file with the one that was meant (bench/arena does). */
#define _GNU_SOURCE
#include "arena_subject.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 4096, OBJECTS = 512, OBJECT_BYTES = 2048 };

static void unproven(const struct hk_subject *s, const char *why)
{
	fprintf(stderr, "bench_arena: %s is not proven: %s\n", s->name, why);
	exit(3);
}

/* Of libc's own malloc, whoever serves malloc here; 0 where libc does not say. */
static size_t libc_bytes(void)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	struct mallinfo2 (*ask)(void) = libc ? (struct mallinfo2(*)(void))dlsym(libc, "mallinfo2") : NULL;
	if (!ask)
		return 0;
	struct mallinfo2 m = ask();
	return m.uordblks + m.hblkhd;
}

static void fill(unsigned char *p, size_t size, uint32_t number)
{
	memset(p, (int)(number * 131 >> 3), size);
	memcpy(p, &number, sizeof(number));
}

static bool whole(const unsigned char *p, size_t size, uint32_t number)
{
	if (memcmp(p, &number, sizeof(number)))
		return false;
	for (size_t i = sizeof(number); i < size; i++)
		if (p[i] != (unsigned char)(number * 131 >> 3))
			return false;
	return true;
}

static size_t size_of(uint32_t number)
{
	return 64 + number * 2654435761u % 8129;
}

static void prove_blocks(const struct hk_subject *s)
{
	static unsigned char *p[BLOCKS];
	size_t before = libc_bytes(), bytes = 0;
	if (s->enter)
		s->enter();
	for (uint32_t i = 0; i < BLOCKS; i++) {
		p[i] = s->alloc(size_of(i));
		if (!p[i])
			unproven(s, "it has no memory");
		if (s->owns && !s->owns(p[i]))
			unproven(s, "a block is not its own");
		fill(p[i], size_of(i), i);
		bytes += size_of(i);
	}
	if (libc_bytes() > before + bytes / 2)
		unproven(s, "libc's malloc made its blocks");
	for (uint32_t i = 0; i < BLOCKS; i++)
		if (!whole(p[i], size_of(i), i))
			unproven(s, "a block lost what was written to it");
	for (uint32_t i = 0; i < BLOCKS; i++)
		s->free(p[i], size_of(i));
	if (s->leave)
		s->leave();
}

static void prove_objects(const struct hk_subject *s)
{
	static void *p[OBJECTS];
	if (s->pool_start(OBJECT_BYTES, 2 * OBJECTS))
		unproven(s, "it makes no pool");
	for (uint32_t i = 0; i < OBJECTS / 2; i++) {
		p[i] = s->get();
		if (!p[i])
			unproven(s, "it has no object");
	}
	if (s->get_bulk(p + OBJECTS / 2, OBJECTS / 2))
		unproven(s, "it has no objects");
	for (uint32_t i = 0; i < OBJECTS; i++)
		fill(p[i], OBJECT_BYTES, i);
	for (uint32_t i = 0; i < OBJECTS; i++)
		if (!whole(p[i], OBJECT_BYTES, i))
			unproven(s, "an object lost what was written to it");
	s->put_bulk(p, OBJECTS / 2);
	for (uint32_t i = OBJECTS / 2; i < OBJECTS; i++)
		s->put(p[i]);
	s->pool_end();
}

void hk_subject_prove(const struct hk_subject *s)
{
	void *symbol = dlsym(RTLD_DEFAULT, s->symbol);
	Dl_info info;
	if (!symbol || !dladdr(symbol, &info))
		unproven(s, "its function is not found");
	printf("served %s %s\n", s->name, info.dli_fname);
	if (s->alloc)
		prove_blocks(s);
	if (s->pool_start)
		prove_objects(s);
}
