/* map.c - memory calls. Holds no state and decides nothing: policy is the arena layer's. */
#include <errno.h>
#include <sys/mman.h>

#include "os/os.h"
#include "os/syscalls.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define HUGE_SHIFT 26 /* MAP_HUGE_SHIFT */

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static int result(int rc)
{
	return rc ? -errno : 0;
}

int hk_os_reserve(uintptr_t where, size_t bytes, uintptr_t *out)
{
	void *p = hk_sys_mmap((void *)where, bytes, PROT_NONE, ANON | (where ? MAP_FIXED_NOREPLACE : 0), -1);
	if (p == MAP_FAILED)
		return -errno;
	if (where && (uintptr_t)p != where) { /* a kernel that takes the flag for a hint */
		hk_sys_munmap(p, bytes);
		return -EEXIST;
	}
	*out = (uintptr_t)p;
	return 0;
}

void *hk_os_table(size_t bytes)
{
	void *p = hk_sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, ANON, -1);
	if (p == MAP_FAILED)
		return NULL;
	hk_sys_madvise(p, bytes, MADV_NOHUGEPAGE); /* sparse: a huge page would be one entry */
	return p;
}

int hk_os_commit(uintptr_t where, size_t bytes)
{
	return result(hk_sys_mprotect((void *)where, bytes, PROT_READ | PROT_WRITE));
}

int hk_os_decommit(uintptr_t where, size_t bytes)
{
	void *p = hk_sys_mmap((void *)where, bytes, PROT_NONE, ANON | MAP_FIXED, -1);
	return p == MAP_FAILED ? -errno : 0;
}

int hk_os_advise_huge(uintptr_t where, size_t bytes)
{
	return result(hk_sys_madvise((void *)where, bytes, MADV_HUGEPAGE));
}

int hk_os_collapse(uintptr_t where, size_t bytes)
{
	return result(hk_sys_madvise((void *)where, bytes, MADV_COLLAPSE));
}

int hk_os_advise_small(uintptr_t where, size_t bytes)
{
	return result(hk_sys_madvise((void *)where, bytes, MADV_NOHUGEPAGE));
}

int hk_os_hugetlb(uintptr_t where, size_t bytes, unsigned shift)
{
	void *p = hk_sys_mmap((void *)where, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | (int)(shift << HUGE_SHIFT), -1);
	return p == MAP_FAILED ? -errno : 0;
}

int hk_os_populate(uintptr_t where, size_t bytes)
{
	return result(hk_sys_madvise((void *)where, bytes, MADV_POPULATE_WRITE));
}

int hk_os_lock(uintptr_t where, size_t bytes)
{
	return result((int)syscall(SYS_mlock, where, bytes));
}

int hk_os_unlock(uintptr_t where, size_t bytes)
{
	return result((int)syscall(SYS_munlock, where, bytes));
}

int hk_os_dump(uintptr_t where, size_t bytes, bool dump)
{
	return result(hk_sys_madvise((void *)where, bytes, dump ? MADV_DODUMP : MADV_DONTDUMP));
}

int hk_os_purge(uintptr_t where, size_t bytes)
{
	return result(hk_sys_madvise((void *)where, bytes, MADV_DONTNEED));
}

bool hk_os_is_mapped(uintptr_t where)
{
	int saved = errno;
	bool is = !hk_sys_madvise((void *)where, HK_PAGE_BYTES, MADV_NORMAL);
	errno = saved;
	return is;
}

bool hk_os_is_locked(uintptr_t where)
{
	int saved = errno;
	bool is = hk_sys_madvise((void *)where, HK_PAGE_BYTES, MADV_DONTNEED) && errno == EINVAL;
	errno = saved;
	return is;
}

/* Not by mincore: systemd's @system-service has killed for it since version 241. */
unsigned hk_os_resident_pages(uintptr_t where)
{
	enum { SOME = 64 };
	uint64_t page[SOME]; /* bit 63: present */
	int saved = errno, fd = hk_sys_open("/proc/self/pagemap", O_RDONLY);
	unsigned n = 0;
	for (uintptr_t at = where; fd >= 0 && at < where + HK_SUPER_BYTES; at += SOME * HK_PAGE_BYTES) {
		if (hk_sys_pread(fd, page, sizeof(page), at / HK_PAGE_BYTES * sizeof(*page)) != sizeof(page))
			break;
		for (unsigned i = 0; i < SOME; i++)
			n += page[i] >> 63;
	}
	if (fd >= 0)
		hk_sys_close(fd);
	errno = saved;
	return n;
}

int hk_os_move(uintptr_t from, uintptr_t to, size_t bytes)
{
	void *p = (void *)syscall(SYS_mremap, from, bytes, bytes, (long)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP),
			 (void *)to);
	return p == MAP_FAILED ? -errno : 0;
}

int hk_os_map_hole(uintptr_t where, size_t bytes)
{
	void *p = hk_sys_mmap((void *)where, bytes, PROT_READ | PROT_WRITE, ANON | MAP_FIXED_NOREPLACE, -1);
	return p == MAP_FAILED ? -errno : 0;
}

int hk_os_refresh(uintptr_t where, size_t bytes)
{
	void *p = hk_sys_mmap((void *)where, bytes, PROT_READ | PROT_WRITE, ANON | MAP_FIXED, -1);
	return p == MAP_FAILED ? -errno : 0;
}

uint32_t *hk_os_fork_word(void)
{
	void *p = hk_sys_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (p == MAP_FAILED)
		return NULL;
	if (hk_sys_madvise(p, 4096, MADV_WIPEONFORK)) {
		hk_sys_munmap(p, 4096);
		return NULL;
	}
	return p;
}
