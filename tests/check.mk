# check.mk - everything at once: all tests, the short tour, the stated figures. Included by the Makefile.
#
#   make check                      installs what it needs, builds, runs every suite one by one
#   make check SUITES=unit,api      some of them; INSTALL=0: installs nothing
#   make check SHORT=1              small loads for the programs;  FULL=1: long loops of the stress tests
#   make try                        installs peers, builds, shows speed and memory beside them
#   make acceptance [ROUNDS=7]      each stated figure: command, result, met or not
# CI=true: a test that a missing tool keeps from running has failed.

BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
CC ?= cc
PYTHON ?= python3
CHECK_NEEDS := config/install-needs.sh
# The suites are makes of their own, so what was given to this one goes along by name.
CHECK_SET = CC='$(CC)' $(if $(filter command line,$(origin CFLAGS)),CFLAGS='$(CFLAGS)') \
	$(if $(filter command line,$(origin CXX)),CXX='$(CXX)') $(if $(VARIANT),VARIANT='$(VARIANT)')
CHECK_ARGS = --build '$(BUILD)' $(if $(SUITES),--suite '$(SUITES)') $(if $(filter 1,$(FULL)),--full) \
	$(if $(filter 1,$(SHORT)),--short)

.PHONY: check try acceptance check-verify check-runner
check:
	@$(CHECK_NEEDS) build try check programs
	@MAKE='$(MAKE)' $(PYTHON) tests/check $(CHECK_ARGS) $(CHECK_SET)

try:
	@$(CHECK_NEEDS) build try
	@$(MAKE) --no-print-directory -s all bench-programs
	@BUILD='$(abspath $(BUILD))' $(PYTHON) bench/try --no-install --lib $(LIB) --programs $(BUILD)/bench

# Goes by what `make check` left in $(BUILD)/check, and measures the rest itself.
acceptance:
	@$(CHECK_NEEDS) build try arena
	@$(MAKE) --no-print-directory -s all bench-programs test-programs
	@MAKE='$(MAKE)' $(PYTHON) tests/acceptance/acceptance --build '$(BUILD)' \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(ACCEPTANCE_ARGS)

check-verify: bench-programs
	@BUILD='$(BUILD)' CC='$(CC)' tests/verify/verify_test.sh

# What reads results and says 'met' must be able to say otherwise.
check-runner:
	@$(PYTHON) tests/check --self-test
	@$(PYTHON) tests/acceptance/acceptance --self-test
