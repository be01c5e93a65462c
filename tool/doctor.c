/* doctor.c - `hakmem doctor`: runs the checks and prints them. Changes nothing. */
#include "doctor.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"usage: hakmem doctor [--json]\n"
	"\n"
	"Looks at the settings that matter to hakmem: huge pages, NUMA, overcommit, limits,\n"
	"io_uring, cpuset and memory policy. For each: what is set, why it matters, whether it\n"
	"is good, and the command (as root) that sets it right. Changes nothing.\n"
	"\n"
	"  good      nothing to do\n"
	"  advice    works; the command would serve hakmem better\n"
	"  problem   programs fail, or lose what hakmem is for\n"
	"\n"
	"  --json    the same as JSON\n"
	"\n"
	"Limits, cpuset and policy are those of this process: run it where the service runs\n"
	"(systemd-run, docker exec, numactl). Exit status: 0 without a problem, else 1.\n"
	"See hakmem(1).\n";

static const char *const verdicts[] = {"good", "advice", "problem"};

void hk_found(struct hk_findings *f, enum hk_verdict verdict, const char *name, char *is,
	      const char *why, const char *set)
{
	f->list = hk_need(realloc(f->list, (f->count + 1) * sizeof(*f->list)));
	f->list[f->count++] = (struct hk_finding){
		verdict, name, is, why, verdict == HK_GOOD || !set ? NULL : hk_format("%s", set)};
}

static unsigned count(const struct hk_findings *f, enum hk_verdict verdict)
{
	unsigned n = 0;
	for (unsigned i = 0; i < f->count; i++)
		n += f->list[i].verdict == verdict;
	return n;
}

/* Lines of at most 80 columns, indented. */
static void print_wrapped(const char *text)
{
	while (*text) {
		size_t n = strlen(text);
		if (n > 71)
			for (n = 71; n && text[n] != ' ';)
				n--;
		if (!n)
			n = strcspn(text, " ");
		printf("%9s%.*s\n", "", (int)n, text);
		text += n + (text[n] == ' ');
	}
}

/* What to do comes last, where the eye is when the prompt is back. */
static void print_text(const struct hk_findings *f)
{
	if (f->machine->foreign)
		printf("NOT THIS MACHINE'S FILES: %s; limits and policy are of this process\n\n",
		       f->machine->foreign);
	for (enum hk_verdict v = HK_GOOD; v <= HK_PROBLEM; v++)
		for (unsigned i = 0; i < f->count; i++) {
			const struct hk_finding *x = &f->list[i];
			if (x->verdict != v)
				continue;
			printf("%-8s %s: %s\n", verdicts[v], x->name, x->is);
			print_wrapped(x->why);
			if (x->set)
				printf("%9s-> %s\n", "", x->set);
		}
	printf("\n%u good, %u advice, %u problem%s\n", count(f, HK_GOOD), count(f, HK_ADVICE),
	       count(f, HK_PROBLEM), count(f, HK_PROBLEM) == 1 ? "" : "s");
}

static void print_json(const struct hk_findings *f)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < f->count; i++) {
		const struct hk_finding *x = &f->list[i];
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s?}", "check",
						      x->name, "verdict", verdicts[x->verdict],
						      "is", x->is, "why", x->why, "set", x->set));
	}
	json_t *all = hk_need(json_pack("{s:b, s:i, s:i, s:i, s:o}", "this_machine",
					!f->machine->foreign, "good", (int)count(f, HK_GOOD),
					"advice", (int)count(f, HK_ADVICE), "problem",
					(int)count(f, HK_PROBLEM), "checks", list));
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
}

int hk_doctor(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct hk_findings f = {0};
	bool json = false;
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'j')
			json = true;
		else if (c == 'h')
			return fputs(help, stdout), hk_output_end(), 0;
		else
			hk_option_refused(c, argv, options);
	}
	if (optind < argc)
		hk_die(HK_EXIT_USAGE, "unexpected '%s' (see hakmem doctor --help)", argv[optind]);
	f.machine = hk_machine_load(true);
	unsigned with_memory = 0;
	for (unsigned i = 0; i < f.machine->count; i++)
		with_memory += f.machine->node[i].memory_bytes != 0;
	f.several = with_memory > 1;
	hk_check_pages(&f);
	hk_check_kernel(&f);
	hk_check_process(&f);
	hk_check_install(&f);
	if (json)
		print_json(&f);
	else
		print_text(&f);
	hk_output_end();
	return count(&f, HK_PROBLEM) ? HK_EXIT_FAILED : 0;
}
