/* syscalls.h - the kernel's calls by way of libc's syscall() alone. Each name that a library imports is looked up when it
 * is loaded, in every program that it is preloaded under: some twenty fewer are some 15 us less at each start. And none of
 * these is a cancellation point. Results as libc's functions of these names have them, -1 and errno. 64-bit systems only: what the
 * kernel takes as a long is passed as one, for a variadic int has no upper half.
 */
#ifndef HK_OS_SYSCALLS_H
#define HK_OS_SYSCALLS_H

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/layout.h"

HK_INLINE void *hk_sys_mmap(void *where, size_t bytes, int prot, int flags, int fd)
{
	return (void *)syscall(SYS_mmap, where, bytes, (long)prot, (long)flags, (long)fd, 0l);
}

HK_INLINE int hk_sys_munmap(void *where, size_t bytes)
{
	return (int)syscall(SYS_munmap, where, bytes);
}

HK_INLINE int hk_sys_mprotect(void *where, size_t bytes, int prot)
{
	return (int)syscall(SYS_mprotect, where, bytes, (long)prot);
}

HK_INLINE int hk_sys_madvise(void *where, size_t bytes, int advice)
{
	return (int)syscall(SYS_madvise, where, bytes, advice);
}

HK_INLINE int hk_sys_open(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

HK_INLINE ssize_t hk_sys_read(int fd, void *to, size_t bytes)
{
	return syscall(SYS_read, fd, to, bytes);
}

HK_INLINE ssize_t hk_sys_pread(int fd, void *to, size_t bytes, uint64_t at)
{
	return syscall(SYS_pread64, fd, to, bytes, at);
}

HK_INLINE int hk_sys_close(int fd)
{
	return (int)syscall(SYS_close, fd);
}

HK_INLINE int hk_sys_fcntl(int fd, int command, long argument)
{
	return (int)syscall(SYS_fcntl, fd, command, argument);
}

HK_INLINE int hk_sys_getrlimit(int which, struct rlimit *limit)
{
	return (int)syscall(SYS_prlimit64, 0, which, NULL, limit);
}

#endif
