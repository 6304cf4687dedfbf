"""Figures of one benchmark as JSON lines, and what they say: medians, spreads, ratios."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.workloads import WORKLOADS


@dataclass(frozen=True, slots=True)
class Row:
    """All rounds of one subject at one workload."""

    workload: str
    subject: str
    steps: int
    rounds: tuple[Mapping[str, float], ...]  #: seconds, and what else was measured
    cold: bool = False  #: too slow for a round to warm up

    @property
    def seconds(self) -> float:
        return self.median("seconds")

    @property
    def spread(self) -> tuple[float, float]:
        each = [one["seconds"] for one in self.rounds]
        return min(each), max(each)

    @property
    def figure(self) -> float:
        """Seconds of a step, or of the whole where that is what counts."""
        return self.seconds / (self.steps if WORKLOADS[self.workload].per_step else 1)

    def median(self, name: str) -> float:
        return median(one[name] for one in self.rounds)

    def has(self, name: str) -> bool:
        return all(name in one for one in self.rounds)

    def most(self, name: str) -> float | None:
        return max((one[name] for one in self.rounds if name in one), default=None)


@dataclass(slots=True)
class Results:
    about: dict[str, Any]  #: machine, versions, date
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  #: subjects that could not be measured, and why

    def of(self, workload: str) -> list[Row]:
        return [row for (key, _), row in self.rows.items() if key == workload]

    def get(self, workload: str, subject: str) -> Row | None:
        return self.rows.get((workload, subject))

    @classmethod
    def read(cls, path: Path) -> Self:
        about, *lines = (json.loads(line) for line in path.read_text().splitlines())
        found = cls(about["about"])
        gathered: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for line in lines:
            if "versions" in line:
                found.about.setdefault("versions", {}).update(line["versions"])
            elif "rest" in line:
                found.about["rest_mib"] = line["rest"]
            elif "missing" in line:
                found.missing[line["missing"]] = line["why"]
            else:
                gathered.setdefault((line["workload"], line["subject"]), []).append(line)
        for (workload, subject), each in gathered.items():
            rounds = tuple(_figures(one) for one in each)
            found.rows[workload, subject] = Row(workload, subject, each[0]["steps"], rounds, each[0]["cold"])
        return found


def _figures(line: Mapping[str, Any]) -> Mapping[str, float]:
    return {name: value for name, value in line.items() if isinstance(value, int | float) and name != "cold"}


class Recording:
    """Writes lines as they come."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", buffering=1)
        self._write({"about": about})

    def rounds(self, workload: str, subject: str, answers: Iterable[Mapping[str, Any]], cold: bool) -> None:
        for number, answer in enumerate(answers, 1):
            self._write({"workload": workload, "subject": subject, "round": number, "cold": cold, **answer})

    def versions(self, versions: Mapping[str, str]) -> None:
        self._write({"versions": dict(versions)})

    def rest(self, mib: float) -> None:
        """What drives runs, with nothing to do."""
        self._write({"rest": mib})

    def missing(self, subject: str, why: str) -> None:
        self._write({"missing": subject, "why": why})

    def close(self) -> None:
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
