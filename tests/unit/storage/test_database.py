"""Databases that are new, old, newer than this code, or not there."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import string
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, make_url, text
from sqlalchemy.exc import IntegrityError

from opgrid.contracts.compact import LONG, compacted
from opgrid.contracts.events import AssetMaterialized, EventType, LogMessage, StepDispatched, StepSucceeded
from opgrid.contracts.facts import AssetKey
from opgrid.contracts.tasks import OutputRef
from opgrid.contracts.wire import decode_events, encode_event
from opgrid.errors import DatabaseUnreachable, DatabaseUnusable, EventLogInvalidForRun, SettingsError, ValueRefused
from opgrid.ids import RunId, StepKey
from orchestrator.storage.records import EventRecordsFilter, EventsFilter
from orchestrator.storage.service_records import AuditEntry
from orchestrator.storage.sql.engine import open_engine
from orchestrator.storage.sql.log import MOST
from orchestrator.storage.sql.migrate import FOLDER, HEAD, upgrade, version_of
from orchestrator.storage.sql.statements import _NEW_RUN
from orchestrator.storage.sql.store import SqlStore
from orchestrator.storage.sql.tables import metadata


def test_the_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_migrations_make_the_tables_of_the_code(database_url: str) -> None:
    engine = open_engine(database_url)
    assert version_of(engine) is None
    upgrade(engine, "0001")
    upgrade(engine)
    assert version_of(engine) == HEAD
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_new_database_is_as_if_it_had_been_migrated(tmp_path: Path) -> None:
    new, migrated = (open_engine(f"sqlite:///{tmp_path / name}") for name in ("new.db", "migrated.db"))
    upgrade(new)
    upgrade(migrated, "0001")
    upgrade(migrated)
    assert version_of(new) == version_of(migrated)
    assert _schema(new) == _schema(migrated)
    new.dispose()
    migrated.dispose()


def _schema(engine: Engine) -> dict[str, Any]:
    """Of a SQLite database, by table; columns and indexes in no order."""
    with engine.connect() as connection:

        def rows(query: str) -> list[Any]:
            return sorted((tuple(row) for row in connection.execute(text(query))), key=repr)

        found: dict[str, Any] = {}
        for (table,) in rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
            columns = rows(f"SELECT name, upper(type), \"notnull\", dflt_value, pk FROM pragma_table_info('{table}')")
            keys = rows(f'SELECT "table", "from", "to" FROM pragma_foreign_key_list(\'{table}\')')
            indexes = []
            for name, unique, origin, partial in rows(
                f"SELECT name, \"unique\", origin, partial FROM pragma_index_list('{table}')"
            ):
                parts = rows(f"SELECT seqno, name, \"desc\", coll FROM pragma_index_xinfo('{name}') WHERE key")
                (written,) = rows(f"SELECT sql FROM sqlite_master WHERE name = '{name}'")
                where = (written[0] or "").partition(" WHERE ")[2]
                indexes.append((name, unique, origin, partial, parts, where))
            found[table] = columns, keys, indexes
        return found


def test_many_may_find_a_new_database_at_once(database_url: str) -> None:
    code = "import sys; from orchestrator.storage.sql.store import SqlStore; SqlStore(sys.argv[1]).close()"
    command = [sys.executable, "-c", code, database_url]
    starting = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[1] for process in starting] == [""] * 4
    engine = open_engine(database_url)
    assert version_of(engine) == HEAD
    engine.dispose()


def test_threads_may_find_new_databases_at_once(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(6)]
    ready = Barrier(len(urls))

    def opened(url: str) -> str | None:
        ready.wait()
        engine = open_engine(url)
        try:
            with closing(SqlStore(url)):
                return version_of(engine)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(len(urls)) as threads:
        assert list(threads.map(opened, urls)) == [HEAD] * len(urls)


def test_a_database_that_is_up_to_date_needs_no_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'opgrid.db'}"
    SqlStore(url).close()
    code = (
        "import sys; from orchestrator.storage.sql.store import SqlStore; SqlStore(sys.argv[1]).close(); "
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_database_has_an_identity_that_stays(database_url: str, tmp_path: Path) -> None:
    ready = Barrier(4)

    def identity(_: int) -> str:
        with closing(SqlStore(database_url)) as store:
            ready.wait()
            return store.identity()

    with ThreadPoolExecutor(4) as threads:
        (found,) = set(threads.map(identity, range(4)))
    with closing(SqlStore(database_url)) as store, closing(SqlStore(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        assert store.identity() == found != other.identity()


def test_a_backup_has_the_identity_of_its_database(tmp_path: Path) -> None:
    path, backup = tmp_path / "opgrid.db", tmp_path / "backup.db"
    with closing(SqlStore(f"sqlite:///{path}")) as store:
        found = store.identity()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM INTO ?", (str(backup),))
    with closing(SqlStore(f"sqlite:///{backup}")) as store:
        assert store.identity() == found


def test_a_newer_database_is_left_alone(database_url: str) -> None:
    SqlStore(database_url).close()
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseUnreachable, match="newer opgrid .*'9999'"):
        SqlStore(database_url)
    assert version_of(engine) == "9999"
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:hunter2@127.0.0.1:1/none?connect_timeout=2",
        "postgresql://127.0.0.1:1/none?connect_timeout=2&user=someone&password=hunter2&sslpassword=hunter2",
        "sqlite:////proc/none/opgrid.db",
        "sqlite:////dev/null",
    ],
)
def test_a_database_out_of_reach_is_told_without_its_password(url: str) -> None:
    with pytest.raises(DatabaseUnreachable, match="OPGRID_DATABASE_URL") as told:
        SqlStore(url)
    assert str(told.value).startswith(
        (
            "The folder /proc/none of",
            f"The database {re.sub('&(ssl)?password=hunter2', '', url).replace('hunter2', '***')} cannot",
        )
    )
    assert told.value.exit_code == 4


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("not a url", "not a database URL"),
        ("sqlite://", "names none"),
        ("sqlite:///:memory:", "names none"),
        ("mysql://host/db", "'mysql'"),
        ("postgresql://someone:hunter2@host:port/db", "not a database URL"),
        ("postgresql://someone:a/b@hunter2@host:port/db", "not a database URL"),
        ("postgresql:/host/db?user=someone&password=hunter2", "not a database URL"),
        ("postgresql://someone:hunter2@host/db?prepare_threshold=soon", "prepare_threshold .* not 'soon'"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as told:
        open_engine(url)
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("count", [1, 100])
def test_a_turn_whose_connection_is_cut_writes_nothing_and_the_next_has_another(database_url: str, count: int) -> None:
    store = SqlStore(database_url)
    wrote = [LogMessage(run_id=RunId("r"), at=1.0, message="one")] * count

    def cut(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            engine = open_engine(database_url)
            with engine.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({number})")
            engine.dispose()
        else:
            driver: Any = connection.connection.driver_connection
            driver.close()

    with pytest.raises(DatabaseUnreachable, match="cannot be used: "), store.turn() as turn:
        turn.append(RunId("r"), wrote)
        cut(turn._connection)
    assert list(store.read(RunId("r"))) == []
    with store.turn() as turn:
        turn.append(RunId("r"), wrote)
    assert list(store.read(RunId("r"))) == wrote
    store.close()


def test_a_full_disk_is_told_where_sqlite_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.db").mkdir()
    with pytest.raises(DatabaseUnreachable, match=r"unable to open database file\. See"):
        SqlStore(f"sqlite:///{tmp_path / 'a.db'}")
    room = os.statvfs(tmp_path)
    none = os.statvfs_result((*room[:4], 0, *room[5:10]))
    monkeypatch.setattr(os, "statvfs", lambda folder: none)
    with pytest.raises(DatabaseUnreachable, match=rf"file \(there is no room left in {tmp_path}\)\. See"):
        SqlStore(f"sqlite:///{tmp_path / 'a.db'}")


def test_what_turns_execute_stays_prepared_whatever_is_read_in_between(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    for number in range(8):
        with store.turn() as turn:
            turn.append(RunId("r"), [LogMessage(run_id=RunId("r"), at=1.0, message=str(number))])
        assert store.position("s") == ""
    with store.turn() as turn:
        turn.append(RunId("r"), [])
        prepared = turn._connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()
    assert any(statement.startswith("INSERT INTO events") for statement in prepared)
    store.close()


def test_a_read_whose_statement_is_not_what_was_prepared_any_more_fails_once(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    for _ in range(8):
        assert store.position("s") == ""
    other = open_engine(postgres_url)
    with other.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE positions ALTER COLUMN position TYPE varchar(500)")
    with pytest.raises(DatabaseUnreachable, match="cached plan"):
        store.position("s")
    for _ in range(8):
        assert store.position("s") == ""
    other.dispose()
    store.close()


@pytest.mark.parametrize(("said", "wanted"), [("none", None), ("0", 0), ("7", 7)])
def test_how_soon_postgresql_prepares_statements_can_be_said(postgres_url: str, said: str, wanted: int | None) -> None:
    mark = "&" if "?" in postgres_url else "?"
    engine = open_engine(f"{postgres_url}{mark}prepare_threshold={said}")
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.prepare_threshold == wanted
        prepared = [connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar() for _ in "123"]
    assert (prepared[-1] > 0) is (wanted == 0)
    engine.dispose()


def test_who_finds_the_database_locked_for_too_long_is_told_so(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=10")
    with closing(sqlite3.connect(tmp_path / "opgrid.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnreachable, match="cannot be used: database is locked"), store.turn():
            pass
        other.execute("ROLLBACK")
    with store.turn() as turn:
        turn.append(RunId("r"), [LogMessage(run_id=RunId("r"), at=1.0, message="one")])
    store.close()


def test_who_comes_next_gets_the_connection_that_was_used_last(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'runs.db'}")

    def used() -> object:
        with engine.connect() as connection:
            return connection.connection.dbapi_connection

    with engine.connect(), engine.connect():
        pass  # now there are two
    assert used() is used() is used()
    engine.dispose()


def test_a_log_of_before_events_shared_rows_goes_on(database_url: str) -> None:
    engine = open_engine(database_url)
    upgrade(engine, "0006")
    said = [LogMessage(run_id=RunId("r"), at=float(number), message=f"line {number}") for number in range(5)]
    with engine.begin() as connection:
        for event in said[:2]:
            row = {"run_id": "r", "type": "LOG_MESSAGE", "at": event.at, "body": encode_event(event)}
            statement = "INSERT INTO events (run_id, type, at, body) VALUES (:run_id, :type, :at, :body)"
            connection.execute(text(statement), row)
    engine.dispose()
    with closing(SqlStore(database_url)) as store:
        assert store.events("r") == [(1, said[0]), (2, said[1])]
        with store.turn() as turn:
            turn.append(RunId("r"), said[2:])
        numbers = [number for number, _ in store.events("r")]
        assert [event for _, event in store.events("r", 1)] == said[1:]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("count", [1, 2, 64, 65, 200])
def test_what_a_turn_says_of_a_run_takes_few_rows(database_url: str, count: int) -> None:
    with closing(SqlStore(database_url)) as store:
        with store.turn() as turn:
            turn.append(RunId("r"), [LogMessage(run_id=RunId("r"), at=1.0, message="one")] * count)
        with store._engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT holds FROM events ORDER BY id").scalars().all()
        numbers = [number for number, _ in store.events("r")]
    assert rows == [MOST] * (count // MOST) + [count % MOST] * (count % MOST > 0)
    assert len(set(numbers)) == count and min(numbers) > 0


def lines(count: int, words: str = "as before") -> list[LogMessage]:
    return [LogMessage(run_id=RunId("r"), at=float(at), message=f"{words} {at}") for at in range(count)]


@pytest.mark.parametrize("count", [2, 64, 64 * 40])
def test_rows_of_several_are_compressed_where_they_are_long(database_url: str, count: int) -> None:
    with closing(SqlStore(database_url)) as store:
        with store.turn() as turn:
            turn.append(RunId("r"), lines(count))
        with store._engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT length(body), length(packed) FROM events").all()
        assert [event for _, event in store.events("r")] == lines(count)
        assert [event for _, event in store.events("r", wanted=EventsFilter(text="BEFORE 1"))] == [
            line for line in lines(count) if "before 1" in line.message
        ]
    if count < 64:
        assert [packed for _, packed in found] == [None]
    else:
        assert all(body == 0 and packed < LONG / 2 for body, packed in found)


def test_a_long_event_is_compressed_in_a_row_of_its_own(database_url: str) -> None:
    step = StepKey("s")
    long = LogMessage(run_id=RunId("r"), at=1.0, step=step, message="X" * (1 << 17))
    with closing(SqlStore(database_url)) as store:
        for said in ([long], [*lines(3), long, *lines(4)]):
            with store.turn() as turn:
                turn.append(RunId("r"), said)
        with store._engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT type, step, body, holds FROM events ORDER BY id").all()
        everything = [event for _, event in store.events("r")]
        for wanted in (EventsFilter(text="xxx"), EventsFilter(step="s"), EventsFilter((EventType.LOG_MESSAGE,), "s")):
            assert [event for _, event in store.events("r", wanted=wanted)] == [long, long]
    assert everything == [long, *lines(3), long, *lines(4)]
    several = "SEVERAL", None
    assert [(each.type, each.step) for each in found] == [("LOG_MESSAGE", "s"), several, ("LOG_MESSAGE", "s"), several]
    assert [(bool(each.body), each.holds) for each in found] == [(False, 1), (True, 3), (False, 1), (True, 4)]


def test_the_end_of_a_large_fan_out_is_in_a_row_of_its_own(database_url: str) -> None:
    run, step = RunId("r"), StepKey("s")
    refs = [OutputRef(run, step, mapping_key=str(number)) for number in range(MOST + 1)]
    few, many = (
        StepSucceeded(run_id=run, at=1.0, step=step, attempt=1, outputs=tuple(refs[:count]))
        for count in (MOST, MOST + 1)
    )
    with closing(SqlStore(database_url)) as store:
        with store.turn() as turn:
            turn.append(run, [*lines(3), few, many, *lines(4)])
        with store._engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT type, step, holds FROM events ORDER BY id").all()
        assert [event for _, event in store.events("r")] == [*lines(3), few, many, *lines(4)]
    assert [tuple(each) for each in found] == [("SEVERAL", None, 4), ("STEP_SUCCESS", "s", 1), ("SEVERAL", None, 4)]


def test_letters_of_any_language_are_found_in_either_case(database_url: str) -> None:
    with closing(SqlStore(database_url)) as store:
        with store.turn() as turn:
            turn.append(RunId("r"), lines(64, "GRÜẞE \u0416"))
        assert len(store.events("r", wanted=EventsFilter(text="grüße ж 7"))) == 1


def test_a_row_that_does_not_decompress_is_told(database_url: str) -> None:
    with closing(SqlStore(database_url)) as store:
        with store.turn() as turn:
            turn.append(RunId("r"), lines(64))
        with store._engine.begin() as connection:
            packed = connection.execute(text("SELECT packed FROM events")).scalar_one()
            connection.execute(text("UPDATE events SET packed = :packed"), {"packed": packed[:-5]})
        with pytest.raises(EventLogInvalidForRun, match="does not decompress"):
            store.events("r")


def test_an_older_version_finds_a_log_as_it_wrote_them(database_url: str) -> None:
    with closing(SqlStore(database_url)) as store, store.turn() as turn:
        turn.append(RunId("r"), lines(64 * 9))
    engine = open_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    script = ScriptDirectory.from_config(config)
    context = EnvironmentContext(config, script, fn=lambda rev, _: script._downgrade_revs("0007", rev))
    with context as environment, engine.begin() as connection:
        environment.configure(connection=connection, target_metadata=metadata)
        environment.run_migrations()
    with engine.connect() as connection:
        bodies = connection.execute(text("SELECT body FROM events ORDER BY id")).scalars().all()
    assert [event for body in bodies for event in decode_events(body)] == lines(64 * 9)
    engine.dispose()
    with closing(SqlStore(database_url)) as store:  # and this one finds that
        assert [event for _, event in store.events("r")] == lines(64 * 9)


def test_a_log_tells_what_is_no_text_as_well(database_url: str) -> None:
    with closing(SqlStore(database_url)) as store:
        with store.turn() as turn:
            said = ("before", "a name \udcff", "after")
            turn.append(RunId("r"), [LogMessage(run_id=RunId("r"), at=1.0, message=each) for each in said])
        told = [event.message for _, event in store.events("r") if isinstance(event, LogMessage)]
    assert told == ["before", r"a name \udcff", "after"]


def test_events_are_counted_wherever_they_lie(database_url: str) -> None:
    step = StepKey("s")
    with closing(SqlStore(database_url)) as store:
        with store.turn() as turn:
            made = AssetMaterialized(run_id=RunId("r"), at=1.0, step=step, attempt=1, asset=("t",))
            turn.append(RunId("r"), [*lines(70), made])
        kinds = [EventType.LOG_MESSAGE, EventType.ASSET_MATERIALIZATION, EventType.STEP_START]
        counted = store.event_counts([RunId("r"), RunId("none")], kinds)
    assert counted == {"r": {EventType.LOG_MESSAGE: 70, EventType.ASSET_MATERIALIZATION: 1}}


@pytest.mark.postgres
def test_connections_that_were_cut_while_nobody_used_them_are_replaced(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.storage.sql.engine._FRESH", 0.0)
    store = SqlStore(postgres_url)
    with store._writing(), store._writing():
        pass  # there are two
    cut_all(postgres_url)
    assert store.run("r") is None
    with store.turn() as turn:
        turn.append(RunId("r"), [LogMessage(run_id=RunId("r"), at=1.0, message="one")])
    assert len(list(store.read(RunId("r")))) == 1
    store.close()


@pytest.mark.postgres
def test_of_connections_that_were_cut_while_they_were_fresh_one_fails(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.storage.sql.engine._FRESH", 60.0)
    store = SqlStore(postgres_url)
    with store._writing(), store._writing(), store._writing():
        pass
    cut_all(postgres_url)
    with pytest.raises(DatabaseUnreachable):
        store.run("r")
    for _ in range(3):
        with store.turn() as turn:
            turn.append(RunId("r"), [LogMessage(run_id=RunId("r"), at=1.0, message="one")])
        assert store.run("r") is None
    store.close()


@pytest.mark.parametrize("count", [1, 3000])
def test_a_turn_that_is_refused_leaves_nothing_behind(database_url: str, count: int) -> None:
    store = SqlStore(database_url)
    wrote = [LogMessage(run_id=RunId("r"), at=1.0, message="one")] * count
    for _ in range(3):
        with pytest.raises(IntegrityError), store.turn() as turn:
            turn._runs.append({**dict.fromkeys(_NEW_RUN), "run_id": "r"})  # of no job
            turn.append(RunId("r"), wrote)
        assert list(store.read(RunId("r"))) == []
    with store.turn() as turn:
        turn.append(RunId("r"), wrote)
    assert list(store.read(RunId("r"))) == wrote
    store.close()


def cut_all(url: str) -> None:
    engine = open_engine(url)
    with engine.connect() as other:
        mine = "pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'"
        cut = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {mine}"
        assert len(other.exec_driver_sql(cut).all()) > 1
    engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("in_a_turn", [False, True])
def test_who_could_only_read_for_a_while_writes_again(postgres_url: str, in_a_turn: bool) -> None:
    def write(store: SqlStore) -> None:
        if in_a_turn:
            with store.turn() as turn:
                turn.append(RunId("r"), [LogMessage(run_id=RunId("r"), at=1.0, message="one")])
        else:
            store.add_audit(AuditEntry(1.0, "somebody", "does", "something", "done"))

    SqlStore(postgres_url).close()
    engine = open_engine(postgres_url)
    only_read = f"ALTER DATABASE {make_url(postgres_url).database} SET default_transaction_read_only"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"{only_read} = on")
        connection.commit()
    with closing(SqlStore(postgres_url)) as store:
        with pytest.raises(DatabaseUnreachable, match="read-only"):
            write(store)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"{only_read} = off")
            connection.commit()
        write(store)
    engine.dispose()


def test_a_table_that_is_gone_does_not_come_back(database_url: str) -> None:
    with closing(SqlStore(database_url)) as store:
        engine = open_engine(database_url)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE runs")
        with pytest.raises(DatabaseUnusable, match="runs"):
            store.runs()
        engine.dispose()


@pytest.mark.postgres
def test_a_turn_that_is_refused_names_its_runs(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    long = StepKey("".join(random.Random(1).choices(string.ascii_letters, k=4000)))
    with pytest.raises(ValueRefused, match="refuses a value: index row") as refused, store.turn() as turn:
        for name, step in (("good", StepKey("a")), ("bad", long)):
            turn.append(RunId(name), [StepDispatched(run_id=RunId(name), at=1.0, step=step, attempt=1)])
    assert refused.value.runs == ("bad",)
    assert list(store.read(RunId("good"))) == []
    with pytest.raises(ValueRefused, match="NUL"):
        store.run("a\0b")
    store.close()


def test_materializations_of_before_and_of_older_versions_are_found_by_their_asset(database_url: str) -> None:
    def made(at: float, *key: str) -> AssetMaterialized:
        rows = {"rows": "x" * (1 << 13 if at == 2.0 else 1)}
        return AssetMaterialized(run_id=RunId("r"), at=at, step=StepKey("s"), attempt=1, asset=key, metadata=rows)

    def write_as_before(connection: Connection, event: AssetMaterialized) -> None:
        body, packed = encode_event(event), None
        if event.at == 2.0:
            body, packed = "", compacted(body.encode())
        row = {"run_id": "r", "type": "ASSET_MATERIALIZATION", "at": event.at, "body": body, "packed": packed}
        statement = "INSERT INTO events (run_id, type, at, body, packed) VALUES (:run_id, :type, :at, :body, :packed)"
        connection.execute(text(statement), row)

    engine = open_engine(database_url)
    upgrade(engine, "0010")
    before = [made(1.0, "ü", "b"), made(2.0, "ü", "b"), made(3.0, "other")]
    with engine.begin() as connection:
        for event in before:
            write_as_before(connection, event)
        connection.exec_driver_sql(
            "INSERT INTO events (run_id, type, at, body) VALUES ('r', 'ASSET_OBSERVATION', 3.5, '{')"
        )
    with closing(SqlStore(database_url)) as store:
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT asset FROM events ORDER BY id").scalars().all()
        assert found == ['["ü","b"]', '["ü","b"]', '["other"]', None]
        with store.turn() as turn:
            turn.append(RunId("r"), [made(4.0, "ü", "b")])
        with engine.begin() as connection:
            write_as_before(connection, made(5.0, "ü", "b"))
            write_as_before(connection, made(6.0, "other"))
        with store.turn() as turn:
            turn.append(RunId("r"), [made(7.0, "ü", "b")])

        def times(limit: int | None, ascending: bool) -> list[float]:
            wanted = EventRecordsFilter(EventType.ASSET_MATERIALIZATION, AssetKey(["ü", "b"]))
            return [each.timestamp for each in store.event_records(wanted, limit, ascending)]

        assert times(None, True) == [1.0, 2.0, 4.0, 5.0, 7.0]
        assert times(None, False) == [7.0, 5.0, 4.0, 2.0, 1.0]
        assert (times(2, False), times(4, True)) == ([7.0, 5.0], [1.0, 2.0, 4.0, 5.0])
        assert [event.at for _, event in store.materializations(("ü", "b"))] == times(None, True)
    engine.dispose()


def test_assets_whose_long_keys_begin_alike_are_told_apart(database_url: str) -> None:
    keys = [("k" * 300, end) for end in "ab"]
    with closing(SqlStore(database_url)) as store:
        with store.turn() as turn:
            for at, key in enumerate([*keys, *keys]):
                event = AssetMaterialized(run_id=RunId("r"), at=at, step=StepKey("s"), attempt=1, asset=key)
                turn.append(RunId("r"), [event])
        assert [[event.at for _, event in store.materializations(key)] for key in keys] == [[0, 2], [1, 3]]
