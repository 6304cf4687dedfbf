"""What attempts tell by the way: nothing is decided on it, and it goes from the worker to the log as it was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from opgrid.contracts.events import (
    AnyEvent,
    HandledOutput,
    LoadedInput,
    LogMessage,
    ResourceInitStarted,
    ResourceInitSucceeded,
    StepInput,
    StepOutput,
)
from opgrid.contracts.wire import decode_events, encode_legibly
from opgrid.ids import RunId, StepKey

#: What every attempt tells. Nobody looks for such an event in all runs.
ROUTINE: Final[frozenset[type]] = frozenset(
    {HandledOutput, LoadedInput, LogMessage, ResourceInitStarted, ResourceInitSucceeded, StepInput, StepOutput}
)
#: Events of one ``Told``, at most.
MOST: Final = 32


class Told(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="TOLD"):
    """Several events of ``ROUTINE``, of one attempt, one after the other."""

    run_id: RunId
    step: StepKey
    attempt: int
    at: float  #: of the first, in Unix seconds
    count: int
    events: msgspec.Raw  #: a list, as JSON

    def unfolded(self) -> list[AnyEvent]:
        """Raises msgspec.ValidationError for what no version of opgrid wrote."""
        return decode_events(bytes(self.events))


Report = AnyEvent | Told


class _Folded(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="TOLD"):
    """A ``Told`` that is to be written."""

    run_id: RunId
    step: StepKey
    attempt: int
    at: float
    count: int
    events: Sequence[AnyEvent]


_reports = msgspec.json.Decoder(list[Report])


def encode_reports(events: Sequence[AnyEvent]) -> bytes:
    """In their order, for ``decode_reports``."""
    return encode_legibly(list(_folded(events)))


def decode_reports(data: bytes | str) -> list[Report]:
    """Raises msgspec.ValidationError for what no version of opgrid wrote; what is in a ``Told`` is not looked at."""
    return _reports.decode(data)


def unfolded(reports: Iterable[Report]) -> Iterator[AnyEvent]:
    """All events, in their order. Raises msgspec.ValidationError for what no version of opgrid wrote."""
    for report in reports:
        if isinstance(report, Told):
            yield from report.unfolded()
        else:
            yield report


def _folded(events: Sequence[AnyEvent]) -> Iterator[AnyEvent | _Folded]:
    start, count = 0, len(events)
    while start < count:
        first: Any = events[start]
        end = start + 1
        if type(first) in ROUTINE and first.step:
            while end < min(count, start + MOST) and _is_beside(first, events[end]):
                end += 1
        if end == start + 1:
            yield first
        else:
            yield _Folded(first.run_id, first.step, first.attempt, first.at, end - start, events[start:end])
        start = end


def _is_beside(first: Any, event: Any) -> bool:
    return (
        type(event) in ROUTINE
        and event.step == first.step
        and event.attempt == first.attempt
        and event.run_id == first.run_id
    )
