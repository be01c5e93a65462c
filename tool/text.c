/* text.c - the topology as text, and its file. What it does not do: read the text back; the library has
 * the one parser, this only asks what would make it refuse the file as a whole. */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void print_node(FILE *out, const struct hk_machine *m, const struct hk_tool_node *n)
{
	char *cpus = hk_bitmap_text(n->cpus);
	fprintf(out, "node=%u cpus=%s mem=%llu tier=%u dist=", n->os, cpus,
		(unsigned long long)(n->memory_bytes >> 20), n->tier);
	free(cpus);
	for (unsigned j = 0; j < m->count; j++) {
		/* The kernel's own words for near and far, where nothing is known. */
		unsigned d = n->distance[j] ? n->distance[j] : &m->node[j] == n ? 10 : 20;
		fprintf(out, "%s%u:%u", j ? "," : "", m->node[j].os, d);
	}
	if (n->bandwidth_mib)
		fprintf(out, " bw=%llu", (unsigned long long)n->bandwidth_mib);
	if (n->latency_ns)
		fprintf(out, " lat=%llu", (unsigned long long)n->latency_ns);
}

char *hk_topology_text(const struct hk_machine *m, char separator)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = hk_need(open_memstream(&text, &bytes));
	/* What is of another machine names no boot, so that no library takes it. */
	fprintf(out, "v1%cboot=%s%conline=%s%c", separator, *m->boot ? m->boot : "none", separator,
		m->online, separator);
	for (unsigned i = 0; i < m->count; i++) {
		print_node(out, m, &m->node[i]);
		fputc(separator, out);
	}
	fputs("end", out);
	fputc(separator, out);
	if (fclose(out))
		hk_die(HK_EXIT_FAILED, "out of memory");
	return text;
}

/* ---- the file ---- */

/* /run/hakmem, which root alone may write. */
static void make_directory(void)
{
	const char *dir = "/run/hakmem";
	struct stat st;
	int rc = mkdir(dir, 0755);
	if (!rc)
		rc = chmod(dir, 0755); /* whatever root's umask is: programs read what is in it */
	else if (errno == EEXIST)
		rc = 0;
	if (rc)
		hk_die(HK_EXIT_FAILED, "cannot make %s: %s", dir, strerror(errno));
	if (lstat(dir, &st) || !S_ISDIR(st.st_mode) || st.st_uid || st.st_mode & 022)
		hk_die(HK_EXIT_FAILED,
		       "%s is no directory that only root may write: nothing was saved", dir);
}

static bool write_all(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, text, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		bytes -= (size_t)n;
	}
	return true;
}

void hk_topology_save(const struct hk_machine *m, const char *path)
{
	char *text = hk_topology_text(m, '\n');
	size_t bytes = strlen(text);
	if (bytes > HK_TOPOLOGY_BYTES)
		hk_die(HK_EXIT_FAILED,
		       "%u nodes make %zu bytes, the library reads %u: nothing was saved", m->count,
		       bytes, HK_TOPOLOGY_BYTES);
	if (!strcmp(path, HK_TOPOLOGY_FILE)) {
		if (geteuid())
			hk_die(HK_EXIT_FAILED,
			       "--save writes " HK_TOPOLOGY_FILE ", which takes root: "
			       "sudo hakmem topo --save (or --save FILE)");
		make_directory();
	}
	struct stat st;
	if (!lstat(path, &st) && !S_ISREG(st.st_mode))
		hk_die(HK_EXIT_USAGE, "--save: %s is there and no ordinary file: nothing was saved",
		       path);
	/* Beside it, then by rename: a program that starts meanwhile finds the old one or the new one. */
	char *fresh = hk_format("%s.XXXXXX", path);
	int fd = mkostemp(fresh, O_CLOEXEC);
	if (fd < 0)
		hk_die(HK_EXIT_FAILED, "--save: cannot write beside %s: %s", path, strerror(errno));
	if (!write_all(fd, text, bytes) || fchmod(fd, 0644) || fsync(fd) || close(fd) ||
	    rename(fresh, path)) {
		int why = errno;
		unlink(fresh);
		hk_die(HK_EXIT_FAILED, "--save: cannot write %s: %s", path, strerror(why));
	}
	free(fresh);
	free(text);
}

static const char *refused_text(const char *text)
{
	static char boot[64], online[4096], have[4096];
	size_t bytes = strlen(text);
	if (bytes > HK_TOPOLOGY_BYTES)
		return "it is larger than 64 KiB";
	if (strncmp(text, "v1\n", 3) && strncmp(text, "v1;", 3))
		return "it is of another version, or none of ours";
	if (!hk_sys_line(boot, sizeof(boot), "/proc/sys/kernel/random/boot_id") ||
	    !hk_sys_field(text, "boot=", have, sizeof(have)) || strcmp(have, boot))
		return "it is of an earlier boot, or of another machine";
	if (!hk_sys_line(online, sizeof(online), "/sys/devices/system/node/online") ||
	    !hk_sys_field(text, "online=", have, sizeof(have)) || strcmp(have, online))
		return "other nodes are online now";
	if (bytes < 5 || strcmp(text + bytes - 5, "\nend\n"))
		return "it is cut: its end is missing";
	return NULL;
}

const char *hk_topology_refused(const char *path, bool *none)
{
	struct stat st;
	*none = lstat(path, &st) && errno == ENOENT;
	if (*none)
		return "it is not there";
	if (stat(path, &st))
		return "it cannot be read";
	if (!S_ISREG(st.st_mode) || st.st_uid || st.st_mode & 022)
		return "it is no file that root owns and only root may write";
	char *text = hk_sys_text("%s", path);
	const char *why = text ? refused_text(text) : "it cannot be read";
	free(text);
	return why;
}
