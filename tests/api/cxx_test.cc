/* cxx_test.cc - C++ operators new and delete in all their forms. The allocator serves them or
 * libstdc++'s own serve them through malloc; bad_alloc and the new_handler work in either case. */
#include "support.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <new>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace
{

int handler_calls;

void handler_that_gives_up()
{
	if (++handler_calls == 3)
		std::set_new_handler(nullptr);
}

struct alignas(256) wide {
	char bytes[700];
};

void check_plain_forms()
{
	for (size_t size = 0; size <= 3 * MIB; size = size * 2 + 7) {
		void *p = ::operator new(size);
		CHECK(p && reinterpret_cast<uintptr_t>(p) % 16 == 0, "new(%zu) gave %p", size, p);
		CHECK(malloc_usable_size(p) >= size, "usable size");
		pat_fill(p, size, 1);
		void *q = ::operator new[](size);
		pat_fill(q, size, 2);
		pat_check(p, size, 1);
		errno = 4711;
		::operator delete(p);
		CHECK(errno == 4711, "delete set errno to %d", errno);
		pat_check(q, size, 2);
		::operator delete[](q);
		::operator delete(::operator new(size), size);
		::operator delete[](::operator new[](size), size);
		p = ::operator new(size, std::nothrow);
		q = ::operator new[](size, std::nothrow);
		CHECK(p && q, "nothrow new(%zu)", size);
		::operator delete(p, std::nothrow);
		::operator delete[](q, std::nothrow);
	}
	::operator delete(nullptr);
	::operator delete[](nullptr);
	::operator delete(nullptr, size_t(8));
	void *a = ::operator new(0), *b = ::operator new(0);
	CHECK(a && b && a != b, "new(0) gave %p and %p", a, b);
	::operator delete(a);
	::operator delete(b);
}

void check_aligned_forms()
{
	for (size_t align = 32; align <= 4 * MIB; align *= 2)
		for (size_t size = 1; size <= 2 * MIB; size = size * 8 + 3) {
			const auto al = std::align_val_t(align);
			void *p = ::operator new(size, al);
			void *q = ::operator new[](size, al, std::nothrow);
			CHECK(p && reinterpret_cast<uintptr_t>(p) % align == 0, "%p for %zu", p,
			      align);
			CHECK(q && reinterpret_cast<uintptr_t>(q) % align == 0, "%p for %zu", q,
			      align);
			pat_fill(p, size, 3);
			pat_fill(q, size, 4);
			pat_check(p, size, 3);
			pat_check(q, size, 4);
			::operator delete(p, al);
			::operator delete[](q, al, std::nothrow);
			::operator delete(::operator new(size, al, std::nothrow), size, al);
			::operator delete[](::operator new[](size, al), size, al);
		}
	auto *w = new wide[5];
	CHECK(reinterpret_cast<uintptr_t>(w) % 256 == 0, "wide at %p", static_cast<void *>(w));
	delete[] w;
	auto one = std::make_unique<wide>();
	CHECK(reinterpret_cast<uintptr_t>(one.get()) % 256 == 0, "wide is not aligned");
}

template <typename Call> bool throws_bad_alloc(Call call)
{
	try {
		call();
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

void check_failures()
{
	const size_t huge = test_hide_size(PTRDIFF_MAX - 4096);
	const auto al = std::align_val_t(4096);

	CHECK(throws_bad_alloc([&] { ::operator delete(::operator new(huge)); }), "new");
	CHECK(throws_bad_alloc([&] { ::operator delete[](::operator new[](huge)); }), "new[]");
	CHECK(throws_bad_alloc([&] { ::operator delete(::operator new(huge, al), al); }),
	      "aligned");
	CHECK(throws_bad_alloc(
		      [&] { ::operator delete(::operator new(SIZE_MAX - test_hide_size(3))); }),
	      "new(SIZE_MAX - 3)");
	CHECK(!::operator new(huge, std::nothrow), "nothrow new of a huge size gave a block");
	CHECK(!::operator new[](huge, std::nothrow), "nothrow new[] of a huge size gave a block");
	CHECK(!::operator new(huge, al, std::nothrow), "aligned nothrow new gave a block");
}

void check_new_handler()
{
	const size_t huge = test_hide_size(PTRDIFF_MAX - 4096);

	handler_calls = 0;
	std::set_new_handler(handler_that_gives_up);
	CHECK(throws_bad_alloc([&] { ::operator delete(::operator new(huge)); }), "new");
	CHECK(handler_calls == 3, "the new_handler was called %d times", handler_calls);
	handler_calls = 0;
	std::set_new_handler(handler_that_gives_up);
	CHECK(!::operator new(huge, std::nothrow), "nothrow");
	CHECK(handler_calls == 3, "nothrow called the new_handler %d times", handler_calls);
	std::set_new_handler([] { throw std::bad_alloc(); });
	CHECK(!::operator new(huge, std::nothrow), "nothrow with a handler that throws");
	std::set_new_handler(nullptr);
}

void check_containers()
{
	std::vector<std::string> all;
	std::vector<std::thread> threads;

	for (int i = 0; i < 20000; i++)
		all.push_back(std::string(static_cast<size_t>(i % 300), char('a' + i % 26)));
	for (int t = 0; t < 4; t++)
		threads.emplace_back([&all, t] {
			for (size_t i = static_cast<size_t>(t); i < all.size(); i += 4)
				all[i] += all[i];
		});
	for (auto &t : threads)
		t.join();
	for (size_t i = 0; i < all.size(); i++)
		CHECK(all[i] == std::string(i % 300 * 2, char('a' + i % 26)), "string %zu", i);
}

} // namespace

int main()
{
	test_begin();
	check_plain_forms();
	check_aligned_forms();
	check_failures();
	check_new_handler();
	check_containers();
	return test_end();
}
