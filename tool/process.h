/* process.h - a running process, looked at from outside. */
#ifndef HK_TOOL_PROCESS_H
#define HK_TOOL_PROCESS_H

#include "tool.h"

/* Where SYMBOL of one of the files that PID has mapped is in its memory; 0: none has it. Ends with a line
 * where the process is not there or may not be looked at. */
uintptr_t hk_process_symbol(int pid, const char *symbol);

#endif
