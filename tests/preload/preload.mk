# preload.mk - real programs under the library, their results compared with the same run on glibc.
#
#   make check-preload                   the full set, about 6 minutes on 2 cores
#   make check-preload PRELOAD_ARGS=--quick
#   make check-preload PRELOAD_ARGS='--only redis,git'
# Works alone: make -f tests/preload/preload.mk check-preload LIB=/path/of/an/allocator.so

BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
CC ?= cc
PYTHON ?= python3
PRELOAD_ARGS ?= --install

.PHONY: check-preload check-preload-harness
check-preload: $(LIB) check-preload-harness
	CC="$(CC)" $(PYTHON) tests/preload/run --lib $(LIB) --out $(BUILD)/preload.txt $(PRELOAD_ARGS)

# The harness itself: red for an allocator that passes on, counts nothing, or loses a bit.
check-preload-harness:
	CC="$(CC)" $(PYTHON) tests/preload/harness_test
