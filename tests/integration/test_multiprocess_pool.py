"""The process pool with real processes: kept warm, grown when needed, killed when deaf, gone with their parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from executors.multiprocess import MultiprocessExecutor, frames
from executors.multiprocess.process import Process
from opgrid.contracts.events import HookCompleted, StepCanceled, StepFailed, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.executor import ExecutorSetup
from opgrid.contracts.fusing import promise
from opgrid.contracts.tasks import CodeTarget, StepTask, Stored
from opgrid.ids import StepKey
from opgrid.testing.executors import Conversation, contract_setup, given


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[MultiprocessExecutor]:
    executor = MultiprocessExecutor(contract_setup(tmp_path), max_concurrent=2, grace=0.3)
    yield executor
    executor.close()


@pytest.fixture
def run(pool: MultiprocessExecutor, tmp_path: Path) -> Conversation:
    return Conversation(pool, tmp_path)


def pids(run: Conversation) -> list[int]:
    return [event.pid for event in run.events if isinstance(event, StepStarted)]


def test_processes_are_kept_and_started_only_when_there_is_work(run: Conversation) -> None:
    for number in range(5):
        assert isinstance(run.run("five", step=f"five[{number}]"), StepSucceeded)
    assert len(set(pids(run))) == 1
    tasks = [run.start("pause", step=f"pause[{number}]") for number in range(6)]
    for task in tasks:
        run.end_of(task)
    assert len(set(pids(run))) == 2


@pytest.mark.parametrize(("breadth", "processes"), [(0, 1), (1, 1), (2, 2), (100, 3)])
def test_processes_that_will_have_something_to_do_are_there_before(
    tmp_path: Path, breadth: int, processes: int
) -> None:
    executor = MultiprocessExecutor(contract_setup(tmp_path, start_method={"spawn": {}}), max_concurrent=3)
    before = children()
    try:
        run = Conversation(executor, tmp_path)
        executor.foresee(run.brief, breadth)
        assert children() == before
        assert isinstance(run.run("five"), StepSucceeded)
        assert len(children() - before) == processes
    finally:
        executor.close()
    assert children() == before


def test_what_is_ready_is_given_away_before_further_processes_start(tmp_path: Path) -> None:
    done: list[str] = []

    class Watched(MultiprocessExecutor):
        def _start(self, fork: bool = True) -> None:
            done.append("start")
            super()._start(fork)

        def _give(self, child: Process, most: int) -> None:
            super()._give(child, most)
            if child.doing:
                done.append("give")

    executor = Watched(contract_setup(tmp_path), max_concurrent=3)
    try:
        run = Conversation(executor, tmp_path)
        executor.foresee(run.brief, 3)
        assert isinstance(run.run("five"), StepSucceeded)
    finally:
        executor.close()
    assert done == ["start", "give", "start", "start"]


def test_nothing_is_started_for_a_run_that_has_ended(tmp_path: Path) -> None:
    executor = MultiprocessExecutor(contract_setup(tmp_path, start_method={"spawn": {}}), max_concurrent=3)
    before = children()
    try:
        gone, run = Conversation(executor, tmp_path), Conversation(executor, tmp_path)
        executor.foresee(gone.brief, 3)
        executor.release(gone.brief.run_id)
        executor.foresee(run.brief, 1)
        assert isinstance(run.run("five"), StepSucceeded)
        assert len(children() - before) == 1
    finally:
        executor.close()


def children() -> set[str]:
    pid = os.getpid()
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_priority_decides_what_goes_first(tmp_path: Path) -> None:
    executor = MultiprocessExecutor(contract_setup(tmp_path), max_concurrent=1)
    try:
        run = Conversation(executor, tmp_path)
        tasks = [run.task("five", step=f"five[{number}]", priority=number) for number in (1, 3, 2)]
        run.submit(*tasks)
        for task in tasks:
            run.end_of(task)
        order = [event.step for event in run.events if isinstance(event, StepStarted)]
        assert order == ["five[3]", "five[2]", "five[1]"]
    finally:
        executor.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_process_is_replaced(run: Conversation, number: int) -> None:
    task = run.start("sleep_alone")
    started = run.wait(task, StepStarted)
    os.kill(started.pid, number)
    end = run.end_of(task)  # the step itself would take a minute
    assert isinstance(end, StepLost)
    assert end.cause.signal == number
    assert end.cause.pid == started.pid
    assert signal.Signals(number).name in end.cause.reason
    assert isinstance(run.run("five"), StepSucceeded)


def test_an_idle_process_that_dies_harms_nobody(run: Conversation) -> None:
    run.run("five")
    (pid,) = pids(run)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(run.run("five", attempt=2), StepSucceeded | StepLost)
    assert isinstance(run.run("five", attempt=3), StepSucceeded)


@pytest.mark.parametrize("way", ["cancel", "timeout"])
def test_a_step_that_does_not_listen_is_killed_with_what_it_started(
    run: Conversation, tmp_path: Path, way: str
) -> None:
    task = run.start("ignore_interrupts", timeout=1.0 if way == "timeout" else None)
    started = run.wait(task, StepStarted)
    trace = tmp_path / "child-1"
    eventually(trace.exists, run)
    if way == "cancel":
        run.executor.cancel(run.brief.run_id, [(task.step, task.attempt)])
    end = run.end_of(task)
    assert isinstance(end, StepCanceled) if way == "cancel" else isinstance(end, StepFailed) and end.orphaned
    eventually(lambda: not alive(started.pid) and not alive(int(trace.read_text())), run)


def test_a_job_travels_by_value(tmp_path: Path) -> None:
    setup = contract_setup(tmp_path)._replace(code=None)
    executor = MultiprocessExecutor(setup, max_concurrent=1)
    try:
        assert isinstance(Conversation(executor, tmp_path).run("five"), StepSucceeded)
    finally:
        executor.close()


def test_code_that_cannot_be_loaded_fails_the_step_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    setup = contract_setup(tmp_path)._replace(code=CodeTarget(file=str(tmp_path / "broken.py")))
    executor = MultiprocessExecutor(setup, max_concurrent=1)
    try:
        end = Conversation(executor, tmp_path).run("five")
        assert isinstance(end, StepFailed)
        assert "nothing_of_that_name" in end.error.message
        assert not end.allow_retries
    finally:
        executor.close()


def test_children_that_cannot_start_are_told_as_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    executor = MultiprocessExecutor(contract_setup(tmp_path), max_concurrent=1)
    try:
        end = Conversation(executor, tmp_path).run("five")
        assert isinstance(end, StepLost)
        assert end.cause.exit_code == 1
        assert "before it was ready" in end.cause.reason
    finally:
        executor.close()


@pytest.mark.parametrize("zygote", ["on", "off"])
def test_who_still_loads_code_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zygote: str) -> None:
    monkeypatch.setenv("OPGRID_ZYGOTE", zygote)
    monkeypatch.setattr("executors.multiprocess.process._EXIT_WAIT", 3600.0)
    loading = tmp_path / "loading"
    (tmp_path / "slow.py").write_text(
        f"import os, time\n"
        f"with open({str(loading) + '.part'!r}, 'w') as file: file.write(str(os.getpid()))\n"
        f"os.rename(file.name, {str(loading)!r})\n"
        f"while True: time.sleep(1)\n"
    )
    setup = contract_setup(tmp_path)._replace(code=CodeTarget(file=str(tmp_path / "slow.py")))
    executor = MultiprocessExecutor(setup, max_concurrent=1)
    run = Conversation(executor, tmp_path)
    run.submit(run.task("five"))
    eventually(loading.exists, run)
    executor.close()
    assert not alive(int(loading.read_text()))


# ---- several steps to a process at once


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Conversation]:
    """A pool of one process that knows that ``vary`` is quick."""
    executor = MultiprocessExecutor(contract_setup(tmp_path), max_concurrent=1)
    run = Conversation(executor, tmp_path)
    run.run("vary", step="vary[first]")
    yield run
    executor.close()


def begun(folder: Path) -> list[str]:
    """Steps of ``vary``, in the order in which they began."""
    return (folder / "vary").read_text().split()


def vary(run: Conversation, *keys: str) -> list[StepTask]:
    tasks = [run.task("vary", step=f"vary[{key}]") for key in keys]
    run.submit(*tasks)
    return tasks


def test_steps_behind_one_that_turns_out_long_go_to_another_process(run: Conversation, tmp_path: Path) -> None:
    run.run("vary", step="vary[first]")
    for task in [run.start("pause", step=f"pause[{number}]") for number in range(2)]:
        run.end_of(task)  # now there are two processes
    long, *others = vary(run, "long", *map(str, range(9)))
    assert all(isinstance(run.end_of(task), StepSucceeded) for task in others)
    assert not any(isinstance(event, StepSucceeded) for event in run.of(long))
    (tmp_path / "go-on").touch()
    assert isinstance(run.end_of(long), StepSucceeded)
    assert sorted(begun(tmp_path)) == sorted(["vary[first]", long.step, *(task.step for task in others)])


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The steps that processes were given, by message."""
    orders: list[list[str]] = []
    send = frames.send

    def sent(to: socket.socket, kind: bytes, payload: bytes = b"") -> None:
        if kind == frames.DO:
            orders.append([each.task.step for each in msgspec.json.decode(payload, type=list[frames.Do])])
        send(to, kind, payload)

    monkeypatch.setattr(frames, "send", sent)
    return orders


def test_steps_of_one_op_are_given_together_whatever_their_names(one: Conversation, orders: list[list[str]]) -> None:
    one.run("five", op="five")
    orders.clear()
    tasks = [one.task(node, op="five") for node in ("other_five", "third_five")]
    one.submit(*tasks)
    assert all(isinstance(one.end_of(task), StepSucceeded) for task in tasks)
    assert len(orders) == 1


@pytest.fixture
def two(pool: MultiprocessExecutor, run: Conversation, monkeypatch: pytest.MonkeyPatch) -> Conversation:
    """A pool of two processes that are idle and know that ``vary`` is quick, however slow this machine is just now."""
    run.run("vary", step="vary[first]")
    while len(set(pids(run))) < 2:
        for task in [run.start("pause", step=f"pause[{len(run.events)}-{number}]") for number in range(2)]:
            run.end_of(task)
    eventually(lambda: not any(child.doing for child in pool._children), run)  # their hooks, too
    monkeypatch.setattr("executors.multiprocess.executor._BATCH", 10.0)
    return run


def test_quick_steps_are_shared_out_evenly(two: Conversation, orders: list[list[str]]) -> None:
    for task in vary(two, "1", "2", "3", "4"):
        two.end_of(task)
    assert orders == [["vary[1]", "vary[2]"], ["vary[3]", "vary[4]"]]


def test_what_is_told_waits_for_those_that_are_nearly_through(
    two: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executors.multiprocess.executor._NEARLY", 10.0)
    go_on = threading.Timer(0.3, (tmp_path / "go-on").touch)
    go_on.start()
    quick, long = vary(two, "quick", "long")
    ended: list[str] = []
    while not ended:
        ended = [event.step for event in two.poll(10.0) if isinstance(event, StepSucceeded)]
    go_on.join()
    assert ended == [quick.step, long.step]


def test_what_is_told_does_not_wait_for_what_should_have_ended_long_ago(
    two: Conversation, pool: MultiprocessExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executors.multiprocess.executor._NEARLY", 10.0)
    (long,) = vary(two, "long")
    (busy,) = [child for child in pool._children if child.doing]
    now = time.monotonic()
    assert pool._worth_waiting(now) > 0.0
    busy.started -= 100.0
    assert pool._worth_waiting(now) == 0.0
    (tmp_path / "go-on").touch()
    two.end_of(long)


def test_a_step_that_is_held_up_has_begun_when_its_process_was_to_begin_it(
    pool: MultiprocessExecutor, run: Conversation
) -> None:
    run.run("five", step="five[first]")
    eventually(lambda: not any(child.doing for child in pool._children), run)
    (pid,) = pids(run)
    os.kill(pid, signal.SIGSTOP)
    try:
        task = run.start("five", step="five[second]")
        given = time.time()
        assert run.wait(task, StepStarted).at <= given
    finally:
        os.kill(pid, signal.SIGCONT)
    assert isinstance(run.end_of(task), StepSucceeded)
    assert sum(isinstance(event, StepStarted) for event in run.of(task)) == 1


def test_a_process_that_dies_costs_no_other_step_that_it_was_given(one: Conversation, tmp_path: Path) -> None:
    before, killed, *behind = vary(one, "before", "killed", "1", "2", "3")
    assert isinstance(one.end_of(killed), StepLost)
    assert all(isinstance(one.end_of(task), StepSucceeded) for task in (before, *behind))
    assert begun(tmp_path)[1:] == [task.step for task in (before, killed, *behind)]
    for task in (before, killed, *behind):
        assert sum(isinstance(event, StepStarted) for event in one.of(task)) == 1


def test_what_a_process_has_not_begun_can_be_canceled(one: Conversation, tmp_path: Path) -> None:
    long, *behind = vary(one, "long", "1", "2")
    one.wait(long, StepStarted)
    one.executor.cancel(one.brief.run_id, [(task.step, task.attempt) for task in behind])
    assert all(isinstance(one.end_of(task), StepCanceled) for task in behind)
    (tmp_path / "go-on").touch()
    assert isinstance(one.end_of(long), StepSucceeded)
    assert begun(tmp_path)[1:] == [long.step]


def test_what_is_behind_a_step_that_is_canceled_runs(one: Conversation, tmp_path: Path) -> None:
    long, *behind = vary(one, "long", "1", "2")
    one.wait(long, StepStarted)
    eventually(lambda: begun(tmp_path)[1:] == [long.step], one)  # its body, too
    one.executor.cancel(one.brief.run_id, [(long.step, long.attempt)])
    assert isinstance(one.end_of(long), StepCanceled)
    assert all(isinstance(one.end_of(task), StepSucceeded) for task in behind)
    assert begun(tmp_path)[1:] == [task.step for task in (long, *behind)]


def test_a_chain_stays_in_its_process_and_each_step_runs_once(run: Conversation) -> None:
    def add(node: str, above: str) -> StepTask:
        inputs = given(number=Stored(promise(StepKey(above), "result")))
        return run.task(node, inputs=inputs, after=(StepKey(above),))

    second, third = add("add_one", "five"), add("another_one", "add_one")
    leader = run.start("five", then=(second, third))
    end = run.end_of(leader)
    assert isinstance(end, StepSucceeded)
    run.submit(run.task("add_one", inputs=given(number=Stored(end.outputs[0]))))
    assert all(isinstance(run.end_of(task), StepSucceeded) for task in (second, third))
    eventually(lambda: sum(isinstance(event, HookCompleted) for event in run.events) == 3, run)
    starts = [event for event in run.events if isinstance(event, StepStarted)]
    assert [event.step for event in starts] == ["five", "add_one", "another_one"]
    assert len({event.pid for event in starts}) == 1
    assert len({event.claim for event in starts}) == 3


def crew(run: Conversation, leader: str, *keys: str) -> tuple[StepTask, list[StepTask]]:
    """A step, and steps of ``vary`` that travel with it; these are submitted, too, once it has succeeded."""
    mates = [run.task("vary", step=f"vary[{key}]", after=(StepKey(leader),)) for key in keys]
    first = run.start(leader, then=tuple(mates))
    assert isinstance(run.end_of(first), StepSucceeded)
    run.submit(*(run.task("vary", step=mate.step) for mate in mates))
    return first, mates


def test_what_travels_with_a_step_runs_once(run: Conversation, tmp_path: Path) -> None:
    first, mates = crew(run, "vary", "1", "2")
    assert all(isinstance(run.end_of(mate), StepSucceeded) for mate in mates)
    run.run("five")  # behind whatever else there is to do
    assert sorted(begun(tmp_path)) == sorted(each.step for each in (first, *mates))


def test_what_travels_with_a_step_whose_hooks_take_their_time_runs_once(run: Conversation, tmp_path: Path) -> None:
    first, mates = crew(run, "celebrated", "1")
    (tmp_path / "hooks-go-on").touch()
    assert all(isinstance(run.end_of(mate), StepSucceeded) for mate in mates)
    run.run("five")
    assert begun(tmp_path) == [each.step for each in (first, *mates)]


def test_what_travels_with_one_that_dies_goes_to_another_process(run: Conversation, tmp_path: Path) -> None:
    first, (killed, other) = crew(run, "vary", "killed", "1")
    assert isinstance(run.end_of(killed), StepLost)
    assert isinstance(run.end_of(other), StepSucceeded)
    assert begun(tmp_path) == [each.step for each in (first, killed, other)]


def test_what_travels_with_a_step_can_be_canceled(run: Conversation, tmp_path: Path) -> None:
    _, mates = crew(run, "vary", "long", "1")
    run.executor.cancel(run.brief.run_id, [(mate.step, mate.attempt) for mate in mates])
    assert all(isinstance(run.end_of(mate), StepCanceled) for mate in mates)
    assert mates[1].step not in begun(tmp_path)


def test_a_step_of_a_chain_that_dies_is_the_one_that_is_lost(run: Conversation) -> None:
    killed = run.task("be_killed", step="be_killed", after=(StepKey("five"),))
    leader = run.start("five", then=(killed,))
    assert isinstance(run.end_of(leader), StepSucceeded)
    assert isinstance(run.end_of(killed), StepLost)


PARENT = """
import sys
from pathlib import Path
from executors.multiprocess import MultiprocessExecutor, frames
from opgrid.contracts.events import StepStarted
from opgrid.testing.executors import Conversation, contract_setup
folder = Path(sys.argv[1])
executor = MultiprocessExecutor(contract_setup(folder), max_concurrent=2)
run = Conversation(executor, folder)
started = run.wait(run.start("sleep_long"), StepStarted)
while not (folder / "child-1").exists():
    run.poll(0.05)
run.run("five")
idle = [event.pid for event in run.events if isinstance(event, StepStarted)][-1]
print(started.pid, idle, flush=True)
run.poll(60)
"""


def test_children_go_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(set(children)) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    grandchild = int((tmp_path / "child-1").read_text())
    until = time.monotonic() + 30
    while any(alive(pid) for pid in (*children, grandchild)):
        assert time.monotonic() < until, "a child outlived its parent"
        time.sleep(0.02)


def test_a_cold_pool_is_quick(tmp_path: Path) -> None:
    """The best of several tries, as machines are busy: 0.3 s on an idle one."""
    setup: ExecutorSetup = contract_setup(tmp_path)
    took: list[float] = []
    while not took or (min(took) >= 3 and len(took) < 5):
        before = time.monotonic()
        executor = MultiprocessExecutor(setup, max_concurrent=2)
        try:
            assert isinstance(Conversation(executor, tmp_path).run("five"), StepSucceeded)
            took.append(time.monotonic() - before)
        finally:
            executor.close()
    assert min(took) < 3


def eventually(holds: Callable[[], bool], run: Conversation) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        run.poll(0.05)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rsplit(")", 1)[1].split()[0] != "Z"
