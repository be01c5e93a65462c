/* pool.c - sets the pools, starts, waits, sets them back. See pool.h. */
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define POOL "/sys/devices/system/node/node%u/hugepages/%s/nr_hugepages"

struct grown {
	unsigned os;
	uint64_t pages;
};

static struct grown *grown;
static unsigned grown_count;
static enum hk_page_kind page_kind;

void hk_pool_may(void)
{
	if (geteuid())
		hk_die(HK_EXIT_FAILED,
		       "--hugepages sets the pools of the machine, which takes root: "
		       "sudo hakmem run --hugepages ...");
}

static bool pool_read(unsigned os, uint64_t *pages)
{
	return hk_sys_number(pages, POOL, os, hk_page_dir[page_kind]);
}

static bool pool_write(unsigned os, uint64_t pages)
{
	char *path = hk_format(POOL, os, hk_page_dir[page_kind]);
	FILE *f = fopen(path, "we");
	bool done = f && fprintf(f, "%llu\n", (unsigned long long)pages) > 0;
	if (f && fclose(f))
		done = false;
	free(path);
	return done;
}

/* By what was added, not to what was before: others may have changed the pool meanwhile. */
static void pools_restore(void)
{
	for (unsigned i = 0; i < grown_count; i++) {
		uint64_t now;
		if (!pool_read(grown[i].os, &now) ||
		    !pool_write(grown[i].os, now > grown[i].pages ? now - grown[i].pages : 0))
			hk_warn("node %u: its pool of %s pages stays %llu pages larger: %s",
				grown[i].os, hk_page_name[page_kind],
				(unsigned long long)grown[i].pages, strerror(errno));
	}
	grown_count = 0;
}

static void pool_grow(unsigned os, uint64_t pages)
{
	uint64_t before, after;
	for (unsigned i = 0; i < grown_count; i++)
		if (grown[i].os == os)
			return; /* named twice */
	if (!pool_read(os, &before)) {
		hk_warn("node %u has no pool of %s pages", os, hk_page_name[page_kind]);
		return;
	}
	if (!pool_write(os, before + pages) || !pool_read(os, &after)) {
		hk_warn("node %u: its pool cannot be set: %s", os, strerror(errno));
		return;
	}
	grown[grown_count++] = (struct grown){os, after > before ? after - before : 0};
	if (after < before + pages)
		hk_warn("node %u: only %llu of %llu pages of %s could be had (memory is in pieces, or used)",
			os, (unsigned long long)(after > before ? after - before : 0),
			(unsigned long long)pages, hk_page_name[page_kind]);
}

struct wanted {
	const struct hk_machine *m;
	uint64_t pages;
};

static void grow_one(unsigned os, void *arg)
{
	const struct wanted *w = arg;
	pool_grow(os, w->pages);
}

static void pools_grow(const struct hk_machine *m, const char *nodes, uint64_t pages)
{
	struct wanted w = {m, pages};
	char *usable = hk_machine_usable(m);
	uint64_t sum = 0;
	grown = hk_need(calloc(HK_NODES_LIMIT, sizeof(*grown)));
	hk_list(nodes ? nodes : usable, HK_NODES_LIMIT, grow_one, &w);
	for (unsigned i = 0; i < grown_count; i++)
		sum += grown[i].pages;
	free(usable);
	if (!sum) {
		pools_restore();
		hk_die(HK_EXIT_FAILED,
		       "--hugepages %llu: not one page could be had; memory of %s pages is reserved "
		       "best at boot (hugepagesz=%s hugepages=N)",
		       (unsigned long long)pages, hk_page_name[page_kind], hk_page_name[page_kind]);
	}
}

/* ---- the program ---- */

static pid_t start(char **argv, const sigset_t *mask)
{
	int report[2], why = 0;
	if (pipe2(report, O_CLOEXEC))
		return -1;
	pid_t child = fork();
	if (!child) {
		sigprocmask(SIG_SETMASK, mask, NULL);
		execvp(argv[0], argv);
		why = errno;
		(void)!write(report[1], &why, sizeof(why));
		_exit(HK_EXIT_CANNOT);
	}
	close(report[1]);
	if (child > 0 && read(report[0], &why, sizeof(why)) == sizeof(why)) {
		waitpid(child, NULL, 0);
		child = -1;
		errno = why;
	}
	close(report[0]);
	return child;
}

/* A key of the terminal reaches the program's group by itself; what a process sent is for the program. */
static bool from_terminal(const siginfo_t *info)
{
	int s = info->si_signo;
	return info->si_code == SI_KERNEL &&
	       (s == SIGINT || s == SIGQUIT || s == SIGTSTP || s == SIGHUP || s == SIGWINCH ||
		s == SIGCONT || s == SIGTTIN || s == SIGTTOU);
}

/* The status of waitpid. All signals are blocked. */
static int watch(pid_t child, const sigset_t *all)
{
	for (;;) {
		siginfo_t info;
		int status;
		int sig = sigwaitinfo(all, &info);
		if (sig == SIGCHLD) {
			while (waitpid(child, &status, WNOHANG | WUNTRACED) == child) {
				if (!WIFSTOPPED(status))
					return status;
				if (WSTOPSIG(status) == SIGSTOP)
					continue; /* whoever stops one process continues that one */
				raise(SIGSTOP);   /* the shell sees its job stopped, as it is */
				kill(child, SIGCONT);
			}
		} else if (sig > 0 && !from_terminal(&info)) {
			kill(child, sig);
		}
	}
}

/* Ends as the program ended; no second core file. */
static int end_as(int status)
{
	sigset_t one;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	signal(WTERMSIG(status), SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, WTERMSIG(status));
	raise(WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	return 128 + WTERMSIG(status);
}

int hk_pool_run(const struct hk_machine *m, const char *nodes, uint64_t pages,
		enum hk_page_kind kind, char **argv)
{
	sigset_t all, before;
	page_kind = kind;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before); /* from here on nothing ends this process halfway */
	signal(SIGCHLD, SIG_DFL);              /* ignored, it would reap the program unseen */
	pools_grow(m, nodes, pages);
	pid_t child = start(argv, &before);
	if (child < 0) {
		int why = errno;
		pools_restore();
		hk_die(why == ENOENT ? HK_EXIT_NOT_FOUND : HK_EXIT_CANNOT, "%s: %s", argv[0],
		       strerror(why));
	}
	int status = watch(child, &all);
	pools_restore();
	return end_as(status);
}
