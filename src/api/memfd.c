/* memfd.c - an arena on a memfd. All by the public face of arenas: to them it is memory that the program gave. */
#include "hakmem/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "api/api.h"
#include "base/bits.h"
#include "heap/arena.h"
#include "os/os.h"
#include "os/syscalls.h"

#define SUPER ((size_t)2 << 20)
#define GIB ((size_t)1 << 30)
/* Beside the region's window, and free in most processes: mmap and the program are far above. */
#define FIRST_GIB (17ul << 10)
#define GIBS (14ul << 10)
#define PLACES 16u
#define HUGE_SHIFT 26 /* MFD_HUGE_SHIFT */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int check(const struct hak_arena_options *o)
{
	if (o->size_bytes != sizeof(*o) || o->numa || o->memory || o->memory_bytes || o->pages > HAK_PAGES_SMALL ||
	    o->populate > HAK_POPULATE_BACKGROUND)
		return -EINVAL;
	if (!o->initial_bytes || (o->max_bytes && o->max_bytes != o->initial_bytes))
		return -EINVAL;
	if (o->initial_bytes > PTRDIFF_MAX - GIB)
		return -ENOMEM;
	return o->pages == HAK_PAGES_THP && o->flags & HAK_ARENA_STRICT ? -EOPNOTSUPP : 0;
}

/* ---- the file ---- */

/* A file of BYTES on pages of 1 << SHIFT bytes (0: small ones); its fd, or an error. */
static int make_file(const char *name, size_t bytes, unsigned shift)
{
	char text[64];
	snprintf(text, sizeof(text), "hakmem-%.31s", name ? name : "arena");
	int fd = (int)syscall(SYS_memfd_create, text, MFD_CLOEXEC | MFD_ALLOW_SEALING | (shift ? MFD_HUGETLB | shift << HUGE_SHIFT : 0));
	if (fd < 0)
		return -errno;
	if (syscall(SYS_ftruncate, fd, bytes) || hk_sys_fcntl(fd, F_ADD_SEALS, SEALS)) {
		int error = errno;
		hk_sys_close(fd);
		return -error;
	}
	return fd;
}

static bool is_such_file(const struct hak_memfd *m)
{
	struct stat st;
	int seals = m ? hk_sys_fcntl(m->fd, F_GET_SEALS, 0) : -1;
	return seals >= 0 && m->bytes && (uintptr_t)m->where % SUPER == 0 && seals & F_SEAL_SHRINK &&
	       !fstat(m->fd, &st) && (size_t)st.st_size == m->bytes;
}

/* ---- the place ---- */

static int map_at(const struct hak_memfd *m)
{
	void *p = hk_sys_mmap(m->where, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, m->fd);
	if (p == MAP_FAILED)
		return -errno;
	if (p != m->where) { /* a kernel that takes the flag for a hint */
		hk_sys_munmap(p, m->bytes);
		return -EEXIST;
	}
	return 0;
}

/* Whole GiB of address space, so that pages of any size fit. */
static int map_somewhere(struct hak_memfd *m)
{
	uint64_t seed[2];
	uint64_t gibs = hk_align_up(m->bytes, GIB) / GIB;
	int rc = -ENOMEM;
	hk_os_entropy(seed);
	if (gibs >= GIBS)
		return -ENOMEM;
	for (unsigned i = 0; i < PLACES; i++) {
		seed[0] = seed[0] * 6364136223846793005ull + 1442695040888963407ull;
		m->where = (void *)((FIRST_GIB + (seed[0] >> 33) % (GIBS - gibs)) * GIB);
		rc = map_at(m);
		if (rc != -EEXIST)
			break;
	}
	return rc;
}

/* hugetlb pages are faulted in any case: one that is not to be had is an error here, and SIGBUS later. */
static int prepare(const struct hak_memfd *m, unsigned pages, bool hugetlb)
{
	uintptr_t where = (uintptr_t)m->where;
	if (!hugetlb && pages != HAK_PAGES_SMALL)
		hk_os_advise_huge(where, m->bytes);
	/* The child's frees and allocations would be the parent's. */
	if (hk_sys_madvise(m->where, m->bytes, MADV_DONTFORK))
		return -errno;
	return hugetlb && hk_os_populate(where, m->bytes) ? -ENOMEM : 0;
}

static int undo(struct hak_memfd *m, int rc)
{
	hk_sys_munmap(m->where, m->bytes);
	hk_sys_close(m->fd);
	return rc;
}

static int make(const struct hak_arena_options *o, unsigned shift, struct hak_memfd *m)
{
	m->page_bytes = shift ? (size_t)1 << shift : (size_t)getauxval(AT_PAGESZ);
	m->bytes = hk_align_up(o->initial_bytes, shift ? m->page_bytes : SUPER);
	m->fd = make_file(o->name, m->bytes, shift);
	if (m->fd < 0)
		return m->fd;
	int rc = map_somewhere(m);
	if (rc) {
		hk_sys_close(m->fd);
		return rc;
	}
	rc = prepare(m, o->pages, shift);
	return rc ? undo(m, rc) : 0;
}

/* ---- the public names ---- */

HK_EXPORT int hak_arena_memfd(const struct hak_arena_options *options, hak_arena **out, struct hak_memfd *memfd)
{
	struct hak_memfd m;
	int rc = options && out && memfd ? check(options) : -EINVAL;
	if (rc)
		return rc;
	unsigned shift = options->pages == HAK_PAGES_HUGETLB_2M ? 21 : options->pages == HAK_PAGES_HUGETLB_1G ? 30 : 0;
	rc = make(options, shift, &m);
	if (rc && shift && !(options->flags & HAK_ARENA_STRICT))
		rc = make(options, 0, &m);
	if (rc) /* no such pages have many names */
		return rc != -EPERM && options->pages - HAK_PAGES_HUGETLB_2M <= 1 ? -ENOMEM : rc;
	struct hak_arena_options given = *options;
	given.pages = 0;
	given.initial_bytes = given.max_bytes = 0;
	given.flags &= ~HAK_ARENA_STRICT;
	given.memory = m.where;
	given.memory_bytes = m.bytes;
	rc = hak_arena_create(&given, out);
	if (rc)
		return undo(&m, rc);
	((struct hk_arena *)*out)->absent = true;
	*memfd = m;
	return 0;
}

HK_EXPORT int hak_memfd_map(const struct hak_memfd *memfd)
{
	if (!is_such_file(memfd))
		return -EINVAL;
	return map_at(memfd);
}

HK_EXPORT int hak_memfd_unmap(struct hak_memfd *memfd)
{
	if (!is_such_file(memfd))
		return -EINVAL;
	if (hak_arena_owner(memfd->where))
		return -EBUSY;
	if (hk_sys_munmap(memfd->where, memfd->bytes) || hk_sys_close(memfd->fd))
		return -errno;
	*memfd = (struct hak_memfd){.fd = -1};
	return 0;
}
