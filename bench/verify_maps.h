/* verify_maps.h - the two things verify.c looks up in its own process: mappings and bindings.
 * Neither allocates. Not thread-safe: one static buffer. */
#ifndef HK_BENCH_VERIFY_MAPS_H
#define HK_BENCH_VERIFY_MAPS_H

#include <stdint.h>
#include <sys/types.h>

/* One line of /proc/self/maps. */
struct hk_map {
	uintptr_t start;
	uintptr_t end;
	int writable;
	dev_t dev;
	ino_t ino;
	char path[512];    /* empty for anonymous memory */
};

/* A file by what can't be forged by a name. */
struct hk_ident {
	dev_t dev;
	ino_t ino;
	char path[512];
};

/* The mapping that holds ADDR. 0, or -1 where there is none (or no /proc). */
int hk_map_find(const void *addr, struct hk_map *out);

/* 0, or -1 with errno where PATH can't be looked at. */
int hk_ident_of(const char *path, struct hk_ident *out);

/* 1 if MAP is a mapping of the file WANT. */
int hk_map_is(const struct hk_map *map, const struct hk_ident *want);

/* Calls VISIT for each bound import of a symbol whose name is among NAMES (COUNT of them), in
 * every loaded object; a slot that still points into its own object is not bound yet and is left
 * out. Stops at the first non-zero result and returns it. */
typedef int (*hk_import_visit)(const char *object, size_t name_index, void *target, void *arg);
int hk_imports_walk(const char *const *names, size_t count, hk_import_visit visit, void *arg);

#endif
