/* place.c - NUMA calls, raw: the library needs libc alone. Decides nothing: see src/numa. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"

#define STATIC_NODES (1ul << 15) /* MPOL_F_STATIC_NODES: a cpuset does not renumber them */
#define MODE_MASK 0xffful

#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450 /* the same number on every architecture */
#endif

static long call(long rc)
{
	return rc < 0 ? -errno : rc;
}

int hk_os_place(uintptr_t where, size_t bytes, enum hk_os_mempolicy mode,
		const struct hk_os_nodes *nodes, int home)
{
	int saved = errno;
	unsigned long flags = mode == HK_OS_DEFAULT || mode == HK_OS_LOCAL ? 0 : STATIC_NODES;
	long rc = call(syscall(SYS_mbind, where, bytes, (unsigned long)mode | flags,
			       flags ? nodes->bits : NULL, flags ? HK_OS_NODES + 1ul : 0ul, 0u));
	if (!rc && home >= 0)
		(void)syscall(SYS_set_mempolicy_home_node, where, bytes, (unsigned long)home, 0ul);
	errno = saved;
	return (int)rc;
}

int hk_os_mempolicy(enum hk_os_mempolicy *mode, struct hk_os_nodes *nodes)
{
	int saved = errno, got = 0;
	memset(nodes, 0, sizeof(*nodes));
	long rc = call(syscall(SYS_get_mempolicy, &got, nodes->bits, HK_OS_NODES + 1ul, NULL, 0ul));
	*mode = (enum hk_os_mempolicy)((unsigned long)got & MODE_MASK);
	errno = saved;
	return (int)rc;
}

int hk_os_page_nodes(void *const *pages, size_t count, int *nodes)
{
	int saved = errno;
	long rc = call(syscall(SYS_move_pages, 0, count, pages, NULL, nodes, 0));
	errno = saved;
	return rc < 0 ? (int)rc : 0;
}

/* Since glibc 2.35; the second word of the area is cpu_id, negative where the kernel has no rseq. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));

unsigned hk_os_cpu(void)
{
	if (&__rseq_offset) {
		const char *area = (const char *)__builtin_thread_pointer() + __rseq_offset;
		int32_t cpu = *(const volatile int32_t *)(area + 4);
		if (cpu >= 0)
			return (unsigned)cpu;
	}
	unsigned cpu = 0;
	hk_os_node_of_cpu(&cpu);
	return cpu;
}

int hk_os_node_of_cpu(unsigned *cpu)
{
	unsigned node;
	int saved = errno, rc = (int)syscall(SYS_getcpu, cpu, &node, NULL);
	errno = saved; /* free comes by here */
	return rc ? -1 : (int)node;
}
