"""The events of a run; each kind is a type of its own, as clients of Dagster know them."""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, Union

import msgspec
import strawberry

from opgrid.contracts.events import AnyEvent, ErrorInfo, EventType, LogMessage
from opgrid.contracts.wording import detail
from orchestrator.api.graphql.errors import PythonError
from orchestrator.api.graphql.scalars import BigInt, Json
from orchestrator.storage.records import LEVELS, level_of


@strawberry.enum
class LogLevel(Enum):
    CRITICAL = "CRITICAL"
    ERROR = "ERROR"
    WARNING = "WARNING"
    INFO = "INFO"
    DEBUG = "DEBUG"


if TYPE_CHECKING:
    DagsterEventType = EventType
else:
    DagsterEventType = strawberry.enum(Enum("DagsterEventType", {each.value: each.value for each in EventType}))


@strawberry.interface
class MessageEvent:
    run_id: str
    number: BigInt = strawberry.field(description="Grows with each event of a run, with gaps: a cursor.")
    message: str
    timestamp: str = strawberry.field(description="Milliseconds since 1970.")
    level: LogLevel
    step_key: str | None
    event_type: DagsterEventType | None
    attempt: int | None
    error: PythonError | None
    details: Json = strawberry.field(description="What else the event tells, by name.")

    @strawberry.field(name="solidHandleID")
    def solid_handle_id(self) -> str | None:
        return None if self.step_key is None else self.step_key.partition("[")[0]


@strawberry.interface
class StepEvent:
    step_key: str | None

    @strawberry.field(name="solidHandleID")
    def solid_handle_id(self) -> str | None:
        return None if self.step_key is None else self.step_key.partition("[")[0]


@strawberry.interface
class RunEvent:
    pipeline_name: str


@strawberry.interface
class ErrorEvent:
    error: PythonError | None


#: What Dagster calls the types; those that it has not are named the same way.
_NAMES: Final = {
    EventType.RUN_ENQUEUED: "RunEnqueuedEvent",
    EventType.RUN_DEQUEUED: "RunDequeuedEvent",
    EventType.RUN_STARTING: "RunStartingEvent",
    EventType.RUN_START: "RunStartEvent",
    EventType.RUN_SUCCESS: "RunSuccessEvent",
    EventType.RUN_FAILURE: "RunFailureEvent",
    EventType.RUN_CANCELING: "RunCancelingEvent",
    EventType.RUN_CANCELED: "RunCanceledEvent",
    EventType.STEP_DISPATCHED: "StepWorkerStartingEvent",
    EventType.STEP_START: "ExecutionStepStartEvent",
    EventType.STEP_SUCCESS: "ExecutionStepSuccessEvent",
    EventType.STEP_FAILURE: "ExecutionStepFailureEvent",
    EventType.STEP_LOST: "ExecutionStepLostEvent",
    EventType.STEP_CANCELED: "ExecutionStepCanceledEvent",
    EventType.STEP_SKIPPED: "ExecutionStepSkippedEvent",
    EventType.STEP_UP_FOR_RETRY: "ExecutionStepUpForRetryEvent",
    EventType.STEP_RESTARTED: "ExecutionStepRestartEvent",
    EventType.STEP_INPUT: "ExecutionStepInputEvent",
    EventType.STEP_OUTPUT: "ExecutionStepOutputEvent",
    EventType.HANDLED_OUTPUT: "HandledOutputEvent",
    EventType.LOADED_INPUT: "LoadedInputEvent",
    EventType.RESOURCE_INIT_STARTED: "ResourceInitStartedEvent",
    EventType.RESOURCE_INIT_SUCCESS: "ResourceInitSuccessEvent",
    EventType.RESOURCE_INIT_FAILURE: "ResourceInitFailureEvent",
    EventType.HOOK_COMPLETED: "HookCompletedEvent",
    EventType.HOOK_SKIPPED: "HookSkippedEvent",
    EventType.HOOK_ERRORED: "HookErroredEvent",
    EventType.ASSET_MATERIALIZATION: "MaterializationEvent",
    EventType.ASSET_OBSERVATION: "ObservationEvent",
    EventType.STEP_EXPECTATION_RESULT: "StepExpectationResultEvent",
    EventType.LOG_MESSAGE: "LogMessageEvent",
    EventType.ENGINE_EVENT: "EngineEvent",
}


def _made(name: str, bases: tuple[type, ...], doc: str | None = None) -> Any:
    return strawberry.type(type(name, bases, {"__doc__": doc, "__module__": __name__}))


def _bases(kind: EventType) -> tuple[type, ...]:
    found: list[type] = [MessageEvent]
    if kind.value.startswith("PIPELINE"):
        found.append(RunEvent)
    elif kind is not EventType.LOG_MESSAGE:
        found.append(StepEvent)
    if kind in LEVELS:
        found.append(ErrorEvent)
    return tuple(found)


EVENT_TYPES: Final[dict[EventType, Any]] = {kind: _made(name, _bases(kind)) for kind, name in _NAMES.items()}

#: Clients of Dagster spread on them; no run here tells one.
FOREIGN: Final[list[Any]] = [
    _made(name, (MessageEvent, *more), "Of Dagster's; opgrid has no such event.")
    for name, more in (
        ("StepWorkerStartedEvent", (StepEvent,)),
        ("LogsCapturedEvent", ()),
        ("ObjectStoreOperationEvent", (StepEvent,)),
        ("RunSuspendedEvent", (RunEvent,)),
        ("RunResumedEvent", (RunEvent,)),
        ("AlertStartEvent", (RunEvent,)),
        ("AlertSuccessEvent", (RunEvent,)),
        ("AlertFailureEvent", (RunEvent,)),
    )
]

if TYPE_CHECKING:
    DagsterRunEvent = MessageEvent
else:
    _EVERY = Union[(*EVENT_TYPES.values(), *FOREIGN)]
    DagsterRunEvent = Annotated[_EVERY, strawberry.union(name="DagsterRunEvent")]

_SHOWN: Final = frozenset({"run_id", "at", "step", "type", "attempt", "error", "message"})


def event_of(number: int, event: AnyEvent, job: str) -> MessageEvent:
    kind = event.TYPE
    of_run = {"pipeline_name": job} if issubclass(EVENT_TYPES[kind], RunEvent) else {}
    error: ErrorInfo | None = getattr(event, "error", None)
    details = {key: value for key, value in msgspec.to_builtins(event).items() if key not in _SHOWN}
    made: MessageEvent = EVENT_TYPES[kind](
        run_id=event.run_id,
        number=BigInt(number),
        message=detail(event),
        timestamp=str(round(event.at * 1000)),
        level=_level(event),
        step_key=getattr(event, "step", None) or None,
        event_type=None if isinstance(event, LogMessage) else DagsterEventType(kind.value),
        attempt=getattr(event, "attempt", None) or None,
        error=None if error is None else PythonError.of(error),
        details=Json(details),
        **of_run,
    )
    return made


def _level(event: AnyEvent) -> LogLevel:
    """That of a message which lies between two is the lower."""
    number = max(logging.DEBUG, min(logging.CRITICAL, level_of(event)))
    return LogLevel[logging.getLevelName(number // 10 * 10)]
