# tests.mk - builds and runs tests/api, tests/stress, tests/death; lint. Included by the Makefile,
# and works alone: make -f tests/tests.mk check-api LIB=glibc
#
#   make test-programs            build all into $(BUILD)/tests
#   make check-api                the libc family, one function a test
#   make check-stress             threads, fork, limits, memory; QUICK=0 for the long loops
#   make check-death              misuse: one line, then abort
#   make lint                     layers, file and function lengths, names
# TEST_LIB=glibc (or the path of another allocator) runs the same programs as a control.

BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
CC ?= cc
CXX ?= c++
QUICK ?= 1
TEST_LIB ?= $(LIB)
TEST_OUT := $(BUILD)/tests

# Malloc calls must stay calls: a compiler may drop a pair of malloc and free.
TEST_FLAGS := -g -O1 -fno-builtin -Wall -Wextra -Werror -pthread -Itests/api -MMD -MP
TEST_CFLAGS := -std=gnu11 $(TEST_FLAGS)
TEST_CXXFLAGS := -std=c++17 $(TEST_FLAGS) -faligned-new -fsized-deallocation

test_has = $(shell printf '$(2)' | $(1) -fsyntax-only - >/dev/null 2>&1 && echo yes)
TEST_HAS_CMOCKA := $(call test_has,$(CC) -x c,\043include <stdarg.h>\n\043include <stddef.h>\n\043include <stdint.h>\n\043include <setjmp.h>\n\043include <cmocka.h>\n)
TEST_HAS_CXX := $(call test_has,$(CXX) -x c++,\043include <new>\n)

TEST_CMOCKA_SRC := $(shell grep -l '"cm.h"' tests/api/*_test.c)
TEST_PLAIN_SRC := $(filter-out $(TEST_CMOCKA_SRC),$(wildcard tests/api/*_test.c)) \
	$(wildcard tests/stress/*_test.c tests/death/*_test.c)
TEST_CXX_SRC := $(wildcard tests/api/*_test.cc)
TEST_PLUGINS := $(patsubst tests/%.c,$(TEST_OUT)/%.so,$(wildcard tests/api/*_plugin.c))

TEST_PLAIN := $(patsubst tests/%.c,$(TEST_OUT)/%,$(TEST_PLAIN_SRC))
TEST_CMOCKA := $(if $(TEST_HAS_CMOCKA),$(patsubst tests/%.c,$(TEST_OUT)/%,$(TEST_CMOCKA_SRC)))
TEST_CXX := $(if $(TEST_HAS_CXX),$(patsubst tests/%.cc,$(TEST_OUT)/%,$(TEST_CXX_SRC)))
TEST_PROGRAMS := $(TEST_PLAIN) $(TEST_CMOCKA) $(TEST_CXX)
TEST_SUPPORT := $(TEST_OUT)/api/support.o

# For a lib that is a file of this build, the file comes first.
TEST_LIB_FILE := $(if $(filter $(LIB),$(TEST_LIB)),$(LIB))
TEST_RUN = tests/run --lib $(TEST_LIB) --build $(BUILD) $(if $(filter 1,$(QUICK)),--quick) $(TEST_ARGS)

.PHONY: test-programs check-api check-stress check-death lint
test-programs: $(TEST_PROGRAMS) $(TEST_PLUGINS)
	@$(if $(TEST_HAS_CMOCKA),:,echo "left out: tests/api with cmocka (install libcmocka-dev)")
	@$(if $(TEST_HAS_CXX),:,echo "left out: tests/api in C++ (install g++)")

$(TEST_OUT)/%.o: tests/%.c tests/tests.mk
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -c -o $@ $<

$(TEST_OUT)/%.so: tests/%.c tests/tests.mk
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -fPIC -shared -o $@ $<

$(TEST_PLAIN) $(TEST_CMOCKA): $(TEST_OUT)/%: $(TEST_OUT)/%.o $(TEST_SUPPORT)
	$(CC) -pthread -o $@ $^ $(TEST_LIBS) -ldl
$(TEST_CMOCKA): TEST_LIBS := -lcmocka
$(filter $(TEST_OUT)/death/%,$(TEST_PLAIN)): $(TEST_OUT)/death/capture.o

# A preload is ignored where a program is setuid, so this one is linked with the archive.
TEST_PROBE := $(if $(TEST_LIB_FILE),$(TEST_OUT)/death/setuid_probe)
$(TEST_OUT)/death/setuid_probe: tests/death/setuid_probe.c $(BUILD)/libhakmem.a tests/tests.mk
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -o $@ $< $(BUILD)/libhakmem.a -pthread -ldl
check-death: $(TEST_PROBE)

$(TEST_CXX): $(TEST_OUT)/%: tests/%.cc $(TEST_SUPPORT) tests/tests.mk
	@mkdir -p $(@D)
	$(CXX) $(TEST_CXXFLAGS) -o $@ $< $(TEST_SUPPORT) -ldl

# The objects stay, so that a second make does nothing.
.SECONDARY: $(patsubst %,%.o,$(TEST_PLAIN) $(TEST_CMOCKA)) $(TEST_SUPPORT) $(TEST_OUT)/death/capture.o

check-api check-stress check-death: check-%: test-programs $(TEST_LIB_FILE)
	$(TEST_RUN) --suite $*

lint:
	CC="$(CC)" tests/lint/lint --self-test
	CC="$(CC)" tests/lint/lint --build $(BUILD)

-include $(patsubst %,%.d,$(TEST_PROGRAMS)) $(TEST_SUPPORT:.o=.d) $(TEST_OUT)/death/capture.d
