/* limits_test.c - bad options, and each limit: 1 GiB a buffer, slots, RLIMIT_MEMLOCK. */
#include "lib.h"

#include <fcntl.h>
#include <sys/resource.h>

static struct io_uring ring;

static void attach_is(hak_arena *arena, struct hak_uring_options o, int want, const char *says)
{
	hak_uring *u = NULL;
	IS(hak_uring_attach(arena, &ring, &o, &u), want);
	CHECK(!u && strstr(hak_uring_message(), says), "message: %s", hak_uring_message());
}

static void test_options(void)
{
	hak_uring *u = NULL;
	hak_arena *arena = hk_arena(2 * MIB, 0, 0);
	size_t size = sizeof(struct hak_uring_options);
	attach_is(arena, (struct hak_uring_options){.size_bytes = 0}, -EINVAL, "size_bytes is 0");
	attach_is(arena, (struct hak_uring_options){.size_bytes = size + 8}, -EINVAL, "size_bytes");
	attach_is(arena, (struct hak_uring_options){.size_bytes = size, .flags = 2}, -EINVAL, "unknown flags 0x2");
	attach_is(arena, (struct hak_uring_options){.size_bytes = size, .buffers = 16385}, -EINVAL, "16384 slots");
	attach_is(arena, (struct hak_uring_options){.size_bytes = size, .first_buffer = 16384}, -EINVAL, "16384 slots");
	attach_is(arena, (struct hak_uring_options){size, 16000, 385, 0, 0}, -EINVAL, "16384 slots");
	attach_is(arena, (struct hak_uring_options){size, 1, ~0u, 0, 0}, -EINVAL, "16384 slots");
	attach_is(arena, (struct hak_uring_options){size, 0, 0, HAK_URING_TABLE_READY, 0}, -EINVAL, "buffers is 0");
	attach_is(arena, (struct hak_uring_options){.size_bytes = size, .buffer_bytes = MIB}, -EINVAL, "2 MiB");
	attach_is(arena, (struct hak_uring_options){.size_bytes = size, .buffer_bytes = 1026 * MIB}, -EINVAL, "1 GiB");
	attach_is(NULL, (struct hak_uring_options){.size_bytes = size}, -EINVAL, "no arena");
	IS(hak_uring_attach(arena, NULL, NULL, &u), -EINVAL);
	ring.flags |= 1u << 18;
	attach_is(arena, (struct hak_uring_options){.size_bytes = size}, -EINVAL, "two sizes");
	ring.flags &= ~(1u << 18);
	/* A table of 4, told to have more. */
	CHECK(!io_uring_register_buffers_sparse(&ring, 4), "sparse");
	attach_is(arena, (struct hak_uring_options){size, 4, 4, HAK_URING_TABLE_READY, 0}, -EINVAL, "slot 4");
	CHECK(!io_uring_unregister_buffers(&ring), "unregister");
	IS(hak_arena_destroy(arena), 0);
	attach_is(arena, (struct hak_uring_options){.size_bytes = size}, -EINVAL, "not an arena");
	IS(hak_uring_detach(NULL), -EINVAL);
	IS(hak_uring_sync(NULL), -EINVAL);
	IS(hak_uring_forget(NULL), -EINVAL);
}

static void other_watcher(void *arg, void *where, size_t bytes)
{
	(void)arg, (void)where, (void)bytes;
}

static void test_other_watcher(void)
{
	hak_arena *arena = hk_arena(2 * MIB, 0, 0);
	CHECK(!hak_arena_watch(arena, other_watcher, NULL), "watch");
	attach_is(arena, (struct hak_uring_options){.size_bytes = sizeof(struct hak_uring_options)}, -EBUSY, "watcher");
	CHECK(!hak_arena_unwatch(arena), "unwatch");
	IS(hak_arena_destroy(arena), 0);
}

static void test_questions(void)
{
	hak_uring *u;
	unsigned index = 77;
	char *own = malloc(100);
	hak_arena *arena = hk_arena(2 * MIB, 0, 0);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	char *p = hak_arena_alloc(arena, 100), *base = (char *)((uintptr_t)p & ~(SUPER - 1));
	IS(hak_uring_buffer(u, p, 0, &index), -EINVAL);
	IS(hak_uring_buffer(u, own, 1, &index), -EFAULT);
	IS(hak_uring_buffer(u, NULL, 1, &index), -EFAULT);
	IS(hak_uring_buffer(u, (void *)~(uintptr_t)0, 1, &index), -EFAULT);
	IS(hak_uring_buffer(u, (void *)((uintptr_t)1 << 47), 1, &index), -EFAULT);
	IS(hak_uring_buffer(u, base - 1, 1, &index), -EFAULT);
	IS(hak_uring_buffer(u, base + SUPER, 1, &index), -EFAULT);
	IS(hak_uring_buffer(u, base, SUPER + 1, &index), -EXDEV);
	CHECK(strstr(hak_uring_message(), "2097152 are in one buffer"), "message: %s", hak_uring_message());
	IS(hak_uring_buffer(u, p, SIZE_MAX, &index), -EXDEV);
	CHECK(index == 77, "index %u was written", index);
	IS(hak_uring_buffer(u, base, SUPER, &index), 0);
	IS(hak_uring_buffer(u, base + SUPER - 1, 1, &index), 0);
	CHECK(hak_uring_span(u, p) == SUPER - (size_t)(p - base), "span %zu", hak_uring_span(u, p));
	CHECK(hak_uring_span(u, own) == 0 && hak_uring_span(u, base + SUPER) == 0, "span of what is not the arena's");
	struct hak_uring_stats s = {.size_bytes = 4};
	IS(hak_uring_stats(u, &s), -EINVAL);
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	free(own);
}

/* More than 1 GiB at once: two buffers, and a block over both is refused but can be had in parts. */
static void test_gib(void)
{
	hak_uring *u;
	unsigned a = 0, b = 0;
	size_t gib = 1024 * MIB, bytes = gib + 2 * MIB;
	hak_arena *arena = hk_arena(0, 0, 0);
	char *p = hak_arena_alloc(arena, bytes);
	CHECK(p, "no memory");
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	IS(hak_uring_buffer(u, p, bytes, &a), -EXDEV);
	size_t span = hak_uring_span(u, p);
	CHECK(span <= gib && span > gib - SUPER, "span %zu", span);
	IS(hak_uring_buffer(u, p, span, &a), 0);
	IS(hak_uring_buffer(u, p + span, bytes - span, &b), 0);
	CHECK(a == 0 && b == 1, "buffers %u and %u", a, b);
	int fd = hk_file(MIB, NULL);
	hk_fill(p + span - 4096, 4096, 1);
	hk_fill(p + span, 4096, 2);
	IS(hk_fixed(&ring, true, fd, p + span - 4096, 4096, 0, a), 4096);
	IS(hk_fixed(&ring, true, fd, p + span, 4096, 4096, b), 4096);
	IS(hk_fixed(&ring, false, fd, p + span, 4096, 0, b), 4096);
	CHECK(hk_holds(p + span, 4096, 1), "contents");
	IS(hk_fixed(&ring, true, fd, p + span, 4096, 0, a), -EFAULT); /* the kernel agrees about the border */
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	close(fd);
}

static void test_slots(void)
{
	hak_uring *u;
	unsigned index;
	struct hak_uring_options two = {.size_bytes = sizeof(two), .buffers = 2};
	hak_arena *arena = hk_arena(0, 0, 0), *between = hk_arena(0, 0, 0);
	char *p[3];
	IS(hak_uring_attach(arena, &ring, &two, &u), 0);
	for (int i = 0; i < 3; i++) {
		p[i] = hak_arena_alloc(arena, 3 * MIB);
		CHECK(p[i] && hak_arena_alloc(between, 3 * MIB), "no memory");
		IS(hak_uring_buffer(u, p[i], 3 * MIB, &index), i < 2 ? 0 : -ENOSPC);
	}
	CHECK(strstr(hak_uring_message(), "all 2 slots"), "message: %s", hak_uring_message());
	IS(hak_uring_buffer(u, p[1], 3 * MIB, &index), 0); /* what is registered stays */
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	IS(hak_arena_destroy(between), 0);
}

/* As a user without CAP_IPC_LOCK and 8 MiB. */
static void limited(void *arg)
{
	struct rlimit limit = {8 * MIB, 8 * MIB};
	hak_uring *u;
	unsigned index;
	(void)arg;
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &limit), "setrlimit");
	if (!geteuid())
		CHECK(!setresuid(39321, 39321, 39321), "setresuid: %s", strerror(errno));
	hk_ring(&ring, 8, 0);
	hak_arena *big = hk_arena(16 * MIB, 0, 0), *arena = hk_arena(2 * MIB, 0, 0);
	IS(hak_uring_attach(big, &ring, NULL, &u), -EAGAIN);
	CHECK(strstr(hak_uring_message(), "RLIMIT_MEMLOCK is 8192 KiB") && strstr(hak_uring_message(), "16384 KiB are needed"),
	      "message: %s", hak_uring_message());
	IS(hak_arena_destroy(big), 0);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	void *p = hak_arena_alloc(arena, 1000), *q = hak_arena_alloc(arena, 9 * MIB);
	IS(hak_uring_buffer(u, q, 10, &index), -EAGAIN);
	CHECK(strstr(hak_uring_message(), "2048 KiB are pinned here, 12288 KiB are needed"), "message: %s",
	      hak_uring_message());
	IS(hak_uring_buffer(u, p, 1000, &index), 0);
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
}

int main(void)
{
	hk_ring(&ring, 8, 0);
	io_uring_queue_exit(&ring);
	hk_in_child(limited, NULL);
	hk_ring(&ring, 8, 0);
	if (!hk_may_lock(2048 * MIB)) {
		puts("skip: all but RLIMIT_MEMLOCK itself: it pins 1 GiB, more than that (ulimit -l, or as root)");
		return 77;
	}
	test_options();
	test_other_watcher();
	test_questions();
	test_gib();
	test_slots();
	io_uring_queue_exit(&ring);
	return 0;
}
