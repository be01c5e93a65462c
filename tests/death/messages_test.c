/* messages_test.c - where the allocator's lines go: to what stderr was at start, to HAKMEM_LOG,
 * never into a file that the program opened as fd 2; options that are wrong are named once;
 * a setuid program ignores all options. What the lines of misuse say: misuse_test.c. */
#define _GNU_SOURCE
#include "capture.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/messages_test.XXXXXX";
static char file[64], log_file[64], probe_copy[64];

static void remove_files(void)
{
	unlink(file);
	unlink(log_file);
	unlink(probe_copy);
	rmdir(dir);
}

/* Ends the test after the files are gone. */
#define EXPECT(cond, ...)                         \
	do {                                      \
		if (!(cond)) {                    \
			remove_files();           \
			CHECK(cond, __VA_ARGS__); \
		}                                 \
	} while (0)

static long long size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -1 : (long long)st.st_size;
}

/* In the child: PATH becomes fd 2, in one of the ways programs do that. */
static void open_as_stderr(const char *path, const char *how)
{
	int fd;

	if (strcmp(how, "dup2") == 0) {
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 2);
		return;
	}
	close(2);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd != 2)
		_exit(5);
}

/* A foreign pointer is the quickest way to a line: passed on, or fatal. */
static void provoke_line(void)
{
	void *(*libc_malloc)(size_t) = (void *(*)(size_t))test_symbol("__libc_malloc");

	if (!libc_malloc)
		_exit(6);
	free(libc_malloc(100));
}

/* argv: child, what, path, how */
static int child_main(char **argv)
{
	const char *what = argv[2];

	free(test_hide(malloc(1000)));
	if (argv[3])
		open_as_stderr(argv[3], argv[4]);
	if (strcmp(what, "line") == 0)
		provoke_line();
	if (strcmp(what, "fatal") == 0) {
		char *p = malloc(4 * MIB);

		free(p);
		free(test_hide(p));
	}
	return 0;
}

static void run(struct capture *c, char *self, const char *what, const char *path, const char *how,
		const char *option, int flags)
{
	char *argv[] = {self,
			(char *)"child",
			(char *)(uintptr_t)what,
			(char *)(uintptr_t)path,
			(char *)(uintptr_t)how,
			NULL};
	const char *env[] = {option, NULL};

	unlink(file);
	unlink(log_file);
	capture_run(c, argv, env, flags);
}

static void check_no_line_in_file(char *self)
{
	static const char *const whats[] = {"line", "fatal", "exit"};
	static const char *const hows[] = {"dup2", "close"};
	static struct capture c;
	size_t w, h;
	int flags;

	for (w = 0; w < COUNT_OF(whats); w++)
		for (h = 0; h < COUNT_OF(hows); h++)
			for (flags = 0; flags <= CAPTURE_NO_STDERR; flags++) {
				run(&c, self, whats[w], file, hows[h], "HAKMEM_VERBOSE=1", flags);
				EXPECT(size_of(file) == 0, "%s, %s: %lld bytes in the file",
				       whats[w], hows[h], size_of(file));
				EXPECT(strcmp(whats[w], "fatal") == 0
					       ? WIFSIGNALED(c.status) &&
							 WTERMSIG(c.status) == SIGABRT
					       : c.status == 0,
				       "%s, %s: status 0x%x", whats[w], hows[h], c.status);
			}
}

static void check_line_reaches_stderr(char *self)
{
	static struct capture c;

	run(&c, self, "line", NULL, NULL, NULL, 0);
	EXPECT(c.status == 0 && capture_lines(c.err) == 1 && strncmp(c.err, "hakmem: ", 8) == 0,
	       "status 0x%x, stderr '%s'", c.status, c.err);
	run(&c, self, "exit", NULL, NULL, NULL, 0);
	EXPECT(c.status == 0 && c.err[0] == 0, "stderr of a plain program: '%s'", c.err);
	run(&c, self, "exit", NULL, NULL, "HAKMEM_VERBOSE=1", 0);
	EXPECT(c.status == 0 && strstr(c.err, "HAKMEM_"), "HAKMEM_VERBOSE=1 printed '%s'", c.err);
}

static void check_log(char *self)
{
	static struct capture c;
	char option[96];

	snprintf(option, sizeof(option), "HAKMEM_LOG=%s", log_file);
	run(&c, self, "fatal", file, "dup2", option, 0);
	EXPECT(size_of(file) == 0, "%lld bytes in the program's file", size_of(file));
	EXPECT(size_of(log_file) > 8, "nothing in HAKMEM_LOG");
	run(&c, self, "line", NULL, NULL, option, CAPTURE_NO_STDERR);
	EXPECT(size_of(log_file) > 8, "nothing in HAKMEM_LOG without stderr");
}

static int count_of(const char *text, const char *word)
{
	int n = 0;

	while ((text = strstr(text, word))) {
		n++;
		text += strlen(word);
	}
	return n;
}

/* A log that can't be opened is named once, and nothing is lost. */
static void check_log_that_is_none(char *self)
{
	static struct capture c;
	char option[96];

	snprintf(option, sizeof(option), "HAKMEM_LOG=%s/none/log", dir);
	run(&c, self, "fatal", NULL, NULL, option, 0);
	EXPECT(WIFSIGNALED(c.status) && capture_lines(c.err) == 2, "status 0x%x, stderr '%s'", c.status, c.err);
	EXPECT(count_of(c.err, "can't be opened") == 1 && strstr(c.err, option) && strstr(c.err, "free of"),
	       "stderr '%s'", c.err);
	run(&c, self, "exit", NULL, NULL, option, 0);
	EXPECT(c.status == 0 && c.err[0] == 0, "a program with nothing to say: '%s'", c.err);
	run(&c, self, "line", NULL, NULL, option, CAPTURE_NO_STDERR);
	EXPECT(c.status == 0, "nowhere to write to: status 0x%x", c.status);
}

static void check_wrong_options(char *self)
{
	static const char *const wrong[] = {
		"HAKMEM_NONSENSE=1",      "HAKMEM_VERBOSE=yes",
		"HAKMEM_VERBOSE=",        "HAKMEM_WARM_MIB=12x",
		"HAKMEM_WARM_MIB=-1",     "HAKMEM_FOREIGN=perhaps",
		"HAKMEM_PROFILE=unheard", "HAKMEM_DECAY_MS=99999999999999999999"};
	static struct capture c;
	size_t i;

	for (i = 0; i < COUNT_OF(wrong); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(wrong[i], "="), wrong[i]);
		run(&c, self, "exit", NULL, NULL, wrong[i], 0);
		EXPECT(c.status == 0, "%s: status 0x%x", wrong[i], c.status);
		EXPECT(capture_lines(c.err) == 1 && count_of(c.err, name) == 1 &&
			       strncmp(c.err, "hakmem: ", 8) == 0,
		       "%s: stderr '%s'", wrong[i], c.err);
	}
}

static int copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0755);
	struct stat st;
	int ok = in >= 0 && out >= 0 && fstat(in, &st) == 0 &&
		 sendfile(out, in, NULL, (size_t)st.st_size) == st.st_size;

	close(in);
	close(out);
	return ok;
}

static void check_setuid(const char *self)
{
	static const char *const env[] = {"HAKMEM_VERBOSE=1", "LD_PRELOAD=", NULL};
	static struct capture c;
	char *argv[] = {probe_copy, NULL};
	const char *slash = strrchr(self, '/');
	char probe[4096];

	snprintf(probe, sizeof(probe), "%.*ssetuid_probe", slash ? (int)(slash + 1 - self) : 0,
		 self);
	if (geteuid() != 0) {
		test_skip_part("setuid: only root can make such a program for another user");
		return;
	}
	if (access(probe, X_OK)) {
		test_skip_part("setuid: the probe was not built (no libhakmem.a)");
		return;
	}
	EXPECT(copy_file(probe, probe_copy) && chmod(dir, 0755) == 0, "%s", strerror(errno));
	capture_run(&c, argv, env, CAPTURE_AS_OTHER_USER);
	EXPECT(c.status == 0 && strcmp(c.out, "plain\n") == 0, "status 0x%x, '%s'", c.status,
	       c.out);
	EXPECT(strstr(c.err, "HAKMEM_"), "without setuid it must print, and '%s' came", c.err);
	EXPECT(chown(probe_copy, 65534, 65534) == 0 && chmod(probe_copy, 04755) == 0, "%s",
	       strerror(errno));
	capture_run(&c, argv, env, CAPTURE_AS_OTHER_USER);
	if (strcmp(c.out, "plain\n") == 0) {
		test_skip_part("setuid: the temporary directory is mounted nosuid");
		return;
	}
	EXPECT(c.status == 0 && strcmp(c.out, "secure\n") == 0, "status 0x%x, '%s'", c.status,
	       c.out);
	EXPECT(c.err[0] == 0, "a setuid program printed '%s'", c.err);
}

int main(int argc, char **argv)
{
	test_begin();
	if (argc > 1)
		return child_main(argv);
	if (test_served() != SERVED_HAKMEM)
		test_skip("hakmem does not serve here, so there are no messages of it");
	CHECK(mkdtemp(dir), "%s", strerror(errno));
	snprintf(file, sizeof(file), "%s/file", dir);
	snprintf(log_file, sizeof(log_file), "%s/log", dir);
	snprintf(probe_copy, sizeof(probe_copy), "%s/probe", dir);
	check_line_reaches_stderr(argv[0]);
	check_no_line_in_file(argv[0]);
	check_log(argv[0]);
	check_log_that_is_none(argv[0]);
	check_wrong_options(argv[0]);
	check_setuid(argv[0]);
	remove_files();
	return test_end();
}
