/* doctor.h - findings of `hakmem doctor`: what is set, why it matters, and what sets it right.
 *
 * good: nothing to do. advice: it works; something else would serve hakmem better. problem: programs
 * fail, or lose what hakmem is for. Each group of checks is a function that adds its findings.
 */
#ifndef HK_TOOL_DOCTOR_H
#define HK_TOOL_DOCTOR_H

#include "machine.h"

enum hk_verdict { HK_GOOD, HK_ADVICE, HK_PROBLEM };

struct hk_findings {
	const struct hk_machine *machine;
	bool several; /* nodes with memory */
	unsigned count;
	struct hk_finding *list;
};

struct hk_finding {
	enum hk_verdict verdict;
	const char *name; /* "thp" */
	char *is;         /* what is set */
	const char *why;  /* why it matters, one sentence */
	char *set;        /* a command, or NULL where nothing is to be set */
};

/* IS and SET become the findings'; SET is left out where VERDICT is good. */
void hk_found(struct hk_findings *f, enum hk_verdict verdict, const char *name, char *is, const char *why,
	      const char *set);

void hk_check_pages(struct hk_findings *f);   /* transparent huge pages, hugetlb pools */
void hk_check_kernel(struct hk_findings *f);  /* sysctls, io_uring */
void hk_check_process(struct hk_findings *f); /* limits, cpuset, policy, filters */
void hk_check_install(struct hk_findings *f); /* library, saved topology */

#endif
