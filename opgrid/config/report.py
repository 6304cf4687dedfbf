"""What is wrong with some config: all of it, each with its path."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from opgrid.errors import InvalidConfigError


class ProblemKind(StrEnum):
    MISSING = "MISSING_REQUIRED_FIELD"
    UNKNOWN = "FIELD_NOT_DEFINED"
    WRONG_TYPE = "RUNTIME_TYPE_MISMATCH"
    SELECTOR = "SELECTOR_FIELD_ERROR"
    ENVIRONMENT = "ENVIRONMENT_VARIABLE"


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    kind: ProblemKind
    path: str  #: ``root:ops:cop:config:s``
    message: str


@dataclass(slots=True)
class Report:
    """Collects problems while a schema walks through config."""

    problems: list[ConfigProblem] = field(default_factory=list)

    def missing(self, path: str, message: str) -> None:
        self.problems.append(ConfigProblem(ProblemKind.MISSING, path, message))

    def unknown(self, path: str, message: str) -> None:
        self.problems.append(ConfigProblem(ProblemKind.UNKNOWN, path, message))

    def wrong(self, path: str, message: str) -> None:
        self.problems.append(ConfigProblem(ProblemKind.WRONG_TYPE, path, message))

    def selector(self, path: str, message: str) -> None:
        self.problems.append(ConfigProblem(ProblemKind.SELECTOR, path, message))

    def raise_if_any(self, what: str) -> None:
        """Raises InvalidConfigError with every problem."""
        if not self.problems:
            return
        problems = tuple(dict.fromkeys(self.problems))  # one value may be taken in several places
        count = len(problems)
        lines = [f"{what}: {count} problem{'s' if count > 1 else ''}."]
        lines += [f"  at {problem.path}: {problem.message}" for problem in problems]
        raise InvalidConfigError("\n".join(lines), problems)
