/* options.h - what the environment and the profile say, read once before the first allocation.
 *
 * Constant afterwards. Zero-initialised until then, which is why nothing may ask before
 * hk_options_read(). Ignored as a whole in a set-user-id process. Threads: any.
 */
#ifndef HK_OBSERVE_OPTIONS_H
#define HK_OBSERVE_OPTIONS_H

#include "base/attr.h"

enum { HK_HUGE_NEVER, HK_HUGE_THP, HK_HUGE_HUGETLB, HK_HUGE_HUGETLB_1G };
enum { HK_FOREIGN_PASS, HK_FOREIGN_ABORT };

#define HK_AUTO SIZE_MAX /* a number's value: as the machine's memory has it */

#define HK_OPTION_FIELD_NUMBER(field) size_t field;
#define HK_OPTION_FIELD_CHOICE(field) size_t field;
#define HK_OPTION_FIELD_TEXT(field) const char *field;
#define HK_OPTION_FIELD_PASSED(field) const char *field;
#define HK_OPTION(field, name, type, ...) HK_OPTION_FIELD_##type(field)
struct hk_options {
#include "observe/options.def"
};
#undef HK_OPTION

extern struct hk_options hk_options;

/* Reads the environment. Allocates nothing. */
void hk_options_read(void);

/* Writes a line for each option in force: name, value, where it came from. */
void hk_options_print(void);

#endif
