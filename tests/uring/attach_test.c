/* attach_test.c - fixed buffers of an arena do real I/O; indexes; growth; several rings and arenas; any order. */
#include "lib.h"

#include <sys/mman.h>
#include <sys/utsname.h>

static void round_trip(struct io_uring *ring, hak_uring *u, hak_arena *arena, int fd, size_t bytes, uint64_t seed)
{
	unsigned out_index = ~0u, in_index = ~0u;
	char *out = hak_arena_aligned_alloc(arena, 4096, bytes), *in = hak_arena_aligned_alloc(arena, 4096, bytes);
	CHECK(out && in, "no memory");
	hk_fill(out, bytes, seed);
	memset(in, 0xee, bytes);
	IS(hak_uring_buffer(u, out, bytes, &out_index), 0);
	IS(hak_uring_buffer(u, in, bytes, &in_index), 0);
	IS(hk_fixed(ring, true, fd, out, bytes, 0, out_index), (int)bytes);
	IS(hk_fixed(ring, false, fd, in, bytes, 0, in_index), (int)bytes);
	CHECK(hk_holds(in, bytes, seed), "what was read is not what was written");
	hak_arena_free(arena, out);
	hak_arena_free(arena, in);
}

static struct hak_uring_stats stats(hak_uring *u)
{
	struct hak_uring_stats s = {.size_bytes = sizeof(s)};
	IS(hak_uring_stats(u, &s), 0);
	return s;
}

static void test_io(unsigned flags)
{
	struct io_uring ring;
	hak_uring *u;
	bool direct;
	int fd = hk_file(4 * MIB, &direct);
	hak_arena *arena = hk_arena(16 * MIB, 0, 0);
	hk_ring(&ring, 8, flags);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	CHECK(stats(u).buffers == 1 && stats(u).bytes == 16 * MIB, "%llu buffers, %llu bytes",
	      (unsigned long long)stats(u).buffers, (unsigned long long)stats(u).bytes);
	for (size_t bytes = 4096; bytes <= MIB; bytes *= 4)
		round_trip(&ring, u, arena, fd, bytes, bytes + flags);
	if (!direct)
		puts("no O_DIRECT here: through the page cache");
	IS(hak_arena_destroy(arena), -EBUSY);
	IS(hak_arena_reset(arena), -EBUSY);
	DETACH(u);
	CHECK(!io_uring_cq_ready(&ring), "detach left %u completions", io_uring_cq_ready(&ring));
	IS(hak_arena_reset(arena), 0);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0); /* the table is free again */
	round_trip(&ring, u, arena, fd, 4096, 7);
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
	close(fd);
}

/* What came after attach is found by the next question, and waits until then. */
static void test_growth(void)
{
	struct io_uring ring;
	hak_uring *u;
	unsigned index, first;
	hak_arena *arena = hk_arena(SUPER, 0, 0);
	hk_ring(&ring, 8, 0);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	void *small = hak_arena_alloc(arena, 64);
	IS(hak_uring_buffer(u, small, 64, &first), 0);
	CHECK(first == 0, "index %u", first);
	char *big = hak_arena_alloc(arena, 5 * MIB);
	CHECK(big && stats(u).waiting_bytes >= 6 * MIB, "%llu wait", (unsigned long long)stats(u).waiting_bytes);
	CHECK(hak_uring_span(u, big) == 0, "span before it is registered");
	IS(hak_uring_buffer(u, big, 5 * MIB, &index), 0);
	CHECK(index == 1 && stats(u).waiting_bytes == 0, "index %u", index);
	CHECK(hak_uring_span(u, big) >= 5 * MIB, "span %zu", hak_uring_span(u, big));
	IS(hak_uring_buffer(u, small, 64, &index), 0);
	CHECK(index == first, "index %u", index);
	CHECK(hak_arena_alloc(arena, 9 * MIB), "no memory");
	IS(hak_uring_sync(u), 0);
	struct hak_uring_stats s = stats(u);
	struct hak_arena_stats a = {.size_bytes = sizeof(a)};
	hak_arena_stats(arena, &a);
	CHECK(s.waiting_bytes == 0 && s.bytes == a.supers * SUPER, "%llu of %llu", (unsigned long long)s.bytes,
	      (unsigned long long)(a.supers * SUPER));
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
}

/* An empty arena; then stretches of 2 MiB that adjoin are few buffers. */
static void test_merge(void)
{
	struct io_uring ring;
	hak_uring *u;
	hak_arena *arena = hk_arena(0, 0, HAK_ARENA_SINGLE);
	hk_ring(&ring, 8, 0);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	CHECK(stats(u).buffers == 0, "%llu buffers", (unsigned long long)stats(u).buffers);
	struct hak_arena_stats a = {.size_bytes = sizeof(a)};
	do {
		CHECK(hak_arena_alloc(arena, MIB / 2), "no memory");
		hak_arena_stats(arena, &a);
	} while (a.supers < 16);
	IS(hak_uring_sync(u), 0);
	CHECK(stats(u).bytes == 16 * SUPER && stats(u).buffers <= 4, "%llu buffers of %llu bytes",
	      (unsigned long long)stats(u).buffers, (unsigned long long)stats(u).bytes);
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
}

/* Buffers no larger than asked for. */
static void test_buffer_bytes(void)
{
	struct io_uring ring;
	hak_uring *u;
	unsigned index;
	hak_arena *arena = hk_arena(16 * MIB, 0, 0);
	struct hak_uring_options o = {.size_bytes = sizeof(o), .buffer_bytes = 2 * SUPER};
	hk_ring(&ring, 8, 0);
	IS(hak_uring_attach(arena, &ring, &o, &u), 0);
	CHECK(stats(u).buffers == 4, "%llu buffers", (unsigned long long)stats(u).buffers);
	char *p = hak_arena_alloc(arena, 10 * MIB);
	IS(hak_uring_buffer(u, p, 10 * MIB, &index), -EXDEV);
	for (size_t at = 0, span; at < 10 * MIB; at += span) {
		span = hak_uring_span(u, p + at);
		CHECK(span > 0 && span <= 2 * SUPER, "span %zu", span);
		IS(hak_uring_buffer(u, p + at, span, &index), 0);
	}
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
}

static bool is_huge(const char *p)
{
	char line[256];
	unsigned long from, to, kib, bytes = 0;
	bool here = false, huge = false;
	FILE *f = fopen("/proc/self/smaps", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (uintptr_t)p >= from && (uintptr_t)p < to, bytes = to - from;
		else if (here && sscanf(line, "AnonHugePages: %lu", &kib) == 1)
			huge = kib << 10 == bytes;
	}
	if (f)
		fclose(f);
	return huge;
}

static bool tells_huge(void)
{
	struct utsname name;
	int major = 0, minor = 0;
	uname(&name);
	sscanf(name.release, "%d.%d", &major, &minor);
	return (major > 6 || (major == 6 && minor >= 7)) && !access("/proc/self/pagemap", R_OK);
}

/* Huge and small pages adjoin: two buffers, where the kernel tells. */
static void test_mixed_pages(void)
{
	struct io_uring ring;
	hak_uring *u;
	unsigned index;
	hak_arena *arena;
	char *all = mmap(NULL, 6 * SUPER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *p = (char *)(((uintptr_t)all + SUPER - 1) & ~(SUPER - 1));
	struct hak_arena_options o = {.size_bytes = sizeof(o), .memory = p, .memory_bytes = 5 * SUPER};
	madvise(p, 2 * SUPER, MADV_NOHUGEPAGE);
	madvise(p + 2 * SUPER, 3 * SUPER, MADV_HUGEPAGE);
	memset(p, 1, 5 * SUPER);
	hk_ring(&ring, 8, 0);
	if (!is_huge(p + 2 * SUPER)) {
		puts("skip: mixed pages: no huge pages to be had");
		return;
	}
	CHECK(!hak_arena_create(&o, &arena), "create");
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	if (!tells_huge()) {
		puts("skip: mixed pages: the kernel does not say which are huge (Linux 6.7 does)");
	} else {
		CHECK(stats(u).buffers == 2, "%llu buffers", (unsigned long long)stats(u).buffers);
		CHECK(hak_uring_span(u, p) == 2 * SUPER, "span %zu", hak_uring_span(u, p));
		IS(hak_uring_buffer(u, p + 2 * SUPER, 3 * SUPER, &index), 0);
		CHECK(index == 1, "index %u", index);
	}
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
	munmap(all, 6 * SUPER);
}

static void test_many_rings(void)
{
	enum { RINGS = 5 };
	static const int order[RINGS] = {2, 0, 4, 3, 1};
	struct io_uring ring[RINGS];
	hak_uring *u[RINGS];
	int fd = hk_file(MIB, NULL);
	hak_arena *arena = hk_arena(4 * MIB, 0, 0);
	for (int i = 0; i < RINGS; i++) {
		hk_ring(&ring[i], 8, 0);
		IS(hak_uring_attach(arena, &ring[i], NULL, &u[i]), 0);
	}
	CHECK(hak_arena_alloc(arena, 12 * MIB), "no memory");
	for (int i = 0; i < RINGS; i++) {
		for (int k = i; k < RINGS; k++)
			round_trip(&ring[order[k]], u[order[k]], arena, fd, 65536, (uint64_t)(i * RINGS + k));
		IS(hak_arena_destroy(arena), -EBUSY);
		DETACH(u[order[i]]);
	}
	IS(hak_arena_destroy(arena), 0);
	for (int i = 0; i < RINGS; i++)
		io_uring_queue_exit(&ring[i]);
	close(fd);
}

/* Two arenas and a buffer of the program's in one table. */
static void test_shared_table(void)
{
	struct io_uring ring;
	hak_uring *a, *b, *c;
	unsigned index;
	char own[4096] __attribute__((aligned(4096))) = "";
	struct iovec iov = {own, sizeof(own)};
	__u64 tag = 0;
	int fd = hk_file(MIB, NULL);
	hak_arena *one = hk_arena(4 * MIB, 0, 0), *two = hk_arena(4 * MIB, 0, 0);
	struct hak_uring_options first = {.size_bytes = sizeof(first), .first_buffer = 1, .buffers = 20, .buffer_bytes = 2 * MIB};
	struct hak_uring_options second = {sizeof(second), 11, 10, HAK_URING_TABLE_READY, 0};
	hk_ring(&ring, 8, 0);
	IS(hak_uring_attach(one, &ring, &second, &a), -ENXIO);
	IS(hak_uring_attach(one, &ring, &first, &a), 0);
	IS(hak_uring_attach(two, &ring, NULL, &b), -EBUSY);
	CHECK(strstr(hak_uring_message(), "HAK_URING_TABLE_READY"), "message: %s", hak_uring_message());
	IS(hak_uring_attach(two, &ring, &second, &b), 0);
	IS(io_uring_register_buffers_update_tag(&ring, 0, &iov, &tag, 1), 1);
	round_trip(&ring, a, one, fd, 65536, 1);
	round_trip(&ring, b, two, fd, 65536, 2);
	IS(hk_fixed(&ring, false, fd, own, 4096, 0, 0), 4096);
	CHECK(hk_holds(own, 4096, 2), "the program's own buffer");
	void *p = hak_arena_alloc(two, 100), *q = hak_arena_alloc(one, 100);
	IS(hak_uring_buffer(b, p, 100, &index), 0);
	CHECK(index == 11, "index %u", index);
	IS(hak_uring_buffer(a, q, 100, &index), 0);
	CHECK(index == 1, "index %u", index);
	IS(hak_uring_buffer(a, p, 100, &index), -EFAULT);
	/* Slots are one arena's: the first one's end where the second one's begin. */
	hak_arena *three = hk_arena(4 * MIB, 0, 0);
	IS(hak_uring_attach(three, &ring, &second, &c), -EEXIST);
	CHECK(strstr(hak_uring_message(), "slot 11"), "message: %s", hak_uring_message());
	IS(hak_arena_destroy(three), 0);
	void *large = hak_arena_alloc(one, 30 * MIB);
	CHECK(large, "30 MiB");
	IS(hak_uring_sync(a), -ENOSPC);
	CHECK(stats(a).buffers == 10, "%llu buffers", (unsigned long long)stats(a).buffers);
	round_trip(&ring, b, two, fd, 65536, 4);
	hak_arena_free(one, large);
	DETACH(a); /* who made the table goes first */
	IS(hak_arena_destroy(one), 0);
	round_trip(&ring, b, two, fd, 65536, 3);
	DETACH(b);
	IS(hak_arena_destroy(two), 0);
	IS(hk_fixed(&ring, true, fd, own, 4096, 0, 0), 4096); /* still the program's own buffer */
	io_uring_queue_exit(&ring);
	close(fd);
}

/* Attached and detached in all orders; what they made goes with the last, so the next one makes a table again. */
static void test_any_order(void)
{
	enum { ARENAS = 3 };
	static const unsigned orders[][ARENAS] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}};
	struct io_uring ring;
	int fd = hk_file(MIB, NULL);
	hk_ring(&ring, 8, 0);
	for (unsigned n = 0; n < sizeof(orders) / sizeof(*orders); n++) {
		hak_arena *arena[ARENAS];
		hak_uring *u[ARENAS];
		for (unsigned i = 0; i < ARENAS; i++) {
			struct hak_uring_options o = {sizeof(o), 10 * i, i ? 10 : 10 * ARENAS, i ? HAK_URING_TABLE_READY : 0, 0};
			arena[i] = hk_arena(4 * MIB, 0, 0);
			IS(hak_uring_attach(arena[i], &ring, &o, &u[i]), 0);
		}
		for (unsigned i = 0; i < ARENAS; i++) {
			for (unsigned k = i; k < ARENAS; k++)
				round_trip(&ring, u[orders[n][k]], arena[orders[n][k]], fd, 65536, k);
			DETACH(u[orders[n][i]]);
			IS(hak_arena_destroy(arena[orders[n][i]]), 0);
		}
	}
	io_uring_queue_exit(&ring);
	close(fd);
}

/* The program unregisters the table itself: the arena is not stuck. */
static void test_table_taken_away(void)
{
	struct io_uring ring;
	hak_uring *u;
	hak_arena *arena = hk_arena(4 * MIB, 0, 0);
	hk_ring(&ring, 8, 0);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	IS(io_uring_unregister_buffers(&ring), 0);
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
}

/* Inside hak_arena_push nothing of this library may come from the arena, or be lost with it. */
static void test_pushed(void)
{
	struct io_uring ring;
	hak_uring *u;
	hak_arena *arena = hk_arena(4 * MIB, 0, 0);
	struct hak_arena_stats before = {.size_bytes = sizeof(before)}, after = before;
	hk_ring(&ring, 8, 0);
	hak_arena_free(arena, hak_arena_alloc(arena, 64));
	hak_arena_stats(arena, &before);
	IS(hak_arena_push(arena), 0);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	void *big = malloc(6 * MIB);
	unsigned index;
	CHECK(hak_arena_owner(big) == arena, "push");
	IS(hak_uring_buffer(u, big, 6 * MIB, &index), 0);
	free(big);
	IS(hak_uring_buffer(u, &index, 4, &index), -EFAULT);
	DETACH(u);
	IS(hak_arena_pop(), 0);
	hak_arena_stats(arena, &after);
	CHECK(before.used_bytes == after.used_bytes, "%llu, %llu", (unsigned long long)before.used_bytes,
	      (unsigned long long)after.used_bytes);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
}

int main(void)
{
	hk_need_locked(128 * MIB);
	test_io(0);
	test_io(IORING_SETUP_SQPOLL);
	test_growth();
	test_merge();
	test_buffer_bytes();
	test_mixed_pages();
	test_many_rings();
	test_shared_table();
	test_any_order();
	test_table_taken_away();
	test_pushed();
	return 0;
}
