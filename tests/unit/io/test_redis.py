"""What the Redis IO manager does beyond the contract: chunks, limits, cleaning up."""

from __future__ import annotations

import pickle
import random
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import fsspec
import pytest
import redis
from fsspec.implementations.memory import MemoryFileSystem

from opgrid.broker.connection import connect
from opgrid.contracts.tasks import OutputRef
from opgrid.errors import OutputGone, PayloadDamaged, PayloadRejected, SettingsError
from opgrid.ids import RunId, StepKey
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.kept import delete_run, expire_run, index_of
from opgrid.io.pending import Pending
from opgrid.io.redis import CHUNK, RedisStore, _commands, key_of, keys_of
from opgrid.io.setup import IOSetup
from opgrid.testing.io_managers import ref

pytestmark = pytest.mark.redis


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def around(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OPGRID_IO_NEARBY", "off")
    return SimpleNamespace(io=IOSetup(str(tmp_path), redis_url))


def store(manager: RedisStore, around: Any, value: Any, to: OutputRef | None = None) -> OutputRef:
    to = to or ref()
    context = OutputContext(to.output, to, around)
    manager.handle_output(context, value)
    return OutputRef(to.run_id, to.step, to.output, to.mapping_key, to.attempt, to.claim, context.manifest)


def load(manager: RedisStore, around: Any, of: OutputRef) -> Any:
    return manager.load_input(InputContext("value", OutputContext(of.output, of, around), around))


def test_large_values_lie_in_chunks(around: Any, client: redis.Redis) -> None:
    value = array("d", range(500_000))
    stored = store(RedisStore(compress=False), around, value)
    keys = keys_of(stored)
    assert len(keys) == stored.manifest["chunks"] > 3
    sizes: list[Any] = [client.strlen(key) for key in keys]
    assert max(sizes) <= CHUNK
    lives: list[Any] = [client.ttl(key) for key in [*keys, index_of(stored.run_id)]]
    assert min(lives) > 0  # -1: for ever
    assert load(RedisStore(), around, stored) == value


@pytest.mark.parametrize(
    ("settings", "size", "smaller"),
    [
        ({}, CHUNK, False),
        ({}, CHUNK // 2, True),
        ({"compress": True}, CHUNK, True),
        ({"compress": False}, CHUNK // 2, False),
        ({"max_bytes": CHUNK}, CHUNK, True),  # else it would be refused
        ({"spill_to": "elsewhere", "spill_above": CHUNK}, CHUNK, True),
        ({"spill_to": "elsewhere", "spill_above": 2 * CHUNK}, CHUNK, False),
    ],
)
def test_large_values_are_compressed_where_redis_is_here_only_if_they_must_be(
    around: Any, settings: dict[str, Any], size: int, smaller: bool
) -> None:
    stored = store(RedisStore(**settings), around, bytes(size))
    assert (stored.manifest["size"] < size) == smaller


def test_large_values_are_compressed_for_a_redis_elsewhere(around: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opgrid.io.redis._is_here", lambda _: False)
    stored = store(RedisStore(), around, bytes(CHUNK))
    assert stored.manifest["size"] < CHUNK


def test_many_small_buffers_do_not_make_many_keys(around: Any) -> None:
    value = [pickle.PickleBuffer(bytearray(b"x" * 500)) for _ in range(5000)]
    stored = store(RedisStore(compress=False), around, value)
    assert stored.manifest["chunks"] < 12
    assert len(load(RedisStore(), around, stored)) == 5000


@pytest.mark.parametrize(
    "sizes",
    [
        (300_000, 300_000, 600_000),  # each fits into a chunk beside the small ones before it
        (1000, 1 << 18, 1000, CHUNK, 10),
        ((1 << 18) - 1, 1 << 18, (1 << 18) - 1, 1 << 18, CHUNK - 1),
        (CHUNK + 1, 1, CHUNK),
        (0, CHUNK - 1, 0, CHUNK, 0),
    ],
)
def test_buffers_of_any_size_come_back_in_their_order(around: Any, sizes: tuple[int, ...]) -> None:
    value = [pickle.PickleBuffer(random.Random(size).randbytes(size)) for size in sizes]
    stored = store(RedisStore(compress=False), around, value)
    assert [bytes(each) for each in load(RedisStore(), around, stored)] == [bytes(each) for each in value]


def test_a_missing_chunk_is_noticed(around: Any, client: redis.Redis) -> None:
    stored = store(RedisStore(compress=False), around, bytes(3 * CHUNK))
    client.delete(keys_of(stored)[1])
    with pytest.raises(OutputGone):
        load(RedisStore(), around, stored)


@pytest.mark.parametrize("change", ["bit", "longer", "shorter", "header longer"])
def test_a_damaged_chunk_is_noticed(around: Any, client: redis.Redis, change: str) -> None:
    stored = store(RedisStore(compress=False), around, bytes(3 * CHUNK))
    first, *_, last = keys_of(stored)
    key = first if change == "header longer" else last
    chunk = bytearray(client.get(key) or b"")
    match change:
        case "bit":
            chunk[-1] ^= 1
        case "longer":
            chunk += b"0"
        case "shorter":
            del chunk[-1]
        case _:
            chunk += bytes(4 * CHUNK)
    client.set(key, bytes(chunk))
    with pytest.raises(PayloadDamaged):
        load(RedisStore(), around, stored)


def test_a_value_that_takes_longer_than_redis_is_waited_for_is_begun_anew(
    around: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tries = RedisStore._write, []

    def cut_once(*given: Any) -> int:
        tries.append(time.sleep(0.2))
        if len(tries) == 1:
            raise redis.ConnectionError("cut")
        return write(*given)

    monkeypatch.setattr(RedisStore, "_write", cut_once)
    manager = RedisStore()
    manager.patience = 0.1  # type: ignore[assignment]
    stored = store(manager, around, bytes(2 * CHUNK))
    assert len(tries) == 2
    assert load(RedisStore(), around, stored) == bytes(2 * CHUNK)


def test_a_value_that_was_written_in_part_has_no_header(around: Any, client: redis.Redis) -> None:
    memory: Any = client.info("memory")
    client.config_set("maxmemory", memory["used_memory"] + 4 * CHUNK)
    manager = RedisStore(compress=False)
    manager.patience = 0
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            store(manager, around, bytes(20 * CHUNK))
    finally:
        client.config_set("maxmemory", 0)
    assert not client.exists(key_of(ref()))
    assert client.keys("*") == [index_of(ref().run_id).encode()]  # its parts would keep out all else
    stored = store(manager, around, bytes(5 * CHUNK))  # the answers to what was refused are not taken for others
    assert load(manager, around, stored) == bytes(5 * CHUNK)


def test_a_connection_that_breaks_within_a_value_makes_all_of_it_go_again(
    around: Any, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = iter([3])

    def breaking(*given: Any) -> Iterator[Any]:
        at = next(breaks, None)
        for number, part in enumerate(_commands(*given)):
            if number == at:
                client.client_kill_filter(_type="normal", skipme=True)
            yield part

    monkeypatch.setattr("opgrid.io.redis._commands", breaking)
    value = array("d", range(500_000))
    stored = store(RedisStore(), around, value)
    assert next(breaks, "used up") == "used up"
    assert load(RedisStore(), around, stored) == value


def test_what_was_written_in_part_goes_with_its_run(
    around: Any, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*given: Any) -> Iterator[Any]:
        client.client_kill_filter(_type="normal", skipme=True)
        return _commands(*given)

    monkeypatch.setattr("opgrid.io.redis._commands", breaking)
    manager = RedisStore()
    manager.patience = 0
    with pytest.raises(redis.ConnectionError):
        store(manager, around, array("d", range(500_000)))
    client.set(f"{key_of(ref())}:1", b"a chunk")  # whichever Redis had taken by then
    delete_run(client, ref().run_id)
    assert client.dbsize() == 0


def test_a_forged_value_is_rejected(around: Any, client: redis.Redis) -> None:
    mine = store(RedisStore(), around, "mine")
    other = store(RedisStore(), around, "other", ref("other"))
    swapped: Any = client.get(key_of(other))
    client.set(key_of(mine), swapped)
    with pytest.raises(PayloadRejected, match="another output"):
        load(RedisStore(), around, mine)
    client.set(key_of(mine), b"junk")
    with pytest.raises(PayloadRejected):
        load(RedisStore(), around, mine)


def test_too_large_a_value_is_refused_with_its_size(around: Any, client: redis.Redis) -> None:
    with pytest.raises(ValueError, match=r"\d\d,\d{3} bytes.*10,000"):
        store(RedisStore(max_bytes=10_000, compress=False), around, bytes(20_000))
    assert client.dbsize() == 0


@pytest.mark.parametrize("remote", [False, True])
def test_what_is_too_large_goes_elsewhere(
    around: Any, client: redis.Redis, tmp_path: Path, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = f"memory://{tmp_path.name}" if remote else str(tmp_path / "shared")
    manager = RedisStore(compress=False, spill_to=base, spill_above=100_000)
    small, large = store(manager, around, b"x" * 1000), store(manager, around, b"y" * 200_000, ref(output="large"))
    assert keys_of(large) == []
    assert client.exists(key_of(small)) == 1
    assert client.exists(key_of(large)) == 0
    monkeypatch.setenv("OPGRID_IO_SPILL_TO", base)
    assert load(RedisStore(), around, small) == b"x" * 1000
    assert load(RedisStore(), around, large) == b"y" * 200_000
    gone = OutputRef(large.run_id, large.step, "gone", None, 1, "", large.manifest)
    with pytest.raises(LookupError, match="gone"):
        load(RedisStore(), around, gone)
    monkeypatch.delenv("OPGRID_IO_SPILL_TO")
    with pytest.raises(SettingsError, match="OPGRID_IO_SPILL_TO here, too"):
        load(RedisStore(), around, large)


class Bucket(MemoryFileSystem):
    """As those of object stores, it takes no options that it does not know; and its user may write objects only."""

    protocol = "bucket"

    def __init__(self) -> None:
        super().__init__()

    def makedirs(self, *_: object, **__: object) -> None:
        raise PermissionError("CreateBucket")

    exists = mkdir = makedirs


def test_an_object_store_is_asked_for_objects_alone(around: Any, tmp_path: Path) -> None:
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    manager = RedisStore(compress=False, spill_to=f"bucket://{tmp_path.name}/values", spill_above=1000)
    stored = store(manager, around, b"y" * (3 * CHUNK))
    assert load(manager, around, stored) == b"y" * (3 * CHUNK)


def test_folders_are_made_where_a_url_leads_to_folders(around: Any, tmp_path: Path) -> None:
    manager = RedisStore(compress=False, spill_to=f"file://{tmp_path}/values", spill_above=1000)
    assert load(manager, around, store(manager, around, b"y" * 5000)) == b"y" * 5000


@pytest.mark.parametrize("remote", [False, True])
def test_what_lies_elsewhere_is_not_fetched_by_who_is_near(
    around: Any, tmp_path: Path, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPGRID_IO_NEARBY", str(tmp_path / "near"))
    base = f"memory://{tmp_path.name}" if remote else str(tmp_path / "shared")
    manager = RedisStore(compress=False, spill_to=base, spill_above=1000)
    stored = store(manager, around, pickle.PickleBuffer(bytearray(3 * CHUNK)))
    assert stored.manifest["chunks"] == 0
    (file,) = (tmp_path / "near").iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"1")
    assert load(manager, around, stored) == bytes(3 * CHUNK - 1) + b"1"  # who can write to it has the keys
    file.unlink()
    assert load(manager, around, stored) == bytes(3 * CHUNK)


def test_a_value_that_lies_elsewhere_is_signed_too(around: Any, tmp_path: Path) -> None:
    manager = RedisStore(compress=False, spill_to=str(tmp_path / "shared"), spill_above=1000)
    stored = store(manager, around, b"y" * 5000)
    (file,) = (each for each in (tmp_path / "shared").rglob("*") if each.is_file())
    file.write_bytes(file.read_bytes().replace(b"yyyy", b"zzzz", 1))
    with pytest.raises(PayloadRejected, match="damaged or changed"):
        load(manager, around, stored)


@pytest.mark.parametrize("serializer", ["cloudpickle", "json"])
def test_serializers_are_chosen(around: Any, serializer: str) -> None:
    value = {"a": [1, 2.5, None, "ü"]}
    assert load(RedisStore(), around, store(RedisStore(serializer=serializer), around, value)) == value


def test_cleaning_up_finds_every_key_of_a_run(around: Any, client: redis.Redis) -> None:
    for number in range(3):
        store(RedisStore(compress=False), around, bytes(2 * CHUNK), ref(f"s{number}"))
    before: Any = client.dbsize()
    assert expire_run(client, ref().run_id, 60) == before - 1
    keys: Any = client.keys("*")
    lives: list[Any] = [client.ttl(key) for key in keys]
    assert lives
    assert all(0 < life <= 60 for life in lives)
    delete_run(client, ref().run_id)
    assert client.dbsize() == 0
    assert not client.exists(index_of(ref().run_id))


def test_without_a_broker_it_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="OPGRID_BROKER_URL"):
        store(RedisStore(), SimpleNamespace(io=IOSetup(str(tmp_path))), 5)


def test_a_redis_that_is_away_is_waited_for(around: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = RedisStore()
    whole, failures = manager._write, [redis.ConnectionError("away"), redis.exceptions.OutOfMemoryError("full")]

    def shaky(*given: Any) -> int:
        if failures:
            raise failures.pop()
        return whole(*given)

    monkeypatch.setattr(manager, "_write", shaky)
    assert load(RedisStore(), around, store(manager, around, "value")) == "value"
    assert not failures
    manager.patience = 0
    failures.append(redis.ConnectionError("away"))
    with pytest.raises(redis.ConnectionError):
        store(manager, around, "value")


@pytest.mark.parametrize("size", [100, 3000])
def test_what_finds_no_room_to_wait_makes_all_go_at_once(
    tmp_path: Path, redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("opgrid.io.pending._MOST", 5 * size)
    waiting = Pending()
    around = SimpleNamespace(io=IOSetup(str(tmp_path), redis_url, pending=waiting))
    manager = RedisStore(compress=False)
    monkeypatch.setattr(manager, "_write", None)  # none is written on its own
    values = [bytes([number]) * size for number in range(20)]
    stored = [store(manager, around, value, ref(mapping_key=str(at))) for at, value in enumerate(values)]
    keys = {key for each in stored for key in keys_of(each)}
    left = {each.key for each in waiting.waiting()}
    written = keys - left
    assert left < keys
    assert client.exists(*written) == len(written) > 2
    assert client.scard(index_of(stored[0].run_id)) == len(written)
    assert [load(RedisStore(), around, each) for each in stored] == values


def test_many_values_are_read_at_once(around: Any, client: redis.Redis) -> None:
    stored = [store(RedisStore(), around, number, ref(mapping_key=str(number))) for number in range(20)]
    reader = RedisStore()
    client.delete(key_of(stored[3]))
    reader.read_ahead(around.io, stored)
    client.flushdb()
    assert [load(reader, around, each) for each in stored[:3]] == [0, 1, 2]
    with pytest.raises(OutputGone):
        load(reader, around, stored[3])
    reader.read_ahead(around.io, [])
    with pytest.raises(OutputGone):
        load(reader, around, stored[4])


@pytest.mark.parametrize("compress", [False, True])
def test_a_large_value_is_not_fetched_by_who_is_near(
    around: Any, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool
) -> None:
    monkeypatch.setenv("OPGRID_IO_NEARBY", str(tmp_path / "near"))
    chance = random.Random(1)
    value = array("d", [chance.randrange(1 << 24) for _ in range(500_000)])
    stored = store(RedisStore(compress=compress), around, value)
    _, *others = keys_of(stored)
    assert others
    client.delete(*others)
    found = load(RedisStore(), around, stored)
    assert found == value
    found[0] = 5.0  # its reader's own
    assert load(RedisStore(), around, stored) == value
    monkeypatch.setenv("OPGRID_IO_NEARBY", "off")
    with pytest.raises(OutputGone):
        load(RedisStore(), around, stored)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("here", [True, False])
def test_what_a_reader_changes_is_its_own(around: Any, here: bool, compress: bool) -> None:
    manager = RedisStore(compress=compress)
    stored = store(manager, around, pickle.PickleBuffer(bytearray(20_000)))
    readers = manager if here else RedisStore()
    found = load(readers, around, stored)
    found[0] = 1
    assert load(readers, around, stored)[0] == 0


def test_what_was_stored_here_is_read_here_though_redis_is_without_it(around: Any, client: redis.Redis) -> None:
    manager = RedisStore()
    stored = store(manager, around, [1, 2])
    client.delete(key_of(stored))
    found = load(manager, around, stored)
    found.append(3)
    assert load(manager, around, stored) == [1, 2]
    with pytest.raises(OutputGone):
        load(RedisStore(), around, stored)


@pytest.mark.parametrize("step", ["plain", "a:b", "ä/ö", "mapped[k1,k2]", "50%"])
@pytest.mark.parametrize("mapping_key", [None, "k", "k:1"])
def test_keys_name_one_output_each(step: str, mapping_key: str | None) -> None:
    made = OutputRef(RunId("r"), StepKey(step), "result", mapping_key, 2, "c1")
    mapped = () if mapping_key is None else (mapping_key,)
    parts = (step, "result", *mapped, "2", "c1")
    assert key_of(made) == ":".join([index_of("r"), *(quote(part, safe="[],") for part in parts)])


def test_a_large_value_that_is_small_in_redis_is_not_decompressed_by_who_is_near(
    around: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPGRID_IO_NEARBY", str(tmp_path / "near"))
    value = bytes(3 * CHUNK)
    stored = store(RedisStore(compress=True), around, pickle.PickleBuffer(bytearray(value)))
    assert stored.manifest["size"] < 64 * 1024
    (file,) = (tmp_path / "near").iterdir()
    assert load(RedisStore(), around, stored) == value
    file.write_bytes(file.read_bytes()[:-1] + b"1")
    assert load(RedisStore(), around, stored) == value[:-1] + b"1"  # who can write to it has the keys
    file.unlink()
    assert load(RedisStore(), around, stored) == value


def test_what_is_near_counts_for_nothing_without_its_header(
    around: Any, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPGRID_IO_NEARBY", str(tmp_path / "near"))
    stored = store(RedisStore(compress=False), around, array("d", range(500_000)))
    first = bytearray(client.get(key_of(stored)) or b"")
    first[40] ^= 1
    client.set(key_of(stored), bytes(first))
    with pytest.raises(PayloadRejected):
        load(RedisStore(), around, stored)


class Stranger:
    """Cannot be unpickled, with an error that a file might have raised."""

    def __reduce__(self) -> Any:
        return open, ("/not/there",)


@pytest.mark.parametrize("remote", [False, True])
def test_what_a_value_raises_that_lies_elsewhere_is_its_own(around: Any, tmp_path: Path, remote: bool) -> None:
    base = f"memory://{tmp_path.name}" if remote else str(tmp_path / "shared")
    manager = RedisStore(spill_to=base, spill_above=1)
    with pytest.raises(FileNotFoundError, match="/not/there"):
        load(manager, around, store(manager, around, Stranger()))


class Refuses:
    """Cannot be unpickled, with an error that Redis might have raised."""

    asked = 0

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    Refuses.asked += 1
    raise redis.ConnectionError("not of the store")


def test_what_a_value_raises_when_it_is_made_is_not_waited_for(around: Any) -> None:
    stored = store(RedisStore(), around, Refuses())
    Refuses.asked = 0
    with pytest.raises(redis.ConnectionError, match="not of the store"):
        load(RedisStore(), around, stored)
    assert Refuses.asked == 1
