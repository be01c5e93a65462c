"""suite - what bench/run, bench/compare and bench/profile are made of.

    allocators  what is measured, and where its file is     machine  where it is measured
    rows        what is run                                  execute  one run, proven
    schedule    the order of runs, budget, resuming          stats    medians, intervals, verdicts
    summary     figures of a results file                    goals    what is to be reached
    tables, svg, report   what is shown                      callgrind  what bench/profile reads
"""
