# hakmem - `make` builds the library with a C compiler and libc's headers alone.
# `make help` lists what else there is.

VARIANT ?= release
BUILD ?= build
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
AR ?= ar
OBJCOPY ?= objcopy
PYTHON ?= python3

include config/$(VARIANT).mk

VERSION := $(shell awk '/define HAK_VERSION_(MAJOR|MINOR|PATCH)/{v = v s $$3; s = "."} END{print v}' include/hakmem/hakmem.h)
SOVERSION := 0

# delete and sized delete stay functions of their own: no jump from one to the other.
NO_ICF := $(shell $(CC) -fno-ipa-icf -x c -c /dev/null -o /dev/null 2>/dev/null && echo -fno-ipa-icf)
WARN := -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wshadow -Werror
HK_CFLAGS := -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -ftls-model=initial-exec \
	-fno-builtin-malloc -fno-builtin-free -fno-builtin-calloc -fno-builtin-realloc \
	-fno-strict-aliasing $(NO_ICF) -fasynchronous-unwind-tables -fexceptions \
	-Isrc -Iinclude -I$(BUILD) $(WARN) $(VARIANT_CFLAGS)
HK_LDFLAGS := -shared -Wl,-soname,libhakmem.so.$(SOVERSION) -Wl,--version-script=src/api/hakmem.map \
	-Wl,-Bsymbolic-functions -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,-z,defs \
	-Wl,--as-needed -Wl,--hash-style=gnu $(VARIANT_LDFLAGS)

SRC := $(filter-out src/uring/%,$(sort $(wildcard src/*/*.c)))
CORE_SRC := $(filter-out src/api/libc.c src/api/cxx.c,$(SRC))
OBJ := $(SRC:src/%.c=$(BUILD)/obj/%.o)
CORE_OBJ := $(CORE_SRC:src/%.c=$(BUILD)/obj/%.o)
LIB := $(BUILD)/libhakmem.so
PROFILES := $(sort $(wildcard config/*.conf))

.PHONY: all help clean
all: $(LIB) $(BUILD)/libhakmem.a $(BUILD)/libhakmem_core.a

help:
	@echo 'make               the library: $(LIB), two static archives'
	@echo 'make try           installs what it needs, builds, shows speed and memory beside other allocators'
	@echo 'make check         installs what it needs, builds, runs every test'
	@echo 'make acceptance    each stated figure: command, result, met or not'
	@echo 'make one-node      what NUMA costs with one node; needs the history of git'
	@echo 'make bench         the benchmark suite, three minutes; make bench-full: an hour and a quarter'
	@echo 'make mutants       breaks the allocator line by line, expects a red test each time'
	@echo 'make install       PREFIX=/usr/local DESTDIR=; make uninstall takes it away'
	@echo 'make deb           Debian packages in $(BUILD)/deb'
	@echo 'make VARIANT=debug BUILD=build-debug     also asan, tsan, ubsan'

# Profiles become part of the library: {"name", "text"} a file.
$(BUILD)/profiles.inc: $(PROFILES) config/profiles.awk
	@mkdir -p $(@D)
	@awk -f config/profiles.awk $(PROFILES) > $@.tmp && mv $@.tmp $@

$(BUILD)/obj/%.o: src/%.c $(BUILD)/profiles.inc Makefile config/$(VARIANT).mk
	@mkdir -p $(@D)
	@echo '  CC $<'
	@$(CC) $(HK_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libhakmem.so.$(VERSION): $(OBJ) src/api/hakmem.map
	@echo '  LD $@'
	@$(CC) $(HK_CFLAGS) $(CFLAGS) $(OBJ) $(HK_LDFLAGS) $(LDFLAGS) -o $@

$(LIB): $(BUILD)/libhakmem.so.$(VERSION)
	@ln -sf libhakmem.so.$(VERSION) $(BUILD)/libhakmem.so.$(SOVERSION)
	@ln -sf libhakmem.so.$(SOVERSION) $@

# One object each: who takes malloc takes the exit report and the root symbol too, and names that
# are not exported stay inside.
$(BUILD)/libhakmem.a: $(OBJ)
$(BUILD)/libhakmem_core.a: $(CORE_OBJ)
$(BUILD)/libhakmem.a $(BUILD)/libhakmem_core.a:
	@echo '  AR $@'
	@$(LD) -r $^ -o $(@:.a=.o) && $(OBJCOPY) --localize-hidden $(@:.a=.o)
	@rm -f $@ && $(AR) rcs $@ $(@:.a=.o)

clean:
	rm -rf $(BUILD)

-include $(OBJ:.o=.d)
-include tool/tool.mk src/uring/uring.mk config/install.mk bench/bench.mk bench/programs/programs.mk bench/suite/suite.mk tests/tests.mk
-include bench/bench_arena.mk tests/preload/preload.mk tests/unit/unit.mk tests/numa/numa.mk tests/arena/arena.mk
-include examples/examples.mk tests/check.mk
