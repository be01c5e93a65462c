/* process.c - finds a symbol in a process: a library that it maps, or the program itself where that is
 * linked with the archive. Reads the files, not the memory. */
#include "process.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
	const unsigned char *at;
	size_t bytes;
};

/* COUNT things of EACH bytes at OFFSET lie in the file. */
static const void *part(const struct image *f, uint64_t offset, uint64_t count, uint64_t each)
{
	if (offset > f->bytes || (each && count > (f->bytes - offset) / each) || offset % 8)
		return NULL;
	return f->at + offset;
}

static uint64_t in_table(const struct image *f, const Elf64_Shdr *table, const Elf64_Shdr *names,
			 const char *symbol)
{
	size_t n = strlen(symbol) + 1;
	uint64_t count = table->sh_size / sizeof(Elf64_Sym);
	const Elf64_Sym *s = part(f, table->sh_offset, count, sizeof(*s));
	if (!s || names->sh_offset > f->bytes || names->sh_size > f->bytes - names->sh_offset)
		return 0;
	const char *text = (const char *)f->at + names->sh_offset;
	for (uint64_t i = 0; i < count; i++)
		if (s[i].st_shndx != SHN_UNDEF && s[i].st_name < names->sh_size &&
		    names->sh_size - s[i].st_name >= n && !memcmp(text + s[i].st_name, symbol, n))
			return s[i].st_value;
	return 0;
}

/* The symbol's distance from the place that the file's first bytes are mapped at; 0: not there. */
static uint64_t in_image(const struct image *f, const char *symbol)
{
	const Elf64_Ehdr *head = part(f, 0, 1, sizeof(*head));
	if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) ||
	    head->e_ident[EI_CLASS] != ELFCLASS64)
		return 0;
	const Elf64_Phdr *load = part(f, head->e_phoff, head->e_phnum, sizeof(*load));
	const Elf64_Shdr *s = part(f, head->e_shoff, head->e_shnum, sizeof(*s));
	uint64_t base = 0, value = 0;
	for (unsigned i = 0; load && i < head->e_phnum; i++)
		if (load[i].p_type == PT_LOAD && !load[i].p_offset)
			base = load[i].p_vaddr;
	for (unsigned i = 0; s && i < head->e_shnum && !value; i++)
		if ((s[i].sh_type == SHT_DYNSYM || s[i].sh_type == SHT_SYMTAB) &&
		    s[i].sh_link < head->e_shnum)
			value = in_table(f, &s[i], &s[s[i].sh_link], symbol);
	return value ? value - base : 0;
}

/* The file as the process sees it: it may have a root of its own, or the file may have been replaced. */
static uint64_t in_file(int pid, const char *range, const char *name, const char *symbol)
{
	struct stat st;
	uint64_t found = 0;
	char *path = hk_format("/proc/%d/map_files/%s", pid, range);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	if (fd < 0) {
		path = hk_format("/proc/%d/root%s", pid, name);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		free(path);
	}
	if (fd < 0)
		return 0;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0) {
		struct image f = {.bytes = (size_t)st.st_size};
		void *at = mmap(NULL, f.bytes, PROT_READ, MAP_PRIVATE, fd, 0);
		if (at != MAP_FAILED) {
			f.at = at;
			found = in_image(&f, symbol);
			munmap(at, f.bytes);
		}
	}
	close(fd);
	return found;
}

uintptr_t hk_process_symbol(int pid, const char *symbol)
{
	uintptr_t found = 0;
	bool replaced = false;
	errno = 0;
	char *text = hk_sys_text("/proc/%d/maps", pid);
	if (!text && (errno == EACCES || errno == EPERM))
		hk_die(HK_EXIT_FAILED, "process %d may not be looked at: sudo %s %d", pid,
		       hk_command, pid);
	if (!text)
		hk_die(HK_EXIT_FAILED, "no process %d", pid);
	for (char *save, *line = strtok_r(text, "\n", &save); line && !found;
	     line = strtok_r(NULL, "\n", &save)) {
		unsigned long start, end, offset;
		int name = 0;
		char range[40];
		if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %n", &start, &end, &offset, &name) != 3 ||
		    offset || !name || line[name] != '/')
			continue;
		replaced |= strstr(line + name, "libhakmem") && strstr(line + name, " (deleted)");
		snprintf(range, sizeof(range), "%lx-%lx", start, end);
		uint64_t distance = in_file(pid, range, line + name, symbol);
		if (distance)
			found = start + distance;
	}
	free(text);
	if (!found && replaced && geteuid()) /* root may open what was mapped, others its name alone */
		hk_die(HK_EXIT_FAILED, "the library of process %d was replaced since it started: sudo %s %d", pid,
		       hk_command, pid);
	return found;
}
