"""Where steps run. An executor answers *where*, never *what* or *when*."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol, Self

from opgrid.contracts.events import AnyEvent, ErrorInfo
from opgrid.contracts.tasks import CodeTarget, RunBrief, StepTask
from opgrid.contracts.told import Report
from opgrid.ids import RunId, StepKey

#: How far the coordinator has taken the events of an executor; "" is the beginning. Stored with the events themselves.
Position = str


class Polled(NamedTuple):
    events: Sequence[Report]
    position: Position  #: to be acknowledged once the events are durable


class EventSink(Protocol):
    """Where a step in progress tells what happens to it."""

    def emit(self, event: AnyEvent) -> None: ...


class Executor(ABC):
    """The base of all executors: ``submit`` and ``poll`` are enough for a simple one.

    ``poll`` blocks for at most ``timeout`` seconds and returns as soon as there is something. ``submit`` is
    idempotent per ``StepTask.id`` and may raise :class:`opgrid.errors.ExecutorUnavailable`: the same tasks are then
    submitted again later. Events of one attempt come in order; an event may come twice.
    """

    #: Steps run in processes other than the one that submits: values cannot be handed over in memory.
    crosses_processes: bool = True
    #: Its processes are all on the host of the one that submits: what one writes to an open file, the others see.
    one_host: bool = False
    #: Tasks may come with others to go on with (``StepTask.then``); these are submitted, too, when it is their turn.
    fuses: bool = False
    #: Seconds of work that are done sooner one after the other by one process than side by side by several; ``inf``
    #: where there is only one.
    sooner_alone: float = 0.0
    #: The IO manager that stands behind ``io_manager`` where the job binds none.
    default_io: str = "filesystem"

    @classmethod
    def create(cls, setup: ExecutorSetup) -> Self:
        """The one way executors are made: found by name, built from this."""
        raise NotImplementedError(f"{cls.__name__} has no create()")

    @abstractmethod
    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None: ...

    @abstractmethod
    def poll(self, timeout: float) -> Polled: ...

    def foresee(self, run: RunBrief, breadth: int) -> None:  # noqa: B027 (optional)
        """Called when a run begins or goes on here: about so many of its steps will be ready at the same time."""

    def expects(self, job: str, op: str) -> float | None:
        """Seconds that a step of this op takes here, with what goes with it; None: nothing is known of it."""
        return None

    def acknowledge(self, position: Position) -> None:  # noqa: B027 (optional)
        """All events up to ``position`` are durable: they need not be kept."""

    def resume_at(self, position: Position) -> None:  # noqa: B027 (optional)
        """Called once before the first poll of a coordinator that takes over: go on behind ``position``."""

    def recover(self, run: RunBrief) -> frozenset[tuple[StepKey, int]] | None:
        """(step, attempt) of this run that are still out there and will report. None: nothing survives this process."""
        return None

    def may_go_on(self, run: RunBrief, begun: Collection[tuple[StepKey, int]]) -> frozenset[tuple[StepKey, int]]:
        """Of attempts that had begun, and that ``recover`` does not know of, those that may be worked on all the same:
        from now on they are watched, and will report.
        """
        return frozenset()

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:  # noqa: B027 (optional)
        """Stop these attempts, all that a run has out here and whatever was sent along with its steps. Each reports how
        it ended; one that had not started reports StepCanceled. So does, of an executor that recovers runs, one that it
        does not know: who drove the run before may send it yet, in vain.
        """

    def run_hooks(self, run: RunBrief, task: StepTask, error: ErrorInfo | None) -> bool:
        """Run the hooks of an ended step whose own process died (``error`` None: it had succeeded). False: cannot."""
        return False

    def wake(self) -> None:  # noqa: B027 (optional)
        """Called from another thread or a signal handler: a ``poll`` that blocks, or the next one, returns at once."""

    def release(self, run_id: RunId) -> None:  # noqa: B027 (optional)
        """The run has ended: what is held for it may go (what readers of its outputs need stays for its retention)."""

    def close(self) -> None:  # noqa: B027 (optional)
        """End what this executor started. May be called twice."""


class ExecutorSetup(NamedTuple):
    """What an executor is built from: ``ExecutorClass.create(setup)``."""

    config: dict[str, object]  #: validated against the executor definition's schema
    home: str  #: OPGRID_HOME, absolute; empty: there is none
    code: CodeTarget | None  #: how another process loads the user's code; None: it cannot
    job: object | None  #: the JobDefinition itself, for executors of this process and jobs that travel by value
    broker_url: str | None
    stream: str  #: where remote workers report for this coordinator
    local: object | None = None  #: LocalRun: what a run holds in its caller's own process (``opgrid.steps.scope``)
    one_host: bool = False  #: so is every executor that its runs use
    #: The id of the database that remembers how far ``stream`` was read, where others may have a stream of that name.
    database: str = ""
    #: Runs that others drive are told of by the same stream, and they are not here: what is read of it stays there.
    guest: bool = False
