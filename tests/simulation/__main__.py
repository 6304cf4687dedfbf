"""``make simulate``: many worlds. One that breaks a promise is named by its seed, and the same again with it."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.world import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=25_000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    faults: Counter[str] = Counter()
    broken = 0
    begin = time.monotonic()
    for seed in range(given.first, given.first + given.seeds):
        try:
            faults += simulate(seed)
        except Exception as problem:
            broken += 1
            print(f"seed {seed}: {type(problem).__name__}: {problem}", flush=True)
    seconds = time.monotonic() - begin
    told = ", ".join(f"{count:,} x {name}" for name, count in sorted(faults.items()))
    print(f"{given.seeds:,} worlds, {sum(faults.values()):,} faults, {broken} broken, {seconds:.0f} s. {told}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
