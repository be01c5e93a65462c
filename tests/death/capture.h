/* capture.h - runs a program of its own and keeps what it wrote and how it ended.
 *
 * By exec and not by a mere fork: where messages go is settled by what fd 2 was when the process
 * started, so a pipe must be there before.
 */
#ifndef HK_TEST_CAPTURE_H
#define HK_TEST_CAPTURE_H

struct capture {
	int status; /* as waitpid gives it */
	char out[8192];
	char err[65536];
};

/* Runs ARGV with the present environment and the NAME=VALUE strings of ENV (NULL-ended or NULL)
 * beside it. FLAGS: how fd 2 is at its start, and as whom it runs. */
enum { CAPTURE_NO_STDERR = 1, CAPTURE_AS_OTHER_USER = 2 };
void capture_run(struct capture *c, char *const argv[], const char *const env[], int flags);

/* Lines in TEXT; a last one without its newline counts. */
int capture_lines(const char *text);

#endif
