"""How a run looks while it goes: a live table on a terminal, a line an event on a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import indent
from typing import Any

import click

from opgrid.contracts.events import (
    AnyEvent,
    EngineNote,
    ErrorInfo,
    HookErrored,
    LogMessage,
    RetryDue,
    RunCanceled,
    RunCanceling,
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepCanceled,
    StepFailed,
    StepLost,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUpForRetry,
)
from opgrid.contracts.status import StepStatus
from opgrid.contracts.wording import detail
from opgrid.ids import split_step_key
from orchestrator.storage.projection import changes

Watch = Callable[[Sequence[AnyEvent]], None]

_SHOWN = (
    RunStarted | RunSucceeded | RunFailed | RunCanceling | RunCanceled | StepStarted | StepSucceeded | StepFailed
    | StepLost | StepCanceled | RetryDue | StepUpForRetry | StepSkipped | LogMessage | EngineNote
)  # fmt: skip


@contextmanager
def watching(job: str, quiet: bool = False) -> Iterator[Watch]:
    """What to call with recorded events. With ``quiet`` the lines go to stderr, so that stdout stays for the result."""
    if _is_terminal(sys.stderr if quiet else sys.stdout):
        with _live(job, quiet) as watch:
            yield watch
    else:
        yield _Lines(sys.stderr if quiet else sys.stdout)


def _is_terminal(stream: Any) -> bool:
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


class _Lines:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __call__(self, events: Sequence[AnyEvent]) -> None:
        lines = [line(event) for event in events if isinstance(event, _SHOWN)]
        if lines:
            try:
                self._stream.write("".join(f"{text}\n" for text in lines))
                self._stream.flush()
            except OSError as error:  # nobody reads any more, or the disk is full: the run goes on
                if self._stream is sys.stdout and not isinstance(error, BrokenPipeError):
                    click.echo(f"What comes now is not shown: {error.strerror}.", err=True)
                _to_nowhere(self._stream)


def say_at_the_end(text: str) -> None:
    """Where nobody reads any more, the exit code still tells how a run has ended."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _to_nowhere(sys.stdout)


def _to_nowhere(stream: Any) -> None:
    """Python would try again at its end to write what was not taken."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def line(event: AnyEvent) -> str:
    """One event in one line."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.at)) + f".{int(event.at % 1 * 1000):03d}"
    step = getattr(event, "step", None) or ""
    text = f"{clock} {event.TYPE.name:<18} {step}"
    return f"{text}  {said}".rstrip() if (said := detail(event)) else text.rstrip()


def told(event: AnyEvent) -> str:
    """One event in one line, and below it the traceback of what user code raised."""
    match event:
        case StepFailed(error=error) | HookErrored(error=ErrorInfo() as error):
            raised = _raised(error)
        case LogMessage(error=ErrorInfo() as error):
            raised = error
        case _:
            raised = None
    return line(event) + ("\n" + indent(raised.to_string().rstrip(), "    ") if raised is not None else "")


def _raised(error: ErrorInfo) -> ErrorInfo | None:
    """What user code raised: an error of ours around it says where, and alone that it was none of the user's."""
    is_ours = f"opgrid.errors.{error.kind}: " in error.traceback
    return error.cause if is_ours or not error.traceback else error


@contextmanager
def _live(job: str, quiet: bool) -> Iterator[Watch]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=quiet)
    table = _Table(job)
    with Live(table, console=console, refresh_per_second=8, transient=False) as live:

        def watch(events: Sequence[AnyEvent]) -> None:
            table.take(events)
            for event in events:
                if isinstance(event, LogMessage | EngineNote | StepFailed | StepLost | StepUpForRetry):
                    live.console.print(line(event), markup=False, highlight=False)

        yield watch
        live.refresh()


class _Table:
    """One row a node; the instances of a mapped one are counted in it."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.began = time.monotonic()
        self.steps: dict[str, StepStatus] = {}
        self.nodes: dict[str, Counter[StepStatus]] = {}
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.ended: str = ""

    def take(self, events: Sequence[AnyEvent]) -> None:
        for key, change in changes(events).items():
            node = split_step_key(key)[0]
            counts = self.nodes.setdefault(node, Counter())
            before = self.steps.get(key)
            if before is not None:
                counts[before] -= 1
            self.steps[key] = change.status
            counts[change.status] += 1
        for event in events:
            if isinstance(event, StepSucceeded):
                self.seconds[event.node] += event.seconds
            elif isinstance(event, RunSucceeded | RunFailed | RunCanceled):
                self.ended = event.TYPE.name.removeprefix("RUN_")

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table(
            title=f"{self.job}  {self.ended or 'running'}  {time.monotonic() - self.began:.1f} s", title_justify="left"
        )
        table.add_column("op")
        for name in ("waiting", "running", "done", "failed"):
            table.add_column(name, justify="right")
        table.add_column("op time", justify="right")
        for node, counts in self.nodes.items():
            waiting = counts[StepStatus.DISPATCHED] + counts[StepStatus.WAITING]
            done = counts[StepStatus.SUCCESS] + counts[StepStatus.SKIPPED]
            failed = counts[StepStatus.FAILURE] + counts[StepStatus.CANCELED]
            style = "red" if failed else "green" if not waiting and not counts[StepStatus.RUNNING] else None
            cells = [str(count) if count else "" for count in (waiting, counts[StepStatus.RUNNING], done, failed)]
            table.add_row(node, *cells, f"{self.seconds[node]:.2f} s", style=style)
        return table
