"""What changes is told, also where the database was away meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from opgrid.errors import DatabaseUnreachable
from opgrid.ids import RunId
from orchestrator.api.pulse import Change, Heart, Topic, Watcher
from orchestrator.storage.service_records import Pulse


class Changing:
    """A store whose runs change, and of which what is named in ``broken`` raises."""

    def __init__(self) -> None:
        self.event = 1
        self.acts = 0
        self.deletions: list[str] = []
        self.are_forgotten = False
        self.broken: dict[str, Exception] = {}
        self.calls = 0

    def pulse(self) -> Pulse:
        self._called("pulse")
        return Pulse(self.event, 0, "", "", 0.0, self.acts, len(self.deletions))

    def deleted_runs(self, after: float) -> list[str] | None:
        return None if self.are_forgotten else self.deletions[int(after) :]

    def changed_runs(self, after: int, limit: int) -> list[str]:
        self._called("changed_runs")
        return [f"run {number}" for number in range(after + 1, self.event + 1)]

    def _called(self, name: str) -> None:
        self.calls += 1
        if name in self.broken:
            raise self.broken[name]

    async def looked_at(self, times: int = 2) -> None:
        until, end = self.calls + times, time.monotonic() + 10
        while self.calls < until:
            assert time.monotonic() < end, "Nobody looks."
            await asyncio.sleep(0.01)


@pytest.fixture
def store() -> Changing:
    return Changing()


@pytest.fixture
def heart(store: Changing) -> Iterator[Heart]:
    made: Any = store
    heart = Heart(made, lambda: 0)
    yield heart
    heart.close()


def watched(heart: Heart, work: Callable[[Watcher], Awaitable[None]]) -> None:
    async def main() -> None:
        with heart.watching() as watcher:
            await work(watcher)

    asyncio.run(main())


async def told(watcher: Watcher) -> Change | None:
    return await asyncio.wait_for(watcher.get(), 10)


@pytest.mark.parametrize("error", [DatabaseUnreachable("It is away."), ValueError("a bug")])
@pytest.mark.parametrize("call", ["pulse", "changed_runs"])
def test_what_changed_while_it_could_not_be_read_is_told_afterwards(
    store: Changing, heart: Heart, call: str, error: Exception
) -> None:
    async def work(watcher: Watcher) -> None:
        await store.looked_at()
        store.broken[call] = error
        store.event = 2
        await store.looked_at(4)
        store.event = 3
        store.broken.clear()
        assert await told(watcher) == Change(frozenset([Topic.RUNS]), frozenset(map(RunId, ["run 2", "run 3"])))

    watched(heart, work)
    watched(heart, lambda watcher: store.looked_at())  # who comes later is told, too


def test_all_may_have_changed_since_somebody_watches_where_it_could_not_be_read_then(
    store: Changing, heart: Heart
) -> None:
    async def work(watcher: Watcher) -> None:
        await store.looked_at()
        store.broken.clear()
        assert await told(watcher) == Change(frozenset(Topic), None)

    store.broken["pulse"] = DatabaseUnreachable("It is away.")
    watched(heart, work)


def test_it_is_told_which_runs_were_deleted(store: Changing, heart: Heart) -> None:
    async def work(watcher: Watcher) -> None:
        await store.looked_at()
        store.acts += 1
        assert await told(watcher) == Change(frozenset([Topic.RUNS]))
        store.deletions.append("run 7")
        assert await told(watcher) == Change(frozenset([Topic.RUNS]), frozenset([RunId("run 7")]))
        store.are_forgotten = True
        store.deletions.append("run 8")
        assert await told(watcher) == Change(frozenset([Topic.RUNS]), None)

    store.deletions.append("run 1")
    watched(heart, work)


@pytest.mark.parametrize("name", ["event", "acts"])
def test_all_may_have_changed_where_the_database_is_one_of_before(store: Changing, heart: Heart, name: str) -> None:
    async def work(watcher: Watcher) -> None:
        await store.looked_at()
        setattr(store, name, 3)
        assert await told(watcher) == Change(frozenset(Topic), None)

    setattr(store, name, 4)
    watched(heart, work)
