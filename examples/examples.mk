# examples.mk - builds the examples and runs each. Included by the Makefile, and works alone:
#     make -f examples/examples.mk check-examples LIB=/path/of/libhakmem.so
#
#   make examples           into $(BUILD)/examples
#   make check-examples     each with what it takes, and with what it must refuse
# Another example: its name to EXAMPLES_C or EXAMPLES_CXX, what it is linked with to EXAMPLE_LIBS_name, and a script
# examples/name.check that gets the program as $1 (without one it must merely leave with 0).

BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
CC ?= cc
CXX ?= c++

EXAMPLES_OUT := $(BUILD)/examples
EXAMPLES_C ?= request on_node
EXAMPLES_CXX ?= $(if $(shell command -v $(CXX)),pmr)
EXAMPLES := $(addprefix $(EXAMPLES_OUT)/,$(EXAMPLES_C) $(EXAMPLES_CXX))
EXAMPLES_FLAGS := -O2 -g -Wall -Wextra -Werror -Iinclude -MMD -MP -pthread
EXAMPLES_LINK = $(EXAMPLE_LIBS_$(@F)) $(LIB) -Wl,-rpath,$(abspath $(dir $(LIB)))

.PHONY: examples check-examples
examples: $(EXAMPLES)

$(addprefix $(EXAMPLES_OUT)/,$(EXAMPLES_C)): $(EXAMPLES_OUT)/%: examples/%.c examples/examples.mk $(LIB)
	@mkdir -p $(@D)
	@echo '  LD $@'
	@$(CC) -std=gnu11 $(EXAMPLES_FLAGS) -o $@ $< $(EXAMPLES_LINK)

$(addprefix $(EXAMPLES_OUT)/,$(EXAMPLES_CXX)): $(EXAMPLES_OUT)/%: examples/%.cc examples/examples.mk $(LIB)
	@mkdir -p $(@D)
	@echo '  LD $@'
	@$(CXX) -std=c++17 $(EXAMPLES_FLAGS) -o $@ $< $(EXAMPLES_LINK)

check-examples: examples
	@examples/check $(EXAMPLES)

-include $(EXAMPLES:%=%.d)
