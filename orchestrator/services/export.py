"""A run as one file, to be looked at elsewhere: what is stored of it, without any value that its steps computed."""

from __future__ import annotations

import time

import msgspec
import zstandard

from opgrid.contracts.decoding import msgpack_decoder
from opgrid.contracts.events import RunCanceled, RunCanceling
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget, RunBrief
from opgrid.contracts.wire import decode_event, encode_event
from opgrid.errors import OpGridError
from opgrid.ids import RunId
from orchestrator.planner.plan import Plan
from orchestrator.planner.snapshot import JobSnapshot
from orchestrator.storage.protocols import Store
from orchestrator.storage.records import RunRecord

_FORMAT = 1
_MARK = b"opgrid-run\n"


class NoExport(OpGridError):
    """A file that is no exported run, or one of a later version."""

    exit_code = 2


class _Export(msgspec.Struct, frozen=True):
    format: int
    run_id: str
    job: str
    status: RunStatus
    brief: RunBrief
    code: CodeTarget | None
    created: float
    started: float | None
    ended: float | None
    plan: bytes
    snapshot: bytes
    events: list[str]


def exported(store: Store, run: RunRecord) -> bytes:
    """A run that goes on is told as far as it has come."""
    found = _Export(
        _FORMAT,
        run.run_id,
        run.job,
        run.status,
        run.brief,
        run.code,
        run.created,
        run.started,
        run.ended,
        store.content(run.plan),
        store.content(run.snapshot),
        [encode_event(event) for event in store.read(run.run_id)],
    )
    return _MARK + zstandard.compress(msgspec.msgpack.encode(found))


def imported(store: Store, data: bytes) -> RunId:
    """Store it as it was. Raises NoExport, RunAlreadyExists."""
    if not data.startswith(_MARK):
        raise NoExport("The file is no exported run.")
    try:
        with zstandard.ZstdDecompressor().stream_reader(data[len(_MARK) :]) as reader:
            found = msgpack_decoder(_Export).decode(reader.read())
        events = [decode_event(event) for event in found.events]
    except (zstandard.ZstdError, msgspec.ValidationError, msgspec.DecodeError) as error:
        raise NoExport(f"The file is no exported run of this version: {error}") from error
    plan, snapshot = Plan.from_json(found.plan), JobSnapshot.from_json(found.snapshot)
    run_id = RunId(found.run_id)
    status, ended = found.status, found.ended
    if not status.is_final:  # nobody here drives it
        now = time.time()
        status, ended = RunStatus.CANCELED, now
        events += [
            RunCanceling(run_id=run_id, at=now, reason="It went on when it was exported."),
            RunCanceled(run_id=run_id, at=now),
        ]
    record = RunRecord(
        run_id,
        found.job,
        status,
        found.brief,
        plan.hash,
        snapshot.hash,
        found.code,
        found.created,
        found.started,
        ended,
    )
    store.create_run(record, found.plan, found.snapshot, events)
    return run_id
