/* cxx_own_test.cc - a program that replaces operator new and delete alone, with blocks that free does not know: by the
 * standard all other forms are made of its own. */
#include "support.h"

#include <cstdlib>
#include <new>

#pragma GCC diagnostic ignored "-Wsized-deallocation" /* that is what is tested */

namespace
{

const size_t head = 64;
int made, given_back, aligned_made, aligned_back;

struct wide {
	alignas(64) char bytes[256];
};

struct failing {
	failing() { throw 1; }
};

void check_scalars()
{
	int *volatile p = new int(1);
	delete p; /* the compiler calls the form with a size */
	CHECK(made == 1 && given_back == 1, "new %d, delete %d", made, given_back);
	::operator delete(::operator new(100), size_t(100));
	CHECK(made == 2 && given_back == 2, "with a size: new %d, delete %d", made, given_back);
	void *q = ::operator new(100, std::nothrow);
	CHECK(q && made == 3, "nothrow: new %d", made);
	::operator delete(q, std::nothrow);
	CHECK(given_back == 3, "nothrow: delete %d", given_back);
}

void check_arrays()
{
	int before = made;
	char *volatile p = new char[1000];
	delete[] p;
	CHECK(made == before + 1 && given_back == made, "array: new %d, delete %d", made, given_back);
	::operator delete[](::operator new[](100), size_t(100));
	::operator delete[](::operator new[](100, std::nothrow), std::nothrow);
	CHECK(made == before + 3 && given_back == made, "arrays: new %d, delete %d", made, given_back);
}

void check_aligned()
{
	wide *volatile p = new wide;
	delete p;
	CHECK(aligned_made == 1 && aligned_back == 1, "aligned: new %d, delete %d", aligned_made, aligned_back);
	wide *volatile q = new wide[3];
	delete[] q;
	::operator delete(::operator new(100, std::align_val_t(128), std::nothrow), std::align_val_t(128), std::nothrow);
	::operator delete[](::operator new[](100, std::align_val_t(128), std::nothrow), std::align_val_t(128), std::nothrow);
	::operator delete(::operator new(100, std::align_val_t(128)), size_t(100), std::align_val_t(128));
	::operator delete[](::operator new[](100, std::align_val_t(128)), size_t(100), std::align_val_t(128));
	CHECK(aligned_made == 6 && aligned_back == 6, "aligned: new %d, delete %d", aligned_made, aligned_back);
}

void check_throwing_constructor()
{
	int before = given_back;
	try {
		(void)new failing;
		CHECK(false, "no exception");
	} catch (int) {
	}
	CHECK(given_back == before + 1 && given_back == made, "constructor: new %d, delete %d", made, given_back);
}

} // namespace

void *operator new(size_t size)
{
	made++;
	return static_cast<char *>(malloc(size + head)) + head;
}

void operator delete(void *p) noexcept
{
	given_back += p != nullptr;
	free(p ? static_cast<char *>(p) - head : nullptr);
}

void *operator new(size_t size, std::align_val_t align)
{
	aligned_made++;
	return static_cast<char *>(aligned_alloc(static_cast<size_t>(align), (size + 511) / 512 * 512 + 512)) + 512;
}

void operator delete(void *p, std::align_val_t) noexcept
{
	aligned_back += p != nullptr;
	free(p ? static_cast<char *>(p) - 512 : nullptr);
}

int main()
{
	test_begin();
	made = given_back = 0; /* what the C++ library does before main */
	check_scalars();
	check_arrays();
	check_aligned();
	check_throwing_constructor();
	return test_end();
}
