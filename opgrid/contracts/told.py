"""What attempts tell by the way: nothing is decided on it, and it goes from the worker to the log as it was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from opgrid.contracts.decoding import json_decoder
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


_reports = json_decoder(list[Report])


def encode_reports(events: Sequence[AnyEvent]) -> bytes:
    """In their order, for ``decode_reports``."""
    return encode_legibly(_folded(events))


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


def _folded(events: Iterable[AnyEvent]) -> list[AnyEvent | _Folded]:
    groups: list[AnyEvent | list[Any]] = []
    group: list[Any] = []
    event: Any
    for event in events:
        if type(event) not in ROUTINE or not event.step:
            group = []
            groups.append(event)
            continue
        if group and len(group) < MOST:
            first = group[0]
            if event.step == first.step and event.attempt == first.attempt and event.run_id == first.run_id:
                group.append(event)
                continue
        group = [event]
        groups.append(group)
    return [_one(each) if type(each) is list else each for each in groups]  # type: ignore[misc]


def _one(group: list[Any]) -> AnyEvent | _Folded:
    first = group[0]
    return first if len(group) == 1 else _Folded(first.run_id, first.step, first.attempt, first.at, len(group), group)
