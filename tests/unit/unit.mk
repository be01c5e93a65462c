# unit.mk - unit tests, the machine code of the hot path, the ABI, mutants. Included by the Makefile;
# check-codegen, check-abi and mutants work alone as well: make -f tests/unit/unit.mk check-abi
#
#   make check-unit        inner functions, one file of src a program
#   make check-variants    the same in the builds debug, asan, ubsan, tsan
#   make check-codegen     instructions, locks and calls on the hot path
#   make check-abi         symbols, versions, what the library needs, layouts
#   make mutants           breaks the allocator line by line, expects a red test each time

BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
CC ?= cc
PYTHON ?= python3
VARIANT ?= release
UNIT_JOBS ?= 2

UNIT_OUT := $(BUILD)/tests/unit
UNIT_SRC := $(sort $(wildcard tests/unit/*_test.c))
UNIT_PROGRAMS := $(patsubst tests/unit/%.c,$(UNIT_OUT)/%,$(UNIT_SRC))
# The objects, not an archive: that hides what is not exported. Without the libc family: the tests'
# own malloc stays libc's.
UNIT_CORE := $(patsubst src/%.c,$(BUILD)/obj/%.o,\
	$(filter-out src/uring/% src/api/libc.c src/api/cxx.c,$(sort $(wildcard src/*/*.c))))
UNIT_CFLAGS := -std=gnu11 -D_GNU_SOURCE -g -O1 -fPIE -fno-builtin-malloc -fno-builtin-free \
	-fno-strict-aliasing -ftls-model=initial-exec -Wall -Wextra -Werror -pthread \
	-DUNIT_CONFIG='"$(abspath config)"' -Isrc -Iinclude -I$(BUILD) -Itests/unit $(VARIANT_CFLAGS) -MMD -MP
# TSan knows no memory where the region stands usually: unit_tsan.c puts it elsewhere.
comma := ,
UNIT_LDFLAGS := $(VARIANT_LDFLAGS) $(if $(filter tsan,$(VARIANT)),-Wl$(comma)--wrap=hk_os_reserve)
# These have the files of machines that this one is not.
UNIT_MACHINE := $(UNIT_OUT)/node_test $(UNIT_OUT)/placement_test
$(UNIT_MACHINE) $(UNIT_OUT)/table_test: UNIT_LDFLAGS += -Wl,--wrap=hk_os_read
$(UNIT_MACHINE): UNIT_LDFLAGS += -Wl,--wrap=hk_os_folders
# Calls of the kernel's in which something else happens.
$(UNIT_OUT)/move_test: UNIT_LDFLAGS += -Wl,--wrap=hk_os_move
$(UNIT_OUT)/promote_test: UNIT_LDFLAGS += -Wl,--wrap=hk_os_resident_pages
$(UNIT_OUT)/arena_test: UNIT_LDFLAGS += -Wl,--wrap=hk_os_populate -Wl,--wrap=hk_os_hugetlb
UNIT_SUPPORT := $(UNIT_OUT)/unit.o $(if $(filter tsan,$(VARIANT)),$(UNIT_OUT)/unit_tsan.o)
UNIT_HAS_CMOCKA := $(shell printf '\043include <stdarg.h>\n\043include <stddef.h>\n\043include <stdint.h>\n\043include <setjmp.h>\n\043include <cmocka.h>\n' | $(CC) -x c -fsyntax-only - >/dev/null 2>&1 && echo yes)
UNIT_VARIANTS ?= debug asan ubsan tsan
UNIT_ONLY_tsan := threads remote park bin

.PHONY: unit-programs check-unit check-variants check-codegen check-abi mutants

unit-programs: $(if $(UNIT_HAS_CMOCKA),$(UNIT_PROGRAMS))

$(UNIT_OUT)/%.o: tests/unit/%.c tests/unit/unit.mk
	@mkdir -p $(@D)
	@$(CC) $(UNIT_CFLAGS) $(CFLAGS) -c -o $@ $<

$(UNIT_PROGRAMS): $(UNIT_OUT)/%: $(UNIT_OUT)/%.o $(UNIT_SUPPORT) $(UNIT_CORE)
	@echo '  LD $@'
	@$(CC) -pthread -o $@ $^ $(UNIT_LDFLAGS) $(LDFLAGS) -lcmocka -ldl

$(UNIT_MACHINE): $(UNIT_OUT)/machine.o

.SECONDARY: $(UNIT_PROGRAMS:%=%.o) $(UNIT_SUPPORT) $(UNIT_OUT)/machine.o

check-unit: unit-programs
ifeq ($(UNIT_HAS_CMOCKA),yes)
	@tests/unit/run $(UNIT_OUT) $(UNIT_ONLY_$(VARIANT))
else
	@echo 'skip: no cmocka.h (install libcmocka-dev)'; echo '0 passed, 0 failed, 1 skipped'
endif

# The builds stand beside the release one; a compiler without a sanitizer's runtime skips it.
check-variants:
	@MAKE='$(MAKE)' BUILD='$(BUILD)' CC='$(CC)' JOBS='$(UNIT_JOBS)' tests/unit/variants $(UNIT_VARIANTS)

check-codegen: $(LIB)
	@$(PYTHON) tests/codegen/codegen.py --lib $(LIB) || [ $$? -eq 77 ]

check-abi: $(LIB)
	@CC='$(CC)' $(PYTHON) tests/abi/abi.py --lib $(LIB) || [ $$? -eq 77 ]

mutants:
	@$(PYTHON) tests/mutants/mutants.py $(MUTANTS_ARGS)

-include $(UNIT_PROGRAMS:%=%.d) $(UNIT_OUT)/unit.d $(UNIT_OUT)/machine.d
