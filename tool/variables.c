/* variables.c - options of the library, checked against its own tables. Starts nothing. */
#include "variables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROFILE_BYTES 4095
#define TEXT_BYTES 680 /* the library keeps no longer texts */

enum type { NUMBER, CHOICE, TEXT, PASSED }; /* PASSED: made by `hakmem run` alone */

struct variable {
	const char *name;
	enum type type;
	uint64_t least, most;
	bool has_auto;
	const char *unit, *help;
};

#define HK_AUTO SIZE_MAX
#define HK_OPTION(field, name, type, preset, least, most, unit, help) \
	{name, type, least, most, (preset) == HK_AUTO, unit, help},
static const struct variable variables[] = {
#include "observe/options.def"
};
#undef HK_OPTION

#define VARIABLES (sizeof(variables) / sizeof(variables[0]))

static const struct {
	const char *name, *text;
} profiles[] = {
#include "profiles.inc"
};

#define PROFILES (sizeof(profiles) / sizeof(profiles[0]))

/* The words of a CHOICE are those before the colons of its help, "never: ...; thp: ...". */
static bool choice_has(const struct variable *v, const char *value, char *words, size_t bytes)
{
	const char *at = v->help;
	bool found = false;
	size_t used = 0;
	for (uint64_t i = 0; at && i <= v->most; i++) {
		int n = (int)strcspn(at, ":");
		found |= strlen(value) == (size_t)n && !strncmp(at, value, (size_t)n);
		if (used < bytes)
			used += (size_t)snprintf(words + used, bytes - used, "%s%.*s",
						 i ? ", " : "", n, at);
		at = strstr(at, "; ");
		at = at ? at + 2 : NULL;
	}
	return found;
}

/* What is wrong with VALUE, or NULL. */
static char *fault_of(const struct variable *v, const char *value)
{
	char words[256] = "";
	uint64_t x;
	if (v->type == CHOICE && !choice_has(v, value, words, sizeof(words)))
		return hk_format("%s is not '%s' but one of: %s", v->name, value, words);
	if (v->type == NUMBER && !(v->has_auto && !strcmp(value, "auto")) &&
	    !hk_number(value, v->least, v->most, &x))
		return hk_format("%s is not '%s' but a number from %llu to %llu%s%s%s", v->name, value,
				 (unsigned long long)v->least, (unsigned long long)v->most,
				 *v->unit ? " " : "", v->unit, v->has_auto ? ", or auto" : "");
	if (v->type == TEXT && (!*value || strlen(value) > TEXT_BYTES))
		return hk_format("%s wants a text of 1 to %d bytes", v->name, TEXT_BYTES);
	return NULL;
}

static const struct variable *find(const char *name, size_t bytes)
{
	for (size_t i = 0; i < VARIABLES; i++)
		if (!strncmp(variables[i].name, name, bytes) && !variables[i].name[bytes])
			return &variables[i];
	return NULL;
}

static _Noreturn void die_unknown(const char *option, const char *name)
{
	char known[1024] = "";
	size_t used = 0;
	for (size_t i = 0; i < VARIABLES && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 variables[i].name + strlen("HAKMEM_"));
	hk_die(HK_EXIT_USAGE, "%s: the library has no option '%s'; it has %s", option, name, known);
}

void hk_variable_set(const char *option, const char *name, const char *value)
{
	const struct variable *v = find(name, strlen(name));
	if (!v)
		die_unknown(option, name);
	const char *fault = fault_of(v, value);
	if (fault)
		hk_die(HK_EXIT_USAGE, "%s: %s", option, fault);
	if (setenv(name, value, 1))
		hk_need(NULL);
}

void hk_variable_set_pair(const char *pair)
{
	const char *equals = strchr(pair, '=');
	if (!equals || equals == pair)
		hk_die(HK_EXIT_USAGE, "--option wants NAME=VALUE, such as WARM_MIB=64, not '%s'",
		       pair);
	bool whole = !strncmp(pair, "HAKMEM_", 7);
	char *name = hk_format("%s%.*s", whole ? "" : "HAKMEM_", (int)(equals - pair), pair);
	if (!strcmp(name, "HAKMEM_PROFILE"))
		hk_variable_set_profile(equals + 1);
	else if (!strcmp(name, "HAKMEM_NUMA") || !strcmp(name, "HAKMEM_TOPOLOGY"))
		hk_die(HK_EXIT_USAGE, "--option: %s",
		       !strcmp(name, "HAKMEM_NUMA")
			       ? "for HAKMEM_NUMA there is --numa POLICY"
			       : "HAKMEM_TOPOLOGY is made by hakmem run itself");
	else
		hk_variable_set("--option", name, equals + 1);
	free(name);
}

/* What is wrong with a profile's name, or NULL. */
static char *profile_fault(const char *profile)
{
	char names[256] = "";
	size_t used = 0;
	if (strchr(profile, '/')) {
		struct stat st;
		if (access(profile, R_OK) || stat(profile, &st) || !S_ISREG(st.st_mode))
			return hk_format("the file %s cannot be read", profile);
		if (st.st_size > PROFILE_BYTES)
			return hk_format("the file %s is larger than %d bytes", profile, PROFILE_BYTES);
		return NULL;
	}
	for (size_t i = 0; i < PROFILES; i++) {
		if (!strcmp(profiles[i].name, profile))
			return NULL;
		if (used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s, ",
						 profiles[i].name);
	}
	return hk_format("no profile '%s'; there are %sor a file with a '/' in its name", profile, names);
}

void hk_variable_set_profile(const char *profile)
{
	const char *fault = profile_fault(profile);
	if (fault)
		hk_die(HK_EXIT_USAGE, "--profile: %s", fault);
	hk_variable_set("--profile", "HAKMEM_PROFILE", profile);
}

char *hk_variables_fault(unsigned *set)
{
	char *fault = NULL;
	*set = 0;
	for (char **e = environ; *e; e++) {
		const char *value = strchr(*e, '=');
		if (strncmp(*e, "HAKMEM_", 7) || !value)
			continue;
		const struct variable *v = find(*e, (size_t)(value++ - *e));
		++*set;
		if (fault)
			continue;
		if (!v)
			fault = hk_format("the library has no option %.*s", (int)strcspn(*e, "="), *e);
		else if (!strcmp(v->name, "HAKMEM_PROFILE"))
			fault = profile_fault(value);
		else
			fault = fault_of(v, value);
	}
	return fault;
}

/* ---- policies ---- */

#define POLICIES "auto, local, interleave, weighted, preferred=N, bind=LIST, off"

const char *hk_policy_nodes(const char *policy)
{
	if (!strncmp(policy, "preferred=", 10))
		return policy + 10;
	return strncmp(policy, "bind=", 5) ? NULL : policy + 5;
}

struct asked {
	const struct hk_machine *m;
	const char *policy;
};

static void check_node(unsigned os, void *arg)
{
	const struct asked *a = arg;
	int i = hk_machine_find(a->m, os);
	if (i < 0)
		hk_die(HK_EXIT_USAGE, "--numa %s: no node %u here; nodes with memory: %s",
		       a->policy, os, hk_machine_with_memory(a->m));
	if (!a->m->node[i].memory_bytes)
		hk_die(HK_EXIT_USAGE, "--numa %s: node %u has no memory; nodes with memory: %s",
		       a->policy, os, hk_machine_with_memory(a->m));
	if (a->m->node[i].use == HK_USE_NOT_BY_CPUSET)
		hk_die(HK_EXIT_USAGE,
		       "--numa %s: the cpuset forbids memory of node %u; it allows: %s", a->policy,
		       os, hk_machine_usable(a->m));
}

void hk_variable_set_policy(const char *policy, const struct hk_machine *m)
{
	static const char *const words[] = {"auto", "local", "interleave", "weighted", "off"};
	const char *nodes = hk_policy_nodes(policy);
	struct asked asked = {m, policy};
	uint64_t one;
	if (!strncmp(policy, "preferred", strlen(policy)) && *policy == 'p')
		hk_die(HK_EXIT_USAGE, "--numa %s: which node? preferred=N", policy);
	if (!strcmp(policy, "bind"))
		hk_die(HK_EXIT_USAGE, "--numa bind: which nodes? bind=LIST, such as bind=0-1,3");
	if (!strncmp(policy, "preferred=", 10)) {
		if (!hk_number(nodes, 0, HK_NODES_LIMIT - 1, &one))
			hk_die(HK_EXIT_USAGE, "--numa %s: '%s' is no node number", policy, nodes);
		check_node((unsigned)one, &asked);
	} else if (nodes) {
		if (!hk_list(nodes, HK_NODES_LIMIT, check_node, &asked))
			hk_die(HK_EXIT_USAGE, "--numa %s: '%s' is no list of nodes such as 0-1,3",
			       policy, nodes);
	} else {
		bool found = false;
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			found |= !strcmp(words[i], policy);
		if (!found)
			hk_die(HK_EXIT_USAGE, "--numa: no policy '%s'; there are " POLICIES,
			       policy);
	}
	if (setenv("HAKMEM_NUMA", policy, 1))
		hk_need(NULL);
}
