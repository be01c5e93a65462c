/* lockall.c - a preloaded object that locks all memory of a program, present and future.
 *
 * mlockall is lost by exec, so it is called from inside, before main. It leaves with status 97 and
 * a line where the kernel refuses: the program does not fit into RLIMIT_MEMLOCK then. With
 * HAKLOCK_FILE it writes VmLck and VmSize there at the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((constructor)) static void lockall_start(void)
{
	static const char said[] = "lockall: mlockall refused\n";

	if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0)
		return;
	if (write(2, said, sizeof(said) - 1) < 0)
		errno = 0;
	_exit(97);
}

__attribute__((destructor)) static void lockall_end(void)
{
	const char *name = getenv("HAKLOCK_FILE");
	char line[256];
	FILE *in, *out;

	if (name == NULL)
		return;
	in = fopen("/proc/self/status", "r");
	out = fopen(name, "w");
	while (in != NULL && out != NULL && fgets(line, sizeof(line), in) != NULL)
		if (strncmp(line, "VmLck", 5) == 0 || strncmp(line, "VmSize", 6) == 0)
			fputs(line, out);
	if (in != NULL)
		fclose(in);
	if (out != NULL)
		fclose(out);
}
