"""Children that are forked from a zygote: they are as if this process had started them, and whoever dies harms nobody
else.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from executors.multiprocess import MultiprocessExecutor
from opgrid.contracts.events import StepLost, StepStarted, StepSucceeded
from opgrid.contracts.executor import ExecutorSetup
from opgrid.contracts.tasks import CodeTarget, JobRef
from opgrid.testing.executors import Conversation, Terminal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux alone")

JOBS = """
import json, os, random, sys, time
from pathlib import Path
from opgrid import job, op

FOLDER = Path(__file__).parent
VERSION = 1

@op
def look():
    mask = os.umask(0)
    os.umask(mask)
    seen = {
        "pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "environ": dict(os.environ),
        "folder": os.getcwd(), "umask": mask, "version": VERSION, "arguments": sys.argv[1:], "drawn": random.random(),
        "descriptors": sorted(os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")
                              if os.path.exists(f"/proc/self/fd/{each}")),
    }
    if os.environ.get("IMPORT"):
        import acme
        seen |= {"imported_by": acme.PID, "acme": acme.VERSION, "acme_drawn": acme.DICE.random(), "file": acme.__file__}
    mine = FOLDER / f"seen.{os.getpid()}"  # others may look at the same time
    mine.write_text(json.dumps(seen))
    mine.rename(FOLDER / "seen")

@op
def speak():
    os.write(1, b"from the child\\n")
    os.write(2, b"and its errors\\n")

@op
def hold():
    (FOLDER / "held").write_text(str(os.getpid()))
    while not (FOLDER / "go").exists():
        time.sleep(0.01)

LEFT_OPEN = None

@op
def leave_open():
    global LEFT_OPEN
    LEFT_OPEN = open(FOLDER / "left_open", "w")
    LEFT_OPEN.write("all of it")

@job
def everything():
    look()
    speak()
    hold()
    leave_open()
"""

ACME = """
import os, random
VERSION = 1
PID = os.getpid()
DICE = random.Random()
"""


class Runs:
    """Runs of the jobs in a folder, an executor each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "jobs.py").write_text(JOBS)

    def executor(self, **config: object) -> MultiprocessExecutor:
        code = CodeTarget(file=str(self.folder / "jobs.py"), working_directory=str(self.folder))
        setup = ExecutorSetup({"max_concurrent": 1, **config}, str(self.folder), code, None, None, "")
        return MultiprocessExecutor.create(setup)

    def talk(self, executor: MultiprocessExecutor) -> Conversation:
        talk = Conversation(executor, self.folder)
        talk.brief = msgspec.structs.replace(talk.brief, job=JobRef("everything", ""))
        return talk

    def run(self, step: str, **config: object) -> Terminal:
        executor = self.executor(**config)
        try:
            return self.talk(executor).run(step)
        finally:
            executor.close()

    def look(self, **config: object) -> dict[str, Any]:
        assert isinstance(self.run("look", **config), StepSucceeded)
        seen: dict[str, Any] = json.loads((self.folder / "seen").read_text())
        return seen


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is installed, with one module."""
    (tmp_path / "packages" / "acme-1.dist-info").mkdir(parents=True)
    module = tmp_path / "packages" / "acme.py"
    module.write_text(ACME)
    monkeypatch.setenv("PYTHONPATH", str(module.parent))
    monkeypatch.setenv("IMPORT", "1")
    return module


def test_one_zygote_makes_the_children_of_all_runs(runs: Runs) -> None:
    seen = [runs.look() for _ in range(5)]
    assert len({each["parent"] for each in seen}) == 1
    assert seen[0]["parent"] not in (1, os.getpid())
    assert len({each["pid"] for each in seen}) == 5
    assert len({each["drawn"] for each in seen}) == 5
    assert all(each["session"] == each["pid"] for each in seen)


@pytest.mark.parametrize("config", [{"start_method": {"spawn": {}}}, {}])
def test_children_can_be_started_from_nothing(
    runs: Runs, config: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not config:
        monkeypatch.setenv("OPGRID_ZYGOTE", "off")
    assert runs.look(**config)["parent"] == os.getpid()


def test_children_find_what_this_process_has_now(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    before = runs.look()
    (runs.folder / "elsewhere").mkdir()
    monkeypatch.setenv("SAID_TO_CHILDREN", "hello")
    monkeypatch.chdir(runs.folder / "elsewhere")
    mask = os.umask(0o027)
    try:
        after = runs.look()
    finally:
        os.umask(mask)
    assert "SAID_TO_CHILDREN" not in before["environ"]
    assert after["environ"]["SAID_TO_CHILDREN"] == "hello"
    assert after["folder"] == str(runs.folder / "elsewhere")
    assert after["umask"] == 0o027 != before["umask"]
    monkeypatch.delenv("SAID_TO_CHILDREN")
    assert "SAID_TO_CHILDREN" not in runs.look()["environ"]


def test_children_find_what_they_would_find_had_they_been_started_from_nothing(runs: Runs) -> None:
    forked, started = runs.look(), runs.look(start_method={"spawn": {}})
    for of in (forked, started):
        of["descriptors"] = sorted(each.partition(":")[0] for each in of["descriptors"])
        of["arguments"] = of["arguments"][:0]
    different = {name for name in forked if forked[name] != started[name]}
    assert different == {"pid", "parent", "session", "drawn"}


def test_a_process_whose_folder_was_deleted_has_children(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = runs.folder / "gone"
    gone.mkdir()
    with monkeypatch.context() as there:
        there.chdir(gone)
        gone.rmdir()
        assert isinstance(runs.run("speak"), StepSucceeded)
    assert runs.look()["parent"] not in (1, os.getpid())  # that was no reason to do without zygotes for good


def test_a_process_that_could_open_no_file_has_zygotes_when_it_can() -> None:
    code = (
        "import os, resource\n"
        "from opgrid.zygote.nursery import nursery\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))\n"
        "before = nursery([], None)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "assert before is None and nursery([], None) is not None"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_children_of_a_process_that_ignores_ctrl_c(runs: Runs) -> None:
    zygote = runs.look()["parent"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert runs.look()["parent"] == zygote
    finally:
        signal.signal(signal.SIGINT, before)
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        assert runs.look()["parent"] != zygote
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_code_that_was_changed_between_two_runs_is_loaded_as_it_is(runs: Runs) -> None:
    assert runs.look()["version"] == 1
    (runs.folder / "jobs.py").write_text(JOBS.replace("VERSION = 1", "VERSION = 22"))
    assert runs.look()["version"] == 22


def test_what_children_write_goes_where_this_process_writes(runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        runs.run("speak")
        assert capfd.readouterr() == ("from the child\n", "and its errors\n")
    with (runs.folder / "output").open("w") as output:
        stdout = os.dup(1)
        os.dup2(output.fileno(), 1)
        try:
            runs.run("speak")
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
    assert (runs.folder / "output").read_text() == "from the child\n"
    assert capfd.readouterr() == ("", "and its errors\n")


def test_files_that_were_left_open_are_written_out(runs: Runs) -> None:
    runs.run("leave_open")
    assert (runs.folder / "left_open").read_text() == "all of it"


def test_many_runs_leave_nothing_behind(runs: Runs) -> None:
    zygote = runs.look()["parent"]
    children = Path(f"/proc/{zygote}/task/{zygote}/children")
    eventually(lambda: not children.read_text())
    gc.collect()  # what tests before this one have left
    ours, theirs = descriptors(os.getpid()), descriptors(zygote)
    for _ in range(20):
        assert runs.look()["parent"] == zygote
    assert descriptors(os.getpid()) <= ours
    eventually(lambda: not children.read_text() and descriptors(zygote) <= theirs)


def test_executors_of_several_threads_share_a_zygote(runs: Runs) -> None:
    zygote = runs.look()["parent"]
    ends: list[Terminal] = []
    parents: list[int] = []

    def several() -> None:
        for _ in range(5):
            executor = runs.executor(max_concurrent=2)
            try:
                talk = runs.talk(executor)
                tasks = [talk.start("look", step=f"look[{number}]") for number in range(2)]
                parents.append(parent_of(talk.wait(tasks[0], StepStarted).pid))
                ends.extend(talk.end_of(task) for task in tasks)
            finally:
                executor.close()

    threads = [threading.Thread(target=several) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 20
    assert {type(each) for each in ends} == {StepSucceeded}, ends
    assert set(parents) <= {zygote, 0}  # 0: that child had gone already


# ---- whoever dies ----------------------------------------------------------------------------------------------------


def test_a_zygote_that_is_killed_costs_nobody_anything(runs: Runs) -> None:
    executor = runs.executor(max_concurrent=2)
    try:
        talk = runs.talk(executor)
        held = talk.start("hold")
        child = talk.wait(held, StepStarted).pid
        zygote = parent_of(child)
        send(zygote, signal.SIGKILL)
        assert isinstance(talk.run("look"), StepSucceeded)  # a child more
        (runs.folder / "go").touch()
        assert isinstance(talk.end_of(held), StepSucceeded)
        assert not any(isinstance(event, StepLost) for event in talk.events)
    finally:
        executor.close()
    assert not alive(child)
    assert runs.look()["parent"] not in (zygote, os.getpid())


def test_an_idle_zygote_that_is_killed_is_replaced(runs: Runs) -> None:
    zygote = runs.look()["parent"]
    send(zygote, signal.SIGKILL)
    eventually(lambda: not alive(zygote))
    assert runs.look()["parent"] not in (zygote, os.getpid())


def test_a_zygote_that_is_killed_while_a_child_is_wanted_is_done_without(runs: Runs) -> None:
    zygote = runs.look()["parent"]
    send(zygote, signal.SIGSTOP)
    executor = runs.executor()
    try:
        talk = runs.talk(executor)
        task = talk.start("look")
        talk.poll(0.1)
        send(zygote, signal.SIGKILL)
        assert isinstance(talk.end_of(task), StepSucceeded)
        assert not any(isinstance(event, StepLost) for event in talk.events)
    finally:
        executor.close()
    assert json.loads((runs.folder / "seen").read_text())["parent"] == os.getpid()
    assert runs.look()["parent"] not in (zygote, os.getpid())


def test_a_child_that_dies_after_its_zygote_is_a_loss_like_any_other(runs: Runs) -> None:
    executor = runs.executor()
    try:
        talk = runs.talk(executor)
        task = talk.start("hold")
        eventually((runs.folder / "held").exists, lambda: talk.poll(0.02))
        child = int((runs.folder / "held").read_text())
        os.kill(parent_of(child), signal.SIGKILL)
        eventually(lambda: parent_of(child) != os.getpid(), lambda: talk.poll(0.02))
        os.kill(child, signal.SIGKILL)
        end = talk.end_of(task)
        assert isinstance(end, StepLost)
        assert end.cause.pid == child
        assert end.cause.signal is None
        assert end.cause.exit_code is None
        assert "nobody knows how" in end.cause.reason
    finally:
        executor.close()


def test_zygotes_that_cannot_be_are_given_up(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(runs.folder / "broken"))
    (runs.folder / "broken").mkdir()
    (runs.folder / "broken" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if '_zygote' in sys.orig_argv:\n"
        "    open(os.environ['COUNT'], 'a').write('.')\n"
        "    os._exit(9)\n"
    )
    count = runs.folder / "count"
    monkeypatch.setenv("COUNT", str(count))
    for _ in range(5):
        assert runs.look()["parent"] == os.getpid()
    assert 3 <= len(count.read_text()) <= 6
    tries = count.read_text()
    assert runs.look()["parent"] == os.getpid()
    assert count.read_text() == tries


PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.integration.test_multiprocess_zygote import Runs, parent_of
from opgrid.contracts.events import StepStarted
runs = Runs(Path(sys.argv[1]))
executor = runs.executor()
talk = runs.talk(executor)
child = talk.wait(talk.start("hold"), StepStarted).pid
print(child, parent_of(child), flush=True)
talk.poll(60)
"""


def test_a_zygote_goes_when_its_parent_is_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child, zygote = map(int, parent.stdout.readline().split())
        assert alive(child)
        assert parent_of(zygote) == parent.pid
        parent.kill()
    eventually(lambda: not alive(child) and not alive(zygote))


def test_a_zygote_goes_with_a_parent_that_ends(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    code = PARENT.replace("talk.poll(60)", "(runs.folder / 'go').touch(); talk.poll(5); executor.close()")
    before = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - before < 100  # a zygote that nobody needs stays for 300
    child, zygote = map(int, done.stdout.split())
    assert not alive(child)
    assert not alive(zygote)


def test_a_zygote_without_children_goes_after_a_while() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arguments = [str(theirs.fileno()), "learns", "pool-child"]
    code = f"from opgrid.zygote import server; server.IDLE = 0.2; server.main({arguments})"
    with ours, theirs:
        done = subprocess.run([sys.executable, "-P", "-c", code], pass_fds=[theirs.fileno()], timeout=30)
    assert done.returncode == 0


# ---- what it has imported --------------------------------------------------------------------------------------------


def zygote_with_acme(runs: Runs) -> int:
    """Runs until children have the module from their zygote."""
    until = time.monotonic() + 60
    while True:
        seen = runs.look()
        if seen["imported_by"] == seen["parent"]:
            return int(seen["parent"])
        assert seen["imported_by"] == seen["pid"]
        assert time.monotonic() < until, "it does not learn"
        time.sleep(0.2)


@pytest.mark.usefixtures("acme")
def test_what_children_import_the_next_have_already(runs: Runs) -> None:
    zygote = zygote_with_acme(runs)
    seen = [runs.look() for _ in range(3)]
    assert all(each["imported_by"] == each["parent"] == zygote for each in seen)
    assert len({each["acme_drawn"] for each in seen}) == 3, "all children draw the same numbers"


def test_a_package_that_was_changed_is_imported_as_it_is(runs: Runs, acme: Path) -> None:
    zygote = zygote_with_acme(runs)
    acme.write_text(ACME.replace("VERSION = 1", "VERSION = 22"))
    assert runs.look()["acme"] == 22
    assert zygote_with_acme(runs) != zygote
    assert runs.look()["acme"] == 22


def test_a_module_of_the_user_comes_before_what_is_installed(runs: Runs, acme: Path) -> None:
    zygote_with_acme(runs)
    own = runs.folder / "acme.py"
    own.write_text(ACME)
    for _ in range(3):
        seen = runs.look()
        assert seen["file"] == str(own)
        assert seen["imported_by"] == seen["pid"]
        time.sleep(0.2)


@pytest.mark.parametrize(
    "harm",
    ["import threading, time; threading.Thread(target=time.sleep, args=[60], daemon=True).start()", "os.abort()"],
)
def test_a_package_that_a_zygote_cannot_stand_is_left_to_children(runs: Runs, acme: Path, harm: str) -> None:
    acme.write_text(
        f"{ACME}\nif '_zygote' in __import__('sys').orig_argv and os.getppid() == {os.getpid()}:\n    {harm}\n"
    )

    def parent() -> int:
        seen = runs.look()
        assert seen["imported_by"] == seen["pid"]
        time.sleep(0.5)
        return int(seen["parent"])

    first = later = parent()
    until = time.monotonic() + 60
    while later in (first, os.getpid()):  # as long as it lives, and while there is none
        assert time.monotonic() < until, "it stands it"
        later = parent()
    assert later != 1
    assert {parent() for _ in range(3)} == {later}, "they die of it again and again"


def test_modules_that_are_named_are_there_from_the_beginning(runs: Runs, acme: Path) -> None:
    named = {"start_method": {"forkserver": {"preload_modules": ["acme", "jobs", "nothing_of_that_name"]}}}
    seen = runs.look(**named)
    assert seen["imported_by"] == seen["parent"]
    (runs.folder / "jobs.py").write_text(JOBS.replace("VERSION = 1", "VERSION = 22"))
    assert runs.look(**named)["version"] == 22


# ---- looking at processes --------------------------------------------------------------------------------------------


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def send(zygote: int, number: signal.Signals) -> None:
    assert zygote not in (1, os.getpid()), "the child came of no zygote"
    os.kill(zygote, number)


def parent_of(pid: int) -> int:
    """0: it has gone."""
    found = stat_of(pid)
    return int(found[1]) if found else 0


def alive(pid: int) -> bool:
    found = stat_of(pid)
    return bool(found) and found[0] != "Z"


def stat_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def eventually(holds: Callable[[], bool], meanwhile: Callable[[], object] = lambda: time.sleep(0.02)) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        meanwhile()
