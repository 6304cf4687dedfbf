"""What an event says beyond its kind, in words."""

from __future__ import annotations

from opgrid.contracts.events import (
    AnyEvent,
    EngineNote,
    ErrorInfo,
    LogMessage,
    RunCanceling,
    RunFailed,
    StepFailed,
    StepLost,
    StepSkipped,
    StepSucceeded,
    StepUpForRetry,
)


def detail(event: AnyEvent) -> str:
    """Empty for those that say nothing more."""
    match event:
        case StepSucceeded(seconds=seconds):
            return f"{seconds:.3f} s"
        case StepFailed(error=error):
            return f"{error.kind}: {error.message}" + (_cause(error.cause) if error.cause else "")
        case StepLost(cause=cause):
            return cause.reason
        case StepUpForRetry(delay=delay):
            return f"again in {delay:g} s"
        case StepSkipped(reason=reason) | RunFailed(reason=reason) | RunCanceling(reason=reason):
            return reason
        case LogMessage(message=message) | EngineNote(message=message):
            return message
        case _:
            return ""


def _cause(error: ErrorInfo) -> str:
    return f" ({error.kind}: {error.message})"
