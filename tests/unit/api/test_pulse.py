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
from orchestrator.storage.service_records import AuditEntry, Pulse


class Changing:
    """A store whose runs change, and of which what is named in ``broken`` raises."""

    def __init__(self) -> None:
        self.event = 1
        self.acts: list[AuditEntry] = []
        self.broken: dict[str, Exception] = {}
        self.calls = 0

    def pulse(self) -> Pulse:
        self._called("pulse")
        return Pulse(self.event, 0, "", "", 0.0, len(self.acts))

    def audit(self, limit: int) -> list[AuditEntry]:
        return self.acts[::-1][:limit]

    def did(self, action: str, about: str) -> None:
        self.acts.append(AuditEntry(0.0, "eve", action, about, "done", len(self.acts) + 1))

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
        store.did("setConcurrencyLimit", "gpu 1")
        assert await told(watcher) == Change(frozenset([Topic.RUNS]))
        store.did("deleteRun", "run 7")
        assert await told(watcher) == Change(frozenset([Topic.RUNS]), frozenset([RunId("run 7")]))
        store.did("wipe", "3 runs")
        assert await told(watcher) == Change(frozenset([Topic.RUNS]), None)

    store.did("deleteRun", "run 1")
    watched(heart, work)


def test_after_very_many_acts_all_runs_may_be_gone(store: Changing, heart: Heart) -> None:
    async def work(watcher: Watcher) -> None:
        await store.looked_at()
        store.acts += [AuditEntry(0.0, "eve", "deleteRun", f"run {number}", "done", number) for number in range(1, 101)]
        assert await told(watcher) == Change(frozenset([Topic.RUNS]), None)

    watched(heart, work)
