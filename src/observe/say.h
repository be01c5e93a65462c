/* say.h - messages to the person who runs the program.
 *
 * One line each, "hakmem: ...", formatted on the stack and written with one write(2): nothing
 * allocates, no lock is taken. They go to HAKMEM_LOG if that is set, else to standard error as it
 * was when the process started; if the program has since put another file at fd 2, nowhere.
 * Threads: any.
 * Base alone is included, so any layer may.
 */
#ifndef HK_OBSERVE_SAY_H
#define HK_OBSERVE_SAY_H

#include "base/attr.h"

/* Remembers what fd 2 is now. Once, at the first allocation. */
void hk_say_init(void);

/* Keeps a copy of fd 2 (at 100 or above, closed by exec): many programs close it before they end. */
void hk_say_keep(void);

/* %s %d %u %zu %lu %p %x as in printf, nothing else; cut at 400 bytes. */
void hk_say(const char *format, ...) HK_PRINTF(1, 2);

#endif
