/* who.c - asks the process itself which file serves malloc, and lets it work.
 *
 * Prints "malloc FILE" (the file that has it, "-" in a static program), and where hakmem is in the
 * process "version X.Y.Z", and whether a block of malloc is hakmem's; exits 1 if a block comes back
 * wrong. Compiled by the tests of this folder: as it is (to be preloaded), and with -DWITH_HEADER
 * against the installed header, where it also calls the library by its own names. Measures
 * nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WITH_HEADER
#include <hakmem/hakmem.h>

static int own_names_work(void)
{
	char *p = hak_malloc(1000);
	int ok = p != NULL && hak_version() == HAK_VERSION && hak_malloc_usable_size(p) >= 1000 &&
		 hak_owns(p);

	if (ok)
		memset(p, 1, 1000);
	hak_free(p);
	return ok;
}

static void say_who_serves(void *block)
{
	printf("version %s\n", hak_version_string());
	printf("malloc's block is hakmem's: %d\n", hak_owns(block));
}
#else
static int own_names_work(void)
{
	return 1;
}

static void say_who_serves(void *block)
{
	const char *(*version)(void) =
		(const char *(*)(void))dlsym(RTLD_DEFAULT, "hak_version_string");
	int (*owns)(const void *) = (int (*)(const void *))dlsym(RTLD_DEFAULT, "hak_owns");

	if (!version || !owns)
		return;
	printf("version %s\n", version());
	printf("malloc's block is hakmem's: %d\n", owns(block));
}
#endif

static int blocks_work(void)
{
	enum { BLOCKS = 1000 };
	static unsigned char *blocks[BLOCKS];
	int i;

	for (i = 0; i < BLOCKS; i++) {
		size_t size = (size_t)i * 37 + 1;

		blocks[i] = malloc(size);
		if (!blocks[i])
			return 0;
		memset(blocks[i], i & 255, size);
	}
	for (i = 0; i < BLOCKS; i++) {
		if (blocks[i][0] != (i & 255) || blocks[i][(size_t)i * 37] != (i & 255))
			return 0;
		free(blocks[i]);
	}
	return 1;
}

static const char *file_of_malloc(void)
{
	Dl_info info;

	return dladdr((void *)malloc, &info) && info.dli_fname ? info.dli_fname : "-";
}

int main(void)
{
	void *block = malloc(40);

	if (!block)
		return 1;
	printf("malloc %s\n", file_of_malloc());
	say_who_serves(block);
	free(block);
	return !(own_names_work() && blocks_work());
}
