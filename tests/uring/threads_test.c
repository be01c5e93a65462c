/* threads_test.c - threads with a ring each come and go at one arena, while others make it grow and one forks. */
#include "lib.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { RINGS = 3, GROWERS = 2, ROUNDS = 25, BLOCKS = 12 };

static hak_arena *arena;
#define GROWN (96 * MIB)
static unsigned running = RINGS;

static void round_trip(struct io_uring *ring, hak_uring *u, int fd, uint64_t seed)
{
	size_t bytes = 4096u << seed % 8;
	unsigned index;
	char *p = hak_arena_aligned_alloc(arena, 4096, bytes);
	CHECK(p, "no memory");
	int rc = hak_uring_buffer(u, p, bytes, &index);
	CHECK(!rc || rc == -EXDEV, "%d: %s", rc, hak_uring_message());
	if (!rc) {
		hk_fill(p, bytes, seed);
		IS(hk_fixed(ring, true, fd, p, bytes, 0, index), (int)bytes);
		memset(p, 0xdd, bytes);
		IS(hk_fixed(ring, false, fd, p, bytes, 0, index), (int)bytes);
		CHECK(hk_holds(p, bytes, seed), "contents");
	}
	hak_arena_free(arena, p);
}

static void *use_ring(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	int fd = hk_file(MIB, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		struct io_uring ring;
		hak_uring *u;
		hk_ring(&ring, 8, i % 2 ? IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN : 0);
		IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
		for (int k = 0; k < BLOCKS; k++)
			round_trip(&ring, u, fd, seed++);
		DETACH(u);
		io_uring_queue_exit(&ring);
	}
	close(fd);
	__atomic_sub_fetch(&running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *grow(void *arg)
{
	size_t bytes = (uintptr_t)arg;
	for (size_t had = 0; had < GROWN && __atomic_load_n(&running, __ATOMIC_ACQUIRE); had += bytes) {
		char *p = hak_arena_alloc(arena, bytes);
		CHECK(p, "errno %d", errno);
		*p = 1;
		usleep(2000);
	}
	return NULL;
}

/* The child's lists are whole and not locked: it attaches to an arena of its own. */
static void use_lists(void)
{
	hak_uring *u;
	hak_arena *own;
	struct io_uring ring;
	struct hak_arena_options o = {.size_bytes = sizeof(o), .memory_bytes = 2 * SUPER};
	o.memory = mmap(NULL, o.memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(o.memory != MAP_FAILED && !hak_arena_create(&o, &own), "create");
	hk_ring(&ring, 4, 0);
	IS(hak_uring_attach(own, &ring, NULL, &u), 0);
	DETACH(u);
}

static void *fork_often(void *arg)
{
	(void)arg;
	for (; __atomic_load_n(&running, __ATOMIC_ACQUIRE); usleep(5000)) {
		int status;
		pid_t pid = fork();
		if (!pid) {
			use_lists();
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0, "child's status 0x%x", status);
	}
	return NULL;
}

int main(void)
{
	pthread_t thread[RINGS + GROWERS + 1];
	struct io_uring probe;
	hk_ring(&probe, 8, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	io_uring_queue_exit(&probe);
	hk_need_locked(1024 * MIB);
	alarm(100);
	arena = hk_arena(4 * MIB, 256 * MIB, 0);
	for (uintptr_t i = 0; i < RINGS; i++)
		pthread_create(&thread[i], NULL, use_ring, (void *)(i * 1000));
	for (uintptr_t i = 0; i < GROWERS; i++)
		pthread_create(&thread[RINGS + i], NULL, grow, (void *)(i ? MIB / 3 : 3 * MIB));
	pthread_create(&thread[RINGS + GROWERS], NULL, fork_often, NULL);
	for (int i = 0; i < RINGS + GROWERS + 1; i++)
		pthread_join(thread[i], NULL);
	IS(hak_arena_destroy(arena), 0);
	return 0;
}
