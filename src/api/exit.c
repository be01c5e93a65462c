/* exit.c - HAKMEM_VERBOSE: what was in force and what happened, when the process ends. */
#include <unistd.h>

#include "api/api.h"
#include "heap/process.h"
#include "observe/audit.h"
#include "observe/options.h"
#include "observe/say.h"

static void say_line(void *none, const char *text)
{
	(void)none;
	hk_say("%s", text);
}

__attribute__((destructor)) static void at_exit(void)
{
	if (!hk_options.verbose || !hk_region.base)
		return;
	hk_say("version %s, process %d", hak_version_string(), (int)getpid());
	hk_options_print();
	hak_stats_print(NULL);
	hk_report_nodes(say_line, NULL);
}
