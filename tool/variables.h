/* variables.h - the library's options HAKMEM_*, checked before a program starts with them.
 *
 * Names, ranges and words come from src/observe/options.def, profiles from config/, so that the tool
 * takes what the library takes. Functions that set one end with a line that names the option and the choices
 * (exit 2) where the value is none.
 */
#ifndef HK_TOOL_VARIABLES_H
#define HK_TOOL_VARIABLES_H

#include "machine.h"

/* OPTION is the word on the command line, for messages: "--huge", "--option". */
void hk_variable_set(const char *option, const char *name, const char *value);

/* NAME=VALUE; NAME as HAKMEM_WARM_MIB or WARM_MIB. */
void hk_variable_set_pair(const char *pair);

void hk_variable_set_profile(const char *profile);

/* What is wrong with the first HAKMEM_* of the environment that is, to be freed, or NULL; *SET: how many there are.
 * HAKMEM_NUMA's nodes and a profile's lines are not looked at. */
char *hk_variables_fault(unsigned *set);

/* LIST or N of the policy, NULL where it names no nodes. */
const char *hk_policy_nodes(const char *policy);

/* M may be NULL where the policy names no nodes. */
void hk_variable_set_policy(const char *policy, const struct hk_machine *m);

#endif
