/* say.c - messages, numbers and lists of the command line. Reads no file. */
#include "tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *hk_command = "hakmem";

static void say(const char *format, va_list args)
{
	fprintf(stderr, "%s: ", hk_command);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

void hk_warn(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	say(format, args);
	va_end(args);
}

void hk_die(int status, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	say(format, args);
	va_end(args);
	exit(status);
}

void hk_option_refused(int c, char **argv, const struct option *options)
{
	const char *given = argv[optind - 1];
	char known[512] = "";
	size_t used = 0;
	for (const struct option *o = options; o->name; o++)
		if (used < sizeof(known))
			used += (size_t)snprintf(known + used, sizeof(known) - used, " --%s",
						 o->name);
	if (c == ':')
		hk_die(HK_EXIT_USAGE, "%s wants a value (see %s --help)", given, hk_command);
	if (optopt && strchr(given, '=') && !strncmp(given, "--", 2))
		hk_die(HK_EXIT_USAGE, "%s: this option takes no value", given);
	if (strncmp(given, "--", 2) && optopt) /* -nvx stays argv[optind] while it is read */
		hk_die(HK_EXIT_USAGE, "unknown option -%c; there are%s", optopt, known);
	hk_die(HK_EXIT_USAGE, "unknown option %s; there are%s", given, known);
}

void hk_output_end(void)
{
	if (fflush(stdout) || ferror(stdout))
		hk_die(HK_EXIT_FAILED, "cannot write the output: %s", strerror(errno));
}

void *hk_need(void *memory)
{
	if (!memory)
		hk_die(HK_EXIT_FAILED, "out of memory");
	return memory;
}

char *hk_format(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	return hk_need(text);
}

void hk_size_text(char *out, size_t bytes, uint64_t size)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double x = (double)size;
	unsigned i = 0;
	for (; x >= 1024 && i < 5; i++)
		x /= 1024;
	if (x == (double)(uint64_t)x || x >= 100)
		snprintf(out, bytes, "%.0f %s", x, unit[i]);
	else
		snprintf(out, bytes, "%.1f %s", x, unit[i]);
}

bool hk_number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
	uint64_t x = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || x > (UINT64_MAX - 9) / 10)
			return false;
		x = x * 10 + (uint64_t)(*text - '0');
	}
	*out = x;
	return x >= least && x <= most;
}

/* The digits at *TEXT, which must be there. */
static bool list_number(const char **text, unsigned limit, unsigned *out)
{
	unsigned x = 0;
	if (**text < '0' || **text > '9')
		return false;
	for (; **text >= '0' && **text <= '9'; ++*text) {
		x = x * 10 + (unsigned)(**text - '0');
		if (x >= limit)
			return false;
	}
	*out = x;
	return true;
}

bool hk_list(const char *text, unsigned limit, void (*each)(unsigned id, void *arg), void *arg)
{
	unsigned first, last;
	do {
		if (!list_number(&text, limit, &first))
			return false;
		last = first;
		if (*text == '-' && (text++, !list_number(&text, limit, &last) || last < first))
			return false;
		for (unsigned id = first; id <= last; id++)
			each(id, arg);
	} while (*text == ',' && *++text);
	return !*text && text[-1] != ',';
}
