"""What a turn executes, written once: to build and compile a statement costs several times what it takes to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, starmap
from typing import Any, Final, Self

import msgspec
from sqlalchemy import (
    Connection,
    Dialect,
    Insert,
    LargeBinary,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from opgrid.contracts.status import RunStatus
from orchestrator.storage.records import LeaseLost
from orchestrator.storage.sql.settled import ABOVE
from orchestrator.storage.sql.tables import (
    contents,
    events,
    gates,
    instigators,
    launches,
    leases,
    partitions,
    pools,
    positions,
    reports,
    run_tags,
    runs,
    slots,
    steps,
)

_encode = msgspec.json.Encoder().encode

#: What PostgreSQL says where a fence refuses.
_DIVISION_BY_ZERO: Final = "22012"

#: Rows of one statement, the most first; with more, SQLite is no quicker.
_TOGETHER: Final = 128, 16

#: Rows from which on PostgreSQL is quicker with COPY, which takes one round trip more.
_COPIED: Final = 32

#: What a tick changes of where a schedule or sensor stands; whether it runs is for people to say.
_TICKED = ("ticked", "completed", "cursor", "last_run_key")


#: What is said of a run when it is stored.
_LATER: Final = frozenset({"id", "cancel", "retagged"})
_NEW_RUN: Final = tuple(name for name in runs.c.keys() if name not in _LATER)  # noqa: SIM118 - columns, not a dict


#: What is said of events when they are stored.
EVENT: Final = "run_id", "type", "step", "at", "body", "packed", "asset", "holds"

Row = tuple[Any, ...]


def tell(connection: Connection, sql: str, parameters: Any = (), many: bool = False) -> Any:
    """Execute what every turn does; the driver's cursor. What SQLAlchemy does around a statement takes several times
    as long as SQLite does. Raises what it raises.
    """
    with _driven(connection, sql) as cursor:
        if many:
            cursor.executemany(sql, parameters)
        else:
            cursor.execute(sql, parameters)
        return cursor


def _copy(connection: Connection, sql: str, rows: Iterable[Row]) -> None:
    """COPY ... FROM STDIN. Raises what ``tell`` raises."""
    with _driven(connection, sql) as cursor, cursor.copy(sql) as copy:
        for row in rows:
            copy.write_row(row)
    cursor.close()


@contextmanager
def in_one_trip(connection: Connection) -> Iterator[None]:
    """What is told in the block takes one round trip, on PostgreSQL: there is no answer before the end of it, none says
    how many rows it was about, and no COPY is in it. Raises what ``tell`` raises.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    with _driven(connection, "several statements") as cursor, cursor.connection.pipeline():
        yield


@contextmanager
def _driven(connection: Connection, sql: str) -> Iterator[Any]:
    cursor = connection.connection.cursor()
    driver = connection.dialect.loaded_dbapi
    try:
        yield cursor
    except driver.Error as error:
        lost = connection.dialect.is_disconnect(error, connection.connection, cursor)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            sql, None, error, driver.Error, connection_invalidated=lost, dialect=connection.dialect
        ) from error
    except BaseException as error:  # nobody knows how far it came, or SQLAlchemy takes for over what is not
        connection.invalidate(error)
        raise


@dataclass(frozen=True, slots=True)
class Prepared:
    """SQL in the words of one database, with its parameters by place."""

    sql: str
    order: Sequence[str]  #: the names of the parameters

    @classmethod
    def of(cls, statement: Any, dialect: Dialect, *columns: str) -> Self:
        compiled = statement.compile(dialect=dialect, column_keys=columns or None)
        return cls(str(compiled), compiled.positiontup or ())

    def __call__(self, connection: Connection, *rows: Mapping[str, Any]) -> int:
        """Run once, or once a row; how many rows of the table it was about."""
        given = [tuple([row[name] for name in self.order]) for row in rows]
        many = len(given) != 1
        cursor = tell(connection, self.sql, given if many else given[0], many=many)
        count: int = cursor.rowcount
        cursor.close()
        return count

    def first(self, connection: Connection, *parameters: Any) -> Row | None:
        """The first row that it finds."""
        cursor = tell(connection, self.sql, parameters)
        found: Row | None = cursor.fetchone()
        cursor.close()
        return found

    def all(self, connection: Connection, *parameters: Any) -> list[Row]:
        cursor = tell(connection, self.sql, parameters)
        found: list[Row] = cursor.fetchall()
        cursor.close()
        return found


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes many rows, each a tuple in the order of the columns."""

    sql: str
    #: What a row is in JSON, where all rows are one parameter: PostgreSQL takes a tenth of the time then.
    row_type: Callable[..., Any] | None = None
    several: Mapping[int, str] = field(default_factory=dict)  #: the same for so many rows: SQLite takes half the time
    copied: str = ""  #: COPY, where rows are only inserted: PostgreSQL takes half the time for many then
    before: str = ""  #: what COPY cannot do itself

    @classmethod
    def of(cls, statement: Any, dialect: Dialect, table: Table, *columns: str, before: str = "") -> Self:
        """``statement`` inserts these columns into the table. PostgreSQL selects ``before`` first."""
        if dialect.name == "postgresql":
            only_inserts = type(statement) is Insert
            given = _rows_of_json(table, columns, dialect, in_order=only_inserts)
            if before:
                given = given.select_from(text(f"({before}) AS first"))
            compiled = statement.from_select(columns, given).compile(dialect=dialect)
            copied = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN" if only_inserts else ""
            row_type = msgspec.defstruct("Row", [str(name) for name in columns], gc=False)
            return cls(str(compiled), row_type, copied=copied, before=before)
        compiled = statement.compile(dialect=dialect, column_keys=columns)
        assert tuple(compiled.positiontup) == columns
        sql, row = str(compiled), f"({', '.join('?' * len(columns))})"
        assert sql.count(row) == 1
        several = {count: sql.replace(row, ", ".join([row] * count)) for count in _TOGETHER}
        return cls(sql, several=several)

    def copies(self, rows: Sequence[Row]) -> bool:
        """Whether it writes them by COPY."""
        return self.copied != "" and len(rows) >= _COPIED

    def __call__(self, connection: Connection, rows: Sequence[Row]) -> None:
        """No row twice. Where they are inserted, in this order, which is that of their numbers."""
        if self.copies(rows):
            if self.before:
                tell(connection, self.before).close()
            _copy(connection, self.copied, rows)
            return
        if self.row_type is not None:
            everything = list(starmap(self.row_type, rows))
            tell(connection, self.sql, (_encode(everything).decode(),)).close()
            return
        done = 0
        for count, sql in self.several.items():
            end = len(rows) - (len(rows) - done) % count
            if done < end:
                groups = [tuple(chain.from_iterable(rows[at : at + count])) for at in range(done, end, count)]
                tell(connection, sql, groups, many=True).close()
                done = end
        if done < len(rows):
            tell(connection, self.sql, rows[done:], many=True).close()


@dataclass(frozen=True, slots=True)
class Fence:
    """That a lease is of an epoch, until the transaction ends. Where it is not, PostgreSQL refuses all that follows in
    the same round trip: it need not be asked before. To be called within ``refused``.
    """

    epoch: Prepared  #: of the lease ``of``, whose row is locked
    refusing: str = ""

    @classmethod
    def of(cls, epoch: Any, dialect: Dialect) -> Self:
        prepared = Prepared.of(epoch.with_for_update(), dialect)
        if dialect.name != "postgresql":
            return cls(prepared)
        return cls(prepared, f"SELECT 1 / CAST(coalesce(({prepared.sql}), -1) = %s AS integer)")

    def __call__(self, connection: Connection, of: str, epoch: int, whose: str) -> None:
        if self.refusing:
            tell(connection, self.refusing, (of, epoch)).close()
        elif self.epoch.first(connection, of) != (epoch,):
            raise LeaseLost(whose)


@dataclass(frozen=True, slots=True)
class Going:
    """That none of several runs has ended, in the same way. Who holds a lease of many is not told where somebody ends
    one of them.
    """

    over: Prepared  #: one of the runs, given as JSON, that has ended
    refusing: str = ""

    @classmethod
    def of(cls, over: Any, dialect: Dialect) -> Self:
        prepared = Prepared.of(over, dialect)
        if dialect.name != "postgresql":
            return cls(prepared)
        return cls(prepared, f"SELECT 1 / CAST(NOT EXISTS ({prepared.sql}) AS integer)")

    def __call__(self, connection: Connection, run_ids: Sequence[str], whose: str) -> None:
        these = _encode(run_ids).decode()
        if self.refusing:
            tell(connection, self.refusing, (these,)).close()
        elif self.over.first(connection, these) is not None:
            raise LeaseLost(whose)


@contextmanager
def refused(whose: str) -> Iterator[None]:
    """Raises LeaseLost, of whom is named, where a fence refuses what is told in the block."""
    try:
        yield
    except DBAPIError as error:
        if whose and getattr(error.orig, "sqlstate", None) == _DIVISION_BY_ZERO:
            raise LeaseLost(whose) from error
        raise


def _rows_of_json(table: Table, columns: Sequence[str], dialect: Dialect, in_order: bool) -> Any:
    """Bytes are in base64 there. ``in_order``: as they are in the list."""
    binary = {name for name in columns if isinstance(table.c[name].type, LargeBinary)}
    process = dialect.type_compiler_instance.process
    types = ", ".join(f"{name} {'TEXT' if name in binary else process(table.c[name].type)}" for name in columns)
    values = (f"decode(given.{name}, 'base64')" if name in binary else f"given.{name}" for name in columns)
    numbered = " WITH ORDINALITY" if in_order else ""
    given = text(f"ROWS FROM (json_to_recordset(:rows) AS ({types})){numbered} AS given")
    found: Any = select(*map(literal_column, values)).select_from(given)
    return found.order_by(text("ordinality")) if in_order else found


def _said(status: RunStatus) -> Any:
    """In the text of the statement: as a parameter, it would have to be given each time."""
    return literal_column(f"'{status.value}'")


def _texts_of_json(dialect: Dialect) -> Any:
    """The texts in a list that is one parameter: one statement for however many."""
    if dialect.name == "postgresql":
        return select(text("json_array_elements_text(CAST(:these AS json))"))
    return select(text("value FROM json_each(:these)"))


@dataclass(frozen=True, slots=True)
class Statements:
    insert_events: Writer
    last_event: Prepared | None  #: its number, where who writes the next one has to count on; PostgreSQL counts itself
    upsert_steps: Writer
    upsert_position: Prepared
    keep_content: Prepared
    add_partition: Prepared
    add_launch: Prepared
    add_lease: Prepared
    add_slot: Prepared
    free_slot: Prepared  #: of the run ``of`` and the step ``whose``
    add_gate: Prepared
    tick_instigator: Prepared
    upsert_pool: Prepared
    upsert_report: Prepared
    add_report: Prepared  #: where there is none of that name
    insert_run: Prepared
    tag_run: Prepared  #: ``tag`` is ``said`` of the run ``of``, over what was said before
    epoch: Prepared  #: of the lease ``lease``, locked until the transaction ends
    held: Fence  #: of leases by name
    owned: Fence  #: of runs
    going: Going
    owner: Prepared  #: of the run ``of``, locked until the transaction ends
    run: Prepared  #: all of the run ``of``
    these_runs: Prepared  #: the same of runs whose ids are one parameter, as JSON
    still_queued: Prepared  #: which of them are QUEUED, locked until the transaction ends
    open_runs: Prepared  #: of runs that have not ended, what an ``OpenRun`` says, oldest first
    position: Prepared  #: of the stream ``of``
    set_owner: Prepared  #: of the run ``of``
    keep_owner: Prepared  #: until ``until``, of the run ``of``, if it is ``whose``
    drop_owner: Prepared  #: of the run ``of``, if it is ``whose``
    set_status: Prepared  #: ``status_now`` of the run ``of``; ``started_at`` where it is not None
    end_run: Prepared  #: ``status_now`` of the run ``of``, which ended at ``ended_at`` and is owned by nobody then


def insert_for(dialect: Dialect) -> Any:
    """The INSERT of a database that can also change what is there already."""
    return postgresql.insert if dialect.name == "postgresql" else sqlite.insert


def statements_for(dialect: Dialect) -> Statements:
    """The dialect of SQLite or of PostgreSQL."""
    upsert = insert_for(dialect)
    step, position = upsert(steps), upsert(positions)
    upsert_steps = step.on_conflict_do_update(
        index_elements=[steps.c.run_id, steps.c.step],
        set_={
            "status": step.excluded.status,
            "attempt": step.excluded.attempt,
            "started": func.coalesce(step.excluded.started, steps.c.started),
            "ended": step.excluded.ended,
            "worker": func.coalesce(step.excluded.worker, steps.c.worker),
        },
    )
    upsert_position = position.on_conflict_do_update(
        index_elements=[positions.c.stream], set_={"position": position.excluded.position}
    )
    keep_content = upsert(contents).on_conflict_do_nothing(index_elements=[contents.c.hash])
    add_partition = upsert(partitions).on_conflict_do_nothing(index_elements=[partitions.c.name, partitions.c.key])
    add_launch = upsert(launches).on_conflict_do_nothing(index_elements=[launches.c.origin, launches.c.key])
    add_lease = upsert(leases).on_conflict_do_nothing(index_elements=[leases.c.name])
    add_slot = upsert(slots).on_conflict_do_nothing(index_elements=[slots.c.run_id, slots.c.step])
    free_slot = delete(slots).where(slots.c.run_id == bindparam("of"), slots.c.step == bindparam("whose"))
    add_gate = upsert(gates).on_conflict_do_nothing(index_elements=[gates.c.run_id, gates.c.step])
    state, pool = upsert(instigators), upsert(pools)
    tick_instigator = state.on_conflict_do_update(
        index_elements=[instigators.c.location, instigators.c.name],
        set_={name: state.excluded[name] for name in _TICKED},
    )
    upsert_pool = pool.on_conflict_do_update(index_elements=[pools.c.name], set_={"slots": pool.excluded.slots})
    report, tag = upsert(reports), upsert(run_tags).inline()
    upsert_report = report.on_conflict_do_update(
        index_elements=[reports.c.name], set_={"at": report.excluded.at, "body": report.excluded.body}
    )
    add_report = report.on_conflict_do_nothing(index_elements=[reports.c.name])
    tagged = select(runs.c.id).where(runs.c.run_id == bindparam("of")).scalar_subquery()
    tag_run = tag.values(run=tagged, key=bindparam("tag"), value=bindparam("said")).on_conflict_do_update(
        index_elements=[run_tags.c.run, run_tags.c.key], set_={"value": tag.excluded.value}
    )
    insert_run = insert(runs).inline()
    # SQLite's writing transactions exclude each other: it has no row locks, and SQLAlchemy leaves them out there.
    epoch = select(leases.c.epoch).where(leases.c.name == bindparam("lease"))
    owner = select(runs.c.owner, runs.c.owner_expires, runs.c.epoch).where(runs.c.run_id == bindparam("of"))
    set_owner = update(runs).where(runs.c.run_id == bindparam("of"))
    run = select(runs).where(runs.c.run_id == bindparam("of"))
    these = runs.c.run_id.in_(_texts_of_json(dialect))
    still_queued = select(runs.c.run_id).where(these, runs.c.status == _said(RunStatus.QUEUED)).with_for_update()
    going = [_said(status) for status in RunStatus if not status.is_final]
    # Not those that are final: SQLite would find these by their index, and then look through all that ever ended.
    over = select(runs.c.run_id).where(these, runs.c.status.not_in(going))
    open_runs = (
        select(runs.c.run_id, runs.c.status, runs.c.shard, runs.c.cancel, runs.c.retagged)
        .where(runs.c.status.in_(going))
        .order_by(runs.c.id)
    )
    position_of = select(positions.c.position).where(positions.c.stream == bindparam("of"))
    owned = update(runs).where(runs.c.run_id == bindparam("of"), runs.c.owner == bindparam("whose"))
    keep_owner = owned.values(owner_expires=bindparam("until"))
    drop_owner = owned.values(owner=null(), owner_expires=null())
    is_open = text("status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')")
    open_run = update(runs).where(runs.c.run_id == bindparam("of"), is_open).values(status=bindparam("status_now"))
    set_status = open_run.values(started=func.coalesce(bindparam("started_at"), runs.c.started))
    end_run = open_run.values(ended=bindparam("ended_at"), owner=null(), owner_expires=null())
    counts = dialect.name == "postgresql"
    event = EVENT if counts else ("id", *EVENT)
    last_event = None if counts else Prepared.of(select(func.max(events.c.id)), dialect)
    return Statements(
        Writer.of(insert(events).inline(), dialect, events, *event, before=ABOVE),
        last_event,
        Writer.of(upsert_steps, dialect, steps, *steps.c.keys()),
        Prepared.of(upsert_position, dialect, *positions.c.keys()),
        Prepared.of(keep_content, dialect, *contents.c.keys()),
        Prepared.of(add_partition, dialect, "name", "key"),
        Prepared.of(add_launch, dialect, *launches.c.keys()),
        Prepared.of(add_lease, dialect, "name", "epoch"),
        Prepared.of(add_slot, dialect, *slots.c.keys()),
        Prepared.of(free_slot, dialect),
        Prepared.of(add_gate, dialect, "run_id", "step", "question", "since", "due"),
        Prepared.of(tick_instigator, dialect, *instigators.c.keys()),
        Prepared.of(upsert_pool, dialect, *pools.c.keys()),
        Prepared.of(upsert_report, dialect, *reports.c.keys()),
        Prepared.of(add_report, dialect, *reports.c.keys()),
        Prepared.of(insert_run, dialect, *_NEW_RUN),
        Prepared.of(tag_run, dialect),
        Prepared.of(epoch.with_for_update(), dialect),
        Fence.of(epoch, dialect),
        Fence.of(select(runs.c.epoch).where(runs.c.run_id == bindparam("of")), dialect),
        Going.of(over, dialect),
        Prepared.of(owner.with_for_update(), dialect),
        Prepared.of(run, dialect),
        Prepared.of(select(runs).where(these), dialect),
        Prepared.of(still_queued, dialect),
        Prepared.of(open_runs, dialect),
        Prepared.of(position_of, dialect),
        Prepared.of(set_owner, dialect, "owner", "owner_expires", "epoch"),
        Prepared.of(keep_owner, dialect),
        Prepared.of(drop_owner, dialect),
        Prepared.of(set_status, dialect),
        Prepared.of(end_run, dialect),
    )


def as_json(names: Sequence[str]) -> str:
    return msgspec.json.encode(names).decode()
