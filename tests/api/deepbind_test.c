/* deepbind_test.c - blocks of libc's own malloc, made in an RTLD_DEEPBIND object, are freed,
 * resized and measured by the preloaded family: foreign pointers are passed on. */
#define _GNU_SOURCE
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

typedef char *text_fn(const char *, size_t);
typedef void free_fn(void *);

static void *open_plugin(const char *self)
{
	char path[4096];
	const char *slash = strrchr(self, '/');
	void *handle;

	snprintf(path, sizeof(path), "%.*sdeepbind_plugin.so", slash ? (int)(slash + 1 - self) : 0,
		 self);
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	CHECK(handle, "%s", dlerror());
	return handle;
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {40, 900, 5000, 40000, 300000, 5000000};
	text_fn *make;
	free_fn *plugin_free;
	void *handle;
	size_t s;
	int i;

	(void)argc;
	test_begin();
	handle = open_plugin(argv[0]);
	make = (text_fn *)dlsym(handle, "plugin_text");
	plugin_free = (free_fn *)dlsym(handle, "plugin_free");
	CHECK(make && plugin_free, "%s", dlerror());
	for (i = 0; i < 50; i++)
		for (s = 0; s < COUNT_OF(sizes); s++) {
			char *a = make("first", sizes[s]), *b = make("second", sizes[s]);
			char *c = make("third", sizes[s]);

			CHECK(a && b && c, "plugin_text");
			CHECK(malloc_usable_size(a) >= sizes[s], "usable %zu of %zu",
			      malloc_usable_size(a), sizes[s]);
			errno = 4711;
			free(a);
			CHECK(errno == 4711, "errno %d", errno);
			b = realloc(b, sizes[s] * 2);
			CHECK(b && strcmp(b, "second") == 0, "realloc of a foreign block lost it");
			memset(b, 'x', sizes[s] * 2);
			free(b);
			plugin_free(c);
		}
	return test_end();
}
