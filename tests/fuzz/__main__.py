"""Fuzz: every door of a broker, as a process of its own with a home that has everything in it.

    python -m tests.fuzz [--seed N] [--cases 10000]

Prints the seed, what was asked and answered by operation, what was slowest, and everything that was wrong; ends with 1
where anything was. The same seed draws the same requests; the answers depend on the clock, too.
"""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.fuzz.running import run, tell


def main() -> int:
    """The command line."""
    told = argparse.ArgumentParser(prog="python -m tests.fuzz")
    told.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    told.add_argument("--cases", type=int, default=10_000)
    chosen = told.parse_args()
    print(f"seed {chosen.seed}, {chosen.cases} cases at least", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        judge = run(Path(folder), chosen.seed, chosen.cases)
    tell(judge)
    print(f"seed {chosen.seed}: {judge.total} cases, {'nothing' if not judge.wrong else len(judge.wrong)} wrong")
    return 1 if judge.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
