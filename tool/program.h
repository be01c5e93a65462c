/* program.h - what would be executed, and which library serves it: looked up before the start, since
 * the loader only ignores a preload that cannot work.
 */
#ifndef HK_TOOL_PROGRAM_H
#define HK_TOOL_PROGRAM_H

#include "tool.h"

struct hk_elf {
	bool is_elf;
	unsigned char bits;      /* ELFCLASS32 or ELFCLASS64 */
	uint16_t type, machine;  /* ET_DYN, EM_X86_64, ... */
	char loader[256];        /* PT_INTERP, "" where there is none */
};

/* False where the file can't be opened or read; ELF is of its first bytes. */
bool hk_elf_read(const char *path, struct hk_elf *elf);

/* The file that execvp takes for NAME; ends as env(1) does (126, 127) where there is none. */
char *hk_program_find(const char *name);

/* Ends with a line and 126 where LIB can't be preloaded into the program at PATH. */
void hk_program_check(const char *path, const struct hk_elf *lib);

/* The library: GIVEN (--lib) or the one that belongs to this tool. Ends with a line where there is none. */
char *hk_library_find(const char *given, struct hk_elf *elf);

/* The same; NULL where there is none. */
char *hk_library_beside(struct hk_elf *elf);

#endif
