"""Small values that share a key in Redis: each is found in its place, and nowhere else."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opgrid.broker.connection import connect
from opgrid.broker.keys import Keys
from opgrid.broker.protocol import Attempt, Finished, Outgoing, Protocol, Said, Wanted
from opgrid.contracts.tasks import OutputRef
from opgrid.errors import OutputGone, PayloadDamaged, PayloadRejected
from opgrid.ids import RunId, StepKey
from opgrid.io import parcels
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.kept import delete_run, index_of
from opgrid.io.keys import KeyRing
from opgrid.io.parcels import LARGEST, Entry, Parcel, Parcels, Place, opened
from opgrid.io.pending import Pending, add_to
from opgrid.io.redis import RedisStore, keys_of
from opgrid.io.setup import IOSetup

pytestmark = pytest.mark.redis

RING = KeyRing(b"k" * 32)


class Around:
    """What steps of one process see, and what another process does."""

    def __init__(self, folder: Path, url: str) -> None:
        self.client = connect(url)
        self.pending = Pending()
        self.here = SimpleNamespace(io=IOSetup(str(folder), url, RING, self.pending))
        self.elsewhere = SimpleNamespace(io=IOSetup(str(folder), url, RING))

    def store(self, manager: RedisStore, value: Any, to: OutputRef) -> OutputRef:
        context = OutputContext(to.output, to, self.here)
        manager.handle_output(context, value)
        return OutputRef(to.run_id, to.step, to.output, to.mapping_key, to.attempt, to.claim, context.manifest)

    def load(self, of: OutputRef, manager: RedisStore | None = None, here: bool = False) -> Any:
        around = self.here if here else self.elsewhere
        context = InputContext("value", OutputContext(of.output, of, around), around)
        return (manager or RedisStore()).load_input(context)

    def write(self) -> None:
        waiting = self.pending.waiting()
        pipe = self.client.pipeline(transaction=False)
        add_to(pipe, waiting)
        pipe.execute()
        self.pending.written(waiting)


@pytest.fixture
def around(tmp_path: Path, redis_url: str) -> Iterator[Around]:
    made = Around(tmp_path, redis_url)
    yield made
    made.client.close()


def of(number: int, run_id: str = "0123-run", manifest: Any = None) -> OutputRef:
    return OutputRef(RunId(run_id), StepKey("make"), "result", str(number), 1, "c1", manifest)


def test_small_values_share_a_key(around: Around) -> None:
    manager = RedisStore()
    values = [None, 1, "two", [3.0], {"four": b"4"}, "x" * 900]
    stored = [around.store(manager, value, of(number)) for number, value in enumerate(values)]
    around.write()
    assert around.client.smembers(index_of("0123-run")) == {key.encode() for key in keys_of(stored[0])}
    assert {tuple(keys_of(each)) for each in stored} == {tuple(keys_of(stored[0]))}
    assert [around.load(each) for each in stored] == values
    assert delete_run(around.client, "0123-run") == 1
    with pytest.raises(OutputGone):
        around.load(stored[0])


def test_what_is_not_small_has_a_key_of_its_own(around: Around) -> None:
    manager = RedisStore(compress=False)
    large = around.store(manager, b"x" * (LARGEST + 1), of(1))
    small = around.store(manager, b"x", of(2))
    around.write()
    assert Place.of(large) is None
    assert Place.of(small) is not None
    assert keys_of(large) != keys_of(small)
    assert around.client.exists(*keys_of(large), *keys_of(small)) == 2


def test_a_limit_below_what_counts_as_small_holds(around: Around) -> None:
    with pytest.raises(ValueError, match="OPGRID_IO_MAX_BYTES"):
        around.store(RedisStore(max_bytes=100), b"x" * 200, of(1))


def test_a_parcel_that_is_full_is_followed_by_another(around: Around) -> None:
    manager = RedisStore(compress=False)
    stored = [around.store(manager, bytes(1000), of(number)) for number in range(100)]
    around.write()
    keys = {key for each in stored for key in keys_of(each)}
    assert 3 <= len(keys) <= 5
    sizes: list[Any] = [around.client.strlen(key) for key in keys]
    assert max(sizes) < 40_000


def test_each_run_has_its_own(around: Around) -> None:
    manager = RedisStore()
    first, second = around.store(manager, 1, of(0, "a")), around.store(manager, 2, of(0, "b"))
    third = around.store(manager, 3, of(1, "a"))
    around.write()
    assert [around.load(each) for each in (first, second, third)] == [1, 2, 3]
    assert delete_run(around.client, "a") == 2
    assert around.load(second) == 2


def test_a_turn_that_is_told_ends_a_parcel(around: Around) -> None:
    manager = RedisStore()
    first = around.store(manager, 1, of(0))
    around.write()
    second = around.store(manager, 2, of(1))
    around.write()
    assert keys_of(first) != keys_of(second)
    assert [around.load(first), around.load(second)] == [1, 2]


@pytest.mark.parametrize("written", [True, False])
def test_another_manager_of_the_process_reads_what_waits(around: Around, written: bool) -> None:
    manager = RedisStore()
    stored = [around.store(manager, number, of(number)) for number in range(3)]
    if written:
        around.write()
    assert [around.load(each, RedisStore(), here=True) for each in stored] == [0, 1, 2]
    later = around.store(manager, 3, of(3))
    around.write()
    assert [around.load(each) for each in (*stored, later)] == [0, 1, 2, 3]


def test_who_reads_has_a_copy_and_the_writer_need_not_ask_redis(around: Around) -> None:
    manager = RedisStore()
    stored = around.store(manager, [1, 2], of(0))
    around.load(stored, manager).append(3)
    assert around.load(stored, manager) == [1, 2]
    around.write()
    around.client.delete(*keys_of(stored))
    assert around.load(stored, manager) == [1, 2]


def test_many_are_read_at_once_and_a_key_once(around: Around, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = RedisStore()
    stored = [around.store(manager, number, of(number)) for number in range(1200)]
    around.write()
    reader = RedisStore()
    assert len(list(reader.to_fetch(stored))) == 3
    opened_ones: list[str] = []
    whole = parcels.opened
    monkeypatch.setattr("opgrid.io.redis.opened_parcel", lambda *given: opened_ones.append(given[2]) or whole(*given))
    assert reader.read_ahead(around.elsewhere.io, stored) == {number: number for number in range(1200)}
    around.client.flushdb()
    assert [around.load(each, reader) for each in stored] == list(range(1200))
    assert len(opened_ones) == 3
    assert not list(reader.to_fetch(stored))


def test_values_of_two_runs_are_kept_apart(around: Around, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opgrid.io.parcels.secrets.token_hex", lambda size: "00" * size)
    manager = RedisStore()
    stored = [around.store(manager, run_id, of(0, run_id)) for run_id in ("0123-one", "4567-two")]
    around.write()
    assert stored[0].manifest == stored[1].manifest
    reader = RedisStore()
    assert len(list(reader.to_fetch(stored))) == 2
    assert reader.read_ahead(around.elsewhere.io, stored) == {0: "0123-one", 1: "4567-two"}


def test_what_is_not_in_a_parcel_or_gone_is_not_at_hand(around: Around) -> None:
    manager = RedisStore(compress=False)
    stored = [around.store(manager, value, of(number)) for number, value in enumerate([b"small", bytes(5000)])]
    around.write()
    assert RedisStore().read_ahead(around.elsewhere.io, stored) == {0: b"small"}
    around.client.flushdb()
    assert RedisStore().read_ahead(around.elsewhere.io, stored) == {}


def test_a_manager_with_something_to_do_for_each_value_is_asked_for_each(around: Around) -> None:
    class Careful(RedisStore):
        def load_input(self, context: InputContext) -> Any:
            return -super().load_input(context)

    manager = RedisStore()
    stored = [around.store(manager, number, of(number)) for number in range(3)]
    around.write()
    reader = Careful()
    assert reader.read_ahead(around.elsewhere.io, stored) == {}
    wrapped: Any = RedisStore()
    wrapped.load_input = lambda context: 10
    assert wrapped.read_ahead(around.elsewhere.io, stored) == {}
    around.client.flushdb()
    assert [around.load(each, reader) for each in stored] == [0, -1, -2]


def test_a_value_that_is_wrong_keeps_no_other_from_being_at_hand(around: Around) -> None:
    manager = RedisStore()
    stored = [around.store(manager, number, of(number)) for number in range(3)]
    around.write()
    elsewhere_made = of(1, manifest=stored[0].manifest)
    assert RedisStore().read_ahead(around.elsewhere.io, [stored[0], elsewhere_made, stored[2]]) == {0: 0, 2: 2}
    with pytest.raises(PayloadRejected):
        around.load(elsewhere_made)


def test_the_end_of_a_step_is_refused_where_what_it_stored_is_gone(around: Around, redis_url: str) -> None:
    protocol = Protocol(redis_url, Keys("test"), "w")
    stored = [around.store(RedisStore(), number, of(number)) for number in range(2)]
    around.write()
    steps = [Attempt("0123-run", "s", f"step{number}", 1) for number in range(2)]
    protocol.publish("0123-run", "s", [Outgoing("", b"", [(at.step, 1) for at in steps])])
    protocol.exchange("0123-run", "s", "w", wanted=[Wanted(at, "c") for at in steps])
    ends = [Finished(at, "c", keys_of(each)) for at, each in zip(steps, stored, strict=True)]
    held: Any = around.client.getdel(keys_of(stored[0])[0])
    assert protocol.exchange("0123-run", "s", "w", finished=ends, events=b"e").finished == [Said.MISSING] * 2
    around.client.set(keys_of(stored[0])[0], held)
    assert protocol.exchange("0123-run", "s", "w", finished=ends, events=b"e").finished == [Said.OK] * 2
    protocol.close()


# ---- what somebody has changed ---------------------------------------------------------------------------------------


def parcel(run_id: str = "0123-run", ring: KeyRing = RING) -> Parcel:
    made = Parcel(run_id, 60, ring)
    for number in range(3):
        value = pickle.dumps(number)
        made.add(Entry.of(of(number, run_id), "cloudpickle", [len(value)], [value]))
    return made


def place(made: Parcel, number: int, at: int) -> OutputRef:
    return of(number, made.run_id, {"size": 5, "in": made.name, "at": at})


def test_nobody_takes_one_value_for_another(around: Around) -> None:
    made = parcel()
    around.client.set(made.key, made.sealed())
    assert [around.load(place(made, number, number)) for number in range(3)] == [0, 1, 2]
    for number, at in ((0, 1), (2, 0), (0, 3), (0, 10**9)):
        with pytest.raises(PayloadRejected):
            around.load(place(made, number, at))


def test_a_parcel_of_another_place_is_refused(around: Around) -> None:
    made, other = parcel(), parcel()
    around.client.set(made.key, other.sealed())
    with pytest.raises(PayloadRejected):
        around.load(place(made, 0, 0))
    theirs = parcel("their-run")
    theirs.name = made.name
    around.client.set(made.key, theirs.sealed())
    with pytest.raises(PayloadRejected):
        around.load(place(made, 0, 0))


@pytest.mark.parametrize("cut", [0, 3, 4, 20, -1])
def test_damage_is_told_from_forgery(around: Around, cut: int) -> None:
    made = parcel()
    around.client.set(made.key, made.sealed()[:cut])
    with pytest.raises(PayloadDamaged):
        around.load(place(made, 0, 0))
    forged = parcel(ring=KeyRing(b"x" * 32))
    forged.name = made.name
    around.client.set(made.key, forged.sealed())
    with pytest.raises(PayloadRejected) as refused:
        around.load(place(made, 0, 0))
    assert not isinstance(refused.value, PayloadDamaged)


@pytest.mark.parametrize(
    "manifest", [None, 3, {}, {"in": "x"}, {"in": 3, "at": 0}, {"in": "x", "at": -1}, {"in": "x", "at": True}]
)
def test_what_names_no_place_is_none(manifest: Any) -> None:
    assert Place.of(of(0, manifest=manifest)) is None


def test_a_reader_keeps_some_and_lets_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "_KEPT", 2)
    kept = Parcels()
    made = [parcel() for _ in range(4)]
    for each in made:
        kept.keep(each.key, each.entries)
    assert [kept.find(each.key) is not None for each in made] == [False, False, True, True]


def test_what_was_sealed_opens() -> None:
    made = parcel()
    assert opened(made.sealed(), made.run_id, made.name, RING) == made.entries
