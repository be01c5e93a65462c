# arena.mk - builds and runs tests/arena, and the race test in the sanitizers' builds. Included by the Makefile, and
# works alone: make -f tests/arena/arena.mk check-arena LIB=/path/of/libhakmem.so
#
#   make check-arena             all of it; QUICK=0 for the long loops (100 million calls under seccomp)
#   make check-arena-debug       the same with the library in its debug build, which sees more misuse
#   make check-arena-sanitizers  the race tests with the library's objects in the builds asan and tsan
#   make check-arena-races VARIANT=tsan BUILD=build/tsan     one of them

BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
CC ?= cc
CXX ?= c++
VARIANT ?= release
QUICK ?= 1

ARENA_OUT := $(BUILD)/tests/arena
ARENA_CFLAGS := -std=gnu11 -g -O1 -fno-builtin -Wall -Wextra -Werror -pthread -Itests/api -Iinclude -MMD -MP
ARENA_CXXFLAGS := -g -O1 -Wall -Wextra -Werror -pthread -Itests/api -Iinclude -MMD -MP
# Of the debug build in any case, with that one's objects inside.
ARENA_STALE := $(if $(filter-out debug,$(VARIANT)),$(ARENA_OUT)/stale_test)
ARENA_SRC := $(filter-out $(ARENA_STALE:$(BUILD)/%=%.c),$(sort $(wildcard tests/arena/*_test.c)))
ARENA_PROGRAMS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(ARENA_SRC))
ARENA_SUPPORT := $(ARENA_OUT)/arena.o $(ARENA_OUT)/support.o
ARENA_LINK := $(LIB) -Wl,-rpath,$(abspath $(dir $(LIB))) -ldl

# The header-only part, as each compiler and standard has it; NAME_test, for tests/run finds them by that.
ARENA_COMPILERS := $(if $(shell command -v g++),g++) $(if $(shell command -v clang++),clang++)
ARENA_STANDARDS := c++17 c++20
ARENA_CXX := $(foreach c,$(ARENA_COMPILERS),$(foreach s,$(ARENA_STANDARDS),$(ARENA_OUT)/resource-$(c)-$(s)_test))

# The objects, not the library: a sanitizer's runtime has a malloc of its own.
ARENA_RACES := race pool_race
ARENA_CORE := $(patsubst src/%.c,$(BUILD)/obj/%.o,\
	$(filter-out src/uring/% src/api/libc.c src/api/cxx.c,$(sort $(wildcard src/*/*.c))))
ARENA_CORE_OUT := $(BUILD)/tests/arena-core
ARENA_CORE_PROGRAMS := $(patsubst %,$(ARENA_CORE_OUT)/%_test,$(ARENA_RACES))
arena_comma := ,
ARENA_CORE_LDFLAGS := $(VARIANT_LDFLAGS) $(if $(filter tsan,$(VARIANT)),-Wl$(arena_comma)--wrap=hk_os_reserve)
ARENA_CORE_SUPPORT := $(ARENA_CORE_OUT)/arena.o $(ARENA_CORE_OUT)/support.o \
	$(if $(filter tsan,$(VARIANT)),$(ARENA_CORE_OUT)/unit_tsan.o)

.PHONY: arena-programs check-arena check-arena-debug check-arena-races check-arena-sanitizers
arena-programs: $(ARENA_PROGRAMS) $(ARENA_CXX) $(ARENA_STALE)

$(ARENA_OUT)/support.o: tests/api/support.c tests/arena/arena.mk
	@mkdir -p $(@D)
	@$(CC) $(ARENA_CFLAGS) -c -o $@ $<

$(ARENA_OUT)/%.o: tests/arena/%.c tests/arena/arena.mk
	@mkdir -p $(@D)
	@$(CC) $(ARENA_CFLAGS) $(CFLAGS) -c -o $@ $<

$(ARENA_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(ARENA_SUPPORT) $(LIB)
	@echo '  LD $@'
	@$(CC) -pthread -o $@ $< $(ARENA_SUPPORT) $(ARENA_LINK)

define arena_resource
$(ARENA_OUT)/resource-$(1)-$(2)_test: tests/arena/resource.cc include/hakmem/memory_resource.hpp $(ARENA_SUPPORT) $(LIB)
	@mkdir -p $$(@D)
	@echo '  LD $$@'
	@$(1) -std=$(2) $(ARENA_CXXFLAGS) -o $$@ $$< $(ARENA_SUPPORT) $(ARENA_LINK)
endef
$(foreach c,$(ARENA_COMPILERS),$(foreach s,$(ARENA_STANDARDS),$(eval $(call arena_resource,$(c),$(s)))))

.PHONY: $(ARENA_STALE)
$(ARENA_STALE):
	@mkdir -p $(@D)
	@$(MAKE) -s VARIANT=debug BUILD=$(BUILD)/debug $(BUILD)/debug/tests/arena-core/stale_test
	@cp $(BUILD)/debug/tests/arena-core/stale_test $@

check-arena: arena-programs
	@tests/run --lib $(LIB) --build $(BUILD) $(if $(filter 1,$(QUICK)),--quick) --suite arena $(ARENA_ARGS)

check-arena-debug:
	@$(MAKE) -s VARIANT=debug BUILD=$(BUILD)/debug LIB=$(BUILD)/debug/libhakmem.so check-arena

$(ARENA_CORE_OUT)/unit_tsan.o: tests/unit/unit_tsan.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -D_GNU_SOURCE -g -Isrc $(VARIANT_CFLAGS) -c -o $@ $<

$(ARENA_CORE_OUT)/support.o: tests/api/support.c
	@mkdir -p $(@D)
	@$(CC) $(ARENA_CFLAGS) -c -o $@ $<

$(ARENA_CORE_OUT)/%.o: tests/arena/%.c tests/arena/arena.mk
	@mkdir -p $(@D)
	@$(CC) $(ARENA_CFLAGS) -DTEST_CORE $(VARIANT_CFLAGS) -c -o $@ $<

$(ARENA_CORE_PROGRAMS) $(ARENA_CORE_OUT)/stale_test: $(ARENA_CORE_OUT)/%: $(ARENA_CORE_OUT)/%.o $(ARENA_CORE_SUPPORT) $(ARENA_CORE)
	@echo '  LD $@'
	@$(CC) -pthread -o $@ $^ $(ARENA_CORE_LDFLAGS) -ldl

check-arena-races: $(ARENA_CORE_PROGRAMS)
	@failed=0; for p in $^; do echo "== $$p"; TEST_QUICK=$(QUICK) ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 \
		TSAN_OPTIONS="suppressions=$(abspath tests/unit/tsan.supp):history_size=4:$$TSAN_OPTIONS" $$p || failed=1; done; \
		exit $$failed

check-arena-sanitizers:
	@$(MAKE) -s VARIANT=asan BUILD=$(BUILD)/asan check-arena-races
	@$(MAKE) -s VARIANT=tsan BUILD=$(BUILD)/tsan check-arena-races

.SECONDARY: $(ARENA_PROGRAMS:%=%.o) $(ARENA_SUPPORT) $(ARENA_CORE_PROGRAMS:%=%.o) $(ARENA_CORE_SUPPORT)

-include $(ARENA_PROGRAMS:%=%.d) $(ARENA_SUPPORT:.o=.d) $(ARENA_CXX:%=%.d)
