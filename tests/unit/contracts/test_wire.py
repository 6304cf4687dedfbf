"""How events travel, whatever is in them."""

from __future__ import annotations

from opgrid.contracts import wire
from opgrid.contracts.events import AnyEvent, ErrorInfo, HandledOutput, LogMessage
from opgrid.ids import RunId, StepKey

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
