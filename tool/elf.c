/* elf.c - kind, loader and privileges of the program that is to be started. Follows #! lines as the
 * kernel does. What it does not do: look into what that program executes in turn. */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPTS_MAX 5 /* #! lines that lead from one to the next; the kernel allows 5 */

static bool read_at(int fd, void *out, size_t bytes, off_t at)
{
	return pread(fd, out, bytes, at) == (ssize_t)bytes;
}

/* Only 64-bit files: others are refused by their class alone. */
static void read_loader(int fd, struct hk_elf *elf)
{
	Elf64_Ehdr head;
	Elf64_Phdr part;
	if (!read_at(fd, &head, sizeof(head), 0) || head.e_phentsize != sizeof(part))
		return;
	for (unsigned i = 0; i < head.e_phnum; i++) {
		if (!read_at(fd, &part, sizeof(part), (off_t)(head.e_phoff + i * sizeof(part))))
			return;
		if (part.p_type == PT_INTERP && part.p_filesz < sizeof(elf->loader)) {
			if (!read_at(fd, elf->loader, part.p_filesz, (off_t)part.p_offset))
				*elf->loader = 0;
			return;
		}
	}
}

bool hk_elf_read(const char *path, struct hk_elf *elf)
{
	Elf64_Ehdr head;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	memset(elf, 0, sizeof(*elf));
	if (fd < 0)
		return false;
	/* The first fields lie at the same place in both classes. */
	if (read_at(fd, &head, offsetof(Elf64_Ehdr, e_version), 0) &&
	    !memcmp(head.e_ident, ELFMAG, SELFMAG)) {
		elf->is_elf = true;
		elf->bits = head.e_ident[EI_CLASS];
		elf->type = head.e_type;
		elf->machine = head.e_machine;
		if (elf->bits == ELFCLASS64)
			read_loader(fd, elf);
	}
	close(fd);
	return true;
}

/* "#! /bin/sh -e" -> "/bin/sh"; false where the file has no such line. */
static bool script_interpreter(const char *path, char *out, size_t bytes)
{
	char line[PATH_MAX + 4];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, line, sizeof(line) - 1, 0);
	if (fd >= 0)
		close(fd);
	if (n < 3 || line[0] != '#' || line[1] != '!')
		return false;
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	char *word = line + 2 + strspn(line + 2, " \t");
	word[strcspn(word, " \t")] = 0;
	if (!*word || strlen(word) >= bytes)
		return false;
	strcpy(out, word);
	return true;
}

/* ---- privileges: in a program that gains some the loader ignores preloads by path ---- */

static const char *privilege(const char *path)
{
	struct stat st;
	struct statvfs fs;
	if (stat(path, &st) || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
	    (!statvfs(path, &fs) && fs.f_flag & ST_NOSUID))
		return NULL;
	if (st.st_mode & S_ISUID && st.st_uid != getuid())
		return "is set-user-ID";
	if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid())
		return "is set-group-ID";
	if (getuid() && getxattr(path, "security.capability", NULL, 0) > 0)
		return "has file capabilities";
	return NULL;
}

/* ld.so itself has no loader, and honours preloads. */
static bool is_loader(const char *path)
{
	char *real = realpath(path, NULL);
	const char *base = real ? strrchr(real, '/') + 1 : "";
	bool is = !strncmp(base, "ld-linux", 8) || !strncmp(base, "ld64.so", 7) ||
		  !strncmp(base, "ld.so", 5);
	free(real);
	return is;
}

static void check_elf(const char *path, const char *of, const struct hk_elf *elf,
		      const struct hk_elf *lib)
{
	const char *why = privilege(path);
	if (why)
		hk_die(HK_EXIT_CANNOT,
		       "%s%s %s: the loader ignores a preload there; start it without hakmem run, "
		       "or as the user it belongs to",
		       path, of, why);
	if (elf->bits != lib->bits || elf->machine != lib->machine)
		hk_die(HK_EXIT_CANNOT,
		       "%s%s is for another kind of processor, or 32 bit: the library is not; "
		       "start it without hakmem run",
		       path, of);
	if (!*elf->loader && !is_loader(path))
		hk_die(HK_EXIT_CANNOT,
		       "%s%s is a static program: no loader, so no preload; link it with "
		       "libhakmem.a, or start it without hakmem run",
		       path, of);
	if (strstr(elf->loader, "/ld-musl"))
		hk_die(HK_EXIT_CANNOT,
		       "%s%s runs on musl (%s), the library on glibc; start it without hakmem run",
		       path, of, elf->loader);
}

void hk_program_check(const char *path, const struct hk_elf *lib)
{
	char now[PATH_MAX], next[PATH_MAX];
	char *of = hk_format("%s", "");
	snprintf(now, sizeof(now), "%s", path);
	for (int i = 0; i < SCRIPTS_MAX; i++) {
		struct hk_elf elf;
		if (!hk_elf_read(now, &elf))
			break; /* executable, not readable: the kernel may */
		if (elf.is_elf) {
			check_elf(now, of, &elf, lib);
			break;
		}
		if (!script_interpreter(now, next, sizeof(next)))
			break; /* execvp tries the shell, binfmt_misc may know it */
		if (access(next, F_OK))
			hk_die(HK_EXIT_NOT_FOUND, "%s: its interpreter %s is not there", now, next);
		free(of);
		of = hk_format(", which interprets %s,", path);
		strcpy(now, next);
	}
	free(of);
}

/* ---- the file ---- */

static bool runnable(const char *path, int *why)
{
	struct stat st;
	if (stat(path, &st))
		return *why = errno, false;
	if (S_ISDIR(st.st_mode))
		return *why = EISDIR, false;
	if (access(path, X_OK))
		return *why = errno, false;
	return true;
}

char *hk_program_find(const char *name)
{
	const char *path = getenv("PATH");
	int why = ENOENT, last = ENOENT;
	if (strchr(name, '/')) {
		if (runnable(name, &why))
			return hk_format("%s", name);
		hk_die(why == ENOENT || why == ENOTDIR ? HK_EXIT_NOT_FOUND : HK_EXIT_CANNOT,
		       "%s: %s", name, strerror(why));
	}
	for (const char *at = path ? path : "/bin:/usr/bin"; *name; at++) {
		size_t n = strcspn(at, ":");
		char *file = hk_format("%.*s%s%s", (int)n, at, n ? "/" : "./", name);
		if (runnable(file, &why))
			return file;
		if (!access(file, F_OK)) /* a folder that may not be read is no finding */
			last = why;
		free(file);
		at += n;
		if (!*at)
			break;
	}
	if (last == ENOENT)
		hk_die(HK_EXIT_NOT_FOUND, "%s: no such program in PATH", name);
	hk_die(HK_EXIT_CANNOT, "%s: %s", name, strerror(last));
}
