// resource.cc - arena_resource and arena_allocator with the standard's containers. Built with each compiler and
// standard that is there (arena.mk).
#include <hakmem/memory_resource.hpp>

#include "support.h"

#include <cerrno>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

template <class T> static bool in(hak_arena *arena, const T *p)
{
	return hak_arena_owner(p) == arena;
}

static std::uint64_t used(hak_arena *arena)
{
	struct hak_arena_stats s{};
	s.size_bytes = sizeof(s);
	CHECK(hak_arena_stats(arena, &s) == 0, "stats");
	return s.used_bytes;
}

static void containers(unsigned flags)
{
	hakmem::arena_resource r(hakmem::options().name("pmr").initial(8 << 20).flags(flags));
	{
		std::pmr::vector<int> v(&r);
		std::pmr::map<int, std::pmr::string> m(&r);
		std::pmr::unordered_map<int, std::pmr::list<int>> u(&r);
		for (int i = 0; i < 20000; i++) {
			v.push_back(i);
			m.emplace(i, "a string that is longer than what a string keeps in itself");
			u[i % 100].push_back(i);
			if (i % 3 == 0)
				m.erase(i / 2);
		}
		CHECK(in(r.handle(), v.data()) && in(r.handle(), &*m.begin()) && in(r.handle(), m.begin()->second.data()), "elsewhere");
		CHECK(in(r.handle(), &u[5].front()), "a list within a map is elsewhere");
		std::pmr::vector<int> copy(v); // by the default resource, says the standard
		CHECK(!in(r.handle(), copy.data()) && copy == v, "copy");
		std::pmr::vector<int> moved(std::move(v));
		CHECK(in(r.handle(), moved.data()) && moved == copy, "move");
	}
	r.reset();
	CHECK(used(r.handle()) == 0, "in use after reset");
}

static void alignments(unsigned flags)
{
	hakmem::arena_resource r(hakmem::options().flags(flags));
	for (std::size_t align = 1; align <= 8192; align *= 2) {
		void *p = r.allocate(100, align);
		CHECK(reinterpret_cast<std::uintptr_t>(p) % align == 0 && in(r.handle(), p), "%zu", align);
		r.deallocate(p, 100, align);
	}
}

static void equality()
{
	hakmem::arena_resource a, b, same(a.handle());
	std::pmr::memory_resource &x = a, &y = same;
	CHECK(x == y && x != b && !(x == *std::pmr::new_delete_resource()), "equality");
	void *p = a.allocate(100);
	same.deallocate(p, 100);
}

static void exhaustion()
{
	hakmem::arena_resource r(hakmem::options().most(4 << 20));
	bool thrown = false;
	try {
		std::pmr::vector<char> v(5 << 20, 'x', &r);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	CHECK(thrown, "beyond the maximum");
	thrown = false;
	try {
		hakmem::arena_resource bad(hakmem::options().numa("nonsense"));
	} catch (const std::system_error &e) {
		thrown = e.code().value() == EINVAL;
	}
	CHECK(thrown, "a malformed policy");
	std::pmr::vector<int> v({1, 2, 3}, &r); // still of use
	CHECK(v[2] == 3, "after it");
}

struct alignas(128) line {
	int x = 1;
};

static void allocator(unsigned flags)
{
	hakmem::arena_resource a(hakmem::options().flags(flags)), b(hakmem::options().flags(flags));
	using V = std::vector<int, hakmem::arena_allocator<int>>;
	V v(a.handle()), w(b.handle());
	for (int i = 0; i < 5000; i++)
		v.push_back(i);
	w = v;
	CHECK(in(a.handle(), v.data()) && in(a.handle(), w.data()) && w == v, "copy");
	V x(b.handle());
	x.push_back(1);
	std::swap(v, x);
	CHECK(in(b.handle(), v.data()) && in(a.handle(), x.data()), "swap");
	std::map<int, int, std::less<int>, hakmem::arena_allocator<std::pair<const int, int>>> m(a.handle());
	for (int i = 0; i < 1000; i++)
		m[i] = i;
	CHECK(in(a.handle(), &*m.begin()), "a map's nodes");
	std::vector<line, hakmem::arena_allocator<line>> l(3, line(), a.handle());
	CHECK(in(a.handle(), l.data()) && reinterpret_cast<std::uintptr_t>(l.data()) % 128 == 0, "alignment");
	bool thrown = false;
	try {
		hakmem::arena_allocator<long>(a.handle()).allocate(static_cast<std::size_t>(-1) / 4);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	CHECK(thrown, "a number of objects that overflows");
}

int main()
{
	test_begin();
	test_watchdog(60);
	for (unsigned flags : {0u, HAK_ARENA_SINGLE}) {
		containers(flags);
		alignments(flags);
		allocator(flags);
	}
	equality();
	exhaustion();
	return test_end();
}
