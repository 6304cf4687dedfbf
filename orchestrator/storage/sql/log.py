"""The log in its table: a row is one event, or several of one run that were told one after the other."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import ceil, inf
from operator import attrgetter
from typing import Any, Final, cast, get_args

import msgspec
from sqlalchemy import Connection, delete, func, literal_column, or_, select, text, update

from opgrid.contracts.compact import compacted, restored
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.events import (
    AnyEvent,
    AssetMaterialized,
    EngineNote,
    EventType,
    HookCompleted,
    HookSkipped,
    StepDispatched,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.facts import AssetKey
from opgrid.contracts.told import ROUTINE, Report, Told, unfolded
from opgrid.contracts.wire import decode_event, encode_events, encode_legibly
from opgrid.errors import EventLogInvalidForRun, PayloadRejected
from opgrid.ids import RunId
from orchestrator.storage.records import LEVELS, EventLogRecord, EventRecordsFilter, EventsFilter
from orchestrator.storage.sql.database import Database
from orchestrator.storage.sql.settled import STRIDE, counted, settled
from orchestrator.storage.sql.statements import Row
from orchestrator.storage.sql.tables import OPEN, events, runs

#: What steps tell as they go: to write eight rows a step takes more than all else that is done about a short one. Each
#: other event has a row of its own, for it is looked for in all runs.
_AS_WELL = EngineNote, HookCompleted, HookSkipped, StepDispatched, StepSkipped, StepStarted, StepSucceeded
_TOGETHER: Final = ROUTINE.union(_AS_WELL)
_SHARES: Final = _TOGETHER | {Told}  #: but the end of a step with so many outputs that it would be too long
#: Events of a row, at most: by as many, PostgreSQL counts on for each row (migration 0007).
MOST: Final = STRIDE
#: Characters of a row of several events, about: who wants one of them reads all.
_LONGEST: Final = 1 << 16
_SEVERAL: Final = "SEVERAL"
_TYPES: Final[dict[type, str]] = {kind: kind.TYPE.value for kind in get_args(AnyEvent)}
_encode: Final = msgspec.json.Encoder().encode
_several: Final = json_decoder(list[AnyEvent | list[AnyEvent]])
_IN_COMPANY: Final = frozenset(_TYPES[kind] for kind in _TOGETHER)
_ENTRY: Final = events.c.id, events.c.run_id, events.c.holds, events.c.body, events.c.packed
_OF_RUNS: Final = text("type >= 'PIPELINE' AND type < 'PIPELINF'")
_PATIENCE: Final = 1.0  #: seconds that what is being written is waited for
_LOOK: Final = 0.002  #: seconds until it is seen whether it is there; twice as long each time
_LONGEST_LOOK: Final = 0.05
_RUNS: Final = 500  #: that one statement names
_OF_ASSETS: Final = frozenset({EventType.ASSET_MATERIALIZATION, EventType.ASSET_OBSERVATION})
#: As the index says it, or it would not be used.
_UNNAMED_ASSET: Final = text("asset IS NULL AND type IN ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION')")
_by_number: Final = attrgetter("storage_id")
_LEVEL: Final = re.compile(rb'"level":(\d+)')
_LONGEST_ASSET: Final = 255  #: characters of the key of an asset that are kept for finding it
_FIRST_ROWS: Final = 16  #: of what is read in pages that grow: a row holds one event or ``MOST``


def rows_of(run_id: RunId, told: Sequence[Report]) -> Iterator[Row]:
    """In the columns of ``EVENT``."""
    together: list[Report] = []
    held = 0
    for report in told:
        kind = type(report)
        count = report.count if kind is Told else 1  # type: ignore[union-attr]
        alone = kind not in _SHARES or (kind is StepSucceeded and len(report.outputs) > MOST)  # type: ignore[union-attr]
        if together and (alone or held + count > MOST):
            yield from _rows(run_id, together, held)
            together, held = [], 0
        if not alone:
            together.append(report)
            held += count
        else:
            yield from _rows(run_id, [report], 1)
    if together:
        yield from _rows(run_id, together, held)


def _rows(run_id: RunId, told: Sequence[Report], held: int) -> Iterator[Row]:
    """Of what may share a row, if it is not too long for that."""
    if held == 1:
        (event,) = unfolded(told)
        yield _row_of(run_id, event, encode_legibly(event))
        return
    body = _body(told)
    if len(body) <= _LONGEST:
        yield _row_of_several(run_id, told[0].at, body, held)
    else:
        yield from _rows_of_long(run_id, unfolded(told))


def _rows_of_long(run_id: RunId, told: Iterable[AnyEvent]) -> Iterator[Row]:
    """As many as fit into a row together; one by itself, however long."""
    together: list[tuple[AnyEvent, bytes]] = []
    length = 0
    for event in told:
        body = encode_legibly(event)
        if together and length + len(body) > _LONGEST:
            yield _row_of_some(run_id, together)
            together, length = [], 0
        together.append((event, body))
        length += len(body)
    if together:
        yield _row_of_some(run_id, together)


def _row_of_some(run_id: RunId, some: Sequence[tuple[AnyEvent, bytes]]) -> Row:
    first, body = some[0]
    if len(some) == 1:
        return _row_of(run_id, first, body)
    return _row_of_several(run_id, first.at, b"[" + b",".join([body for _, body in some]) + b"]", len(some))


def _row_of(run_id: RunId, event: AnyEvent, body: bytes) -> Row:
    asset: tuple[str, ...] | None = getattr(event, "asset", None)
    step = getattr(event, "step", None) or None
    return run_id, _TYPES[type(event)], step, event.at, *_kept(body), None if asset is None else name_of(asset), 1


def _row_of_several(run_id: RunId, at: float, body: bytes, held: int) -> Row:
    return run_id, _SEVERAL, None, at, *_kept(body), None, held


def name_of(asset: Sequence[str]) -> str:
    """Text by which the events of an asset are found; long keys may share theirs."""
    return encode_legibly(asset).decode()[:_LONGEST_ASSET]


def _body(told: Sequence[Report]) -> bytes:
    """A list; in it, what was told by the way is a list of its own, as it came."""
    try:
        return _encode([report.events if type(report) is Told else report for report in told])
    except (UnicodeEncodeError, TypeError):
        return encode_events(list(unfolded(told)))


def _kept(body: bytes) -> tuple[str, bytes | None]:
    """``body`` and ``packed`` of its row."""
    packed = compacted(body)
    return (body.decode(), None) if packed is body else ("", packed)


def _written(row: Any) -> bytes:
    """What a row holds, as JSON. Raises PayloadRejected."""
    body: str = row.body
    return body.encode() if row.packed is None else restored(row.packed)


def _events_of(row: Any, may_hold: Callable[[bytes], bool] | None = None) -> list[tuple[int, AnyEvent]]:
    """With their numbers: that of a row is the number of its last event. None where ``may_hold``, asked for what is
    written there, says that none is wanted. Raises EventLogInvalidForRun.
    """
    try:
        written = _written(row)
        if may_hold is not None and not may_hold(written):
            return []
        if not written.startswith(b"["):
            return [(row.id, decode_event(written))]
        found = _flat(_several.decode(written))
        return list(enumerate(found, row.id - len(found) + 1))
    except (msgspec.DecodeError, PayloadRejected) as error:
        raise EventLogInvalidForRun(row.run_id, row.id, str(error)) from error


def _flat(listed: Iterable[AnyEvent | list[AnyEvent]]) -> list[AnyEvent]:
    found: list[AnyEvent] = []
    for each in listed:
        if isinstance(each, list):
            found += each
        else:
            found.append(each)
    return found


class EventLog(Database):
    """What is read of the log, and what is forgotten."""

    def read(self, run_id: RunId) -> Iterable[AnyEvent]:
        """The whole log of a run, oldest first."""
        return (event for _, event in self.events(run_id))

    def events(
        self, run_id: str, after: int = 0, limit: int | None = None, wanted: EventsFilter | None = None
    ) -> list[tuple[int, AnyEvent]]:
        query = select(*_ENTRY).where(events.c.run_id == run_id, events.c.id > after)
        if wanted is None:
            return self._found(query, limit, lambda number, _: number > after)
        query = query.where(*_where(wanted))
        return self._found(
            query, limit, lambda number, event: number > after and wanted.fits(event), may_hold=_may_hold(wanted)
        )

    def events_before(self, run_id: str, before: int, limit: int, wanted: EventsFilter) -> list[tuple[int, AnyEvent]]:
        query = select(*_ENTRY).where(events.c.run_id == run_id, events.c.id < before + MOST, *_where(wanted))
        return self._found(
            query,
            limit,
            lambda number, event: number < before and wanted.fits(event),
            ascending=False,
            may_hold=_may_hold(wanted),
        )

    def event_records(
        self, wanted: EventRecordsFilter, limit: int | None = None, ascending: bool = False
    ) -> list[EventLogRecord]:
        type = wanted.event_type.value
        named: Any = literal_column(f"'{type}'")  # no parameter: an index may be of this type alone
        query = select(*_ENTRY)
        bounds: list[tuple[Any, float | None, float | None]]
        if type in _IN_COMPANY:
            query = query.where(events.c.type.in_([named, _SEVERAL]))
            before = wanted.before_cursor
            bounds = [(events.c.id, wanted.after_cursor, None if before is None else before + MOST)]
        else:
            query = query.where(events.c.type == named)
            if type.startswith("PIPELINE"):
                query = query.where(_OF_RUNS)  # as their index says: what follows from something else is not seen
            after, until = wanted.times()
            bounds = [
                (events.c.id, wanted.after_cursor, wanted.before_cursor),
                (events.c.at, after if after > -inf else None, until if until < inf else None),
            ]
            if wanted.storage_ids is not None:
                query = query.where(events.c.id.in_(wanted.storage_ids))
        for column, above, below in bounds:
            if above is not None:
                query = query.where(column > above)
            if below is not None:
                query = query.where(column < below)
        query = query.where(*self._settled(_PATIENCE, wanted.after_cursor, wanted.before_cursor))
        if wanted.asset_key is None or wanted.event_type not in _OF_ASSETS:
            return [EventLogRecord(*each) for each in self._found(query, limit, wanted.fits, ascending)]
        found = []
        for of_asset in events.c.asset == name_of(wanted.asset_key.path), _UNNAMED_ASSET:
            found += self._found(query.where(of_asset), limit, wanted.fits, ascending)
        return sorted((EventLogRecord(*each) for each in found), key=_by_number, reverse=not ascending)[:limit]

    def _found(
        self,
        query: Any,
        limit: int | None,
        fits: Callable[[int, AnyEvent], bool],
        ascending: bool = True,
        may_hold: Callable[[bytes], bool] | None = None,
    ) -> list[tuple[int, AnyEvent]]:
        """(number, event) of the rows of ``query`` that fit, in the order of their numbers or against it."""
        query = query.order_by(events.c.id if ascending else events.c.id.desc())
        found: list[tuple[int, AnyEvent]] = []
        at_once = None if limit is None else max(1, min(limit, _FIRST_ROWS))
        page = query
        while True:
            rows = self._all(page.limit(at_once))
            for row in rows:
                held = _events_of(row, may_hold)
                found += [each for each in (held if ascending else reversed(held)) if fits(*each)]
                if limit is not None and len(found) >= limit:
                    return found[:limit]
            if at_once is None or len(rows) < at_once:
                return found
            last, at_once = rows[-1].id, 2 * at_once
            page = query.where(events.c.id > last if ascending else events.c.id < last)

    def event_counts(self, run_ids: Sequence[RunId], types: Collection[EventType]) -> dict[RunId, dict[EventType, int]]:
        apart = [each.value for each in types if each.value not in _IN_COMPANY]
        query = select(events.c.run_id, events.c.type, func.count().label("events"))
        query = query.where(events.c.run_id.in_(list(run_ids)), events.c.type.in_(apart))
        found: dict[RunId, dict[EventType, int]] = {}
        for row in self._all(query.group_by(events.c.run_id, events.c.type)):
            found.setdefault(RunId(row.run_id), {})[EventType(row.type)] = row.events
        shared = tuple(each for each in types if each.value in _IN_COMPANY)
        for run_id in run_ids if shared else ():  # their rows have to be read
            counts = Counter(event.TYPE for _, event in self.events(run_id, wanted=EventsFilter(shared)))
            if counts:
                found.setdefault(run_id, {}).update(counts)
        return found

    def materializations(self, asset_key: tuple[str, ...], after: int = 0) -> list[tuple[int, AssetMaterialized]]:
        wanted = EventRecordsFilter(EventType.ASSET_MATERIALIZATION, AssetKey(asset_key), after_cursor=after)
        found = self.event_records(wanted, ascending=True)
        return [(each.storage_id, cast(AssetMaterialized, each.event_log_entry)) for each in found]

    def _settled(self, patience: float = 0.0, after: float | None = None, before: float | None = None) -> Iterator[Any]:
        """The condition that an event is behind none that is still to appear: who goes on behind the last of them
        misses none. SQLite's show themselves in the order of their numbers. ``patience``: seconds to wait at most for
        what is being written now and is ``after`` a number and ``before`` one.
        """
        if self._engine.dialect.name != "postgresql":
            return
        with self._reading() as connection:
            last = counted(connection)
            until = settled(connection, last)
        goal = last if before is None else min(last, ceil(before) - 1)
        end, pause = time.monotonic() + patience, _LOOK
        while until < goal > (after or 0) and time.monotonic() < end:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK)
            with self._reading() as connection:
                until = settled(connection, last)
        yield events.c.id <= until

    def run_events(self, type: str, after: int, limit: int) -> list[tuple[int, RunId]]:
        """(number, run) of events of runs, oldest first; ``type`` is the value of an EventType."""
        query = select(events.c.id, events.c.run_id).where(_OF_RUNS, events.c.id > after, events.c.type == type)
        query = query.where(*self._settled())
        return [(row.id, RunId(row.run_id)) for row in self._all(query.order_by(events.c.id).limit(limit))]

    def behind(self, type: str, after: int, run_ids: Sequence[RunId]) -> set[RunId]:
        found: set[RunId] = set()
        for start in range(0, len(run_ids), _RUNS):
            query = select(events.c.run_id).where(_OF_RUNS, events.c.id > after, events.c.type == type)
            query = query.where(events.c.run_id.in_(run_ids[start : start + _RUNS]))
            found.update(RunId(row.run_id) for row in self._all(query))
        return found

    def last_event(self) -> int:
        """The number of the latest event of any run; 0 where there is none. All before it are there, too."""
        row = self._one(select(func.max(events.c.id).label("last")).where(*self._settled()))
        return row.last or 0

    def changed_runs(self, after: int, limit: int = 200) -> list[RunId]:
        # An expression: to find different run ids, SQLite would go through all of them in their index.
        run_id = events.c.run_id.concat("").label("run_id")
        query = select(run_id).where(events.c.id > after, events.c.run_id != "", *self._settled())
        query = query.distinct().limit(limit)
        return [RunId(row.run_id) for row in self._all(query)]

    def purge_logs(self, before: float | None, kept: int | None, limit: int) -> int:
        """Forget events of runs that ended earlier, or of ended runs all but the newest ``kept``; gives how many, some
        more than ``limit`` at most. How the runs themselves went stays.
        """
        old: list[Any] = [] if before is None else [runs.c.ended < before]
        ended = runs.c.status.not_in(OPEN), ~events.c.type.startswith("PIPELINE")
        going: list[int] = []
        cut: list[tuple[Any, int]] = []
        gone = 0
        with self._reading() as connection:  # nobody who writes waits for that
            edge = None if kept is None else connection.execute(_first_beyond(kept)).first()
            if edge is not None:
                old.append(events.c.id < edge.id + (edge.kept == 0))
            if not old:
                return 0
            query = select(events.c.id, events.c.holds).join(runs, runs.c.run_id == events.c.run_id)
            for row in connection.execute(query.where(or_(*old), *ended).order_by(events.c.id).limit(limit)):
                if gone >= limit:
                    break
                going.append(row.id)
                gone += row.holds
            if edge is not None and edge.kept:
                whole = select(*_ENTRY).join(runs, runs.c.run_id == events.c.run_id).where(events.c.id == edge.id)
                cut = [(row, edge.kept) for row in connection.execute(whole.where(*ended))]
        if not going and not cut:
            return 0
        with self._writing() as connection:
            forget_events(connection, events.c.id.in_(going))
            for row, some in cut:
                gone += row.holds - some
                _keep_last(connection, row, some)
        return gone


def _first_beyond(kept: int) -> Any:
    """The newest row that is not among the last ``kept`` events as a whole, and how many of these it holds."""
    newest = func.sum(events.c.holds).over(order_by=events.c.id.desc(), rows=(None, 0))
    counted = select(events.c.id, newest.label("newest"), events.c.holds).subquery()
    of_these = (kept - counted.c.newest + counted.c.holds).label("kept")
    return select(counted.c.id, of_these).where(counted.c.newest > kept).order_by(counted.c.id.desc()).limit(1)


def _keep_last(connection: Connection, row: Any, count: int) -> None:
    """Of a row of several events: the number of the row is that of the last."""
    body, packed = _kept(encode_events(_flat(_several.decode(_written(row)))[-count:]))
    connection.execute(update(events).where(events.c.id == row.id).values(body=body, packed=packed, holds=count))


def _where(wanted: EventsFilter) -> Iterator[Any]:
    """What is true of each row that holds one of these, and of few others that are not compressed."""
    several, packed = events.c.type == _SEVERAL, events.c.packed.is_not(None)
    if wanted.types:
        types = [each.value for each in wanted.types]
        yield events.c.type.in_(types if _IN_COMPANY.isdisjoint(types) else [*types, _SEVERAL])
    if wanted.level > logging.INFO:
        yield events.c.type.in_([_SEVERAL, *_types_of(wanted.level)])
    if wanted.step is not None:
        named = _named(wanted.step).decode()
        shown = several & or_(packed, events.c.body.contains(named, autoescape=True))
        yield or_(events.c.step == wanted.step, shown)
    if wanted.text:
        yield or_(packed, func.lower(events.c.body).contains(wanted.text.lower(), autoescape=True))


def _may_hold(wanted: EventsFilter) -> Callable[[bytes], bool]:
    """The same, of what is written there: to look takes a tenth of what it takes to read it."""
    types = [b'"type":"%s"' % each.value.encode() for each in wanted.types]
    named = None if wanted.step is None else _named(wanted.step)
    text = wanted.text.lower()
    level = wanted.level
    of_level = [b'"type":"%s"' % each.encode() for each in _types_of(level) if each != EventType.LOG_MESSAGE]

    def has_level(several: bytes) -> bool:
        return any(each in several for each in of_level) or any(int(each) >= level for each in _LEVEL.findall(several))

    def may_hold(several: bytes) -> bool:
        return (
            (level <= logging.INFO or has_level(several))  # which messages have where they do not say so
            and (not types or any(each in several for each in types))
            and (named is None or named in several)
            and (not text or text in several.decode().lower())
        )

    return may_hold


def _types_of(level: int) -> list[str]:
    """Of events that may have it, or a higher one."""
    return [EventType.LOG_MESSAGE.value, *(kind.value for kind, has in LEVELS.items() if has >= level)]


def _named(step: str) -> bytes:
    """As it stands in JSON, but for the first quote: LIKE is quick where the first letter is rare."""
    return encode_legibly(step)[1:]


def forget_events(connection: Connection, which: Any) -> None:
    """The number of the last event is not given to another one: sensors remember how far they have looked."""
    last = connection.execute(select(func.max(events.c.id))).scalar()
    connection.execute(delete(events).where(which, events.c.id != last))
    connection.execute(delete(events).where(events.c.run_id == "", events.c.id != last))
    gone = {"run_id": "", "type": "", "step": None, "holds": 1, "body": "", "packed": None, "asset": None}
    connection.execute(update(events).where(which, events.c.id == last).values(**gone))
