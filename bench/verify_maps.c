/* verify_maps.c - reads /proc/self/maps and the relocation tables of the loaded objects.
 *
 * Decides nothing: verify.c does. Knows 64-bit ELF with RELA tables (x86-64, aarch64) only. */
#define _GNU_SOURCE
#include "verify_maps.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int parse_line(char *line, struct hk_map *out)
{
	char *at = line;

	out->start = strtoull(at, &at, 16);
	if (*at++ != '-')
		return -1;
	out->end = strtoull(at, &at, 16);
	if (*at++ != ' ' || strlen(at) < 6)
		return -1;
	out->writable = at[1] == 'w';
	at += 5;
	strtoull(at, &at, 16); /* offset */
	unsigned int major_no = strtoul(at + 1, &at, 16);
	unsigned int minor_no = *at == ':' ? strtoul(at + 1, &at, 16) : 0;
	out->dev = makedev(major_no, minor_no);
	out->ino = strtoull(at + 1, &at, 10);
	while (*at == ' ')
		at++;
	snprintf(out->path, sizeof(out->path), "%s", at);
	return 0;
}

/* Reads by blocks into a static buffer: stdio would allocate from what is being examined. */
int hk_map_find(const void *addr, struct hk_map *out)
{
	static char buf[16384];
	size_t used = 0;
	int found = -1;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	while (found) {
		ssize_t got = read(fd, buf + used, sizeof(buf) - 1 - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		used += got;
		buf[used] = 0;
		char *line = buf;
		for (char *end; found && (end = strchr(line, '\n')); line = end + 1) {
			*end = 0;
			if (!parse_line(line, out) && (uintptr_t)addr >= out->start &&
			    (uintptr_t)addr < out->end)
				found = 0;
		}
		used -= line - buf;
		memmove(buf, line, used);
		if (used >= sizeof(buf) - 1)
			break; /* a line that long is none of ours */
	}
	close(fd);
	return found;
}

int hk_ident_of(const char *path, struct hk_ident *out)
{
	struct stat st;

	if (stat(path, &st))
		return -1;
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	snprintf(out->path, sizeof(out->path), "%s", path);
	return 0;
}

/* The path in maps follows the mapped file, so stat() of it names the present file there. Where
 * the kernel shows the same device in both (not so on btrfs and overlayfs) the mapped inode must
 * agree as well: else the file was replaced after it was loaded. */
int hk_map_is(const struct hk_map *map, const struct hk_ident *want)
{
	struct stat st;

	if (!map->path[0] || stat(map->path, &st))
		return 0;
	if (st.st_dev != want->dev || st.st_ino != want->ino)
		return 0;
	return map->dev != st.st_dev || map->ino == st.st_ino;
}

struct walk {
	const char *const *names;
	size_t count;
	hk_import_visit visit;
	void *arg;
};

/* What of an object's dynamic section is needed. */
struct dyn {
	const ElfW(Sym) *symbols;
	const char *strings;
	const ElfW(Rela) *table[2];
	size_t bytes[2];
};

/* The loader relocates these pointers in place, except in the vDSO. */
static const void *dyn_pointer(const struct dl_phdr_info *info, ElfW(Addr) value)
{
	return (const void *)(value < info->dlpi_addr ? value + info->dlpi_addr : value);
}

static int dyn_read(const struct dl_phdr_info *info, struct dyn *out)
{
	const ElfW(Dyn) *d = NULL;

	memset(out, 0, sizeof(*out));
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			d = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	for (; d && d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			out->symbols = dyn_pointer(info, d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			out->strings = dyn_pointer(info, d->d_un.d_ptr);
		else if (d->d_tag == DT_JMPREL)
			out->table[0] = dyn_pointer(info, d->d_un.d_ptr);
		else if (d->d_tag == DT_PLTRELSZ)
			out->bytes[0] = d->d_un.d_val;
		else if (d->d_tag == DT_RELA)
			out->table[1] = dyn_pointer(info, d->d_un.d_ptr);
		else if (d->d_tag == DT_RELASZ)
			out->bytes[1] = d->d_un.d_val;
	}
	return out->symbols && out->strings ? 0 : -1;
}

static int is_inside(const struct dl_phdr_info *info, uintptr_t addr)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + p->p_vaddr;

		if (p->p_type == PT_LOAD && addr >= start && addr < start + p->p_memsz)
			return 1;
	}
	return 0;
}

static int is_function_slot(unsigned long type)
{
#if defined(__x86_64__)
	return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT;
#elif defined(__aarch64__)
	return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT;
#else
#error "verify_maps.c does not know the relocations of this machine"
#endif
}

static int walk_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	const struct walk *w = arg;
	struct dyn dyn;

	(void)size;
	if (dyn_read(info, &dyn))
		return 0;
	for (int t = 0; t < 2; t++) {
		const ElfW(Rela) *end = dyn.table[t] + dyn.bytes[t] / sizeof(ElfW(Rela));

		for (const ElfW(Rela) *r = dyn.table[t]; r && r < end; r++) {
			size_t sym = ELF64_R_SYM(r->r_info);

			if (!sym || !is_function_slot(ELF64_R_TYPE(r->r_info)))
				continue;
			uintptr_t target = *(uintptr_t *)(info->dlpi_addr + r->r_offset);
			if (!target || is_inside(info, target))
				continue;
			const char *name = dyn.strings + dyn.symbols[sym].st_name;
			for (size_t i = 0; i < w->count; i++) {
				if (strcmp(name, w->names[i]))
					continue;
				int stop = w->visit(info->dlpi_name, i, (void *)target, w->arg);
				if (stop)
					return stop;
			}
		}
	}
	return 0;
}

int hk_imports_walk(const char *const *names, size_t count, hk_import_visit visit, void *arg)
{
	struct walk w = {names, count, visit, arg};

	return dl_iterate_phdr(walk_object, &w);
}
