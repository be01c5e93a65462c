/* library.c - finds libhakmem.so: beside the tool, where it is installed or was built. Loads nothing. */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SONAME "libhakmem.so." HK_SOVERSION

/* From the tool's own folder: the build's, PREFIX/bin with its lib, Debian's lib. */
static const char *const places[] = {
	SONAME,
	"../lib/" HK_MULTIARCH "/" SONAME,
	"../lib64/" SONAME,
	"../lib/" SONAME,
};

#define PLACES (sizeof(places) / sizeof(places[0]))

/* PATH without links and dots in its folder; the file keeps its name, which outlives an upgrade. */
static char *absolute(const char *path)
{
	const char *base = strrchr(path, '/');
	char *folder = base ? hk_format("%.*s", (int)(base - path + 1), path) : hk_format(".");
	char *real = realpath(folder, NULL);
	char *whole =
		real ? hk_format("%s/%s", strcmp(real, "/") ? real : "", base ? base + 1 : path)
		     : NULL;
	free(folder);
	free(real);
	return whole;
}

static char *own_folder(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;
	if (n <= 0)
		return NULL;
	path[n] = 0;
	slash = strrchr(path, '/');
	return hk_format("%.*s", (int)(slash - path), path);
}

char *hk_library_beside(struct hk_elf *elf)
{
	char *folder = own_folder();
	char *found = NULL;
	for (size_t i = 0; folder && !found && i < PLACES; i++) {
		char *path = hk_format("%s/%s", folder, places[i]);
		if (hk_elf_read(path, elf) && elf->is_elf && elf->type == ET_DYN)
			found = absolute(path);
		free(path);
	}
	free(folder);
	return found;
}

/* By a name that it exports: whatever else is preloaded would leave the program on another malloc. */
static bool is_hakmem(const char *path)
{
	static const char name[] = "\0hak_version";
	struct stat st;
	bool found = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && st.st_size > 0) {
		void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p != MAP_FAILED) {
			found = memmem(p, (size_t)st.st_size, name, sizeof(name));
			munmap(p, (size_t)st.st_size);
		}
	}
	close(fd);
	return found;
}

static char *given_library(const char *given, struct hk_elf *elf)
{
	char *path = absolute(given);
	if (!path || !hk_elf_read(path, elf))
		hk_die(HK_EXIT_USAGE, "--lib: %s cannot be read: %s", given, strerror(errno));
	if (!elf->is_elf || elf->type != ET_DYN || *elf->loader)
		hk_die(HK_EXIT_USAGE, "--lib: %s is no shared library", given);
	if (!is_hakmem(path))
		hk_die(HK_EXIT_USAGE, "--lib: %s is not hakmem: it has no hak_version", given);
	return path;
}

char *hk_library_find(const char *given, struct hk_elf *elf)
{
	char *path = given ? given_library(given, elf) : hk_library_beside(elf);
	if (!path)
		hk_die(HK_EXIT_FAILED,
		       SONAME " is neither beside this tool nor in ../lib or ../lib/" HK_MULTIARCH
			      ": install it (package libhakmem0), or name it: --lib FILE");
	if (strpbrk(path, " :"))
		hk_die(HK_EXIT_USAGE,
		       "%s: LD_PRELOAD takes no path with a space or a colon; copy the library "
		       "to another place and name it: --lib FILE",
		       path);
	return path;
}
