"""What an event says beyond its kind, in words."""

from __future__ import annotations

from typing import Any

from opgrid.contracts.events import (
    AnyEvent,
    AssetMaterialized,
    AssetObserved,
    EngineNote,
    ErrorInfo,
    ExpectationChecked,
    HandledOutput,
    HookEvent,
    LoadedInput,
    LogMessage,
    LossCause,
    ResourceEvent,
    RunCanceling,
    RunFailed,
    StepFailed,
    StepInput,
    StepLost,
    StepOutput,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUpForRetry,
)


def span(seconds: float) -> str:
    """To the microsecond, and with all digits of a long one: ``0.25 s``, ``1234567 s``."""
    return f"{round(seconds, 6):.15g} s"


def loss(cause: LossCause) -> str:
    """With how the process ended, and where."""
    how = f" (signal {cause.signal})" if cause.signal is not None else ""
    how = how or (f" (exit code {cause.exit_code})" if cause.exit_code is not None else "")
    where = f", on {cause.worker}" if cause.worker else ""
    return f"{cause.reason}{how}{where}"


def sentence(event: Any) -> str:
    """Kind, step and detail in one; not for those that have a message of their own."""
    said = detail(event)
    what: str = event.TYPE.name.replace("_", " ").capitalize()
    return what + (f" of step {event.step_key!r}" if event.step_key else "") + (f": {said}" if said else "")


def detail(event: AnyEvent) -> str:
    """Empty for those that say nothing more."""
    match event:
        case StepStarted(worker=worker, attempt=attempt):
            said = [f"on {worker}"] if worker else []
            return ", ".join([*said, f"attempt {attempt}"] if attempt > 1 else said)
        case StepSucceeded(seconds=seconds):
            return f"{seconds:.3f} s"
        case StepFailed(error=error):
            return f"{error.kind}: {error.message}" + (_cause(error.cause) if error.cause else "")
        case StepLost(cause=cause):
            return cause.reason
        case StepUpForRetry(delay=delay):
            return f"again in {span(delay)}"
        case StepSkipped(reason=reason) | RunFailed(reason=reason) | RunCanceling(reason=reason):
            return reason
        case LogMessage(message=message) | EngineNote(message=message):
            return message
        case _:
            return _told(event)


def _told(event: AnyEvent) -> str:
    """Of what a step tells about itself."""
    match event:
        case StepInput(input=name) | LoadedInput(input=name):
            return name
        case StepOutput(output=name, mapping_key=key) | HandledOutput(output=name, mapping_key=key):
            return name if key is None else f"{name} [{key}]"
        case AssetMaterialized(asset=asset) | AssetObserved(asset=asset):
            return " / ".join(asset)
        case ExpectationChecked(success=success, label=label):
            return f"{label or 'check'}: {'passed' if success else 'failed'}"
        case ResourceEvent(keys=keys):
            return ", ".join(keys)
        case HookEvent(hook=hook):
            return hook
        case _:
            return ""


def _cause(error: ErrorInfo) -> str:
    return f" ({error.kind}: {error.message})"
