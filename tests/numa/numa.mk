# numa.mk - placement on machines with several nodes, which QEMU emulates. Included by the Makefile, and
# works alone: make -f tests/numa/numa.mk check-numa LIB=/path/of/libhakmem.so
#
#   make check-numa [NUMA_ARGS='--boot 2node --case place,churn']      the matrix; --list says what there is
#   make numa-peers               what other allocators do, for the README's table
#   make numa-topologies          captures tests/numa/topologies anew
# The kernel and the guest's tools are downloaded once, see tests/numa/lab --help.

BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
CC ?= cc
PYTHON ?= python3
NUMA_OUT := $(BUILD)/tests/numa
NUMA_TOOL ?= $(BUILD)/hakmem

NUMA_CFLAGS := -std=gnu11 -g -O1 -fno-builtin -Wall -Wextra -Werror -pthread -Iinclude -MMD -MP
NUMA_SRC := $(filter-out tests/numa/probe.c,$(wildcard tests/numa/*.c))
NUMA_PROGRAMS := $(patsubst tests/numa/%.c,$(NUMA_OUT)/%,$(NUMA_SRC))
NUMA_RUN = $(PYTHON) tests/numa/matrix --programs $(NUMA_OUT)

.PHONY: numa-programs check-numa numa-peers numa-topologies
numa-programs: $(NUMA_PROGRAMS)

$(NUMA_OUT)/probe.o: tests/numa/probe.c tests/numa/numa.mk
	@mkdir -p $(@D)
	$(CC) $(NUMA_CFLAGS) $(CFLAGS) -c -o $@ $<

$(NUMA_PROGRAMS): $(NUMA_OUT)/%: tests/numa/%.c $(NUMA_OUT)/probe.o
	$(CC) $(NUMA_CFLAGS) $(CFLAGS) -o $@ $< $(NUMA_OUT)/probe.o -ldl

check-numa: numa-programs $(LIB) $(if $(SUITE_OUT),$(SUITE_OUT)/numa_touch)
	@$(NUMA_RUN) --lib $(LIB) $(if $(wildcard $(NUMA_TOOL)),--tool $(NUMA_TOOL)) --json $(NUMA_OUT)/matrix.json \
		--logs $(NUMA_OUT)/logs $(NUMA_ARGS)

numa-peers: numa-programs $(LIB)
	@$(PYTHON) tests/numa/peers --programs $(NUMA_OUT) --lib $(LIB) $(NUMA_ARGS)

numa-topologies:
	@$(PYTHON) tests/numa/capture

-include $(NUMA_PROGRAMS:=.d) $(NUMA_OUT)/probe.d
