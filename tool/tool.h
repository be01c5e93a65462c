/* tool.h - what the commands of `hakmem` share: exit statuses, messages, reading of /proc and /sys.
 *
 * The tool is a program of its own: it may call any library and allocates with libc's malloc. It has one
 * thread. Whoever runs out of memory here ends with a line (hk_need).
 */
#ifndef HK_TOOL_H
#define HK_TOOL_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As env(1): 126 found but not to be run, 127 not found. */
enum { HK_EXIT_FAILED = 1, HK_EXIT_USAGE = 2, HK_EXIT_CANNOT = 126, HK_EXIT_NOT_FOUND = 127 };

#define HK_FORMATS(at) __attribute__((format(printf, at, (at) + 1)))

/* "hakmem run": messages begin with it. */
extern const char *hk_command;

/* One line on standard error. */
void hk_warn(const char *format, ...) HK_FORMATS(1);
_Noreturn void hk_die(int status, const char *format, ...) HK_FORMATS(2);

/* C is what getopt_long returned for an option that it refused: says which one, and those that exist. */
_Noreturn void hk_option_refused(int c, char **argv, const struct option *options);

/* Ends the program where standard output did not take all (a full disk, a closed pipe). */
void hk_output_end(void);

/* Memory that was asked for, or a line and the end. */
void *hk_need(void *memory);
char *hk_format(const char *format, ...) HK_FORMATS(1);

/* "1.5 GiB" into OUT (16 bytes do). */
void hk_size_text(char *out, size_t bytes, uint64_t size);

/* A whole number from LEAST to MOST and nothing after it. */
bool hk_number(const char *text, uint64_t least, uint64_t most, uint64_t *out);

/* A strict list such as 0-1,3 of ids below LIMIT: calls EACH for every id; false where it is malformed
 * or empty. */
bool hk_list(const char *text, unsigned limit, void (*each)(unsigned id, void *arg), void *arg);

/* ---- files of the kernel ---- */

/* Files are read below ROOT from here on ("" at first): another machine's, to look at. */
void hk_sys_root(const char *root);

/* The whole file, to be freed; NULL where it can't be read. */
char *hk_sys_text(const char *path_format, ...) HK_FORMATS(1);

/* Its first line into OUT; false where it can't be read or does not fit. */
bool hk_sys_line(char *out, size_t bytes, const char *path_format, ...) HK_FORMATS(3);

/* The number that it begins with. */
bool hk_sys_number(uint64_t *out, const char *path_format, ...) HK_FORMATS(2);

/* The value after KEY ("MemFree:") in TEXT, up to the line's end, into OUT. */
bool hk_sys_field(const char *text, const char *key, char *out, size_t bytes);

/* The word in brackets of "always [madvise] never". */
bool hk_sys_choice(char *out, size_t bytes, const char *path_format, ...) HK_FORMATS(3);

/* ---- commands: argv[0] is the command's name ---- */

int hk_topo(int argc, char **argv);
int hk_run(int argc, char **argv);
int hk_doctor(int argc, char **argv);
int hk_audit(int argc, char **argv);

#endif
