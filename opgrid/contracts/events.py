"""What happened, one frozen class an event. The append-only log of these is the truth about a run.

``EventType`` values are the names users see and the tags on the wire (``opgrid.contracts.wire``). Times are Unix
seconds.
"""

from __future__ import annotations

import traceback
from enum import StrEnum
from typing import Any, ClassVar, Self

import msgspec

from opgrid.contracts.questions import Questions
from opgrid.contracts.tasks import OutputRef
from opgrid.ids import NodePath, RunId, StepKey, node_of


class EventType(StrEnum):
    """The kinds of events of a run; values are those of Dagster's log."""

    RUN_ENQUEUED = "PIPELINE_ENQUEUED"
    RUN_DEQUEUED = "PIPELINE_DEQUEUED"
    RUN_STARTING = "PIPELINE_STARTING"
    RUN_START = "PIPELINE_START"
    RUN_SUCCESS = "PIPELINE_SUCCESS"
    RUN_FAILURE = "PIPELINE_FAILURE"
    RUN_CANCELING = "PIPELINE_CANCELING"
    RUN_CANCELED = "PIPELINE_CANCELED"
    STEP_DISPATCHED = "STEP_WORKER_STARTING"
    STEP_START = "STEP_START"
    STEP_SUCCESS = "STEP_SUCCESS"
    STEP_FAILURE = "STEP_FAILURE"
    STEP_LOST = "STEP_LOST"
    STEP_CANCELED = "STEP_CANCELED"
    STEP_SKIPPED = "STEP_SKIPPED"
    STEP_UP_FOR_RETRY = "STEP_UP_FOR_RETRY"
    STEP_RESTARTED = "STEP_RESTARTED"
    STEP_INPUT = "STEP_INPUT"
    STEP_OUTPUT = "STEP_OUTPUT"
    HANDLED_OUTPUT = "HANDLED_OUTPUT"
    LOADED_INPUT = "LOADED_INPUT"
    RESOURCE_INIT_STARTED = "RESOURCE_INIT_STARTED"
    RESOURCE_INIT_SUCCESS = "RESOURCE_INIT_SUCCESS"
    RESOURCE_INIT_FAILURE = "RESOURCE_INIT_FAILURE"
    HOOK_COMPLETED = "HOOK_COMPLETED"
    HOOK_SKIPPED = "HOOK_SKIPPED"
    HOOK_ERRORED = "HOOK_ERRORED"
    ASSET_MATERIALIZATION = "ASSET_MATERIALIZATION"
    ASSET_OBSERVATION = "ASSET_OBSERVATION"
    STEP_EXPECTATION_RESULT = "STEP_EXPECTATION_RESULT"
    LOG_MESSAGE = "LOG_MESSAGE"
    ENGINE_EVENT = "ENGINE_EVENT"


# ``gc=False``: there are very many of these, and frozen values that hold only values before them make no cycles.


class ErrorInfo(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An exception as data: it crosses processes without a pickle."""

    kind: str  #: class name
    message: str
    traceback: str = ""
    cause: ErrorInfo | None = None  #: ``__cause__``, or ``__context__`` where that is shown
    metadata: dict[str, Any] = {}

    @property
    def cls_name(self) -> str:
        return self.kind

    @property
    def stack(self) -> list[str]:
        """The lines of its traceback."""
        return self.traceback.splitlines(keepends=True)

    def to_string(self) -> str:
        """With its traceback, and with what caused it."""
        cause = f"\nThe above was caused by:\n{self.cause.to_string()}" if self.cause is not None else ""
        return (self.traceback or f"{self.kind}: {self.message}\n") + cause

    @classmethod
    def of(cls, error: BaseException, depth: int = 8) -> Self:
        below = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        trace = "".join(traceback.format_exception(error, chain=False))
        cause = cls.of(below, depth - 1) if below is not None and depth > 0 else None
        try:
            message = str(error)
        except Exception as problem:
            message = f"({type(problem).__name__} when it was asked for its message)"
        return cls(type(error).__name__, message, trace, cause)


class Event(Questions, msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag_field="type"):
    """The base of all events; a run's own events have no step. Dagster's names for what it is and carries are
    understood: ``event_type``, ``step_key``, ``is_step_success``, ``step_output_data``, ``asset_materialization``.
    """

    TYPE: ClassVar[EventType]
    run_id: RunId
    at: float
    #: the job of the run, in events that an instance or a result gives; it is neither stored nor sent
    job_name: str | None = None

    def of_job(self, job_name: str | None) -> Self:
        return msgspec.structs.replace(self, job_name=job_name)

    @property
    def event_type(self) -> EventType:
        return self.TYPE

    @property
    def message(self) -> str:
        """In words, beginning with what it happened to."""
        from opgrid.contracts.wording import sentence

        return sentence(self)


class StepEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    step: StepKey
    attempt: int

    @property
    def node(self) -> NodePath:
        return node_of(self.step)


#: An entry of the log is the event itself.
EventLogEntry = Event


# ---- the run -------------------------------------------------------------------------------------------------------


class RunEnqueued(Event, frozen=True, kw_only=True, tag=EventType.RUN_ENQUEUED.value):
    TYPE = EventType.RUN_ENQUEUED


class RunDequeued(Event, frozen=True, kw_only=True, tag=EventType.RUN_DEQUEUED.value):
    TYPE = EventType.RUN_DEQUEUED


class RunStarting(Event, frozen=True, kw_only=True, tag=EventType.RUN_STARTING.value):
    TYPE = EventType.RUN_STARTING


class RunStarted(Event, frozen=True, kw_only=True, tag=EventType.RUN_START.value):
    """Report: the run begins, its first steps may go."""

    TYPE = EventType.RUN_START


class RunSucceeded(Event, frozen=True, kw_only=True, tag=EventType.RUN_SUCCESS.value):
    TYPE = EventType.RUN_SUCCESS


class FirstFailure(msgspec.Struct, frozen=True, gc=False):
    """Of the steps that failed a run, the one that did so first."""

    step: StepKey
    attempt: int
    at: float  #: Unix seconds


class RunFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.RUN_FAILURE.value):
    TYPE = EventType.RUN_FAILURE
    reason: str = ""
    error: ErrorInfo | None = None  #: of the first failure
    first: FirstFailure | None = None

    @property
    def first_step_failure_event(self) -> StepFailed | None:
        """As its step told it, but for how long it took; None where no step failed the run."""
        if self.first is None or self.error is None:
            return None
        step, attempt, at = self.first.step, self.first.attempt, self.first.at
        return StepFailed(
            run_id=self.run_id, at=at, job_name=self.job_name, step=step, attempt=attempt, error=self.error
        )


class RunCanceling(Event, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.RUN_CANCELING.value):
    """Report: somebody asked for the run to end, or its time is over; then it ends as a failure."""

    TYPE = EventType.RUN_CANCELING
    reason: str = ""
    is_timeout: bool = False


class RunCanceled(Event, frozen=True, kw_only=True, tag=EventType.RUN_CANCELED.value):
    TYPE = EventType.RUN_CANCELED


# ---- a step: what executors report and the machine decides on --------------------------------------------------------


class StepStarted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_START.value):
    TYPE = EventType.STEP_START
    claim: str = ""
    worker: str = ""  #: ``host``, or the Celery worker's name
    pid: int = 0


class RetryRequest(msgspec.Struct, frozen=True, gc=False):
    """``raise RetryRequested(...)`` as data."""

    max_retries: int = 1
    seconds_to_wait: float | None = None


class StepSucceeded(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_SUCCESS.value):
    """The attempt is done and its outputs are stored. Outputs not named here were not yielded."""

    TYPE = EventType.STEP_SUCCESS
    outputs: tuple[OutputRef, ...] = ()
    seconds: float = 0.0  #: in the step, from start to end
    #: Steps before it in its message, whose outputs it took before they were accepted, each with its claim.
    after: tuple[tuple[StepKey, str], ...] = ()


class StepFailed(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_FAILURE.value):
    """User code, or what surrounds it, raised. The machine decides whether there is a retry."""

    TYPE = EventType.STEP_FAILURE
    error: ErrorInfo
    allow_retries: bool = True
    retry: RetryRequest | None = None
    timed_out: bool = False
    orphaned: bool = False  #: nobody is there who would run its hooks: it never began, or its process is gone
    seconds: float = 0.0


class LossCause(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    reason: str  #: in words
    signal: int | None = None
    exit_code: int | None = None
    worker: str = ""
    pid: int = 0
    host: str = ""
    peak_memory: int = 0  #: bytes that the process had used at most when it was last looked at; 0: unknown


class StepLost(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_LOST.value):
    """The attempt's process died or fell silent: nobody can say how far it came."""

    TYPE = EventType.STEP_LOST
    cause: LossCause
    gone: tuple[OutputRef, ...] = ()  #: inputs that it could not load because nobody has them any more
    after_end: bool = False  #: it had ended, and that stands; its hooks may not have run


class StepCanceled(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_CANCELED.value):
    """The attempt was stopped, or will never start, because the run is being canceled."""

    TYPE = EventType.STEP_CANCELED


class RetryDue(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_RESTARTED.value):
    """The delay before a retry is over; ``attempt`` is the one to start now."""

    TYPE = EventType.STEP_RESTARTED


# ---- a step: what the machine decided ------------------------------------------------------------------------------


class StepDispatched(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_DISPATCHED.value):
    TYPE = EventType.STEP_DISPATCHED


class StepUpForRetry(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_UP_FOR_RETRY.value):
    """``attempt`` failed or was lost; the next starts after ``delay`` seconds."""

    TYPE = EventType.STEP_UP_FOR_RETRY
    delay: float = 0.0
    error: ErrorInfo | None = None


class StepSkipped(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_SKIPPED.value):
    TYPE = EventType.STEP_SKIPPED
    reason: str = ""


# ---- a step: what it tells about itself; the machine does not look at these ------------------------------------------


class StepInput(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_INPUT.value):
    TYPE = EventType.STEP_INPUT
    input: str
    type_check: dict[str, Any] = {}


class StepOutput(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_OUTPUT.value):
    TYPE = EventType.STEP_OUTPUT
    output: str
    mapping_key: str | None = None
    metadata: dict[str, Any] = {}
    type_check: dict[str, Any] = {}


class HandledOutput(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.HANDLED_OUTPUT.value):
    TYPE = EventType.HANDLED_OUTPUT
    output: str
    manager: str = "io_manager"
    mapping_key: str | None = None
    metadata: dict[str, Any] = {}


class LoadedInput(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.LOADED_INPUT.value):
    TYPE = EventType.LOADED_INPUT
    input: str
    manager: str = "io_manager"
    upstream_step: str | None = None
    upstream_output: str | None = None
    metadata: dict[str, Any] = {}


class ResourceEvent(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """``step`` is empty and ``attempt`` 0 where the resources of a whole run are opened."""

    keys: tuple[str, ...] = ()
    seconds: float = 0.0
    error: ErrorInfo | None = None


class ResourceInitStarted(ResourceEvent, frozen=True, kw_only=True, tag=EventType.RESOURCE_INIT_STARTED.value):
    TYPE = EventType.RESOURCE_INIT_STARTED


class ResourceInitSucceeded(ResourceEvent, frozen=True, kw_only=True, tag=EventType.RESOURCE_INIT_SUCCESS.value):
    TYPE = EventType.RESOURCE_INIT_SUCCESS


class ResourceInitFailed(ResourceEvent, frozen=True, kw_only=True, tag=EventType.RESOURCE_INIT_FAILURE.value):
    TYPE = EventType.RESOURCE_INIT_FAILURE


class HookEvent(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    hook: str
    error: ErrorInfo | None = None


class HookCompleted(HookEvent, frozen=True, kw_only=True, tag=EventType.HOOK_COMPLETED.value):
    TYPE = EventType.HOOK_COMPLETED


class HookSkipped(HookEvent, frozen=True, kw_only=True, tag=EventType.HOOK_SKIPPED.value):
    TYPE = EventType.HOOK_SKIPPED


class HookErrored(HookEvent, frozen=True, kw_only=True, tag=EventType.HOOK_ERRORED.value):
    TYPE = EventType.HOOK_ERRORED


class AssetMaterialized(
    StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.ASSET_MATERIALIZATION.value
):
    TYPE = EventType.ASSET_MATERIALIZATION
    asset: tuple[str, ...] = msgspec.field(name="asset_key")
    description: str | None = None
    partition: str | None = None
    metadata: dict[str, Any] = {}
    tags: dict[str, str] = {}


class AssetObserved(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.ASSET_OBSERVATION.value):
    TYPE = EventType.ASSET_OBSERVATION
    asset: tuple[str, ...] = msgspec.field(name="asset_key")
    description: str | None = None
    partition: str | None = None
    metadata: dict[str, Any] = {}
    tags: dict[str, str] = {}


class ExpectationChecked(
    StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.STEP_EXPECTATION_RESULT.value
):
    TYPE = EventType.STEP_EXPECTATION_RESULT
    success: bool
    label: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = {}


class LogMessage(Event, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.LOG_MESSAGE.value):
    TYPE = EventType.LOG_MESSAGE
    message: str
    level: int = 20  #: as in ``logging``
    logger: str = "opgrid"
    step: StepKey | None = None
    attempt: int = 0
    error: ErrorInfo | None = None


class EngineNote(Event, frozen=True, kw_only=True, omit_defaults=True, tag=EventType.ENGINE_EVENT.value):
    """Something about the run that is neither a state nor the user's: a message sent again, a worker gone."""

    TYPE = EventType.ENGINE_EVENT
    message: str
    step: StepKey | None = None
    error: ErrorInfo | None = None


#: What happens to a run and its steps from outside; the machine decides on these, all others are told by it or ignored.
Report = RunStarted | RunCanceling | StepStarted | StepSucceeded | StepFailed | StepLost | StepCanceled | RetryDue

AnyEvent = (
    RunEnqueued
    | RunDequeued
    | RunStarting
    | RunStarted
    | RunSucceeded
    | RunFailed
    | RunCanceling
    | RunCanceled
    | StepStarted
    | StepSucceeded
    | StepFailed
    | StepLost
    | StepCanceled
    | RetryDue
    | StepDispatched
    | StepUpForRetry
    | StepSkipped
    | StepInput
    | StepOutput
    | HandledOutput
    | LoadedInput
    | ResourceInitStarted
    | ResourceInitSucceeded
    | ResourceInitFailed
    | HookCompleted
    | HookSkipped
    | HookErrored
    | AssetMaterialized
    | AssetObserved
    | ExpectationChecked
    | LogMessage
    | EngineNote
)
