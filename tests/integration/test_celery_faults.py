"""What breaks between coordinator and workers, with real processes and a real Redis, and what must come of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
from celery import Celery

from executors.celery import CeleryExecutor
from opgrid.broker import presence
from opgrid.broker.connection import connect
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.fleet import WorkerProcess, start_worker
from opgrid.broker.keys import Keys
from opgrid.broker.messages import label
from opgrid.contracts.events import EngineNote, StepCanceled, StepFailed, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.tasks import CodeTarget, Gathered, JobRef, StepTask
from opgrid.contracts.wire import VERSION
from opgrid.io.keys import KeyRing
from opgrid.testing.contract_jobs import contract
from opgrid.testing.executors import CODE, Conversation, contract_setup, given
from tests.waiting import eventually
from worker.app import broker_conf

pytestmark = pytest.mark.celery

TTL = 2.0
#: Seconds of silence after which a test has failed: whoever hears of something sooner was told.
NEVER = 600.0
StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    KeyRing.load(str(tmp_path))
    return tmp_path


@pytest.fixture
def worker(redis_url: str, home: Path) -> Iterator[StartWorker]:
    """Starts workers, and sees to it that none is left."""
    started: list[WorkerProcess] = []

    def start(
        code: CodeTarget | None = CODE, url: str = redis_url, options: tuple[str, ...] = (), **more: Any
    ) -> WorkerProcess:
        name = f"w{len(started)}-{os.getpid()}"
        environ = {"OPGRID_LEASE_TTL": str(TTL), **more.pop("environ", {})}
        made = start_worker(
            url,
            code,
            str(home),
            name=name,
            environ=environ,
            options=["--cancel-grace", "1", *options],
            log=home / f"{name}.log",
            **more,
        )
        started.append(made)
        return made

    yield start
    for each in started:
        family = descendants(each.pid)
        each.kill()
        for pid in family:
            kill(pid)


@pytest.fixture
def silence() -> float:
    """Seconds after which the executor takes a worker to be dead."""
    return TTL


@pytest.fixture
def executor(redis_url: str, home: Path, silence: float) -> Iterator[CeleryExecutor]:
    made = CeleryExecutor.create(contract_setup(home, redis_url, lease_ttl=silence))
    yield made
    made.close()


@pytest.fixture
def run(executor: CeleryExecutor, tmp_path: Path) -> Conversation:
    return Conversation(executor, tmp_path)


def descendants(pid: int) -> list[int]:
    """Process ids of a family, the eldest first."""
    parents: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents.setdefault(int(fields[1]), []).append(int(name))
    family = [pid]
    for each in family:
        family += parents.get(each, [])
    return family


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def alive(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(run: Conversation, task: StepTask) -> list[Any]:
    return [each for each in run.of(task) if isinstance(each, StepSucceeded | StepFailed | StepLost | StepCanceled)]


# ---- who dies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silence", [NEVER])
def test_a_killed_child_is_told_before_its_lease_ends_and_its_worker_goes_on(
    run: Conversation, executor: CeleryExecutor, worker: StartWorker, redis_url: str
) -> None:
    worker()
    task = run.start("sleep_alone")
    started = run.wait(task, StepStarted)
    with connect(redis_url) as client:

        def beats() -> list[bytes]:
            leases: Any = client.hgetall(executor.keys.leases(executor.stream))
            return [lease.split()[2] for lease in leases.values()]

        eventually(lambda: beats() not in ([], [b"0"]))  # it was looked at
    os.kill(started.pid, signal.SIGKILL)
    end = run.end_of(task)
    assert isinstance(end, StepLost)
    assert (end.cause.signal, end.cause.pid, end.cause.host) == (signal.SIGKILL, started.pid, socket.gethostname())
    assert end.cause.peak_memory > 10 * 2**20
    assert isinstance(run.run("five", attempt=2), StepSucceeded)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("silence", [NEVER])
def test_a_child_that_is_told_to_end_has_lost_its_step_which_has_not_failed(
    run: Conversation, worker: StartWorker, number: signal.Signals
) -> None:
    """As by ``celery control terminate``, or by a supervisor that tells every process of a service to end."""
    worker()
    task = run.start("sleep_alone")
    started = run.wait(task, StepStarted)
    os.kill(started.pid, number)
    end = run.end_of(task)
    assert isinstance(end, StepLost)
    assert end.cause.pid == started.pid
    assert isinstance(run.run("five", attempt=2), StepSucceeded)


@pytest.mark.parametrize("silence", [NEVER])
def test_a_killed_worker_is_told_before_its_leases_end_and_leaves_nobody_behind(
    run: Conversation, worker: StartWorker, tmp_path: Path
) -> None:
    victim = worker(concurrency=2)
    task = run.start("sleep_long")
    run.wait(task, StepStarted)
    trace = tmp_path / "child-1"
    eventually(trace.exists)
    family = [*descendants(victim.pid), int(trace.read_text())]
    os.kill(victim.pid, signal.SIGKILL)
    end = run.end_of(task)
    assert isinstance(end, StepLost)
    assert end.cause.worker == victim.name
    victim.process.wait()
    eventually(lambda: not any(alive(pid) for pid in family))


def test_a_host_that_is_gone_is_noticed_by_its_silence(run: Conversation, worker: StartWorker) -> None:
    victim = worker()
    task = run.start("sleep_alone")
    run.wait(task, StepStarted)
    family = descendants(victim.pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):  # nobody of them gets to say a word
        for pid in family:
            kill(pid, number)
    end = run.end_of(task)
    assert isinstance(end, StepLost)
    assert "silent" in end.cause.reason
    assert end.cause.worker.startswith(victim.name)


def test_a_frozen_worker_loses_its_step_and_its_late_result(
    run: Conversation, worker: StartWorker, tmp_path: Path
) -> None:
    frozen = worker()
    task = run.start("vary", step="vary[long]")
    run.wait(task, StepStarted)
    family = descendants(frozen.pid)
    for pid in family:
        kill(pid, signal.SIGSTOP)
    assert isinstance(run.end_of(task), StepLost)
    worker()
    (tmp_path / "go-on").touch()
    second = run.start("vary", step="vary[long]", attempt=2)
    assert isinstance(run.end_of(second), StepSucceeded)
    for pid in family:
        kill(pid, signal.SIGCONT)
    assert isinstance(run.run("five"), StepSucceeded)
    time.sleep(TTL)
    run.poll()
    assert [type(each) for each in ends(run, task)] == [StepLost]
    assert [type(each) for each in ends(run, second)] == [StepSucceeded]


def test_a_watch_process_that_dies_is_replaced_and_beats_for_what_runs(run: Conversation, worker: StartWorker) -> None:
    there = worker()
    task = run.start("sleep_alone", timeout=2 * TTL)
    run.wait(task, StepStarted)
    for pid in descendants(there.pid):
        if b"worker.watch" in Path("/proc", str(pid), "cmdline").read_bytes():
            kill(pid)
    end = run.end_of(task)
    assert isinstance(end, StepFailed)
    assert end.timed_out
    assert isinstance(run.run("five"), StepSucceeded)


def test_a_worker_that_is_told_to_stop_lets_its_step_end(run: Conversation, worker: StartWorker) -> None:
    there = worker()
    task = run.start("pause")
    run.wait(task, StepStarted)
    there.process.terminate()
    assert isinstance(run.end_of(task), StepSucceeded)
    assert there.process.wait(60) == 0


@pytest.mark.parametrize("silence", [NEVER])
def test_a_step_of_a_worker_that_is_told_to_stop_at_once_is_lost(run: Conversation, worker: StartWorker) -> None:
    there = worker()
    task = run.start("sleep_alone")
    run.wait(task, StepStarted)
    there.process.send_signal(signal.SIGQUIT)
    eventually(lambda: "has 20 s to end" in (there.log.read_text() if there.log else ""))
    there.process.send_signal(signal.SIGQUIT)  # it does not wait for its steps any more
    assert isinstance(run.end_of(task), StepLost)
    there.process.wait(15)  # nor sleeps through what is left of that time


def test_a_worker_starts_anew_as_it_was_started(run: Conversation, worker: StartWorker) -> None:
    there = worker()
    family, command = descendants(there.pid)[1:], Path(f"/proc/{there.pid}/cmdline").read_bytes()
    os.kill(there.pid, signal.SIGHUP)
    eventually(lambda: not any(alive(pid) for pid in family))
    assert isinstance(run.run("five"), StepSucceeded)
    assert Path(f"/proc/{there.pid}/cmdline").read_bytes() == command


@pytest.mark.parametrize("order", [(signal.SIGHUP, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP)])
def test_a_worker_that_is_to_end_does_not_start_anew(
    run: Conversation, worker: StartWorker, order: tuple[signal.Signals, ...]
) -> None:
    there = worker()
    task = run.start("pause")
    run.wait(task, StepStarted)
    for number in order:
        os.kill(there.pid, number)
    assert there.process.wait(30) == 0
    assert isinstance(run.end_of(task), StepSucceeded)


def test_a_step_that_heeds_no_signal_holds_up_no_worker_that_is_to_end_at_once(
    run: Conversation, worker: StartWorker
) -> None:
    victim = worker()
    task = run.start("ignore_signals")
    run.wait(task, StepStarted)
    os.kill(victim.pid, signal.SIGQUIT)
    eventually(lambda: "to end" in victim.output)
    os.kill(victim.pid, signal.SIGQUIT)
    assert victim.process.wait(30) == 0
    end = run.end_of(task)
    assert isinstance(end, StepLost)
    assert end.cause.signal == signal.SIGKILL


def test_a_worker_that_is_to_end_at_once_ends_when_its_step_has(run: Conversation, worker: StartWorker) -> None:
    there = worker()
    task = run.start("pause")
    run.wait(task, StepStarted)
    there.process.send_signal(signal.SIGQUIT)
    assert isinstance(run.end_of(task), StepSucceeded)
    there.process.wait(15)  # of the 20 s that it would have had


def test_a_worker_that_takes_no_messages_ends_and_another_runs_its_steps(
    run: Conversation, worker: StartWorker, tmp_path: Path
) -> None:
    """Its code makes Celery deaf: connected, beating, and without a question to Redis."""
    (tmp_path / "deaf.py").write_text(
        "from kombu.transport import redis\n"
        "from opgrid.testing.contract_jobs import *\n"
        "redis.Channel._brpop_start = lambda channel, timeout=None: None\n"
    )
    deaf = worker(CodeTarget(module="deaf", working_directory=str(tmp_path)), options=("--watchdog", "2"))
    task = run.start("five")
    assert deaf.process.wait(60) == 75
    assert "taken no message" in deaf.output
    worker()
    assert isinstance(run.end_of(task), StepSucceeded)


def test_a_process_that_cannot_start_takes_no_messages(run: Conversation, worker: StartWorker, tmp_path: Path) -> None:
    """There is no room for what it tells the watch process, for a while."""
    full = tmp_path / "full"
    full.touch()
    (tmp_path / "narrow.py").write_text(
        "from pathlib import Path\n"
        "from opgrid.testing.contract_jobs import *\n"
        "from worker.child import Slot\n"
        "create = Slot.create\n"
        "def create_or_not(path):\n"
        f"    if Path({str(full)!r}).exists():\n"
        "        raise OSError(28, 'No space left on device')\n"
        "    return create(path)\n"
        "Slot.create = create_or_not\n"
    )
    there = worker(CodeTarget(module="narrow", working_directory=str(tmp_path)))
    task = run.start("count")
    eventually(lambda: "cannot start, and ends" in there.output)
    full.unlink()
    assert isinstance(run.end_of(task), StepSucceeded)


def test_a_worker_grows_with_its_work(run: Conversation, worker: StartWorker) -> None:
    there = worker(options=("--autoscale", "3,1"))
    tasks = [run.task("sleep_alone", step=f"sleep_{number}") for number in range(4)]
    run.submit(*tasks)

    def going() -> set[str]:
        run.poll()
        return {each.step for each in run.events if isinstance(each, StepStarted)}

    eventually(lambda: len(going()) >= 3)
    run.executor.cancel(run.brief.run_id, [(task.step, 1) for task in tasks])
    assert all(isinstance(run.end_of(task), StepCanceled) for task in tasks)
    assert len(going()) == 3
    assert there.process.poll() is None


def test_a_process_that_uses_much_memory_is_replaced(run: Conversation, worker: StartWorker) -> None:
    worker(options=("--max-memory-per-child", "1"))
    tasks = [run.start("five", step=f"five_{number}") for number in range(3)]
    assert all(isinstance(run.end_of(task), StepSucceeded) for task in tasks)
    pids = {each.pid for each in run.events if isinstance(each, StepStarted)}
    assert len(pids) == 3


# ---- messages ------------------------------------------------------------------------------------------------------


def test_a_message_that_comes_three_times_starts_one_step(
    run: Conversation, worker: StartWorker, redis_url: str, tmp_path: Path
) -> None:
    task = run.start("count")
    with connect(redis_url) as client:
        (name,) = (each for each in Keys().queue_lists("opgrid") if client.exists(each))
        (message,) = client.lrange(name, 0, -1)
        client.lpush(name, message, message)
        worker(concurrency=2)
        assert isinstance(run.end_of(task), StepSucceeded)
        eventually(lambda: not client.exists(name))
    assert isinstance(run.run("five"), StepSucceeded)
    assert (tmp_path / "count").read_text() == "."
    assert sum(isinstance(each, StepStarted) for each in run.of(task)) == 1


def test_what_celery_revokes_runs_all_the_same(run: Conversation, worker: StartWorker, celery: Celery) -> None:
    """Thrown away, it would be sent again and thrown away for hours."""
    there, task = worker(), run.task("five")
    task_id = label(run.brief.job.name, [task]).task_id
    assert "run all the same" in refused(celery, there, "revoke", task_id=task_id)
    run.submit(task)
    assert isinstance(run.end_of(task), StepSucceeded)
    assert f"{task_id}; it runs all the same" in there.output


# ---- remote control ------------------------------------------------------------------------------------------------


@pytest.fixture
def celery(redis_url: str) -> Iterator[Celery]:
    with Celery(set_as_current=False) as app:
        app.conf.update(broker_conf(redis_url, Keys(), "test"))
        yield app


def asked(celery: Celery, worker: WorkerProcess, command: str, **arguments: object) -> dict[str, str]:
    answers = celery.control.broadcast(
        command, arguments=arguments, destination=[worker.name], reply=True, limit=1, timeout=30
    )
    assert answers
    found: dict[str, str] = answers[0][worker.name]
    return found


def refused(celery: Celery, worker: WorkerProcess, command: str, **arguments: object) -> str:
    return asked(celery, worker, command, **arguments)["error"]


def serves(redis_url: str) -> list[tuple[tuple[str, ...], int]]:
    with connect(redis_url) as client:
        return [(each.queues, each.concurrency) for each in presence.alive(client, Keys())]


def test_what_remote_control_changes_of_a_worker_is_told(worker: StartWorker, celery: Celery, redis_url: str) -> None:
    there = worker()
    asked(celery, there, "pool_grow", n=2)
    eventually(lambda: serves(redis_url) == [(("opgrid",), 3)])
    asked(celery, there, "pool_shrink", n=1)
    asked(celery, there, "add_consumer", queue="gpu")
    asked(celery, there, "cancel_consumer", queue="opgrid")
    eventually(lambda: serves(redis_url) == [(("gpu",), 2)])
    (watch,) = (pid for pid in descendants(there.pid) if b"worker.watch" in Path(f"/proc/{pid}/cmdline").read_bytes())
    kill(watch)
    eventually(lambda: "started again" in there.output)
    asked(celery, there, "add_consumer", queue="opgrid")
    eventually(lambda: serves(redis_url) == [(("gpu", "opgrid"), 2)])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_that_is_to_end_serves_nothing(
    run: Conversation, worker: StartWorker, redis_url: str, number: signal.Signals
) -> None:
    there = worker()
    run.wait(run.start("sleep_alone"), StepStarted)
    os.kill(there.pid, number)
    eventually(lambda: serves(redis_url) == [((), 1)])


def test_a_range_of_processes_can_be_changed(
    run: Conversation, worker: StartWorker, celery: Celery, redis_url: str
) -> None:
    there = worker(options=("--autoscale", "2,1"))
    assert "cannot be" in refused(celery, there, "autoscale", max=2, min=3)
    assert "cannot be" in refused(celery, there, "autoscale", max=2, min=0)
    asked(celery, there, "autoscale", max=4, min=1)
    eventually(lambda: serves(redis_url) == [(("opgrid",), 4)])
    run.submit(*[run.task("sleep_alone", step=f"sleep_{number}") for number in range(4)])

    def started() -> int:
        run.poll()
        return sum(isinstance(event, StepStarted) for event in run.events)

    eventually(lambda: started() == 4)


def test_remote_control_refuses_what_it_cannot_do(worker: StartWorker, celery: Celery) -> None:
    there = worker()
    assert "@op(pool=NAME)" in refused(celery, there, "rate_limit", task_name="opgrid.steps", rate_limit="1/m")
    assert "opgrid/timeout" in refused(celery, there, "time_limit", task_name="opgrid.steps", soft=1.0, hard=2.0)
    assert "one process at least" in refused(celery, there, "pool_shrink", n=1)
    assert "--autoscale" in refused(celery, there, "autoscale", max=2, min=1)
    assert "SIGHUP" in refused(celery, there, "pool_restart")


def test_a_lost_message_is_sent_again(run: Conversation, worker: StartWorker, redis_url: str, tmp_path: Path) -> None:
    task = run.start("count")
    with connect(redis_url) as client:
        client.delete(*Keys().queue_lists("opgrid"))
    worker()
    assert isinstance(run.end_of(task), StepSucceeded)
    assert any(isinstance(each, EngineNote) and "sent again" in each.message for each in run.events)
    assert (tmp_path / "count").read_text() == "."


def test_workers_of_another_version_get_no_messages(run: Conversation, worker: StartWorker, tmp_path: Path) -> None:
    """Those of the next one serve the same queue, and would not understand what is in it."""
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "sitecustomize.py").write_text(
        f"from opgrid.contracts import wire\nwire.VERSION = {VERSION + 1}\n"
    )
    newer = worker(environ={"PYTHONPATH": str(tmp_path / "newer")})
    task = run.start("five")
    note = the_note(run)
    assert "No worker serves the queue 'opgrid': its steps wait." in note.message
    assert f"get nothing of this one: '{newer.name} ({version('opgrid')})'" in note.message
    assert run.of(task) == []
    worker()
    assert isinstance(run.end_of(task), StepSucceeded)
    assert newer.process.poll() is None and "thrown away" not in newer.output


def test_higher_priorities_start_first(run: Conversation, worker: StartWorker) -> None:
    tasks = [run.task("five", step=f"five_{priority}", priority=priority) for priority in (0, 7, 10, -2, 3)]
    run.submit(*tasks)
    worker()
    assert all(isinstance(run.end_of(task), StepSucceeded) for task in tasks)
    starts = [each.step for each in run.events if isinstance(each, StepStarted)]
    assert starts == ["five_10", "five_7", "five_3", "five_0", "five_-2"]


def test_queues_are_served_by_their_workers(run: Conversation, worker: StartWorker) -> None:
    worker(queues=("cpu", "gpu"))
    gpu = run.start("five", step="five_gpu", queue="gpu")
    other = run.start("five", step="five_other")
    assert isinstance(run.end_of(gpu), StepSucceeded)
    assert run.of(other) == []
    worker()
    assert isinstance(run.end_of(other), StepSucceeded)


def the_note(run: Conversation) -> EngineNote:
    until = time.monotonic() + 30
    while not any(isinstance(each, EngineNote) for each in run.events) and time.monotonic() < until:
        run.poll()
    (note,) = [each for each in run.events if isinstance(each, EngineNote)]
    return note


def test_a_queue_that_nobody_serves_is_named(home: Path, redis_url: str, tmp_path: Path, worker: StartWorker) -> None:
    worker()
    executor = CeleryExecutor.create(contract_setup(home, redis_url, lease_ttl=TTL, queue="heavy", start_timeout=0.5))
    run = Conversation(executor, tmp_path)
    task = run.start("five")
    note = the_note(run)
    assert "No worker serves the queue 'heavy'" in note.message
    assert "Workers that are there serve: 'opgrid'" in note.message
    assert "-q heavy" in note.message
    worker(queues=["heavy"])
    assert isinstance(run.end_of(task), StepSucceeded)
    executor.close()


def test_a_step_that_no_worker_starts_in_time_fails(run: Conversation) -> None:
    end = run.end_of(run.start("five", queue="nobody", start_timeout=1.0))
    assert isinstance(end, StepFailed)
    assert end.timed_out
    assert "opgrid/start_timeout" in end.error.message


def test_nothing_is_sent_while_redis_is_nearly_full(home: Path, tmp_path: Path, worker: StartWorker) -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as client:
        executor = CeleryExecutor.create(contract_setup(home, server.url, lease_ttl=TTL))
        run = Conversation(executor, tmp_path)
        worker(url=server.url)
        client.setrange("much", 2**24, b"x")  # beside which it does not matter what connections take
        used: Any = client.info("memory")
        client.config_set("maxmemory", int(used["used_memory"] * 1.1))
        waiting = run.start("five")
        assert "nearly full" in the_note(run).message
        client.config_set("maxmemory", 0)
        assert isinstance(run.end_of(waiting), StepSucceeded)
        executor.close()


def test_a_full_redis_loses_no_step_that_runs_and_lets_a_cancel_through(
    home: Path, tmp_path: Path, worker: StartWorker
) -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as client:
        executor = CeleryExecutor.create(contract_setup(home, server.url, lease_ttl=TTL))
        run = Conversation(executor, tmp_path)
        there = worker(url=server.url)
        running = run.start("sleep_alone")
        run.wait(running, StepStarted)
        waiting = run.start("five")
        client.config_set("maxmemory", 1)
        until = time.monotonic() + 2 * TTL
        while time.monotonic() < until:
            run.poll()
        assert not ends(run, running)
        executor.cancel(running.run_id, [(running.step, running.attempt)])
        assert isinstance(run.end_of(running), StepCanceled)
        eventually(lambda: "let go" in there.output)  # what may not begin
        client.config_set("maxmemory", 0)
        assert isinstance(run.end_of(waiting), StepSucceeded)
        assert "Traceback" not in there.output
        executor.close()


def test_nothing_is_sent_to_a_redis_that_evicts_since_somebody_changed_it(
    home: Path, tmp_path: Path, worker: StartWorker
) -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as client:
        executor = CeleryExecutor.create(contract_setup(home, server.url, lease_ttl=TTL))
        run = Conversation(executor, tmp_path)
        worker(url=server.url)
        client.config_set("maxmemory-policy", "allkeys-lru")
        waiting = run.start("five")
        assert "allkeys-lru" in the_note(run).message
        client.config_set("maxmemory-policy", "noeviction")
        assert isinstance(run.end_of(waiting), StepSucceeded)
        executor.close()


def test_a_step_with_many_inputs_travels_by_reference(run: Conversation, worker: StartWorker, redis_url: str) -> None:
    worker()
    five = run.value_of(run.start("five"))
    total = run.start("total", inputs=given(numbers=Gathered((five,) * 200)))
    assert isinstance(run.end_of(total), StepSucceeded)


# ---- stopping ------------------------------------------------------------------------------------------------------


def test_a_step_that_does_not_stop_is_killed_with_what_it_started(
    run: Conversation, worker: StartWorker, tmp_path: Path
) -> None:
    worker()
    task = run.start("ignore_interrupts")
    run.wait(task, StepStarted)
    trace = tmp_path / "child-1"
    eventually(trace.exists)
    run.executor.cancel(run.brief.run_id, [(task.step, 1)])
    assert isinstance(run.end_of(task), StepCanceled)
    eventually(lambda: not alive(int(trace.read_text())))
    assert isinstance(run.run("five"), StepSucceeded)


def test_a_step_stops_in_order_whatever_the_one_before_made_of_signals(run: Conversation, worker: StartWorker) -> None:
    worker()
    assert isinstance(run.run("wander"), StepSucceeded)
    assert isinstance(run.run("look_around"), StepSucceeded)
    task = run.start("sleep_alone")
    pid = run.wait(task, StepStarted).pid
    run.executor.cancel(run.brief.run_id, [(task.step, task.attempt)])
    assert isinstance(run.end_of(task), StepCanceled)
    assert run.wait(run.start("five"), StepStarted).pid == pid  # it was not killed


def test_a_step_that_outlives_its_timeout_is_killed(run: Conversation, worker: StartWorker) -> None:
    worker()
    end = run.run("ignore_interrupts", timeout=0.5)
    assert isinstance(end, StepFailed)
    assert end.timed_out
    assert end.orphaned  # its hooks are run elsewhere
    assert isinstance(run.run("five"), StepSucceeded)


def test_what_is_canceled_while_no_worker_is_there_never_starts(
    run: Conversation, worker: StartWorker, tmp_path: Path
) -> None:
    task = run.start("count")
    run.executor.cancel(run.brief.run_id, [(task.step, 1)])
    assert isinstance(run.end_of(task), StepCanceled)
    worker()
    assert isinstance(run.run("five"), StepSucceeded)
    assert not (tmp_path / "count").exists()


def test_a_released_run_stops_what_still_runs(run: Conversation, worker: StartWorker, tmp_path: Path) -> None:
    worker()
    task = run.start("sleep_long")
    run.wait(task, StepStarted)
    trace = tmp_path / "child-1"
    eventually(trace.exists)
    run.executor.release(run.brief.run_id)
    eventually(lambda: not alive(int(trace.read_text())))


# ---- Redis ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [True, False], ids=["with its data", "without its data"])
def test_a_redis_that_restarts_costs_nothing(worker: StartWorker, home: Path, tmp_path: Path, keeps: bool) -> None:
    with EmbeddedRedis.start(data=tmp_path / "redis" if keeps else None) as server:
        executor = CeleryExecutor.create(contract_setup(home, server.url, lease_ttl=TTL))
        run = Conversation(executor, tmp_path)
        there = worker(url=server.url)
        assert isinstance(run.run("five"), StepSucceeded)
        running = run.start("pause", step="pause_running")
        run.wait(running, StepStarted)
        queued = [run.start("count", step=f"count_{number}") for number in range(3)]
        server.restart(pause=0.5)
        after = run.start("five", step="five_after")
        assert isinstance(run.end_of(after), StepSucceeded)
        assert isinstance(run.end_of(running), StepSucceeded | StepLost)
        assert all(isinstance(run.end_of(task), StepSucceeded) for task in queued)
        assert "DUMP" not in there.output  # of messages, into a file of its own each time
        executor.close()


def test_a_user_whose_rights_are_taken_for_a_while_costs_nothing(
    worker: StartWorker, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as administrator:
        administrator.execute_command("ACL SETUSER", "ann", "on", ">pw", "~opgrid:*", "&*", "+@all")
        url = server.url.replace("://", "://ann:pw@")
        executor = CeleryExecutor.create(contract_setup(home, url, lease_ttl=TTL))
        run = Conversation(executor, tmp_path)
        there = worker(url=url)
        assert isinstance(run.run("five"), StepSucceeded)
        running = run.start("pause", step="pause_running")
        run.wait(running, StepStarted)
        family = descendants(there.pid)
        administrator.execute_command("ACL SETUSER", "ann", "resetkeys")
        administrator.client_kill_filter(user="ann")  # whoever comes back to it is refused
        eventually(lambda: "read queues" in there.output)
        assert not executor.poll(TTL).events
        administrator.execute_command("ACL SETUSER", "ann", "~opgrid:*")
        assert isinstance(run.end_of(running), StepSucceeded)
        assert isinstance(run.run("five", step="five_after"), StepSucceeded)
        assert descendants(there.pid) == family
        assert "Traceback" not in there.output
        assert [each.message.count("does not let our user") for each in caplog.records].count(1) == 1
        executor.close()


def test_how_a_child_ended_is_told_after_a_redis_has_restarted_too(
    worker: StartWorker, home: Path, tmp_path: Path
) -> None:
    """Celery puts together anew what looks after its processes."""
    with EmbeddedRedis.start() as server:
        executor = CeleryExecutor.create(contract_setup(home, server.url, lease_ttl=TTL))
        run = Conversation(executor, tmp_path)
        worker(url=server.url)
        assert isinstance(run.run("five"), StepSucceeded)
        server.restart(pause=0.5)
        assert isinstance(run.run("five", step="five_after"), StepSucceeded)
        executor._flights.lease_ttl = NEVER
        task = run.start("sleep_long")
        started = run.wait(task, StepStarted)
        eventually((tmp_path / "child-1").exists)  # one that dies before its op begins costs the step nothing
        os.kill(started.pid, signal.SIGKILL)
        end = run.end_of(task)
        assert isinstance(end, StepLost)
        assert end.cause.signal == signal.SIGKILL
        executor.close()


def test_a_coordinator_that_takes_over_hears_everything(
    run: Conversation, worker: StartWorker, executor: CeleryExecutor, tmp_path: Path
) -> None:
    done, queued = run.task("count"), run.task("count", step="count_2")
    run.submit(done, queued)
    executor.close()
    worker()
    run.executor = heir = CeleryExecutor.create(executor.setup._replace(stream=executor.stream))
    assert heir.recover(run.brief) == {("count", 1), ("count_2", 1)}
    run.submit(done, queued)  # as a coordinator does that is not sure
    heir.resume_at("")
    assert isinstance(run.end_of(done), StepSucceeded)
    assert isinstance(run.end_of(queued), StepSucceeded)
    assert (tmp_path / "count").read_text() == ".."
    heir.close()


# ---- code and keys -------------------------------------------------------------------------------------------------


def test_a_worker_with_other_code_leaves_the_step_to_one_that_matches(
    run: Conversation, worker: StartWorker, tmp_path: Path
) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        "from opgrid.definitions.definitions import Definitions\n"
        "from opgrid.definitions.job import job\nfrom opgrid.definitions.op import op\n"
        "@op\ndef five():\n    return 6\n@job\ndef contract():\n    five()\ndefs = Definitions(jobs=[contract])\n"
    )
    worker(CodeTarget(file=str(other)))
    task = run.start("five")
    until = time.monotonic() + 30
    while not any(isinstance(each, EngineNote) for each in run.events) and time.monotonic() < until:
        run.poll()
    (note,) = [each for each in run.events if isinstance(each, EngineNote)]
    assert "hands back" in note.message
    assert "another structure" in note.message
    worker()
    assert isinstance(run.end_of(task), StepSucceeded)


def test_code_that_no_worker_has_fails_the_step_with_that_reason(run: Conversation, worker: StartWorker) -> None:
    worker(None, options=("--code-patience", "1"))
    end = run.run("five")
    assert isinstance(end, StepFailed)
    assert "no job 'contract'" in end.error.message
    assert not end.allow_retries


def test_a_job_without_a_location_travels_itself(worker: StartWorker, redis_url: str, home: Path) -> None:
    setup = contract_setup(home, redis_url, lease_ttl=TTL)._replace(code=None)
    executor = CeleryExecutor.create(setup)
    run = Conversation(executor, home)
    run.brief = msgspec.structs.replace(run.brief, job=JobRef(contract.name, contract.structure_hash))
    worker(None)
    assert isinstance(run.run("five"), StepSucceeded)
    executor.close()


def refusal(url: str, home: Path, **environ: str) -> str:
    command = [sys.executable, "-P", "-m", "worker", "start", "-b", url, "-m", "opgrid.testing.contract_jobs"]
    known = {name: value for name, value in os.environ.items() if not name.startswith("OPGRID_")}
    done = subprocess.run(
        command,
        env={**known, "OPGRID_HOME": str(home), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_worker_without_a_key_refuses_to_start_where_others_are_elsewhere(tmp_path: Path) -> None:
    assert "There is no secret key" in refusal("redis://192.0.2.1:6379/0", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_a_worker_makes_the_key_of_its_machine(redis_url: str, home: Path, worker: StartWorker) -> None:
    (home / "secret.key").unlink()
    worker()
    executor = CeleryExecutor.create(contract_setup(home, redis_url, lease_ttl=TTL))
    try:
        assert isinstance(Conversation(executor, home).run("five"), StepSucceeded)
    finally:
        executor.close()


def test_a_worker_with_another_key_refuses_to_start(executor: CeleryExecutor, redis_url: str, tmp_path: Path) -> None:
    said = refusal(redis_url, tmp_path, OPGRID_SECRET_KEY="x" * 32)
    assert "another secret key" in said
    assert "x" * 32 not in said


def test_a_worker_without_redis_refuses_to_start(home: Path) -> None:
    said = refusal("redis://me:pw@127.0.0.1:1/0", home)
    assert "cannot be reached" in said
    assert "pw" not in said


def test_a_worker_refuses_a_redis_that_evicts(home: Path) -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert "noeviction" in refusal(server.url, home)


def test_a_worker_that_is_killed_leaves_no_folder(redis_url: str, home: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # whose name is short enough for a socket
        worker = start_worker(redis_url, CODE, str(home), environ={"TMPDIR": folder}, log=home / "worker.log")
        assert len(list(Path(folder).glob("opgrid-worker-*"))) == 1
        worker.kill()
        until = time.monotonic() + 60
        while list(Path(folder).glob("opgrid-worker-*")):
            assert time.monotonic() < until
            time.sleep(0.05)
