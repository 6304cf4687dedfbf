"""What tags say about how a step is run: its queue, priority, executor and time limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from opgrid.contracts.structure import APPROVAL_TIMEOUT_TAG
from opgrid.errors import InvalidDefinitionError

QUEUE = ("opgrid/queue", "dagster-celery/queue")
PRIORITY = ("opgrid/priority", "dagster-celery/priority", "dagster/priority")
RUN_PRIORITY = ("opgrid/priority", "dagster-celery/run_priority", "dagster/priority")
EXECUTOR = ("opgrid/executor",)
TIMEOUT = ("opgrid/timeout",)
FUSE = ("opgrid/fuse",)
START_TIMEOUT = ("opgrid/start_timeout",)
RECOMPUTE = ("opgrid/recompute",)
APPROVAL_TIMEOUT = (APPROVAL_TIMEOUT_TAG,)
MAX_RUNTIME = ("opgrid/max_runtime", "dagster/max_runtime")
MAX_RETRIES = ("opgrid/max_retries", "dagster/max_retries")
RETRY_STRATEGY = ("opgrid/retry_strategy", "dagster/retry_strategy")

T = TypeVar("T")


class BadTag(InvalidDefinitionError):
    """A tag that opgrid reads has a value that it cannot read."""

    exit_code = 2

    def __init__(self, where: str, tag: str, value: str, wanted: str) -> None:
        super().__init__(where, tag, value, wanted)
        self.where, self.tag, self.value, self.wanted = where, tag, value, wanted

    def describe(self) -> str:
        return f"The tag {self.tag!r} of {self.where} is {self.value!r}; it must be {self.wanted}."


class Routing(NamedTuple):
    queue: str | None = None
    priority: int = 0
    executor: str | None = None
    timeout: float | None = None
    recompute: bool = True
    start_timeout: float | None = None


def of_step(tags: Mapping[str, str], step: str) -> Routing:
    where = f"step {step!r}"
    _read(tags, APPROVAL_TIMEOUT, _seconds, "a number of seconds above 0", where)  # the loop reads it from the tags
    return Routing(
        _text(tags, QUEUE),
        _read(tags, PRIORITY, int, "a whole number", where) or 0,
        _text(tags, EXECUTOR),
        _read(tags, TIMEOUT, _seconds, "a number of seconds above 0", where),
        _read(tags, RECOMPUTE, _yes_or_no, "true or false", where) is not False,
        _read(tags, START_TIMEOUT, _seconds, "a number of seconds above 0", where),
    )


def of_run(tags: Mapping[str, str]) -> Routing:
    """``timeout`` is that of the whole run; queue and executor are those of steps that name none."""
    return Routing(
        _text(tags, QUEUE),
        _read(tags, RUN_PRIORITY, int, "a whole number", "the run") or 0,
        _text(tags, EXECUTOR),
        _read(tags, MAX_RUNTIME, _seconds, "a number of seconds above 0", "the run"),
    )


def check_new_run(tags: Mapping[str, str]) -> None:
    """What is read only once a run has failed. Raises BadTag; runs that are stored may have what they like."""
    _read(tags, MAX_RETRIES, int, "a whole number", "the run")
    _read(tags, RETRY_STRATEGY, _strategy, "FROM_FAILURE or ALL_STEPS", "the run")


def fused(tags: Mapping[str, str], where: str) -> bool | None:
    """Whether steps are to run in one task; None: nothing is said. Raises BadTag."""
    return _read(tags, FUSE, _yes_or_no, "true or false", where)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _strategy(text: str) -> str:
    if text not in ("FROM_FAILURE", "ALL_STEPS"):
        raise ValueError(text)
    return text


def _text(tags: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((tags[name] for name in names if tags.get(name)), None)


def _read(
    tags: Mapping[str, str], names: tuple[str, ...], read: Callable[[str], T], wanted: str, where: str
) -> T | None:
    for name in names:
        if name in tags:
            try:
                return read(tags[name])
            except ValueError:
                raise BadTag(where, name, tags[name], wanted) from None
    return None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds
