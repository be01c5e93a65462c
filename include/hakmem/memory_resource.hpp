// memory_resource.hpp - an arena as a std::pmr::memory_resource, and as an STL allocator. C++17, header only.
//
//	hakmem::arena_resource frames(hakmem::options{}.name("frames").initial(64 << 20).populate_now());
//	std::pmr::vector<int> v(&frames);
//
//	std::vector<int, hakmem::arena_allocator<int>> w(frames.handle());
//
// Both have the arena's promises about threads (hakmem/arena.h). An arena_resource that made its arena ends it with
// itself; one that was given a handle does not. With an arena of a single owner (hakmem::options::flags(HAK_ARENA_SINGLE))
// blocks up to 512 KiB come and go without a call. allocate throws std::bad_alloc, the constructor std::system_error.
#ifndef HAKMEM_MEMORY_RESOURCE_HPP
#define HAKMEM_MEMORY_RESOURCE_HPP

#include <cstddef>
#include <limits>
#include <memory_resource>
#include <new>
#include <system_error>
#include <type_traits>

#include <hakmem/arena.h>

namespace hakmem {

// hak_arena_options with a name for each step.
class options {
public:
	options() noexcept { o_.size_bytes = sizeof(o_); }
	options &name(const char *text) noexcept { o_.name = text; return *this; }
	options &numa(const char *policy) noexcept { o_.numa = policy; return *this; }
	options &pages(hak_arena_pages kind) noexcept { o_.pages = kind; return *this; }
	options &populate_now() noexcept { o_.populate = HAK_POPULATE_NOW; return *this; }
	options &populate_background() noexcept { o_.populate = HAK_POPULATE_BACKGROUND; return *this; }
	options &initial(std::size_t bytes) noexcept { o_.initial_bytes = bytes; return *this; }
	options &most(std::size_t bytes) noexcept { o_.max_bytes = bytes; return *this; }
	options &flags(unsigned f) noexcept { o_.flags |= f; return *this; }
	options &memory(void *p, std::size_t bytes) noexcept { o_.memory = p; o_.memory_bytes = bytes; return *this; }
	const hak_arena_options *get() const noexcept { return &o_; }

private:
	hak_arena_options o_{};
};

class arena_resource final : public std::pmr::memory_resource {
public:
	// An arena of its own.
	explicit arena_resource(const options &wanted = options()) : own_(true)
	{
		int rc = hak_arena_create(wanted.get(), &arena_);
		if (rc)
			throw std::system_error(-rc, std::generic_category(), "hak_arena_create");
		cache_ = hak_arena_cache_of(arena_, HAK_ARENA_CACHE_LAYOUT);
	}

	// Someone else's, that outlives this.
	explicit arena_resource(hak_arena *arena) noexcept
	    : arena_(arena), cache_(hak_arena_cache_of(arena, HAK_ARENA_CACHE_LAYOUT)), own_(false) {}

	arena_resource(const arena_resource &) = delete;
	arena_resource &operator=(const arena_resource &) = delete;

	~arena_resource() override
	{
		if (own_)
			hak_arena_destroy(arena_);
	}

	hak_arena *handle() const noexcept { return arena_; }

	// All blocks at once: nothing that was made in it may be used or destructed any more.
	void reset()
	{
		int rc = hak_arena_reset(arena_);
		if (rc)
			throw std::system_error(-rc, std::generic_category(), "hak_arena_reset");
	}

private:
	void *do_allocate(std::size_t bytes, std::size_t alignment) override
	{
		void *p = alignment <= 16 ? hak_arena_alloc_from(arena_, cache_, bytes)
					  : hak_arena_aligned_alloc(arena_, alignment, bytes);
		if (!p)
			throw std::bad_alloc();
		return p;
	}

	void do_deallocate(void *p, std::size_t bytes, std::size_t alignment) override
	{
		if (cache_ && alignment <= 16)
			hak_arena_free_to(arena_, cache_, p, bytes);
		else
			hak_arena_free(arena_, p);
	}

	bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
	{
#ifdef __cpp_rtti
		auto *same = dynamic_cast<const arena_resource *>(&other);
		return same && same->arena_ == arena_;
#else
		return this == &other; // it can't be seen whose the other is
#endif
	}

	hak_arena *arena_ = nullptr;
	hak_arena_cache *cache_ = nullptr; // of a single owner's
	bool own_;
};

// For containers without pmr: no virtual call. It goes along when they are moved or swapped, and with copies too.
template <class T> class arena_allocator {
public:
	using value_type = T;
	using propagate_on_container_copy_assignment = std::true_type;
	using propagate_on_container_move_assignment = std::true_type;
	using propagate_on_container_swap = std::true_type;
	using is_always_equal = std::false_type;

	arena_allocator(hak_arena *arena) noexcept
	    : arena_(arena), cache_(hak_arena_cache_of(arena, HAK_ARENA_CACHE_LAYOUT)) {}
	template <class U> arena_allocator(const arena_allocator<U> &other) noexcept
	    : arena_(other.handle()), cache_(other.cache()) {}

	T *allocate(std::size_t n)
	{
		if (n > std::numeric_limits<std::size_t>::max() / sizeof(T))
			throw std::bad_array_new_length();
		void *p = alignof(T) <= 16 ? hak_arena_alloc_from(arena_, cache_, n * sizeof(T))
					   : hak_arena_aligned_alloc(arena_, alignof(T), n * sizeof(T));
		if (!p)
			throw std::bad_alloc();
		return static_cast<T *>(p);
	}

	void deallocate(T *p, std::size_t n) noexcept
	{
		if (cache_ && alignof(T) <= 16)
			hak_arena_free_to(arena_, cache_, p, n * sizeof(T));
		else
			hak_arena_free(arena_, p);
	}

	hak_arena *handle() const noexcept { return arena_; }
	hak_arena_cache *cache() const noexcept { return cache_; }

private:
	hak_arena *arena_;
	hak_arena_cache *cache_; // of a single owner's
};

template <class T, class U> bool operator==(const arena_allocator<T> &a, const arena_allocator<U> &b) noexcept
{
	return a.handle() == b.handle();
}

template <class T, class U> bool operator!=(const arena_allocator<T> &a, const arena_allocator<U> &b) noexcept
{
	return !(a == b);
}

} // namespace hakmem

#endif
