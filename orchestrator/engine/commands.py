"""What the machine asks for. The loop obeys, after it has made durable what led to it."""

from __future__ import annotations

import msgspec

from opgrid.contracts.events import AnyEvent, ErrorInfo
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import StepTask
from opgrid.ids import StepKey


class Launch(msgspec.Struct, frozen=True, gc=False):
    """Start an attempt."""

    task: StepTask


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Stop an attempt that was launched; its executor reports how it ended."""

    step: StepKey
    attempt: int
    executor: str | None = None


class WakeAt(msgspec.Struct, frozen=True, gc=False):
    """Hand ``event`` to the machine when the clock shows ``due``."""

    due: float
    event: AnyEvent


class RunHook(msgspec.Struct, frozen=True, gc=False):
    """Run the hooks of a step whose own process died and cannot. ``error`` None: the step had succeeded."""

    task: StepTask
    hooks: tuple[str, ...]
    error: ErrorInfo | None


class Note(msgspec.Struct, frozen=True, gc=False):
    """Record what was decided. Handled as input it changes nothing, so that a whole log can be replayed."""

    event: AnyEvent


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The run has ended; comes once."""

    status: RunStatus


Command = Launch | Cancel | WakeAt | RunHook | Note | Finish
