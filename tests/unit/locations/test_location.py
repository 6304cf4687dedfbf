"""The processes of a code location: which are kept, and for how long; and locations beside each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from opgrid.contracts.tasks import CodeTarget
from orchestrator.locations import location as module
from orchestrator.locations.loader import Loader
from orchestrator.locations.location import Location, LocationClosed, Source
from orchestrator.locations.messages import Evaluated, Failed, TickSchedule, TickSensor
from orchestrator.locations.process import LocationBroken
from tests.waiting import eventually

JOBS = """
import os
from opgrid import *
@op
def nothing(): ...
@job
def plain(): nothing()
kept = []
@sensor(job=plain)
def leaks(context):
    kept.append(b"x" * int(os.environ.get("LEAK", "1")))
    return SkipReason(f"{os.getpid()} {len(kept)} {os.environ.get('WRAPPED')}")
@sensor(job=plain)
def looks(context):
    return SkipReason(f"{context.repository_def.job_names} {context.repository_def.get_job_def('plain').name}")
@schedule(job=plain, cron_schedule="@daily")
def daily(context):
    return SkipReason(f"{context.repository_def.get_schedule_def('daily').name}")
"""

SAYS = """
from opgrid import *
@op
def nothing(): ...
@job
def plain(): nothing()
@sensor(job=plain)
def logs(context):
    context.log.debug("one")
    context.log.info("%s of %s", "two", 3)
    context.log.info("%s of %s", "two")
    context.log.warning("a name: \\udcff")
    return SkipReason("skipped \\udcff")
@sensor(job=plain)
def raises(context):
    context.log.info("about to raise")
    raise ValueError("not \\udcff")
@sensor(job=plain)
def keeps(context):
    context.update_cursor("a name: \\udcff")
"""

Make = Callable[..., Location]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Locations that are closed afterwards."""
    made: list[Location] = []

    def of(name: str, text: str, python: str | None = None, **environ: str) -> Location:
        file = tmp_path / name
        file.write_text(text)
        code = CodeTarget(file=str(file), python=python)
        made.append(Location(Source(name, code), {"OPGRID_HOME": str(tmp_path), **environ}))
        return made[-1]

    yield of
    for each in made:
        each.close()


def asked(location: Location) -> list[str]:
    answer = location.ask(TickSensor("leaks"), 30)
    assert isinstance(answer, Evaluated)
    return (answer.skipped or "").split()


def test_what_schedules_and_sensors_log_is_in_their_answer(make: Make) -> None:
    location = make("says.py", SAYS)
    assert location.load(), location.error
    told = location.ask(TickSensor("logs"), 30)
    assert isinstance(told, Evaluated)
    assert told.log == ("DEBUG: one", "INFO: two of 3", "WARNING: a name: \\udcff")
    assert told.skipped == "skipped \\udcff"
    failed = location.ask(TickSensor("raises"), 30)
    assert isinstance(failed, Failed)
    assert (failed.log, failed.error.message) == (("INFO: about to raise",), "not \\udcff")
    refused = location.ask(TickSensor("keeps"), 30)
    assert isinstance(refused, Failed)
    assert "not all text" in refused.error.message


def test_a_process_that_has_answered_often_is_replaced(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ANSWERS", 3)
    location = make("leaks.py", JOBS)
    assert location.load(), location.error
    said = [asked(location) for _ in range(7)]
    assert [int(count) for _, count, _ in said] == [1, 2, 3, 1, 2, 3, 1]
    assert len({pid for pid, _, _ in said}) == 3


def test_a_process_that_has_grown_is_replaced(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_GROWTH", 100 * 2**20)
    location = make("leaks.py", JOBS, LEAK=str(60 * 2**20))
    assert location.load(), location.error
    assert [int(asked(location)[1]) for _ in range(5)] == [1, 2, 1, 2, 1]


def test_an_interpreter_of_its_own(make: Make, tmp_path: Path) -> None:
    import sys

    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nWRAPPED=yes exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    location = make("leaks.py", JOBS, python=str(python))
    assert location.load(), location.error
    assert asked(location)[2] == "yes"


def test_one_that_hangs_and_one_without_interpreter_keep_nobody_waiting(make: Make) -> None:
    lost = make("lost.py", JOBS, python="/nowhere/python")
    hangs = make("hangs.py", JOBS + "\nimport time; time.sleep(1000)\n")
    raises = make("raises.py", "1 / 0")
    exits = make("exits.py", "import os; os._exit(3)")
    good = make("good.py", JOBS)
    loader = Loader([hangs, lost, raises, exits, good])
    loader.start()
    try:
        eventually(lambda: good.loaded is not None and all(each.error for each in (lost, raises, exits)))
        assert hangs.loaded is None
        assert hangs.error is None
        for location, word in ((lost, "/nowhere/python"), (raises, "division by zero"), (exits, "exit code 3")):
            assert location.error is not None
            assert word in location.error.message
        with pytest.raises(LocationBroken, match="/nowhere/python"):
            asked(lost)
        assert asked(good)
        before = good.loaded
        loader.reload()
        eventually(lambda: good.loaded != before)
    finally:
        loader.close()


def test_closing_ends_a_process_that_hangs_in_its_first_line(make: Make, tmp_path: Path) -> None:
    hangs = make(
        "hangs.py",
        f"import os, pathlib, time; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(1000)",
    )
    loader = Loader([hangs])
    loader.start()
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    loader.close()
    eventually(lambda: _is_gone(pid))


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_schedules_and_sensors_see_what_else_their_location_offers(make: Make) -> None:
    location = make("jobs.py", JOBS)
    for ask, seen in ((TickSensor("looks"), "['plain'] plain"), (TickSchedule("daily", 1.7e9), "daily")):
        answer = location.ask(ask, 30)
        assert isinstance(answer, Evaluated)
        assert answer.skipped == seen


QUICK_AND_SLOW = """
import os, time
from opgrid import *
@op
def nothing(): ...
@job
def plain(): nothing()
@sensor(job=plain)
def leaks(context):
    return SkipReason(str(os.getpid()))
@sensor(job=plain)
def slow(context):
    open(os.environ["STARTED"], "w").close()
    while not os.path.exists(os.environ["GO_ON"]): time.sleep(0.01)
    return SkipReason(str(os.getpid()))
"""


def test_quick_questions_at_a_time_share_a_process(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = make("quick.py", QUICK_AND_SLOW, STARTED=str(tmp_path / "started"), GO_ON=str(tmp_path / "go-on"))
    assert location.load()
    with ThreadPoolExecutor(4) as threads:
        # One that takes its time makes another process start, which is kept.
        held = threads.submit(location.ask, TickSensor("slow"), 60)
        eventually((tmp_path / "started").exists)
        second = asked(location)
        (tmp_path / "go-on").touch()
        (first,) = str(held.result().skipped).split()
        assert [first] != second
        monkeypatch.setattr(module, "_HESITATION", 20.0)  # longer than a slow machine takes for all of them
        answers = [each.result() for each in [threads.submit(asked, location) for _ in range(100)]]
    assert len({answer[0] for answer in answers}) == 1


def test_one_that_hangs_holds_up_others_for_a_second_however_long_the_code_takes_to_load(
    make: Make, tmp_path: Path
) -> None:
    location = make("quick.py", QUICK_AND_SLOW, STARTED=str(tmp_path / "started"), GO_ON=str(tmp_path / "go-on"))
    assert location.load()
    location._patience = 300.0  # as if it had taken so long to load
    with ThreadPoolExecutor(3) as threads:
        held = threads.submit(location.ask, TickSensor("slow"), 250)
        try:
            eventually((tmp_path / "started").exists)
            waiting = [threads.submit(asked, location) for _ in range(2)]
            assert all(each.result(100) for each in waiting)
            assert not held.done()
        finally:
            (tmp_path / "go-on").touch()


def test_what_is_asked_apart_leaves_others_the_process_that_is_there(make: Make, tmp_path: Path) -> None:
    location = make("quick.py", QUICK_AND_SLOW, STARTED=str(tmp_path / "started"), GO_ON=str(tmp_path / "go-on"))
    assert location.load()
    before = asked(location)
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(location.ask, TickSensor("slow"), 60, apart=True)
        eventually((tmp_path / "started").exists)
        assert [asked(location) for _ in range(3)] == [before] * 3
        (tmp_path / "go-on").touch()
        assert [str(held.result().skipped)] != before


def test_processes_that_nobody_needs_end_but_for_one(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = make("quick.py", QUICK_AND_SLOW, STARTED=str(tmp_path / "started"), GO_ON=str(tmp_path / "go-on"))
    assert location.load()
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(location.ask, TickSensor("slow"), 60)
        eventually((tmp_path / "started").exists)
        (second,) = asked(location)
        location.retire()
        assert asked(location) == [second]  # it is not old enough
        (tmp_path / "go-on").touch()
        (first,) = str(held.result().skipped).split()
    monkeypatch.setattr(module, "_KEPT", 0.0)
    location.retire()
    assert _is_gone(int(second))
    assert asked(location) == [first]
    location.retire()
    assert asked(location) == [first]


def test_what_is_asked_when_it_is_closed_has_no_answer_and_nothing_is_wrong(make: Make, tmp_path: Path) -> None:
    location = make("quick.py", QUICK_AND_SLOW, STARTED=str(tmp_path / "started"), GO_ON=str(tmp_path / "go-on"))
    assert location.load()
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(location.ask, TickSensor("slow"), 60)
        eventually((tmp_path / "started").exists)
        location.close()
        with pytest.raises(LocationClosed, match=r"quick\.py"):
            held.result()
