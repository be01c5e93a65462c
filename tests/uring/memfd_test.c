/* memfd_test.c - an arena that a second program maps at the same address: pointers in it hold there; the child of a
 * fork has none of it; bad input. And fixed buffers in it: what a ring reads, the other program sees. */
#include "lib.h"

#include <fcntl.h>
#include <hakmem/hakmem.h>
#include <hakmem/memfd.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

struct node {
	struct node *next;
	uint64_t value;
};

static struct hak_arena_options options(size_t bytes, unsigned pages, unsigned flags)
{
	return (struct hak_arena_options){
		.size_bytes = sizeof(struct hak_arena_options), .initial_bytes = bytes, .pages = pages, .flags = flags};
}

static hak_arena *create(struct hak_arena_options o, struct hak_memfd *m)
{
	hak_arena *arena = NULL;
	IS(hak_arena_memfd(&o, &arena, m), 0);
	return arena;
}

/* ---- the second program ---- */

static int peer(char **arg)
{
	struct hak_memfd m = {.fd = atoi(arg[0]),
			      .where = (void *)strtoull(arg[1], NULL, 16),
			      .bytes = strtoull(arg[2], NULL, 16)};
	struct node *list = (void *)strtoull(arg[3], NULL, 16);
	struct hak_memfd wrong = m;
	uint64_t i = 0;
	wrong.bytes += 4096;
	IS(hak_memfd_map(&wrong), -EINVAL);
	IS(hak_memfd_map(&m), 0);
	IS(hak_memfd_map(&m), -EEXIST);
	CHECK(!hak_arena_owner(list), "an arena here");
	for (struct node *n = list; n; n = n->next, i++) {
		CHECK(n->value == i, "value %llu, not %llu", (unsigned long long)n->value, (unsigned long long)i);
		n->value = i * i;
	}
	CHECK(ftruncate(m.fd, (off_t)(m.bytes - SUPER)) == -1 && errno == EPERM, "the file shrank");
	IS(hak_memfd_unmap(&m), 0);
	CHECK(m.fd == -1, "fd");
	return i == 1000 ? 0 : 1;
}

static void run_peer(const struct hak_memfd *m, const void *list)
{
	extern char **environ;
	char fd[16], where[32], bytes[32], first[32], *argv[] = {"peer", fd, where, bytes, first, NULL};
	int status, shared = fcntl(m->fd, F_DUPFD, 100);
	pid_t pid;
	snprintf(fd, sizeof(fd), "%d", shared);
	snprintf(where, sizeof(where), "%llx", (unsigned long long)(uintptr_t)m->where);
	snprintf(bytes, sizeof(bytes), "%zx", m->bytes);
	snprintf(first, sizeof(first), "%llx", (unsigned long long)(uintptr_t)list);
	CHECK(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), "posix_spawn");
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "the peer's status 0x%x", status);
	close(shared);
}

static void test_peer(unsigned pages, unsigned populate)
{
	struct hak_memfd m;
	struct hak_arena_options o = options(5 * MIB, pages, 0);
	o.populate = populate;
	hak_arena *arena = create(o, &m);
	CHECK(m.bytes % SUPER == 0 && m.bytes >= 6 * MIB && m.page_bytes >= 4096, "%zu bytes", m.bytes);
	struct node *list = NULL, *n;
	for (uint64_t i = 1000; i-- > 0; list = n) {
		n = hak_arena_alloc(arena, sizeof(*n));
		CHECK(n && (uintptr_t)n - (uintptr_t)m.where < m.bytes, "%p is not in the file", (void *)n);
		*n = (struct node){list, i};
	}
	run_peer(&m, list);
	uint64_t i = 0;
	for (n = list; n; n = n->next, i++)
		CHECK(n->value == i * i, "the peer's writing is not here");
	while (hak_arena_alloc(arena, 65536))
		i++;
	CHECK(errno == ENOMEM, "errno %d", errno);
	IS(hak_memfd_unmap(&m), -EBUSY);
	IS(hak_arena_destroy(arena), 0);
	IS(hak_memfd_unmap(&m), 0);
	IS(hak_memfd_unmap(&m), -EINVAL);
}

/* ---- fork ---- */

struct shared {
	struct hak_memfd m;
	char *text;
};

static void in_child(void *arg)
{
	struct shared *s = arg;
	unsigned char resident;
	char *page = (char *)((uintptr_t)s->text & ~(uintptr_t)4095);
	CHECK(mincore(page, 4096, &resident) == -1 && errno == ENOMEM, "the child has the memory");
	for (int i = 0; i < 1000; i++)
		free(malloc((size_t)i * 100));
	IS(hak_memfd_map(&s->m), 0);
	CHECK(!strcmp(s->text, "of the parent"), "%s", s->text);
	strcpy(s->text, "of the child");
}

static void test_fork(void)
{
	struct shared s;
	hak_arena *arena = create(options(SUPER, 0, 0), &s.m);
	s.text = hak_arena_alloc(arena, 64);
	strcpy(s.text, "of the parent");
	hk_in_child(in_child, &s);
	CHECK(!strcmp(s.text, "of the child"), "%s", s.text);
	IS(hak_arena_reset(arena), 0);
	IS(hak_arena_destroy(arena), 0);
	IS(hak_memfd_unmap(&s.m), 0);
}

static hak_arena *absent;
static void *others[60];
static int status = -1;

/* Frees another thread's blocks, which are gathered, and forks: the child's thread ends as a thread may. */
static void *forks_and_ends(void *arg)
{
	hak_arena_free(absent, hak_arena_alloc(absent, 40));
	for (int i = 0; i < 20; i++)
		hak_arena_free(absent, others[3 * i]);
	pid_t pid = fork();
	if (!pid) {
		CHECK(!hak_arena_alloc(absent, 40) && !hak_audit(), "the child got a block, or its heaps are broken");
		return arg;
	}
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
	return arg;
}

static void test_child_that_ends(void)
{
	struct hak_memfd m;
	pthread_t t;
	absent = create(options(SUPER, 0, 0), &m);
	for (int i = 0; i < 60; i++)
		others[i] = hak_arena_alloc(absent, 40);
	CHECK(!pthread_create(&t, NULL, forks_and_ends, NULL) && !pthread_join(t, NULL), "no thread");
	IS(status, 0);
	CHECK(hak_arena_alloc(absent, 40), "the parent's arena is lost");
	IS(hak_arena_destroy(absent), 0);
	IS(hak_memfd_unmap(&m), 0);
}

/* ---- fixed buffers ---- */

static void test_fixed(void)
{
	struct hak_memfd m, view;
	struct io_uring ring;
	hak_uring *u;
	unsigned index;
	int fd = hk_file(MIB, NULL);
	hak_arena *arena = create(options(4 * MIB, 0, 0), &m);
	hk_ring(&ring, 8, 0);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	char *p = hak_arena_aligned_alloc(arena, 4096, 65536);
	hk_fill(p, 65536, 4);
	IS(hak_uring_buffer(u, p, 65536, &index), 0);
	IS(hk_fixed(&ring, true, fd, p, 65536, 0, index), 65536);
	memset(p, 0, 65536);
	IS(hk_fixed(&ring, false, fd, p, 65536, 0, index), 65536);
	view = m; /* the file itself, as another process sees it */
	char *other = mmap(NULL, view.bytes, PROT_READ, MAP_SHARED, view.fd, 0);
	CHECK(hk_holds(other + (p - (char *)m.where), 65536, 4), "the file does not have what the ring read");
	munmap(other, view.bytes);
	IS(hak_arena_destroy(arena), -EBUSY);
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	IS(hak_memfd_unmap(&m), 0);
	io_uring_queue_exit(&ring);
	close(fd);
}

/* ---- bad input ---- */

static void refused(struct hak_arena_options o, int want)
{
	hak_arena *arena = NULL;
	struct hak_memfd m = {.fd = 77};
	int before = dup(0);
	close(before);
	IS(hak_arena_memfd(&o, &arena, &m), want);
	CHECK(!arena && m.fd == 77, "results of a failed call");
	int after = dup(0);
	close(after);
	CHECK(before == after, "an fd is left open");
}

static void test_bad_input(void)
{
	struct hak_arena_options o = options(SUPER, 0, 0);
	refused(options(0, 0, 0), -EINVAL);
	refused(options(SIZE_MAX, 0, 0), -ENOMEM);
	refused(options((size_t)1 << 46, 0, 0), -ENOMEM);
	refused(options(SUPER, HAK_PAGES_SMALL + 1, 0), -EINVAL);
	refused(options(SUPER, 0, 1u << 20), -EINVAL);
	refused(options(SUPER, HAK_PAGES_THP, HAK_ARENA_STRICT), -EOPNOTSUPP);
	o.max_bytes = 2 * SUPER;
	refused(o, -EINVAL);
	o.max_bytes = 0, o.numa = "0";
	refused(o, -EINVAL);
	o.numa = NULL, o.memory = &o;
	refused(o, -EINVAL);
	o.memory = NULL, o.populate = 9;
	refused(o, -EINVAL);
	o.populate = 0, o.size_bytes--;
	refused(o, -EINVAL);
	struct hak_memfd m = {.fd = 0, .where = (void *)(17ul << 40), .bytes = SUPER};
	IS(hak_memfd_map(&m), -EINVAL);
	m.fd = -1;
	IS(hak_memfd_map(&m), -EINVAL);
	IS(hak_memfd_unmap(&m), -EINVAL);
	m.fd = memfd_create("other", MFD_CLOEXEC);
	CHECK(!ftruncate(m.fd, SUPER), "ftruncate");
	IS(hak_memfd_map(&m), -EINVAL); /* it could shrink */
	close(m.fd);
}

/* What lock, no-dump and populate promise holds for the file's memory too. */
static void test_prepared(void)
{
	struct hak_memfd m;
	char line[512];
	unsigned long from, to, kib, resident = 0, locked = 0;
	bool here = false, dumped = true;
	struct hak_arena_options o = options(2 * SUPER, 0, HAK_ARENA_LOCK | HAK_ARENA_NO_DUMP);
	o.populate = HAK_POPULATE_NOW;
	hak_arena *arena = create(o, &m);
	FILE *f = fopen("/proc/self/smaps", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = to > (uintptr_t)m.where && to <= (uintptr_t)m.where + m.bytes;
		else if (here && sscanf(line, "Rss: %lu", &kib) == 1)
			resident += kib << 10;
		else if (here && sscanf(line, "Locked: %lu", &kib) == 1)
			locked += kib << 10;
		else if (here && !strncmp(line, "VmFlags:", 8))
			dumped = !strstr(line, " dd");
	}
	CHECK(f && resident == m.bytes && locked == m.bytes && !dumped, "%lu resident, %lu locked", resident, locked);
	fclose(f);
	IS(hak_arena_destroy(arena), 0);
	IS(hak_memfd_unmap(&m), 0);
}

/* More hugetlb pages than the machine can have. */
static void test_hugetlb(void)
{
	struct hak_memfd m;
	size_t most = (size_t)sysconf(_SC_PHYS_PAGES) * 4096;
	refused(options(most, HAK_PAGES_HUGETLB_2M, HAK_ARENA_STRICT), -ENOMEM);
	refused(options(most, HAK_PAGES_HUGETLB_1G, HAK_ARENA_STRICT), -ENOMEM);
	hak_arena *arena = create(options(most, HAK_PAGES_HUGETLB_2M, 0), &m);
	CHECK(m.page_bytes < SUPER, "pages of %zu bytes", m.page_bytes);
	CHECK(hak_arena_alloc(arena, 100), "no memory");
	IS(hak_arena_destroy(arena), 0);
	IS(hak_memfd_unmap(&m), 0);
}

/* Real ones, where the machine has some. */
static void test_hugetlb_there(void)
{
	struct hak_memfd m;
	unsigned long free_pages = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "HugePages_Free: %lu", &free_pages) == 1)
			break;
	if (f)
		fclose(f);
	if (free_pages < 8) {
		puts("skip: hugetlb pages: the pool is empty (vm.nr_hugepages)");
		return;
	}
	hak_arena *arena = create(options(3 * SUPER + 1, HAK_PAGES_HUGETLB_2M, HAK_ARENA_STRICT), &m);
	CHECK(m.page_bytes == SUPER && m.bytes == 4 * SUPER, "%zu bytes on pages of %zu", m.bytes, m.page_bytes);
	IS(hak_arena_destroy(arena), 0);
	IS(hak_memfd_unmap(&m), 0);
	refused(options((free_pages + 1) * SUPER, HAK_PAGES_HUGETLB_2M, HAK_ARENA_STRICT), -ENOMEM);
	test_peer(HAK_PAGES_HUGETLB_2M, HAK_POPULATE_NOW);
}

static void limited(void *arg)
{
	struct rlimit limit = {MIB, MIB};
	(void)arg;
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &limit), "setrlimit");
	if (!geteuid())
		CHECK(!setresuid(39321, 39321, 39321), "setresuid: %s", strerror(errno));
	refused(options(SUPER, 0, HAK_ARENA_LOCK), -EAGAIN);
	refused(options((size_t)1 << 46, 0, HAK_ARENA_LOCK), -ENOMEM);
}

int main(int argc, char **argv)
{
	if (argc == 5)
		return peer(argv + 1);
	hk_need_locked(16 * MIB);
	test_bad_input();
	hk_in_child(limited, NULL);
	test_prepared();
	test_hugetlb();
	test_hugetlb_there();
	test_peer(HAK_PAGES_AUTO, HAK_POPULATE_NEVER);
	test_peer(HAK_PAGES_THP, HAK_POPULATE_NOW);
	test_peer(HAK_PAGES_SMALL, HAK_POPULATE_BACKGROUND);
	test_fork();
	test_child_that_ends();
	test_fixed();
	return 0;
}
