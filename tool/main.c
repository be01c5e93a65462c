/* main.c - `hakmem COMMAND`: picks the command. What it does not do: read any command's options. */
#include <stdio.h>
#include <string.h>

#include "hakmem/hakmem.h"
#include "tool.h"

#define HK_TEXT(x) HK_TEXT_(x)
#define HK_TEXT_(x) #x
#define HK_VERSION \
	HK_TEXT(HAK_VERSION_MAJOR) "." HK_TEXT(HAK_VERSION_MINOR) "." HK_TEXT(HAK_VERSION_PATCH)

static const struct {
	const char *name, *full;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"run", "hakmem run", hk_run},
	{"topo", "hakmem topo", hk_topo},
	{"doctor", "hakmem doctor", hk_doctor},
	{"audit", "hakmem audit", hk_audit},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char help[] =
	"usage: hakmem COMMAND [options]\n"
	"\n"
	"  run       starts a program on hakmem's malloc, with the machine's nodes handed over\n"
	"  topo      shows the NUMA nodes; saves them for programs that only preload the library\n"
	"  doctor    says what of this system's settings helps or hinders, and how to set it right\n"
	"  audit     asks the kernel on which nodes the memory of a running process is\n"
	"\n"
	"  hakmem COMMAND --help     its options\n"
	"  hakmem --version\n"
	"\n"
	"  hakmem run -- ./server --port 80\n"
	"  hakmem run --numa bind=0 --profile latency -- ./server\n"
	"\n"
	"See hakmem(1), and hakmem(7) for the library and its options.\n";

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
		fputs(help, stdout);
		hk_output_end();
		return 0;
	}
	if (!strcmp(word, "--version")) {
		puts("hakmem " HK_VERSION);
		hk_output_end();
		return 0;
	}
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(word, commands[i].name)) {
			hk_command = commands[i].full;
			return commands[i].run(argc - 1, argv + 1);
		}
	if (!*word)
		hk_die(HK_EXIT_USAGE, "no command given: run, topo, doctor or audit (see hakmem --help)");
	hk_die(HK_EXIT_USAGE, "no command '%s': run, topo, doctor or audit (see hakmem --help)", word);
}
