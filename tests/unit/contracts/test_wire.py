"""How events travel, whatever is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from opgrid.contracts import wire
from opgrid.contracts.events import AnyEvent, ErrorInfo, HandledOutput, LogMessage
from opgrid.ids import RunId, StepKey
from tests.golden.record import FOLDER, KINDS, samples

RUN, STEP = RunId("r"), StepKey("s")


def test_what_is_no_text_in_an_event_is_written_out() -> None:
    """A name of a file may hold bytes that are not UTF-8; keys of metadata may be what JSON has no keys of."""
    error = ErrorInfo("ValueError", "no \udcff")
    metadata = {"counts": {"type": "json", "value": {None: 1, True: 2, 7: 3, "\udcfe": 4}}}
    told: list[AnyEvent] = [
        LogMessage(run_id=RUN, at=1.0, message="a\udcff", level=20, logger="l", step=STEP, attempt=1, error=error),
        HandledOutput(run_id=RUN, at=1.0, step=STEP, attempt=1, output="result", metadata=metadata),
    ]
    log, handled = wire.decode_events(wire.encode_events(told))
    assert isinstance(log, LogMessage)
    assert (log.message, log.error) == (r"a\udcff", ErrorInfo("ValueError", r"no \udcff"))
    assert isinstance(handled, HandledOutput)
    assert handled.metadata == {"counts": {"type": "json", "value": {"null": 1, "true": 2, "7": 3, r"\udcfe": 4}}}
    assert [wire.decode_event(wire.encode_event(each)) for each in told] == [log, handled]


def test_an_error_without_words_is_told_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    info = ErrorInfo.of(Mute())
    assert (info.kind, info.message) == ("Mute", "(RuntimeError when it was asked for its message)")


@pytest.mark.parametrize("version", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_what_earlier_versions_said_is_understood(version: Path) -> None:
    """Nothing of it is passed over, and nothing has another meaning."""
    said = msgspec.json.decode(version.read_bytes())
    for name, kind in KINDS.items():
        understood = msgspec.to_builtins(msgspec.json.decode(msgspec.json.encode(said[name]), type=kind))
        assert _without_new(understood, said[name]) == said[name]


def test_what_this_version_says_is_recorded() -> None:
    """Who takes a field away, adds a class, or gives something another meaning, raises ``VERSION`` and records it."""
    said = msgspec.json.decode((FOLDER / f"{wire.VERSION}.json").read_bytes())
    assert _without_new(samples(), said) == said


def _without_new(found: Any, said: Any) -> Any:
    """Optional fields may be added; they are left at their default where nobody has said them."""
    if isinstance(found, dict) and isinstance(said, dict):
        return {key: _without_new(value, said.get(key)) for key, value in found.items() if key in said}
    if isinstance(found, list | tuple) and isinstance(said, list):
        return [_without_new(value, said[at] if at < len(said) else None) for at, value in enumerate(found)]
    return found
