"""Small values that share a file: they come back, to whoever asks, and nothing else does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from opgrid import DynamicOut, DynamicOutput, fs_io_manager, job, op
from opgrid.contracts.executor import ExecutorSetup
from opgrid.contracts.tasks import OutputRef
from opgrid.errors import OutputGone, PayloadDamaged, PayloadRejected
from opgrid.ids import RunId, StepKey
from opgrid.io.bundles import Bundles, Place, read_once
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.filesystem import FilesystemStore
from opgrid.io.setup import IOSetup
from orchestrator.instance import Instance
from orchestrator.services.execute import execute_job
from orchestrator.services.launching import Request as Wanted
from orchestrator.services.launching import close_all, make_executors, prepare

MAKE = OutputRef(RunId("run"), StepKey("make"))


@pytest.fixture
def bundles() -> Iterator[Bundles]:
    made = Bundles()
    yield made
    made.close()


def store(home: Path, bundles: Bundles | None, ref: OutputRef, value: Any) -> OutputRef:
    context = OutputContext(ref.output, ref, around(home, bundles))
    FilesystemStore().handle_output(context, value)
    return replace(ref, manifest=context.manifest)


def load(home: Path, bundles: Bundles | None, ref: OutputRef) -> Any:
    context = InputContext("value", OutputContext(ref.output, ref), around(home, bundles), run_id="run", step_key="use")
    return FilesystemStore().load_input(context)


def around(home: Path, bundles: Bundles | None) -> Any:
    return SimpleNamespace(io=IOSetup(str(home), bundles=bundles))


def files(home: Path) -> list[Path]:
    return sorted(path for path in (home / "storage").rglob("*") if path.is_file())


def test_small_values_share_a_file_and_large_ones_have_their_own(tmp_path: Path, bundles: Bundles) -> None:
    refs = [store(tmp_path, bundles, replace(MAKE, step=StepKey(f"make[{n}]")), n) for n in range(20)]
    large = store(tmp_path, bundles, MAKE, b"x" * 100_000)
    bundle, own = files(tmp_path)
    assert bundle.parent == tmp_path / "storage" / "run"
    assert own.relative_to(bundle.parent).parts == ("make", "result", "1")
    for reader in (bundles, Bundles(), None):  # who wrote them, another process, and one that reads results
        assert [load(tmp_path, reader, ref) for ref in refs] == list(range(20))
        assert load(tmp_path, reader, large) == b"x" * 100_000
        if reader is not None:
            reader.close()


def test_each_reader_has_its_own_copy(tmp_path: Path, bundles: Bundles) -> None:
    ref = store(tmp_path, bundles, MAKE, [1])
    load(tmp_path, bundles, ref).append(2)
    assert load(tmp_path, bundles, ref) == [1]


def test_a_value_is_in_its_file_before_anything_is_told(tmp_path: Path, bundles: Bundles) -> None:
    """Nothing is flushed or closed: a process that is killed now has lost nothing that it has reported."""
    ref = store(tmp_path, bundles, MAKE, "told")
    reads = "import sys; from pathlib import Path; from opgrid.io.bundles import *; "
    reads += "sys.stdout.buffer.write(read_once(sys.argv[1], Place.of([sys.argv[2], *map(int, sys.argv[3:])])))"
    place = Place.of(ref.manifest["in"])
    command = [sys.executable, "-P", "-c", reads, str(tmp_path / "storage/run"), *map(str, place)]
    assert b"told" in subprocess.run(command, check=True, capture_output=True).stdout


def test_processes_do_not_write_to_the_same_file(tmp_path: Path, bundles: Bundles) -> None:
    others = Bundles()
    first, second = store(tmp_path, bundles, MAKE, 1), store(tmp_path, others, replace(MAKE, step=StepKey("b")), 2)
    others.close()
    assert first.manifest["in"].bundle != second.manifest["in"].bundle
    assert (load(tmp_path, bundles, first), load(tmp_path, bundles, second)) == (1, 2)


def test_threads_share_a_file(tmp_path: Path, bundles: Bundles) -> None:
    with ThreadPoolExecutor(8) as pool:
        refs = list(
            pool.map(lambda n: store(tmp_path, bundles, replace(MAKE, step=StepKey(f"m[{n}]")), [n] * n), range(200))
        )
    assert [load(tmp_path, None, ref) for ref in refs] == [[n] * n for n in range(200)]
    assert len(files(tmp_path)) == 1


def test_another_outputs_place_is_refused(tmp_path: Path, bundles: Bundles) -> None:
    a, b = (store(tmp_path, bundles, replace(MAKE, step=StepKey(step)), step) for step in "ab")
    with pytest.raises(PayloadRejected, match="another output"):
        load(tmp_path, None, replace(a, manifest=b.manifest))


NAME = "+" + 16 * "a"


@pytest.mark.parametrize(
    "place",
    [
        ["../x", 0, 9],
        ["+aaaaaaa/aaaaaaaa", 0, 9],
        [NAME + "a", 0, 9],
        [NAME + "\n", 0, 9],
        [NAME, -1, 9],
        [NAME, 1 << 63, 9],
        [NAME, 0, 0],
        [NAME, 0, 1 << 40],
        [NAME, 0, 1 << 80],
        [NAME],
        NAME,
        5,
    ],
)
def test_what_is_no_place_leads_nowhere(tmp_path: Path, place: Any) -> None:
    with pytest.raises(PayloadDamaged, match="no place"):
        load(tmp_path, None, replace(MAKE, manifest={"size": 1, "in": place}))


def test_damage_and_loss_are_told_apart_from_forgery(tmp_path: Path, bundles: Bundles) -> None:
    """For these the step that made the value runs again."""
    ref = store(tmp_path, bundles, MAKE, "value")
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(PayloadDamaged):
        load(tmp_path, None, ref)
    path.write_bytes(data[:5])
    with pytest.raises(PayloadDamaged):
        load(tmp_path, None, ref)
    path.unlink()
    with pytest.raises(OutputGone, match="make"):
        load(tmp_path, None, ref)


def test_what_a_full_disk_cut_short_is_written_over(
    tmp_path: Path, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bundles.put(str(tmp_path), b"first")
    write = os.pwrite

    def full(handle: int, data: bytes, at: int) -> int:
        if at > first.length:
            raise OSError(28, "No space left on device")
        return write(handle, data[:2], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        bundles.put(str(tmp_path), b"second")
    monkeypatch.undo()
    third = bundles.put(str(tmp_path), b"third")
    assert [read_once(str(tmp_path), place) for place in (first, third)] == [b"first", b"third"]


def test_who_has_lost_its_file_takes_another(tmp_path: Path, bundles: Bundles) -> None:
    """Else a value that is made again for its loss would be lost again."""
    store(tmp_path, bundles, MAKE, "lost")
    shutil.rmtree(tmp_path / "storage")
    again = store(tmp_path, bundles, MAKE, "again")
    assert load(tmp_path, None, again) == "again"


def test_a_descriptor_that_became_another_files_is_left_alone(tmp_path: Path, bundles: Bundles) -> None:
    """User code may close what it does not know: then its own file has that number."""
    folder = str(tmp_path / "run")
    first = bundles.put(folder, b"first")
    about = os.stat(f"{folder}/{first.bundle}")
    (handle,) = [each for each in range(3, 256) if _file_of(each) == (about.st_dev, about.st_ino)]
    others = os.open(tmp_path / "others", os.O_RDWR | os.O_CREAT)
    try:
        os.dup2(others, handle)
        second = bundles.put(folder, b"second")
        assert [bundles.read(folder, place) for place in (first, second)] == [b"first", b"second"]
        bundles.close()
        assert os.fstat(handle).st_size == 0
    finally:
        os.close(others)
        os.close(handle)


def _file_of(handle: int) -> tuple[int, int] | None:
    try:
        about = os.fstat(handle)
    except OSError:
        return None
    return about.st_dev, about.st_ino


def test_a_fork_writes_to_a_file_of_its_own(tmp_path: Path, bundles: Bundles) -> None:
    folder = str(tmp_path / "run")
    bundles.put(folder, b"first")
    child = os.fork()
    if not child:
        try:
            bundles.put(folder, b"of the fork")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    second = bundles.put(folder, b"second")
    assert read_once(folder, second) == b"second"
    assert len(os.listdir(folder)) == 2


def test_what_is_remembered_has_a_bound(tmp_path: Path, bundles: Bundles) -> None:
    refs = [store(tmp_path, bundles, replace(MAKE, step=StepKey(f"m[{n}]")), b"%d" % n * 1000) for n in range(5000)]
    kept = [bundles.remembered(ref.manifest["in"]) is not None for ref in refs]
    assert kept[-1]
    assert not kept[0]
    assert load(tmp_path, bundles, refs[0]) == b"0" * 1000


def test_many_bundles_of_others_are_read_with_few_open_files(tmp_path: Path, bundles: Bundles) -> None:
    refs = []
    for n in range(40):
        others = Bundles()
        refs.append(store(tmp_path, others, replace(MAKE, step=StepKey(f"m[{n}]")), n))
        others.close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        assert [load(tmp_path, bundles, ref) for ref in refs] == list(range(40))
    assert len(os.listdir("/proc/self/fd")) - before < 20


# ---- runs ------------------------------------------------------------------------------------------------------------


@op(out=DynamicOut())
def spread() -> Iterator[DynamicOutput[int]]:
    for number in range(30):
        yield DynamicOutput(number, str(number))


@op
def increment(number: int) -> int:
    return number + 1


@op
def total(numbers: list[int]) -> int:
    return sum(numbers)


@job
def fan() -> None:
    total(spread().map(increment).collect())


@job(resource_defs={"io_manager": fs_io_manager})
def bound() -> None:
    total(spread().map(increment).collect())


@pytest.mark.parametrize(("executor", "most"), [("in_process", 1), ("multiprocess", 2)])
@pytest.mark.parametrize("wanted", [fan, bound])
def test_a_run_on_one_host_makes_a_file_a_process(wanted: Any, executor: str, most: int) -> None:
    with Instance.local_temp() as instance:
        config = {"execution": {"config": {"max_concurrent": 2}}} if executor == "multiprocess" else None
        with execute_job(wanted, instance, run_config=config, executor=executor) as result:
            assert result.output_for_node("total") == sum(range(1, 31))
            assert result.output_for_node("increment")["7"] == 8
        assert instance.home is not None
        assert 1 <= len(files(instance.home)) <= most


def test_a_folder_that_somebody_named_has_a_file_a_value(tmp_path: Path) -> None:
    with (
        Instance.local_temp() as instance,
        execute_job(
            bound,
            instance,
            run_config={"resources": {"io_manager": {"config": {"base_dir": str(tmp_path / "mine")}}}},
            executor="in_process",
        ) as result,
    ):
        assert result.success
    kept = {path.relative_to(tmp_path / "mine").parts[1] for path in (tmp_path / "mine").rglob("*") if path.is_file()}
    assert {"total", "spread"} < kept


def test_a_run_that_may_reach_other_hosts_has_a_file_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared folder need not show another host what lies in an open file."""

    @op(tags={"opgrid/executor": "celery"})
    def elsewhere(number: int) -> int:
        return number

    @op
    def one() -> int:
        return 1

    @job
    def mixed() -> None:
        elsewhere(one())

    setups: list[ExecutorSetup] = []
    from executors.celery import CeleryExecutor
    from executors.in_process import InProcessExecutor

    for kind in (CeleryExecutor, InProcessExecutor):
        monkeypatch.setattr(kind, "create", lambda setup: setups.append(setup) or SimpleNamespace(close=lambda: None))
    for wanted, one_host in ((mixed, False), (fan, True)):
        prepared = prepare(Wanted(wanted, executor="in_process"))
        executors = make_executors(
            prepared.brief.executor,
            prepared.plan,
            home=tmp_path,
            code=None,
            job=prepared.job,
            broker_url=None,
            stream="",
        )
        close_all(executors)
        assert {setup.one_host for setup in setups} == {one_host}
        setups.clear()
