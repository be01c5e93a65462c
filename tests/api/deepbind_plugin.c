/* deepbind_plugin.c - a shared object that is opened with RTLD_DEEPBIND: its malloc is libc's own,
 * whatever is preloaded. See deepbind_test.c. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

char *plugin_text(const char *text, size_t room);
void plugin_free(void *p);
size_t plugin_usable(void *p);

/* A block of ROOM bytes with TEXT in it, for the caller to free. */
char *plugin_text(const char *text, size_t room)
{
	char *p = malloc(room);

	if (p)
		strcpy(p, text);
	return p;
}

void plugin_free(void *p)
{
	free(p);
}

size_t plugin_usable(void *p)
{
	return malloc_usable_size(p);
}
