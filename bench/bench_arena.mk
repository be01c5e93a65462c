# bench_arena.mk - builds bench_arena, and the same for each peer whose headers are found. Included by the Makefile, and
# works alone: make -f bench/bench_arena.mk bench-arena LIB=/path/of/libhakmem.so
#
#   make bench-arena       into $(BUILD)/bench: bench_arena, bench_arena_jemalloc, _mimalloc, _dpdk
# Peers: Debian's libjemalloc-dev, libmimalloc-dev, libdpdk-dev.

BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
CC ?= cc
BENCH_ARENA_OUT := $(BUILD)/bench
BENCH_ARENA_FLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror -pthread -Iinclude -Ibench

bench_arena_has = $(shell printf '\043include <$(1)>\n' | $(CC) $(2) -x c -fsyntax-only - >/dev/null 2>&1 && echo yes)
BENCH_DPDK_CFLAGS := $(shell pkg-config --cflags libdpdk 2>/dev/null)
# The system headers of others are theirs to keep clean.
BENCH_CFLAGS_dpdk = $(patsubst -I%,-isystem %,$(BENCH_DPDK_CFLAGS))
BENCH_LIBS_hakmem = $(LIB) -ldl -Wl,-rpath,$(abspath $(dir $(LIB)))
BENCH_LIBS_jemalloc := -ljemalloc -ldl
BENCH_LIBS_mimalloc := -lmimalloc -ldl
BENCH_LIBS_dpdk := -Wl,--no-as-needed -lrte_mempool_ring -lrte_mempool -lrte_ring -lrte_eal -ldl -Wl,--as-needed

BENCH_ARENA_PEERS := $(if $(call bench_arena_has,jemalloc/jemalloc.h),jemalloc) \
	$(if $(call bench_arena_has,mimalloc.h),mimalloc) \
	$(if $(call bench_arena_has,rte_mempool.h,$(BENCH_DPDK_CFLAGS)),dpdk)
BENCH_ARENA_PROGRAMS := $(BENCH_ARENA_OUT)/bench_arena $(patsubst %,$(BENCH_ARENA_OUT)/bench_arena_%,$(BENCH_ARENA_PEERS))

.PHONY: bench-arena
bench-arena: $(BENCH_ARENA_PROGRAMS)

$(BENCH_ARENA_OUT)/bench_arena: bench/bench_arena.c bench/arena_prove.c bench/arena_hakmem.c bench/arena_subject.h $(LIB)
	@mkdir -p $(@D)
	@echo '  LD $@'
	@$(CC) $(BENCH_ARENA_FLAGS) -o $@ $(filter %.c,$^) $(BENCH_LIBS_hakmem)

$(BENCH_ARENA_OUT)/bench_arena_%: bench/bench_arena.c bench/arena_prove.c bench/arena_%.c bench/arena_subject.h
	@mkdir -p $(@D)
	@echo '  LD $@'
	@$(CC) $(BENCH_ARENA_FLAGS) $(BENCH_CFLAGS_$*) -o $@ $(filter %.c,$^) $(BENCH_LIBS_$*)
