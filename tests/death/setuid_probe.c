/* setuid_probe.c - a program linked with libhakmem.a (a preload is ignored where a program is
 * setuid). Says whether the kernel calls it secure; allocates; tests nothing by itself. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>

int main(void)
{
	void *p = malloc(100000);

	printf("%s\n", getauxval(AT_SECURE) ? "secure" : "plain");
	free(p);
	return p ? 0 : 1;
}
