# uring.mk - libhakmem_uring, its tests and examples. Included by the Makefile.
#
#   make uring            $(BUILD)/libhakmem_uring.so and .a; needs liburing 2.3
#   make uring-examples   $(BUILD)/examples/copy, echo
#   make uring-bench      $(BUILD)/bench/bench_uring
#   make check-uring      tests with real files and loopback sockets
# Without liburing each of them says so in one line and does nothing.

URING_SRC := $(sort $(wildcard src/uring/*.c))
URING_OBJ := $(URING_SRC:src/%.c=$(BUILD)/obj/%.o)
URING_OUT := $(BUILD)/tests/uring
URING_TESTS := $(patsubst tests/uring/%.c,$(URING_OUT)/%,$(sort $(wildcard tests/uring/*_test.c)))
URING_EXAMPLES := $(BUILD)/examples/copy $(BUILD)/examples/echo
# A function that is new in 2.3; asked of the linker too.
URING_HAS := $(shell printf '\043include <liburing.h>\nint main(void) { return io_uring_get_events(0); }\n' | \
	$(CC) -D_GNU_SOURCE -x c - -luring -o /dev/null >/dev/null 2>&1 && echo yes)
URING_LIB := $(if $(URING_HAS),$(BUILD)/libhakmem_uring.so $(BUILD)/libhakmem_uring.a)
URING_LEFT_OUT := left out: libhakmem_uring, no liburing.h of version 2.3 or newer (install liburing-dev)

URING_CFLAGS := -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -fno-strict-aliasing -Isrc -Iinclude \
	$(WARN) $(VARIANT_CFLAGS)
URING_LDFLAGS := -shared -Wl,-soname,libhakmem_uring.so.$(SOVERSION) -Wl,--version-script=src/uring/uring.map \
	-Wl,-z,now -Wl,-z,relro -Wl,-z,defs -Wl,--as-needed -Wl,--hash-style=gnu $(VARIANT_LDFLAGS)
URING_USE_CFLAGS := -std=gnu11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -Werror -pthread -Iinclude -MMD -MP
URING_USE_LIBS := -L$(BUILD) -lhakmem_uring -lhakmem -luring -Wl,-rpath,'$$ORIGIN/..:$$ORIGIN/../..'

.PHONY: uring uring-examples uring-bench check-uring
all: uring
uring: $(URING_LIB)
	@$(if $(URING_HAS),:,echo '$(URING_LEFT_OUT)')

$(URING_OBJ): $(BUILD)/obj/uring/%.o: src/uring/%.c src/uring/uring.mk config/$(VARIANT).mk
	@mkdir -p $(@D)
	@echo '  CC $<'
	@$(CC) $(URING_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libhakmem_uring.so.$(VERSION): $(URING_OBJ) src/uring/uring.map $(LIB)
	@echo '  LD $@'
	@$(CC) $(URING_CFLAGS) $(CFLAGS) $(URING_OBJ) $(URING_LDFLAGS) $(LDFLAGS) -L$(BUILD) -lhakmem -luring -o $@

$(BUILD)/libhakmem_uring.so: $(BUILD)/libhakmem_uring.so.$(VERSION)
	@ln -sf libhakmem_uring.so.$(VERSION) $(BUILD)/libhakmem_uring.so.$(SOVERSION)
	@ln -sf libhakmem_uring.so.$(SOVERSION) $@

# One object: names that are not exported stay inside.
$(BUILD)/libhakmem_uring.a: $(URING_OBJ)
	@echo '  AR $@'
	@$(LD) -r $^ -o $(@:.a=.o) && $(OBJCOPY) --localize-hidden $(@:.a=.o)
	@rm -f $@ && $(AR) rcs $@ $(@:.a=.o)

$(URING_EXAMPLES): $(BUILD)/examples/%: examples/%.c $(URING_LIB) src/uring/uring.mk
	@mkdir -p $(@D)
	$(CC) $(filter-out -D_GNU_SOURCE,$(URING_USE_CFLAGS)) $(CFLAGS) -o $@ $< $(URING_USE_LIBS)

# The archive without malloc: one side of it is libc's.
URING_BENCH := $(BUILD)/bench/bench_uring
$(URING_BENCH): bench/bench_uring.c bench/meter.c bench/meter.h $(BUILD)/libhakmem_core.a $(URING_LIB)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra -Werror -pthread -Iinclude $(CFLAGS) -o $@ \
		$(filter %.c,$^) $(BUILD)/libhakmem_uring.a $(BUILD)/libhakmem_core.a -luring -ldl

$(URING_TESTS): $(URING_OUT)/%: tests/uring/%.c $(URING_OUT)/lib.o $(URING_LIB) src/uring/uring.mk
	@mkdir -p $(@D)
	$(CC) $(URING_USE_CFLAGS) $(CFLAGS) -o $@ $< $(URING_OUT)/lib.o $(URING_USE_LIBS)

$(URING_OUT)/lib.o: tests/uring/lib.c
	@mkdir -p $(@D)
	$(CC) $(URING_USE_CFLAGS) $(CFLAGS) -c -o $@ $<

ifeq ($(URING_HAS),yes)
uring-examples: $(URING_EXAMPLES)
uring-bench: $(URING_BENCH)
check-uring: $(URING_TESTS) $(URING_EXAMPLES)
	@BUILD='$(BUILD)' tests/uring/run
else
uring-examples uring-bench: uring
check-uring:
	@echo 'skip: no liburing.h of version 2.3 or newer (install liburing-dev)'; echo '0 passed, 0 failed, 1 skipped'
endif

-include $(URING_OBJ:.o=.d) $(URING_TESTS:=.d) $(URING_EXAMPLES:=.d)
