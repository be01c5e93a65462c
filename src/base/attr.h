/* attr.h - compiler attributes and hints, so that no other file needs `#if`. */
#ifndef HK_BASE_ATTR_H
#define HK_BASE_ATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HK_LIKELY(x) __builtin_expect(!!(x), 1)
#define HK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HK_NOINLINE __attribute__((noinline))
#define HK_INLINE static inline __attribute__((always_inline))
#define HK_COLD __attribute__((noinline, cold))
#define HK_EXPORT __attribute__((visibility("default")))
#define HK_CACHELINE __attribute__((aligned(64)))
/* A variable that each process writes in its first malloc: the page where .data ends is written by the dynamic loader
 * anyway, which clears .bss's share of it, so that these take no page fault of their own. At most 2 KiB in all. */
#define HK_AT_START __attribute__((section(".data")))
/* The functions that every call enters begin a line of their own. */
#define HK_HOT __attribute__((aligned(64)))
#define HK_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
/* One TLS word behind a constant offset from the thread pointer: no __tls_get_addr, which mallocs. */
#define HK_TLS __thread __attribute__((tls_model("initial-exec")))

/* Keeps the compiler from folding PTR's computation into an indexed address: the free-list chain
 * through memory is forwarded at near-zero latency only for a plain (reg) operand. */
#define HK_IN_REGISTER(ptr) __asm__("" : "+r"(ptr))

#if defined(__x86_64__) || defined(__i386__)
#define hk_cpu_relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define hk_cpu_relax() __asm__ volatile("isb" ::: "memory")
#else
#define hk_cpu_relax() __asm__ volatile("" ::: "memory")
#endif

#endif
