"""real - real programs of Debian under each allocator: fixed work, CPU time first.

    works      the table: what is run, from which packages     commands   programs that end by themselves
    measure    one run: start, meters, proof, clean-up          daemons    servers and their clients
    scripts/   what the interpreters run

Processes, observer lines and their judgement are those of tests/preload.
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "preload"))
