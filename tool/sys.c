/* sys.c - small files of /proc and /sys, of this machine or below another root. Writes none. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *root = "";

void hk_sys_root(const char *path)
{
	root = path;
}

static char *read_all(int fd)
{
	size_t room = 4096, used = 0;
	char *text = hk_need(malloc(room));
	for (;;) {
		ssize_t n = read(fd, text + used, room - 1 - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(text);
			return NULL;
		}
		if (!n)
			break;
		used += (size_t)n;
		if (used == room - 1)
			text = hk_need(realloc(text, room *= 2));
	}
	text[used] = 0;
	return text;
}

static char *read_path(const char *format, va_list args)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s", root);
	if (n < 0 || (size_t)n >= sizeof(path))
		return NULL;
	int m = vsnprintf(path + n, sizeof(path) - (size_t)n, format, args);
	if (m < 0 || (size_t)m >= sizeof(path) - (size_t)n)
		return NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	char *text = read_all(fd);
	close(fd);
	return text;
}

char *hk_sys_text(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = read_path(format, args);
	va_end(args);
	return text;
}

/* The first line of TEXT, which is freed. */
static bool line_of(char *text, char *out, size_t bytes)
{
	if (!text)
		return false;
	size_t n = strcspn(text, "\n");
	bool fits = n < bytes;
	if (fits) {
		memcpy(out, text, n);
		out[n] = 0;
	}
	free(text);
	return fits;
}

bool hk_sys_line(char *out, size_t bytes, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = read_path(format, args);
	va_end(args);
	return line_of(text, out, bytes);
}

bool hk_sys_number(uint64_t *out, const char *format, ...)
{
	char line[64];
	va_list args;
	va_start(args, format);
	char *text = read_path(format, args);
	va_end(args);
	return line_of(text, line, sizeof(line)) && hk_number(line, 0, UINT64_MAX, out);
}

bool hk_sys_field(const char *text, const char *key, char *out, size_t bytes)
{
	const char *at = text ? strstr(text, key) : NULL;
	if (!at)
		return false;
	at += strlen(key);
	at += strspn(at, " \t");
	size_t n = strcspn(at, "\n");
	if (n >= bytes)
		return false;
	memcpy(out, at, n);
	out[n] = 0;
	return true;
}

bool hk_sys_choice(char *out, size_t bytes, const char *format, ...)
{
	char line[256];
	va_list args;
	va_start(args, format);
	char *text = read_path(format, args);
	va_end(args);
	if (!line_of(text, line, sizeof(line)))
		return false;
	char *open = strchr(line, '[');
	char *end = open ? strchr(open, ']') : NULL;
	if (!end || (size_t)(end - open) > bytes)
		return false;
	memcpy(out, open + 1, (size_t)(end - open - 1));
	out[end - open - 1] = 0;
	return true;
}
