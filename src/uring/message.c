/* message.c - a line for people about the last error, by thread. Decides nothing. */
#include <stdarg.h>
#include <stdio.h>

#include "uring/inner.h"

/* A constant offset from the thread pointer: the first use in a thread must not call malloc (I4). */
static __thread char line[256] __attribute__((tls_model("initial-exec")));

int hk_uring_fail(int error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return error;
}

HK_URING_API const char *hak_uring_message(void)
{
	return line;
}
