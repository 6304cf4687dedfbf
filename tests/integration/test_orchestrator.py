"""``opgrid orchestrator`` in processes of its own: launching, taking over, canceling."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

from opgrid.broker.connection import connect
from opgrid.broker.deployment import QUIET, STREAM_TTL
from opgrid.broker.fleet import start_worker
from opgrid.broker.keys import Keys
from opgrid.contracts.events import (
    RunCanceled,
    RunDequeued,
    RunEnqueued,
    RunFailed,
    RunStarting,
    RunSucceeded,
    StepCanceled,
    StepLost,
    StepStarted,
)
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.io.keys import KeyRing
from opgrid.loading import load_job
from opgrid.reconstruction import ReconstructableJob
from orchestrator.coordinator import fleet
from orchestrator.coordinator.queue import QueueLimits
from orchestrator.coordinator.shard_names import SHARDS, shard_of
from orchestrator.instance import Instance
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import again, cancel, is_driven, queued, why_queued
from orchestrator.storage.sql.store import SqlStore
from tests.integration.service import CODE, Service, spoil_log, until

pytestmark = pytest.mark.celery

PROCESSES = 2


@pytest.fixture
def service(tmp_path: Path, redis_url: str, database_url: str) -> Iterator[Service]:
    KeyRing.load(str(tmp_path))
    made = Service(tmp_path, database_url, redis_url)
    yield made
    made.close()


@pytest.fixture
def worker(service: Service, redis_url: str) -> Iterator[None]:
    made = start_worker(
        redis_url,
        CODE,
        str(service.home),
        concurrency=PROCESSES,
        environ={"OPGRID_LEASE_TTL": "2"},
        options=["--cancel-grace", "1"],
        log=service.home / "worker.log",
    )
    yield
    made.stop()


def both(mark: Path, first: float = 0.0, second: float = 0.0, gate: Path | None = None) -> dict[str, Any]:
    """``gate``: a file without which the first of them does not end."""
    return {
        "ops": {
            "first": {"config": {"mark": str(mark), "seconds": first, "gate": "" if gate is None else str(gate)}},
            "second": {"config": {"mark": str(mark), "seconds": second}},
        }
    }


def test_launched_runs_start_and_end(service: Service, worker: None) -> None:
    service.start("orchestrator")
    runs = [service.launch("two", executor) for executor in ("celery", "in_process", "multiprocess", "celery")]
    failed = service.launch("broken", "celery")
    assert [service.ended(run) for run in runs] == [RunStatus.SUCCESS] * 4
    assert service.ended(failed) is RunStatus.FAILURE
    kinds = [type(event) for event in service.store.read(runs[0])]
    assert kinds[:3] == [RunEnqueued, RunDequeued, RunStarting]


def test_of_runs_that_were_created_one_is_queued_and_one_passes_the_queue(
    service: Service, worker: None, tmp_path: Path
) -> None:
    (service.home / "opgrid.yaml").write_text("concurrency: {runs: {max_concurrent_runs: 1}}")
    instance = Instance(service.store, service.home)
    two = ReconstructableJob(CODE, lambda: load_job(CODE, "two"))
    first, second, untouched, third = (
        instance.create_run_for_job(two, run_config=both(tmp_path / str(number), seconds), executor="celery").run_id
        for number, seconds in enumerate((60.0, 0.0, 0.0, 0.0))
    )
    service.start("orchestrator")
    instance.submit_run(first)
    until((tmp_path / "0").exists, say=service.logs)
    instance.submit_run(second)
    instance.launch_run(third)
    assert service.ended(third) is RunStatus.SUCCESS
    assert instance.record(second).status is RunStatus.QUEUED
    cancel(service.store, instance.record(first), "enough")
    assert service.ended(second) is RunStatus.SUCCESS
    assert instance.record(untouched).status is RunStatus.NOT_STARTED


def test_another_takes_over_at_once_where_one_dies(service: Service, worker: None, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    killed = service.start("orchestrator")
    remote = service.launch("two", "celery", run_config=both(mark, 2.0))
    local = service.launch("two", "in_process", run_config=both(tmp_path / "local", 2.0))
    until(lambda: mark.exists() and (tmp_path / "local").exists(), say=service.logs)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    service.start("orchestrator")
    assert service.ended(remote) is RunStatus.SUCCESS
    assert service.ended(local) is RunStatus.SUCCESS
    assert mark.read_text().split() == ["first", "second"]  # nothing ran twice
    assert (tmp_path / "local").read_text().split() == ["first", "second"]  # its own process went on


def test_one_that_stands_by_takes_over(service: Service, worker: None, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    first = service.start("orchestrator")
    until(lambda: "queue" in service.store.held(), say=service.logs)
    service.start("orchestrator")
    run = service.launch("two", "celery", run_config=both(mark, 1.5))
    until(mark.exists, say=service.logs)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert service.ended(run) is RunStatus.SUCCESS
    assert mark.read_text().split() == ["first", "second"]


def test_a_step_outlives_redis_and_its_orchestrator_together(
    service: Service, worker: None, redis_url: str, tmp_path: Path
) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    service.environ["OPGRID_LEASE_TTL"] = "20"  # more than any worker needs to beat again
    killed = service.start("orchestrator")
    run = service.launch("two", "celery", run_config=both(mark, gate=gate))
    until(lambda: any(isinstance(event, StepStarted) for event in service.store.read(run)), say=service.logs)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    with connect(redis_url) as client:
        client.flushdb()
        service.start("orchestrator")
        until(lambda: client.hgetall(Keys.load().run(run)), say=service.logs)
    gate.touch()
    assert service.ended(run) is RunStatus.SUCCESS
    assert mark.read_text().split() == ["first", "second"]
    assert not [event for event in service.store.read(run) if isinstance(event, StepLost)]


def test_a_database_of_before_goes_on_where_redis_is_emptied(redis_url: str, tmp_path: Path) -> None:
    KeyRing.load(str(tmp_path))
    database, copy = tmp_path / "opgrid.db", tmp_path / "copy.db"
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    service = Service(tmp_path, f"sqlite:///{database}", redis_url)
    worker = start_worker(redis_url, CODE, str(tmp_path), concurrency=1, log=tmp_path / "worker.log")
    try:
        stopped = service.start("orchestrator")
        config = both(mark)
        config["ops"]["second"]["config"]["gate"] = str(gate)
        run = service.launch("two", "celery", run_config=config)
        until(lambda: mark.exists() and "second" in mark.read_text(), say=service.logs)
        with closing(sqlite3.connect(database)) as live:
            live.execute("VACUUM INTO ?", (str(copy),))
        gate.touch()
        assert service.ended(run) is RunStatus.SUCCESS
        after = service.launch("two", "celery")
        assert service.ended(after) is RunStatus.SUCCESS
        stopped.terminate()
        assert stopped.wait(60) == 0
        service.store.close()
        for each in tmp_path.glob("opgrid.db*"):
            each.unlink()
        copy.rename(database)
        with connect(redis_url) as client:
            client.flushdb()
        service.store = SqlStore(f"sqlite:///{database}")
        assert [each.run_id for each in service.store.runs()] == [run]
        service.start("orchestrator")
        assert service.ended(run) is RunStatus.SUCCESS
        assert mark.read_text().split().count("second") == 2
        assert service.ended(service.launch("two", "celery")) is RunStatus.SUCCESS
    finally:
        service.close()
        worker.stop()


def test_a_service_that_is_stopped_leaves_its_runs_to_the_next(service: Service, worker: None, tmp_path: Path) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    first = service.start("orchestrator")
    run = service.launch("two", "celery", run_config=both(mark, gate=gate))
    until(mark.exists, say=service.logs)
    first.terminate()
    assert first.wait(60) == 0
    assert service.status(run) is RunStatus.STARTED
    assert service.store.held() == {}
    gate.touch()
    service.start("orchestrator")
    assert service.ended(run) is RunStatus.SUCCESS


@pytest.mark.parametrize("executor", ["celery", "in_process", "multiprocess"])
def test_a_running_run_is_canceled(service: Service, worker: None, tmp_path: Path, executor: str) -> None:
    mark = tmp_path / "mark"
    service.start("orchestrator")
    run = service.launch("two", executor, run_config=both(mark, 30.0))
    until(mark.exists, say=service.logs)
    record = service.store.run(run)
    assert record is not None
    assert is_driven(service.store, record)
    assert cancel(service.store, record, "enough") in (RunStatus.STARTED, RunStatus.CANCELING)
    assert service.ended(run) is RunStatus.CANCELED
    assert [event.step for event in service.store.read(run) if isinstance(event, StepStarted)] == ["first"]
    assert [event.step for event in service.store.read(run) if isinstance(event, StepCanceled)] == ["first"]


def test_a_cancel_outlives_the_service(service: Service, worker: None, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    killed = service.start("orchestrator")
    run = service.launch("two", "celery", run_config=both(mark, 3.0))
    until(mark.exists, say=service.logs)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    record = service.store.run(run)
    assert record is not None
    assert not is_driven(service.store, record)
    cancel(service.store, record, "enough")
    service.start("orchestrator")
    assert service.ended(run) is RunStatus.CANCELED
    assert mark.read_text().split() == ["first"]


@pytest.mark.parametrize("executor", ["celery", "in_process"])
def test_an_approval_outlives_the_service(service: Service, worker: None, executor: str) -> None:
    """Nobody drives the run while it is answered, by hand, on the command line."""
    killed = service.start("orchestrator")
    run_id = service.launch("signed", executor=executor)
    until(service.store.waiting_gates, say=service.logs)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    said = service.start("run", "approve", run_id[:8], "--note", "by hand")
    assert said.wait(100) == 0, service.logs()
    again = service.start("run", "reject", run_id[:8], "sign_off")
    assert again.wait(100) != 0
    service.start("orchestrator")
    assert service.ended(run_id) is RunStatus.SUCCESS
    (gate,) = service.store.gates([run_id])
    assert gate.approved and gate.note == "by hand"


def test_a_queued_run_says_why_it_waits_and_can_be_canceled(service: Service) -> None:
    run = service.launch("two", "celery")
    record = service.store.run(run)
    assert record is not None
    assert why_queued(service.store, record, QueueLimits()) == (
        "No orchestrator runs. Start one with: opgrid orchestrator"
    )
    assert cancel(service.store, record, "enough") is RunStatus.CANCELED
    assert isinstance(list(service.store.read(run))[-1], RunCanceled)


def test_limits_hold_and_priorities_count(service: Service, tmp_path: Path) -> None:
    (service.home / "opgrid.yaml").write_text("concurrency: {runs: {max_concurrent_runs: 1}}")
    mark = tmp_path / "mark"
    runs = [
        service.launch("quick", "in_process", tags={"opgrid/priority": str(priority)}, run_config={
            "ops": {"first": {"config": {"mark": str(mark), "seconds": 0.1}}}
        })
        for priority in (0, 5, 3)
    ]  # fmt: skip
    service.start("orchestrator")
    assert {service.ended(run) for run in runs} == {RunStatus.SUCCESS}
    times = [(record.started, record.ended) for run in runs if (record := service.store.run(run)) is not None]
    in_order = [times[1], times[2], times[0]]
    assert in_order == sorted(times)
    assert all((one[1] or 0) <= (other[0] or 0) for one, other in itertools.pairwise(in_order))


def test_a_run_is_run_again_without_its_code(service: Service, worker: None) -> None:
    service.start("orchestrator")
    run = service.launch("broken", "celery")
    assert service.ended(run) is RunStatus.FAILURE
    parent = service.store.run(run)
    assert parent is not None
    (repeated,) = service.store.launch([again(service.store, parent, failed_only=True)])
    assert service.ended(repeated) is RunStatus.FAILURE
    assert [event.step for event in service.store.read(repeated) if isinstance(event, StepStarted)] == ["breaks"]


def test_runs_on_celery_fail_where_there_is_no_broker(tmp_path: Path) -> None:
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    try:
        service.start("orchestrator")
        run = service.launch("two", "celery")
        assert service.ended(run) is RunStatus.FAILURE
        (last,) = [event for event in service.store.read(run) if event.TYPE.name == "RUN_FAILURE"]
        assert "OPGRID_BROKER_URL" in last.reason  # type: ignore[union-attr]
    finally:
        service.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPGRID_BROKER_URL", "amqp://localhost"),
        ("OPGRID_LEASE_TTL", "8s"),
        ("OPGRID_IO_RETENTION", "1d"),
        ("OPGRID_SECRET_KEY", "short"),
    ],
)
@pytest.mark.parametrize("command", [("orchestrator",), ("dev", "-f", str(CODE.file), "-p", "0")], ids=["alone", "dev"])
def test_settings_that_cannot_be_used_end_it_with_the_reason(
    tmp_path: Path, redis_url: str, command: tuple[str, ...], name: str, value: str
) -> None:
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", redis_url)
    try:
        service.environ[name] = value
        assert service.start(*command).wait(100) == 2
        *_, last = service.last_log.read_text().splitlines()
        assert last.startswith("Error: ")
        assert value in last or name in last
        assert "Traceback" not in service.last_log.read_text()
        assert service.store.held() == {}
    finally:
        service.close()


@pytest.fixture
def neighbor(service: Service, redis_url: str, tmp_path: Path) -> Iterator[Service]:
    """All is as with the service, but for the home and the database."""
    home = tmp_path / "neighbor"
    home.mkdir()
    shutil.copy(service.home / "secret.key", home)
    made = Service(home, f"sqlite:///{home / 'opgrid.db'}", redis_url)
    yield made
    made.close()


def test_a_service_with_another_database_is_refused(
    service: Service, neighbor: Service, worker: None, redis_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    service.start("orchestrator")
    run = service.launch("two", "celery", run_config=both(tmp_path / "mark", gate=gate))
    until((tmp_path / "mark").exists, say=service.logs)
    queued = neighbor.launch("quick", "celery")
    assert neighbor.start("orchestrator").wait(100) == 2
    *_, last = neighbor.last_log.read_text().splitlines()
    assert last.startswith("Error: The deployment 'opgrid' has another database on this broker")
    assert service.store.identity() in last
    assert neighbor.store.identity() in last
    assert "OPGRID_DEPLOYMENT" in last
    assert "opgrid instance take-over" in last
    assert "Traceback" not in neighbor.last_log.read_text()
    told = fleet.read(neighbor.store)
    assert told is not None
    assert told.error is not None
    assert told.error == f"The orchestrator has ended: {last.removeprefix('Error: ')}"
    assert neighbor.store.held() == {}
    assert not neighbor.status(queued).is_final

    gate.touch()
    assert service.ended(run) is RunStatus.SUCCESS
    assert (tmp_path / "mark").read_text().split() == ["first", "second"]
    file = str(CODE.file)
    assert neighbor.start("job", "execute", "-f", file, "-j", "quick", "--executor", "celery").wait(100) == 0
    neighbor.environ["OPGRID_DEPLOYMENT"] = "neighbor"
    neighbor.start("orchestrator")
    until(lambda: (told := fleet.read(neighbor.store)) is not None and told.error is None, say=neighbor.logs)


def test_a_database_takes_the_place_of_another(
    service: Service, neighbor: Service, worker: None, redis_url: str
) -> None:
    before = service.start("orchestrator")
    with connect(redis_url) as client:
        until(lambda: client.exists(Keys.load().database), say=service.logs)
        assert neighbor.start("instance", "take-over").wait(100) == 2
        assert "Stop all orchestrators that use it" in neighbor.last_log.read_text()
        before.send_signal(signal.SIGSTOP)  # as good as gone
        client.expire(Keys.load().database, STREAM_TTL - QUIET)
        assert neighbor.start("instance", "take-over").wait(100) == 0
        assert f"not {service.store.identity()}" in neighbor.last_log.read_text()
        after = neighbor.start("orchestrator")
        assert neighbor.ended(neighbor.launch("quick", "celery")) is RunStatus.SUCCESS
        before.send_signal(signal.SIGCONT)
        assert before.wait(100) == 2
        assert "has another database" in service.logs()
        assert after.poll() is None


def test_what_workers_tell_waits_for_the_process_that_drives_the_run(
    service: Service, worker: None, redis_url: str, tmp_path: Path
) -> None:
    """Though the orchestrator, which reads what they tell of runs that it drives itself, was there meanwhile."""
    marks = {name: tmp_path / name for name in ("there", "here")}
    gates = {name: tmp_path / f"gate-{name}" for name in marks}
    ops = {name: {"config": {"mark": str(marks[name]), "gate": str(gates[name])}} for name in marks}
    service.start("orchestrator")
    run = service.launch("both_places", "in_process", run_config={"ops": ops})
    until(lambda: all(mark.exists() for mark in marks.values()), say=service.logs)
    lease = service.store.lease(run)
    assert lease is not None
    driver = int(lease.owner.split(":")[1])
    os.kill(driver, signal.SIGSTOP)
    keys, shard = Keys.load(), shard_of(run)
    neighbor = next(name for name in map(str, itertools.count()) if shard_of(name) == shard)
    with connect(redis_url) as client:
        gates["there"].touch()
        until(lambda: b" x " in (client.hget(keys.run(run), "f:there") or b""), say=service.logs)  # type: ignore[operator]
        before: Any = client.xrevrange(keys.events(shard), count=1)
        assert service.ended(service.launch("two", "celery", run_id=neighbor)) is RunStatus.SUCCESS
        last = before[0][0] if before else "0-0"
        until(lambda: not client.xrange(keys.events(shard), max=last), 20.0, say=service.logs)
    os.kill(driver, signal.SIGKILL)
    gates["here"].touch()
    assert service.ended(run) is RunStatus.SUCCESS
    assert marks["there"].read_text().split() == ["there"]


def test_who_goes_on_with_one_run_leaves_the_others_what_was_told_of_them(
    service: Service, worker: None, redis_url: str, tmp_path: Path
) -> None:
    mine = str(uuid.uuid4())
    other = next(name for name in map(str, itertools.count()) if shard_of(name) == shard_of(mine))
    marks = {run: tmp_path / f"mark-{run}" for run in (mine, other)}
    gate = tmp_path / "gate"
    orchestrator = service.start("orchestrator")
    for run, mark in marks.items():
        config = both(mark)
        config["ops"]["second"]["config"]["gate"] = str(gate)
        service.launch("two", "celery", run_id=run, run_config=config)
    until(lambda: all(mark.exists() and "second" in mark.read_text() for mark in marks.values()), say=service.logs)
    orchestrator.kill()
    orchestrator.wait()
    gate.touch()
    with connect(redis_url) as client:
        for run in marks:
            until(lambda run=run: b" x " in (client.hget(Keys.load().run(run), "f:second") or b""), say=service.logs)

    def goes_on() -> bool:
        return service.start("run", "resume", mine).wait(60) == 0

    until(goes_on, say=service.logs)  # once the lease of who was killed is over
    assert service.status(mine) is RunStatus.SUCCESS
    service.start("orchestrator")
    assert service.ended(other) is RunStatus.SUCCESS
    assert [mark.read_text().split().count("second") for mark in marks.values()] == [1, 1]


def test_a_run_that_the_orchestrator_drives_is_not_resumed_from_a_terminal(
    service: Service, worker: None, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    service.start("orchestrator")
    run = service.launch("two", "celery", run_config=both(tmp_path / "mark", gate=gate))
    until((tmp_path / "mark").exists, say=service.logs)
    terminal = service.start("run", "resume", run)
    said = service.last_log
    until(lambda: terminal.poll() is not None or "Run" in said.read_text(), say=service.logs)
    gate.touch()
    assert terminal.wait(60) == 2
    assert "is being driven by" in said.read_text()
    assert service.ended(run) is RunStatus.SUCCESS
    assert len([event for event in service.store.read(run) if isinstance(event, RunSucceeded)]) == 1


def test_an_orchestrator_takes_a_run_from_the_terminal_that_goes_on_with_it(
    service: Service, worker: None, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    orchestrator = service.start("orchestrator")
    run = service.launch("two", "celery", run_config=both(tmp_path / "mark", gate=gate))
    until((tmp_path / "mark").exists, say=service.logs)
    orchestrator.kill()
    orchestrator.wait()
    terminal = service.start("run", "resume", run)
    until(lambda: service.store.lease(run) is not None, say=service.logs)
    service.start("orchestrator")
    until(lambda: service.store.lease(run) is None, say=service.logs)
    gate.touch()
    assert service.ended(run) is RunStatus.SUCCESS
    assert terminal.wait(60) != 0
    assert len([event for event in service.store.read(run) if isinstance(event, RunSucceeded)]) == 1


def test_a_process_that_cannot_drive_its_run_fails_it(tmp_path: Path) -> None:
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    try:
        service.start("orchestrator")
        service.environ["OPGRID_HOME"] = str(tmp_path)
        run = service.launch("two", "in_process", run_config=both(tmp_path / "mark", 60.0))
        pids: set[int] = set()

        def killed_thrice() -> bool:
            for event in service.store.read(run):
                if isinstance(event, StepStarted) and event.pid and event.pid not in pids:
                    os.kill(event.pid, signal.SIGKILL)
                    pids.add(event.pid)
            return service.status(run).is_final

        until(killed_thrice, say=service.logs)
        assert service.status(run) is RunStatus.FAILURE
    finally:
        service.close()


@contextmanager
def away(server: str, database_url: str) -> Iterator[None]:
    """Nobody has a connection to the database, nor gets one."""
    name = make_url(database_url).database
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("executor", ["multiprocess", "in_process"])
def test_a_run_on_a_local_executor_outlives_its_database(
    executor: str, postgres_server: str, postgres_url: str, tmp_path: Path
) -> None:
    mark, gates = tmp_path / "mark", [tmp_path / "first", tmp_path / "second"]
    ops = {gate.name: {"config": {"mark": str(mark), "gate": str(gate)}} for gate in gates}
    service = Service(tmp_path, postgres_url, None)
    try:
        service.start("orchestrator")
        run = service.launch("two", executor, run_config={"ops": ops})
        until(mark.exists, say=service.logs)
        for begun, gate in enumerate(gates, start=1):
            until(lambda: len(mark.read_text().split()) == begun, say=service.logs)  # noqa: B023 - it is asked here
            with away(postgres_server, postgres_url):
                gate.touch()
                until(lambda: service.logs().count("Waiting for it.") >= 2 * begun, say=service.logs)  # noqa: B023
        assert service.ended(run) is RunStatus.SUCCESS
        assert mark.read_text().split() == ["first", "second"]  # none was lost, and run again
        assert "before the run" not in service.logs()
    finally:
        service.close()


def test_a_run_that_cannot_be_reached_is_canceled_by_force(service: Service, worker: None, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    service.start("orchestrator")
    runs = [service.launch("two", "celery", run_config=both(mark, 600.0)) for _ in range(PROCESSES)]
    until(lambda: mark.exists() and len(mark.read_text().split()) == PROCESSES, say=service.logs)
    for run in runs:
        record = service.store.run(run)
        assert record is not None
        Instance(service.store, service.home).report_run_canceled(record, "by force")
        assert service.status(run) is RunStatus.CANCELED
    other = service.launch("two", "celery")
    assert service.ended(other) is RunStatus.SUCCESS  # their shards go on, and the processes of the worker are free
    for run in runs:
        assert service.status(run) is RunStatus.CANCELED
        assert isinstance(list(service.store.read(run))[-1], RunCanceled)
    assert mark.read_text().split() == ["first"] * PROCESSES


def test_a_run_whose_log_cannot_be_read_fails_and_holds_up_no_other(
    service: Service, worker: None, tmp_path: Path
) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    first = service.start("orchestrator")
    run = service.launch("two", "celery", run_config=both(mark, gate=gate))
    until(mark.exists, say=service.logs)
    first.kill()
    first.wait()
    spoil_log(service.store, run)
    service.start("orchestrator")
    assert service.ended(run) is RunStatus.FAILURE
    gate.touch()
    record = service.store.run(run)
    assert record is not None
    others = [service.launch("two", "celery") for _ in range(SHARDS)]  # ids are random: one may be of its shard
    assert {service.ended(other) for other in others} == {RunStatus.SUCCESS}
    assert "cannot be read" in service.logs()


def test_a_run_whose_output_cannot_be_kept_goes_on_and_holds_up_no_other(service: Service, worker: None) -> None:
    (service.home / "logs").write_text("Here is no room for files.")
    service.start("orchestrator")
    runs = [service.launch("two", executor) for executor in ("in_process", "celery")]
    assert [service.ended(run) for run in runs] == [RunStatus.SUCCESS] * 2
    assert f"What the process of run {runs[0]} writes is lost" in service.logs()


def configured(service: Service, text: str) -> None:
    (service.home / "opgrid.yaml").write_text(text)


def test_a_run_whose_code_hangs_when_it_is_loaded_fails(service: Service, tmp_path: Path) -> None:
    configured(service, "run_monitoring: {start_timeout_seconds: 3}")
    code = tmp_path / "hangs.py"
    code.write_text("from opgrid import *\n@op\ndef nothing(): ...\n@job\ndef plain(): nothing()\n")
    target = CodeTarget(file=str(code))
    (run_id,) = service.store.launch(
        [queued(prepare(Request(load_job(target, "plain"), executor="in_process", code=target)))]
    )
    code.write_text(code.read_text() + "import time; time.sleep(1000)\n")
    service.start("orchestrator")
    assert service.ended(run_id) is RunStatus.FAILURE
    (failed,) = [event for event in service.store.read(run_id) if isinstance(event, RunFailed)]
    assert "start_timeout_seconds" in failed.reason


def test_a_canceled_run_whose_op_hears_nothing_ends(service: Service, tmp_path: Path) -> None:
    configured(service, "run_monitoring: {cancel_timeout_seconds: 2}")
    mark = tmp_path / "mark"
    service.start("orchestrator")
    run_id = service.launch("stubborn", "in_process", run_config={"ops": {"deaf": {"config": {"mark": str(mark)}}}})
    until(lambda: mark.exists() and mark.read_text().endswith("\n"), say=service.logs)
    record = service.store.run(run_id)
    assert record is not None
    cancel(service.store, record, "enough")
    assert service.ended(run_id) is RunStatus.CANCELED
    child = Path(f"/proc/{mark.read_text().strip()}/cmdline")
    until(lambda: not (child.exists() and child.read_bytes()))


@pytest.mark.parametrize("executor", ["celery", "in_process"])
def test_the_usual_limit_of_time(service: Service, worker: None, tmp_path: Path, executor: str) -> None:
    configured(service, "run_monitoring: {max_runtime_seconds: 2}")
    service.start("orchestrator")
    late = service.launch("two", executor, run_config=both(tmp_path / "late", gate=tmp_path / "never"))
    allowed = service.launch(
        "two", executor, run_config=both(tmp_path / "allowed", 2.0), tags={"opgrid/max_runtime": "60"}
    )
    assert service.ended(late) is RunStatus.FAILURE
    (failed,) = [event for event in service.store.read(late) if isinstance(event, RunFailed)]
    assert "limit of 2 s" in failed.reason
    ends = [event for event in service.store.read(late) if isinstance(event, StepCanceled | StepLost)]
    assert [(type(event), event.step) for event in ends] == [(StepCanceled, "first")]
    assert service.ended(allowed) is RunStatus.SUCCESS


def test_reexecution_in_the_background(service: Service) -> None:
    service.start("orchestrator")
    failed = service.launch("broken", "in_process")
    assert service.ended(failed) is RunStatus.FAILURE
    again = service.start("run", "reexecute", failed[:8], "--from-failure", "--launch")
    assert again.wait(100) == 0, service.logs()
    (newest, *_) = service.store.runs()
    assert newest.parent_run_id == failed
    assert service.ended(newest.run_id) is RunStatus.FAILURE
