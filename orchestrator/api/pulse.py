"""Notices what changes in the database, once for all who watch."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from opgrid.errors import DatabaseUnreachable
from opgrid.ids import RunId
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import Pulse

_BEAT: Final = 0.2  #: seconds
_MOST: Final = 200  #: runs that a change names; of more, it says that all may have changed

_log = logging.getLogger("opgrid.web")


class Topic(StrEnum):
    RUNS = "RUNS"
    TICKS = "TICKS"
    AUTOMATION = "AUTOMATION"
    BACKFILLS = "BACKFILLS"
    FLEET = "FLEET"
    LOCATIONS = "LOCATIONS"


@dataclass(frozen=True, slots=True)
class Change:
    topics: frozenset[Topic]
    runs: frozenset[RunId] | None = frozenset()  #: None: too many to name


_ALL: Final = Change(frozenset(Topic), None)


class Heart:
    """Looks only while somebody watches. ``version_of_code`` grows when code was loaded."""

    def __init__(self, store: ServiceStore, version_of_code: Callable[[], int]) -> None:
        self._store = store
        self._version_of_code = version_of_code
        self._watchers: set[Watcher] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def close(self) -> None:
        self._stopped.set()
        with self._lock:
            for watcher in self._watchers:
                watcher.put(None)

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Tells what changes from now on. To be called where an event loop runs."""
        watcher = Watcher(asyncio.get_running_loop())
        with self._lock:
            self._watchers.add(watcher)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="opgrid-pulse", daemon=True)
                self._thread.start()
        try:
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    def _beat(self) -> None:
        before: Pulse | None = None
        code, failed = self._version_of_code(), False
        while True:
            try:
                now, version = self._store.pulse(), self._version_of_code()
                if before is not None:
                    self._tell(self._difference(before, now, version != code))
                elif failed:
                    self._tell(_ALL)
                before, code, failed = now, version, False
            except DatabaseUnreachable:  # what changes meanwhile is told afterwards
                failed = True
            except Exception:
                if not failed:
                    _log.exception("What has changed could not be read, and is tried again.")
                failed = True
            if self._stopped.wait(_BEAT):
                return
            with self._lock:
                if not self._watchers:
                    self._thread = None
                    return

    def _tell(self, change: Change) -> None:
        if change.topics:
            with self._lock:
                for watcher in self._watchers:
                    watcher.put(change)

    def _difference(self, before: Pulse, now: Pulse, is_code_new: bool) -> Change:
        if now.event < before.event or now.audit < before.audit:
            return _ALL  # it is another database, such as one of before
        topics = set()
        runs: frozenset[RunId] | None = frozenset()
        if now.event != before.event:
            topics.add(Topic.RUNS)
            found = self._store.changed_runs(before.event, _MOST + 1)
            runs = frozenset(found) if len(found) <= _MOST else None
        if now.deleted != before.deleted:
            topics.add(Topic.RUNS)  # which no event tells
            gone = self._store.deleted_runs(before.deleted)
            runs = None if runs is None or gone is None else runs | frozenset(gone)
        if now.audit != before.audit:
            topics.add(Topic.RUNS)  # somebody has done something
        for topic, name in (
            (Topic.TICKS, "tick"),
            (Topic.AUTOMATION, "automation"),
            (Topic.BACKFILLS, "backfills"),
            (Topic.FLEET, "reports"),
        ):
            if getattr(now, name) != getattr(before, name):
                topics.add(topic)
        if is_code_new:
            topics.add(Topic.LOCATIONS)
        return Change(frozenset(topics), runs)


class Watcher:
    """A slow one misses nothing: what it has not taken yet is joined."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready = asyncio.Event()
        self._lock = threading.Lock()
        self._change: Change | None = Change(frozenset())

    def put(self, change: Change | None) -> None:
        with self._lock:
            if change is None or self._change is None:
                self._change = None
            else:
                runs = None
                if change.runs is not None and self._change.runs is not None:
                    runs = change.runs | self._change.runs
                self._change = Change(change.topics | self._change.topics, runs)
        self._loop.call_soon_threadsafe(self._ready.set)

    async def get(self) -> Change | None:
        """What has changed since the last call; None when the service ends."""
        await self._ready.wait()
        with self._lock:
            self._ready.clear()
            change = self._change
            if change is not None:
                self._change = Change(frozenset())
        return change
