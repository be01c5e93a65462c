# bench.mk - builds the benchmark programs into $(BUILD)/bench and runs `make try`'s part.
# Works alone too: make -f bench/bench.mk bench-programs
BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
CC ?= gcc
PYTHON ?= python3
BENCH_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
BENCH_OUT := $(BUILD)/bench

# Flags of their own: the library's (visibility, TLS model, sanitizers) don't belong into the
# programs it is measured with, and every allocator must be called by the same code.
BENCH_CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror -pthread
BENCH_LOOP_CFLAGS := -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free
BENCH_VERIFY := $(BENCH_OUT)/verify.o $(BENCH_OUT)/verify_maps.o
BENCH_PROGRAMS := $(addprefix $(BENCH_OUT)/,bench_tiny memory startup verify_preload.so empty.so floor.so)

.PHONY: bench-programs try-run one-node
bench-programs: $(BENCH_PROGRAMS)

$(BENCH_OUT):
	mkdir -p $@

# -fPIC for all: the same objects go into programs and into the preloaded checker.
$(BENCH_OUT)/%.o: $(BENCH_DIR)/%.c $(wildcard $(BENCH_DIR)/*.h) | $(BENCH_OUT)
	$(CC) $(BENCH_CFLAGS) $(BENCH_LOOP_CFLAGS) -fPIC -c -o $@ $<

$(BENCH_OUT)/bench_tiny: $(addprefix $(BENCH_OUT)/,bench_tiny.o tiny_loops.o meter.o) $(BENCH_VERIFY)
	$(CC) $(BENCH_CFLAGS) -o $@ $^

$(BENCH_OUT)/memory: $(addprefix $(BENCH_OUT)/,memory.o meter.o) $(BENCH_VERIFY)
	$(CC) $(BENCH_CFLAGS) -o $@ $^

$(BENCH_OUT)/startup: $(addprefix $(BENCH_OUT)/,startup.o meter.o)
	$(CC) $(BENCH_CFLAGS) -o $@ $^

$(BENCH_OUT)/verify_preload.so: $(BENCH_OUT)/verify_preload.o $(BENCH_VERIFY)
	$(CC) $(BENCH_CFLAGS) -shared -Wl,-Bsymbolic -o $@ $^

# What preloading costs when there is nothing in it.
$(BENCH_OUT)/empty.so: | $(BENCH_OUT)
	$(CC) -shared -fPIC -x c -o $@ /dev/null

# -fno-builtin alone: it defines malloc.
$(BENCH_OUT)/floor.so: $(BENCH_OUT)/floor.o
	$(CC) $(BENCH_CFLAGS) -shared -o $@ $^

try-run: bench-programs
	BUILD=$(abspath $(BUILD)) $(BENCH_DIR)/try --lib $(LIB) --programs $(BENCH_OUT)

# What NUMA costs on a machine with one node; needs the repository's history.  ROUNDS=N
one-node: bench-programs $(LIB)
	@BUILD=$(abspath $(BUILD)) $(PYTHON) $(BENCH_DIR)/one-node --lib $(LIB) --programs $(BENCH_OUT) \
		$(if $(ROUNDS),--rounds $(ROUNDS))
