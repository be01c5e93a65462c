# programs.mk - builds the suite's programs into $(BUILD)/bench/suite, one a C file, and tests them.
# Works alone too: make -f bench/programs/programs.mk bench-suite
BUILD ?= build
CC ?= gcc
SUITE_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
SUITE_TEST := $(SUITE_DIR)/../../tests/bench
ifndef BENCH_VERIFY
include $(SUITE_DIR)/../bench.mk
endif

SUITE_OUT := $(BENCH_OUT)/suite
SUITE_OBJ := $(BENCH_OUT)/suite-obj
SUITE_HEADERS := $(wildcard $(SUITE_DIR)/*.h $(BENCH_DIR)/*.h)
# Has no main of its own.
SUITE_SHARED := frame
SUITE_NAMES := $(filter-out $(SUITE_SHARED),$(patsubst $(SUITE_DIR)/%.c,%,$(wildcard $(SUITE_DIR)/*.c)))
SUITE_PROGRAMS := $(addprefix $(SUITE_OUT)/,$(SUITE_NAMES)) $(SUITE_OBJ)/template
SUITE_LINK := $(patsubst %,$(SUITE_OBJ)/%.o,$(SUITE_SHARED)) $(BENCH_OUT)/meter.o $(BENCH_VERIFY)
# A pair of malloc and free must stay one, in every form.
SUITE_CFLAGS := $(BENCH_CFLAGS) $(BENCH_LOOP_CFLAGS) -fno-builtin-aligned_alloc -fno-builtin-posix_memalign

.PHONY: bench-suite check-bench-programs
bench-suite: $(SUITE_PROGRAMS)

$(SUITE_OBJ)/%.o: $(SUITE_DIR)/%.c $(SUITE_HEADERS) $(SUITE_DIR)/programs.mk
	@mkdir -p $(@D)
	$(CC) $(SUITE_CFLAGS) -c -o $@ $<

$(SUITE_OBJ)/template.o: $(BENCH_DIR)/template.c $(SUITE_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(SUITE_CFLAGS) -c -o $@ $<

$(SUITE_OUT)/%: $(SUITE_OBJ)/%.o $(SUITE_LINK)
	@mkdir -p $(@D)
	$(CC) $(SUITE_CFLAGS) -o $@ $^ -lm

$(SUITE_OBJ)/template: $(SUITE_OBJ)/template.o $(SUITE_LINK)
	$(CC) $(SUITE_CFLAGS) -o $@ $^ -lm

$(SUITE_OBJ)/programs_test_broken.so: $(SUITE_TEST)/programs_test_broken.c
	@mkdir -p $(@D)
	$(CC) $(SUITE_CFLAGS) -fno-builtin -fPIC -shared -o $@ $<

# Under a minute: each program, a small part of its work; and what they must notice. The library is
# built first where this file is a part of the whole.
check-bench-programs: bench-suite $(SUITE_OBJ)/programs_test_broken.so $(if $(OBJ),$(LIB))
	@BUILD='$(abspath $(BUILD))' LIB='$(abspath $(LIB))' $(SUITE_TEST)/programs_test.sh

.SECONDARY: $(patsubst %,$(SUITE_OBJ)/%.o,$(SUITE_NAMES) $(SUITE_SHARED))
