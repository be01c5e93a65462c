/* verify.c - the two steps of the proof that verify.h describes.
 *
 * Does not measure, and keeps nothing allocated: every block it takes is freed again. */
#define _GNU_SOURCE
#include "verify.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "verify_maps.h"

enum { FN_MALLOC, FN_FREE, FN_CALLOC, FN_REALLOC, FN_MEMALIGN, FN_NEW, FN_NEW_ARRAY, FN_DELETE,
       FN_DELETE_ARRAY, FN_COUNT, FN_C_COUNT = FN_NEW };

static const char *const fn_names[FN_COUNT] = {"malloc",  "free",  "calloc",
	"realloc", "posix_memalign", "_Znwm", "_Znam", "_ZdlPv", "_ZdaPv"};

/* What is being checked. One of it: checks run one at a time. */
static struct {
	int is_libc;                          /* libc itself is wanted */
	struct hk_ident want;
	void *fn[FN_COUNT];                   /* what the program calls */
	void *stub[FN_COUNT];                 /* the same as a PLT stub of the program, or NULL */
	int new_is_proven;                    /* operator new may be tried */
	int (*owns)(const void *);            /* hak_owns, where the file has it */
	struct mallinfo2 (*libc_info)(void);  /* libc's own, never an override */
} ck;

static int fail(struct hk_verify_state *v, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(v->reason, sizeof(v->reason), format, args);
	va_end(args);
	v->failed = 1;
	return -1;
}

static void note(struct hk_verify_state *v, const char *format, ...)
{
	size_t used = strlen(v->note);
	va_list args;

	va_start(args, format);
	vsnprintf(v->note + used, sizeof(v->note) - used, format, args);
	va_end(args);
}

/* dlsym on libc's own handle: by name alone an allocator's mallinfo2 would answer. */
static int libc_open(struct hk_verify_state *v, struct hk_ident *libc)
{
	void *handle = dlopen("libc.so.6", RTLD_NOLOAD | RTLD_LAZY);
	struct link_map *map;
	struct hk_map at;

	if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map))
		return fail(v, "libc.so.6 is not loaded in this process");
	if (hk_ident_of(map->l_name, libc))
		return fail(v, "%s: %s", map->l_name, strerror(errno));
	ck.libc_info = (struct mallinfo2(*)(void))dlsym(handle, "mallinfo2");
	dlclose(handle);
	if (!ck.libc_info)
		return fail(v, "%s has no mallinfo2 to ask", libc->path);
	if (hk_map_find((void *)ck.libc_info, &at) || !hk_map_is(&at, libc))
		return fail(v, "mallinfo2 of libc can't be reached");
	return 0;
}

/* Sets what is wanted. An intended file that does not exist is a failure, not a wish. */
static int want_read(struct hk_verify_state *v)
{
	const char *lib = getenv("HAK_VERIFY_LIB");
	struct hk_ident libc;

	v->wanted = lib && *lib;
	if (libc_open(v, &libc))
		return -1;
	ck.is_libc = !v->wanted || !strcmp(lib, "glibc");
	ck.want = libc;
	if (!ck.is_libc && hk_ident_of(lib, &ck.want))
		return fail(v, "%s: %s", lib, strerror(errno));
	if (ck.want.dev == libc.dev && ck.want.ino == libc.ino)
		ck.is_libc = 1;
	return 0;
}

/* operator new of the C++ runtime is served by malloc; of the program itself, by what it likes. */
static int new_check(struct hk_verify_state *v, int fn, const struct hk_map *at)
{
	struct hk_map self;

	if (hk_map_is(at, &ck.want)) {
		ck.new_is_proven = 1;
		return 0;
	}
	if (strstr(at->path, "/libstdc++.so") || strstr(at->path, "/libc++.so") ||
	    strstr(at->path, "/libc++abi.so")) {
		void *lib = ck.is_libc ? NULL : dlopen(ck.want.path, RTLD_NOLOAD | RTLD_LAZY);
		void *own = lib ? dlsym(lib, fn_names[fn]) : NULL;
		struct hk_map own_at;
		int has_own = own && !hk_map_find(own, &own_at) && hk_map_is(&own_at, &ck.want);

		if (lib)
			dlclose(lib);
		if (has_own)
			return fail(v, "%s resolves to %s, though %s has one", fn_names[fn],
				at->path, ck.want.path);
		ck.new_is_proven = 1; /* step 2 shows where its blocks come from */
		return 0;
	}
	/* AT_PHDR's mapping is the program's own image on every Linux. */
	if (!hk_map_find((void *)getauxval(AT_PHDR), &self) &&
	    !strcmp(self.path, at->path)) {
		note(v, "%s is the program's own; ", fn_names[fn]);
		return 0;
	}
	return fail(v, "%s resolves to %s, not to %s", fn_names[fn], at->path, ck.want.path);
}

enum { MAX_OBJECTS = 512 };

/* The loaded objects in the order in which symbols are searched, less the program itself. */
static struct {
	const char *name;
	ElfW(Addr) base;
} objects[MAX_OBJECTS];
static int object_count;

static int object_collect(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	if (*info->dlpi_name && object_count < MAX_OBJECTS) {
		objects[object_count].name = info->dlpi_name;
		objects[object_count++].base = info->dlpi_addr;
	}
	return 0;
}

/* The first definition in the order of loading. dlsym on a handle looks into the object's
 * dependencies too: only a hit inside the object counts. The list is made first, since dlopen
 * under dl_iterate_phdr's lock could meet another thread's dlopen. */
static void *first_definition(const char *name)
{
	void *found = NULL;
	Dl_info hit;

	object_count = 0;
	dl_iterate_phdr(object_collect, NULL);
	for (int i = 0; i < object_count && !found; i++) {
		void *handle = dlopen(objects[i].name, RTLD_NOLOAD | RTLD_LAZY);
		void *p = handle ? dlsym(handle, name) : NULL;

		if (p && dladdr(p, &hit) && (ElfW(Addr))hit.dli_fbase == objects[i].base)
			found = p;
		if (handle)
			dlclose(handle);
	}
	return found;
}

/* In a program that is not position-independent and takes malloc's address, that address is a PLT
 * stub of the program for everyone: an undefined symbol with a value. What the stub calls is the
 * first definition in the order of loading. */
static void *resolve_one(int fn)
{
	void *p = dlsym(RTLD_DEFAULT, fn_names[fn]);
	const ElfW(Sym) *symbol = NULL;
	Dl_info info;

	ck.stub[fn] = NULL;
	if (!p || !dladdr1(p, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol ||
	    symbol->st_shndx != SHN_UNDEF)
		return p;
	ck.stub[fn] = p;
	return first_definition(fn_names[fn]);
}

static int resolve(struct hk_verify_state *v)
{
	struct hk_map at;

	for (int i = 0; i < FN_COUNT; i++) {
		ck.fn[i] = resolve_one(i);
		if (!ck.fn[i] && i >= FN_C_COUNT)
			continue; /* no C++ runtime here */
		if (!ck.fn[i] || hk_map_find(ck.fn[i], &at))
			return fail(v, "%s resolves to nothing that is mapped", fn_names[i]);
		if (i == FN_MALLOC)
			snprintf(v->file, sizeof(v->file), "%s", at.path);
		if (!v->wanted)
			return 0;
		if (i >= FN_C_COUNT ? new_check(v, i, &at) : 0)
			return -1;
		if (i < FN_C_COUNT && !hk_map_is(&at, &ck.want))
			return fail(v, "%s resolves to %s, not to %s", fn_names[i], at.path,
				    ck.want.path);
	}
	return 0;
}

/* C++ operators may lie in the runtime (new_check judged them); the C family may not. */
static int import_check(const char *object, size_t fn, void *target, void *arg)
{
	struct hk_verify_state *v = arg;
	struct hk_map at;

	if (target == ck.fn[fn] || target == ck.stub[fn] || fn >= FN_C_COUNT)
		return 0;
	if (!hk_map_find(target, &at) && hk_map_is(&at, &ck.want))
		return 0;
	return fail(v, "%s is bound to %s of %s, not of %s", *object ? object : "the program",
		    fn_names[fn], at.path, ck.want.path);
}

/* SIZE bytes by function FN, or NULL. */
static void *block_get(int fn, size_t size)
{
	void *p = NULL;

	switch (fn) {
	case FN_MALLOC:
		return ((void *(*)(size_t))ck.fn[fn])(size);
	case FN_CALLOC:
		return ((void *(*)(size_t, size_t))ck.fn[fn])(1, size);
	case FN_REALLOC:
		p = ((void *(*)(void *, size_t))ck.fn[fn])(NULL, size / 2 + 1);
		return p ? ((void *(*)(void *, size_t))ck.fn[fn])(p, size) : NULL;
	case FN_MEMALIGN:
		return ((int (*)(void **, size_t, size_t))ck.fn[fn])(&p, 64, size) ? NULL : p;
	default:
		return ((void *(*)(size_t))ck.fn[fn])(size);
	}
}

static void block_put(int fn, void *p)
{
	int by = fn == FN_NEW ? FN_DELETE : fn == FN_NEW_ARRAY ? FN_DELETE_ARRAY : FN_FREE;

	((void (*)(void *))ck.fn[by])(p);
}

static int fn_gives_blocks(int fn)
{
	if (fn == FN_NEW || fn == FN_NEW_ARRAY)
		return ck.new_is_proven && ck.fn[fn] && ck.fn[FN_DELETE] && ck.fn[FN_DELETE_ARRAY];
	return fn == FN_MALLOC || fn == FN_CALLOC || fn == FN_REALLOC || fn == FN_MEMALIGN;
}

/* Anonymous memory of any kind, or the intended file's own image (an allocator's static span).
 * What other files and stacks hold is not memory that an allocator mapped. */
static int block_check(struct hk_verify_state *v, int fn, void *p)
{
	static const char *const anonymous[] = {"[heap]", "[anon", "/memfd:", "/anon_hugepage",
		"/dev/zero", "/SYSV"};
	struct hk_map at;
	int ok = 0;

	if (!p)
		return fail(v, "%s gave no block", fn_names[fn]);
	if (hk_map_find(p, &at) || !at.writable)
		return fail(v, "the block of %s is in no writable mapping", fn_names[fn]);
	for (size_t i = 0; i < sizeof(anonymous) / sizeof(*anonymous); i++)
		ok |= !strncmp(at.path, anonymous[i], strlen(anonymous[i]));
	if (!ok && at.path[0] && (ck.is_libc || !hk_map_is(&at, &ck.want)))
		return fail(v, "the block of %s lies in %s", fn_names[fn], at.path);
	if (ck.owns && !ck.owns(p))
		return fail(v, "hak_owns disowns the block of %s", fn_names[fn]);
	return 0;
}

static int blocks_check(struct hk_verify_state *v)
{
	for (int fn = 0; fn < FN_COUNT; fn++) {
		if (!fn_gives_blocks(fn))
			continue;
		void *p = block_get(fn, 100);
		int bad = block_check(v, fn, p);

		if (p)
			block_put(fn, p);
		if (bad)
			return -1;
	}
	return 0;
}

static void owns_find(void)
{
	void *lib = ck.is_libc ? NULL : dlopen(ck.want.path, RTLD_NOLOAD | RTLD_LAZY);

	ck.owns = lib ? (int (*)(const void *))dlsym(lib, "hak_owns") : NULL;
	if (lib)
		dlclose(lib);
}

int hk_verify_bindings(struct hk_verify_state *v)
{
	memset(v, 0, sizeof(*v));
	if (want_read(v) || resolve(v))
		return -1;
	if (!v->wanted)
		return 0;
	owns_find();
	if (hk_imports_walk(fn_names, FN_COUNT, import_check, v))
		return -1;
	return blocks_check(v);
}

int hk_verify_child(struct hk_verify_state *v)
{
	if (v->failed || !v->wanted)
		return -v->failed;
	return blocks_check(v);
}

/* What libc's malloc has handed out, and what it has taken from the kernel for that. */
static size_t libc_used(void)
{
	struct mallinfo2 info = ck.libc_info();

	return info.uordblks + info.hblkhd;
}

static size_t libc_taken(void)
{
	struct mallinfo2 info = ck.libc_info();

	return info.arena + info.hblkhd;
}

/* VOLUME bytes by FN in live blocks of the given sizes, seen from libc. The blocks are chained
 * through their first word. */
static int group_check(struct hk_verify_state *v, int fn, const size_t *sizes, size_t volume)
{
	size_t used = libc_used(), taken = libc_taken(), got = 0, count = 0;
	void **chain = NULL;
	int bad = 0;

	while (got < volume && !bad) {
		size_t size = sizes[count % 5];
		void **p = block_get(fn, size);

		if (!p)
			break; /* a limit of the process: judged by what there is */
		*p = chain;
		chain = p;
		got += size;
		if (count++ < 5)
			bad = block_check(v, fn, p);
	}
	size_t used_rise = libc_used() - used, taken_rise = libc_taken() - taken;

	while (chain) {
		void **next = *chain;

		block_put(fn, chain);
		chain = next;
	}
	if (bad)
		return -1;
	if (got < volume / 4)
		return fail(v, "%s gave %zu of %zu KiB: too little to tell", fn_names[fn],
			    got >> 10, volume >> 10);
	/* Unsigned: a fall shows as a huge rise, which is a failure to tell as well. */
	if (ck.is_libc ? used_rise < got / 2 || used_rise > got * 4
		       : used_rise > got / 8 || taken_rise > got / 8)
		return fail(v, "%zu KiB in blocks of %s moved libc's own count by %zd KiB: %s",
			    got >> 10, fn_names[fn], (ssize_t)used_rise / 1024,
			    ck.is_libc ? "libc did not serve them" : "libc serves them");
	return 0;
}

int hk_verify_volume(struct hk_verify_state *v, size_t volume_bytes)
{
	static const size_t small[5] = {16, 64, 200, 1000, 4000};
	static const size_t large[5] = {8000, 20000, 60000, 140000, 300000};
	int functions = 0;

	if (v->failed || !v->wanted)
		return -v->failed;
	/* A pool that was taken from libc earlier would not show as a rise. */
	if (!ck.is_libc && libc_taken() > volume_bytes / 2)
		return fail(v, "libc's malloc holds %zu KiB: blocks may come from there",
			    libc_taken() >> 10);
	for (int fn = 0; fn < FN_COUNT; fn++)
		functions += fn_gives_blocks(fn);
	for (int fn = 0; fn < FN_COUNT; fn++) {
		if (!fn_gives_blocks(fn))
			continue;
		if (group_check(v, fn, small, volume_bytes / functions) ||
		    group_check(v, fn, large, volume_bytes / functions))
			return -1;
	}
	return 0;
}

size_t hk_verify_volume_bytes(size_t fallback_bytes)
{
	const char *mib = getenv("HAK_VERIFY_MIB");
	size_t n = mib ? strtoul(mib, NULL, 10) : 0;

	return n ? n << 20 : fallback_bytes;
}

static struct hk_verify_state program;

static void say_and_exit(void)
{
	fprintf(stderr, "verify: %s: %s\n", program_invocation_short_name, program.reason);
	_exit(HK_VERIFY_EXIT);
}

void hk_verify_begin_or_exit(void)
{
	if (hk_verify_bindings(&program))
		say_and_exit();
}

void hk_verify_end_or_exit(void)
{
	if (hk_verify_volume(&program, hk_verify_volume_bytes((size_t)64 << 20)))
		say_and_exit();
}

const struct hk_verify_state *hk_verify_result(void)
{
	return &program;
}
