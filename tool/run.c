/* run.c - `hakmem run`: checks everything, sets the environment, becomes the program. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool.h"
#include "program.h"
#include "text.h"
#include "variables.h"

static const char help[] =
	"usage: hakmem run [options] [--] PROGRAM [ARGUMENT...]\n"
	"\n"
	"Starts PROGRAM with libhakmem.so preloaded and the machine's NUMA nodes handed over.\n"
	"Process, signals, exit status and standard input are the program's.\n"
	"\n"
	"  --numa POLICY        auto, local, interleave, weighted, preferred=N, bind=LIST, off\n"
	"  --huge MODE          never, thp, hugetlb, hugetlb-1g\n"
	"  --profile NAME       default, latency, memory, container, hugetlb, or a file's path\n"
	"  --option NAME=VALUE  any other option of hakmem(7), such as WARM_MIB=64; repeatable\n"
	"  --lib FILE           this libhakmem.so instead of the installed one\n"
	"  --hugepages N        as root: N more pages in each node's hugetlb pool while the\n"
	"                       program runs (--huge hugetlb, unless hugetlb-1g is given)\n"
	"  --verbose            says what is handed over; the library reports at exit\n"
	"\n"
	"  hakmem run --numa bind=0-1 --option WARM_MIB=512 -- ./server --port 80\n"
	"\n"
	"Exit status: the program's; 2 wrong usage, 126 not to be run, 127 not found.\n"
	"Is it there? grep hakmem /proc/PID/maps. See hakmem(1).\n";

struct request {
	const char *numa, *huge, *lib;
	uint64_t hugepages; /* 0: none */
	bool verbose;
};

/* This library first; other hakmems that an outer `hakmem run` put there are taken out. */
static void preload(const char *lib)
{
	const char *before = getenv("LD_PRELOAD");
	char *list = hk_format("%s", lib);
	for (const char *at = before ? before : ""; *at;) {
		size_t n = strcspn(at, " :");
		const char *base = at + n;
		while (base > at && base[-1] != '/')
			base--;
		if (n && strncmp(base, "libhakmem.so", 12)) {
			char *longer = hk_format("%s:%.*s", list, (int)n, at);
			free(list);
			list = longer;
		}
		at += n + (at[n] != 0);
	}
	if (setenv("LD_PRELOAD", list, 1))
		hk_need(NULL);
	free(list);
}

/* The machine's nodes for the library; a process on one node needs none. */
static void hand_over(const struct hk_machine *m, bool verbose)
{
	unsetenv("HAKMEM_TOPOLOGY"); /* what was inherited may be of another boot or container */
	if (!m || m->count < 2) {
		if (verbose)
			hk_warn("one node: no topology is handed over");
		return;
	}
	char *text = hk_topology_text(m, ';');
	if (!*m->boot || strlen(text) > HK_TOPOLOGY_BYTES) {
		hk_warn("no topology is handed over (%s): the library asks sysfs",
			*m->boot ? "it is too large" : "/proc has no boot id");
	} else {
		if (setenv("HAKMEM_TOPOLOGY", text, 1))
			hk_need(NULL);
		if (verbose)
			hk_warn("%s: nodes %s handed over", m->source, m->online);
	}
	free(text);
}

static const struct option options[] = {
	{"numa", required_argument, NULL, 'n'},
	{"huge", required_argument, NULL, 'g'},
	{"profile", required_argument, NULL, 'p'},
	{"option", required_argument, NULL, 'o'},
	{"lib", required_argument, NULL, 'l'},
	{"hugepages", required_argument, NULL, 'P'},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static void take_option(struct request *r, int c, char **argv)
{
	switch (c) {
	case 'n':
		r->numa = optarg;
		break;
	case 'g':
		r->huge = optarg;
		break;
	case 'p':
		hk_variable_set_profile(optarg);
		break;
	case 'o':
		hk_variable_set_pair(optarg);
		break;
	case 'l':
		r->lib = optarg;
		break;
	case 'P':
		if (!hk_number(optarg, 1, 1u << 24, &r->hugepages))
			hk_die(HK_EXIT_USAGE,
			       "--hugepages: '%s' is no number of pages from 1 to 16777216",
			       optarg);
		break;
	case 'v':
		r->verbose = true;
		break;
	default:
		hk_option_refused(c, argv, options);
	}
}

static void read_options(struct request *r, int argc, char **argv)
{
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:hv", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			hk_output_end();
			exit(0);
		}
		take_option(r, c, argv);
	}
	if (optind == argc)
		hk_die(HK_EXIT_USAGE,
		       "which program? hakmem run [options] -- PROGRAM [ARGUMENT...]");
	if (r->hugepages) {
		if (!r->huge)
			r->huge = "hugetlb";
		if (strncmp(r->huge, "hugetlb", 7))
			hk_die(HK_EXIT_USAGE,
			       "--hugepages fills the hugetlb pools, which --huge %s does not use",
			       r->huge);
	}
	if (r->huge)
		hk_variable_set("--huge", "HAKMEM_HUGE", r->huge);
	if (r->hugepages)
		hk_pool_may();
}

int hk_run(int argc, char **argv)
{
	struct request r = {0};
	struct hk_elf elf;
	struct hk_machine *m = NULL;
	read_options(&r, argc, argv);
	/* hwloc takes some milliseconds, for nothing where there is one node. */
	if (hk_machine_is_numa() || r.hugepages || (r.numa && hk_policy_nodes(r.numa)))
		m = hk_machine_load(false);
	if (r.numa)
		hk_variable_set_policy(r.numa, m);
	char **program = argv + optind;
	char *file = hk_program_find(program[0]);
	char *lib = hk_library_find(r.lib, &elf);
	hk_program_check(file, &elf);
	hand_over(m, r.verbose);
	preload(lib);
	if (r.verbose) {
		hk_variable_set("--verbose", "HAKMEM_VERBOSE", "1");
		hk_warn("%s serves %s", lib, file);
	}
	if (r.hugepages)
		return hk_pool_run(
			m, r.numa && !strncmp(r.numa, "bind=", 5) ? r.numa + 5 : NULL, r.hugepages,
			!strcmp(r.huge, "hugetlb-1g") ? HK_PAGES_1G : HK_PAGES_2M, program);
	execvp(program[0], program);
	hk_die(errno == ENOENT ? HK_EXIT_NOT_FOUND : HK_EXIT_CANNOT, "%s: %s", program[0],
	       strerror(errno));
}
