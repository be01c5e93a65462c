# suite.mk - runs the suite and tests the runner.
#   make bench               quick: under three minutes, a table and $(BUILD)/bench/run.html
#   make bench-full          everything, at most 75 minutes on two cores; RESUME=1 goes on
#   make check-bench         the runner, the report, compare and profile, on short runs of real programs
BUILD ?= build
LIB ?= $(BUILD)/libhakmem.so
PYTHON ?= python3
BENCH_ARGS ?=
SUITE_RUN = BUILD='$(abspath $(BUILD))' $(PYTHON) bench/run --lib $(LIB) $(BENCH_ARGS)

.PHONY: bench bench-full check-bench
bench: $(LIB) bench-programs bench-suite
	@$(SUITE_RUN) --quick

bench-full: $(LIB) bench-programs bench-suite
	@$(SUITE_RUN) --full --out $(BUILD)/bench/full.json $(if $(RESUME),--resume)

check-bench: $(LIB) bench-programs bench-suite
	@BUILD='$(abspath $(BUILD))' LIB='$(abspath $(LIB))' $(PYTHON) tests/bench/runner_test
