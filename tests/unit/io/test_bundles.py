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
from opgrid.io.bundles import Among, Bundles, Place, read_once
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
    if bundles is not None:
        bundles.write()
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
    """Nothing is closed: a process that is killed now has lost nothing that it has reported."""
    small, large = store(tmp_path, bundles, MAKE, "told"), store(tmp_path, bundles, MAKE, "told" * 1000)
    for place, how in (
        (Place.of(large.manifest["in"]), "read_once(sys.argv[1], Place.of(place))"),
        (Among.of(small.manifest["with"]), "read_parcel_once(sys.argv[1], Among.of(place))"),
    ):
        reads = "import sys; from opgrid.io.bundles import *; place = [sys.argv[2], *map(int, sys.argv[3:])]; "
        reads += f"sys.stdout.buffer.write({how})"
        command = [sys.executable, "-P", "-c", reads, str(tmp_path / "storage/run"), *map(str, place)]
        assert b"told" in subprocess.run(command, check=True, capture_output=True).stdout


def test_processes_do_not_write_to_the_same_file(tmp_path: Path, bundles: Bundles) -> None:
    others = Bundles()
    first, second = store(tmp_path, bundles, MAKE, 1), store(tmp_path, others, replace(MAKE, step=StepKey("b")), 2)
    others.close()
    assert first.manifest["with"].bundle != second.manifest["with"].bundle
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


@pytest.mark.parametrize("key", ["in", "with"])
@pytest.mark.parametrize(
    "place",
    [
        ["../x", 0, 9],
        ["+aaaaaaa/aaaaaaaa", 0, 9],
        [NAME + "a", 0, 9],
        [NAME + "\n", 0, 9],
        [NAME, -1, 9],
        [NAME, 1 << 63, 9],
        [NAME, 0, -1],
        [NAME, 0, 1 << 40],
        [NAME, 0, 1 << 80],
        [NAME],
        NAME,
        5,
    ],
)
def test_what_is_no_place_leads_nowhere(tmp_path: Path, place: Any, key: str) -> None:
    with pytest.raises(PayloadDamaged, match="no place"):
        load(tmp_path, None, replace(MAKE, manifest={"size": 1, key: place}))


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


@pytest.mark.parametrize(("key", "size"), [("in", 5000), ("with", 500)])
def test_what_is_remembered_has_a_bound(tmp_path: Path, bundles: Bundles, key: str, size: int) -> None:
    count = (6 << 20) // size
    refs = [store(tmp_path, bundles, replace(MAKE, step=StepKey(f"m[{n}]")), b"x" * size) for n in range(count)]
    kept = [bundles.remembered(ref.manifest[key]) is not None for ref in refs]
    assert kept[-1]
    assert not kept[0]
    assert load(tmp_path, bundles, refs[0]) == b"x" * size


# ---- values that wait for each other ---------------------------------------------------------------------------------


def add(home: Path, bundles: Bundles, step: str, value: Any) -> OutputRef:
    """Store a value, and leave it to wait."""
    ref = replace(MAKE, step=StepKey(step))
    context = OutputContext(ref.output, ref, around(home, bundles))
    FilesystemStore().handle_output(context, value)
    return replace(ref, manifest=context.manifest)


def test_values_wait_for_each_other_and_are_written_in_one_go(
    tmp_path: Path, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    write = os.pwrite

    def counted(handle: int, data: bytes, at: int) -> int:
        writes.append(at)
        return write(handle, data, at)

    monkeypatch.setattr(os, "pwrite", counted)
    refs = [add(tmp_path, bundles, f"m[{n}]", n) for n in range(100)]
    assert not writes
    assert [load(tmp_path, bundles, ref) for ref in refs] == list(range(100)), "who made them has them"
    bundles.write()
    bundles.write()
    assert writes == [0]
    refs += [add(tmp_path, bundles, f"m[{n}]", n) for n in range(100, 2000)]
    assert 1 < len(writes) < 10, "those that fill a parcel wait for no others"
    bundles.write()
    for reader in (Bundles(), None):
        assert [load(tmp_path, reader, ref) for ref in refs] == list(range(2000))
        if reader is not None:
            reader.close()


def test_what_waits_comes_before_what_does_not(tmp_path: Path, bundles: Bundles) -> None:
    small, large, last = (add(tmp_path, bundles, f"m[{n}]", "x" * n) for n in (1, 5000, 2))
    bundles.write()
    assert [load(tmp_path, None, ref) for ref in (small, large, last)] == ["x", "x" * 5000, "xx"]


def test_a_place_in_a_parcel_is_its_outputs_own(tmp_path: Path, bundles: Bundles) -> None:
    a, b = (add(tmp_path, bundles, step, step) for step in "ab")
    bundles.write()
    far = add(tmp_path, bundles, "c", "c")
    bundles.write()
    whole = (tmp_path / "storage" / "run" / a.manifest["with"].bundle).read_bytes()
    with pytest.raises(PayloadRejected, match="another output"):
        load(tmp_path, None, replace(a, manifest=b.manifest))
    with pytest.raises(PayloadRejected, match="another output"):
        load(tmp_path, None, replace(a, attempt=2))
    (tmp_path / "storage" / "run" / a.manifest["with"].bundle).write_bytes(whole[far.manifest["with"].at :] + whole)
    with pytest.raises(PayloadRejected, match="no parcel"):
        load(tmp_path, None, replace(a, manifest={"with": [a.manifest["with"].bundle, 0, 0]}))


def test_a_file_that_is_lost_while_values_wait_is_made_again(tmp_path: Path, bundles: Bundles) -> None:
    gone = add(tmp_path, bundles, "gone", "gone")
    bundles.write()
    waits = add(tmp_path, bundles, "waits", "waits")
    shutil.rmtree(tmp_path / "storage")
    bundles.write()
    assert load(tmp_path, None, waits) == "waits"
    with pytest.raises(PayloadDamaged):
        load(tmp_path, None, gone)


def test_what_waits_in_a_fork_is_its_parents_to_write(tmp_path: Path, bundles: Bundles) -> None:
    before = add(tmp_path, bundles, "before", "before")
    child = os.fork()
    if not child:
        try:
            add(tmp_path, bundles, "child", "child")
            bundles.write()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    after = add(tmp_path, bundles, "after", "after")
    bundles.write()
    assert [load(tmp_path, None, ref) for ref in (before, after)] == ["before", "after"]
    assert len(files(tmp_path)) == 2


def test_values_that_are_not_written_are_told_of_until_that_is_heard(
    tmp_path: Path, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, data: bytes, at: int) -> int:
        raise OSError(28, "No space left on device")

    add(tmp_path, bundles, "lost", "lost")
    monkeypatch.setattr(os, "pwrite", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            bundles.write()
    monkeypatch.undo()
    bundles.forgive()
    kept = add(tmp_path, bundles, "kept", "kept")
    bundles.write()
    assert load(tmp_path, None, kept) == "kept"


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
