# tool.mk - the `hakmem` command; included by the Makefile. Unlike the library it needs more than libc:
# where hwloc, libnuma or jansson have no headers, it is left out, and make says so.

TOOL_NEEDS := $(shell printf '\043include <hwloc.h>\n\043include <numa.h>\n\043include <jansson.h>\n' | \
	$(CC) $(CPPFLAGS) $(CFLAGS) -fsyntax-only -x c - >/dev/null 2>&1 && echo yes)
TOOL_SRC := $(sort $(wildcard tool/*.c))
TOOL_OBJ := $(TOOL_SRC:tool/%.c=$(BUILD)/tool/%.o)
TOOL_MULTIARCH := $(or $(shell $(CC) -print-multiarch 2>/dev/null),none)
TOOL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -O2 -g -fPIE -fstack-protector-strong $(WARN) -Isrc -Iinclude -I$(BUILD) \
	-DHK_SOVERSION='"$(SOVERSION)"' -DHK_MULTIARCH='"$(TOOL_MULTIARCH)"'
HK_TOOL := $(if $(TOOL_NEEDS),$(BUILD)/hakmem)

.PHONY: tool check-tool
ifneq ($(HK_TOOL),)
all tool: $(HK_TOOL)
else
all tool: tool-left-out
.PHONY: tool-left-out
tool-left-out:
	@echo 'left out: the hakmem command (apt-get install libhwloc-dev libnuma-dev libjansson-dev)'
endif

$(BUILD)/tool/%.o: tool/%.c $(BUILD)/profiles.inc tool/tool.mk src/observe/options.def
	@mkdir -p $(@D)
	@echo '  CC $<'
	@$(CC) $(TOOL_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/hakmem: $(TOOL_OBJ)
	@echo '  LD $@'
	@$(CC) $(TOOL_CFLAGS) $(CFLAGS) $(TOOL_OBJ) -pie -Wl,-z,now -Wl,-z,relro $(LDFLAGS) \
		-lhwloc -lnuma -ljansson -o $@

check-tool: $(LIB) tool
	@BUILD='$(BUILD)' CC='$(CC)' $(PYTHON) tests/tool/tool_test

-include $(TOOL_OBJ:.o=.d)
