"""Launching the runs of backfills, some at a time, until all have ended. One that cannot go on says why."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import msgspec

from opgrid.contracts.status import RunStatus
from opgrid.errors import DatabaseUnreachable, OpGridError, ValueRefused
from opgrid.ids import RunId
from orchestrator.daemon.retries import NUMBER_TAG, to_look_at
from orchestrator.locations.location import Location
from orchestrator.locations.messages import Evaluated, Failed, Prepare
from orchestrator.locations.process import LocationAway, LocationBroken
from orchestrator.services.submission import again, ready
from orchestrator.storage.records import BACKFILL_TAG
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import Backfill, BackfillStatus, NewRun, retry_origin

#: Runs that are prepared and launched in one go; between two of these others get their turn.
BATCH: Final = 25
#: Runs of a backfill without a limit of its own that are queued or go on at a time.
AHEAD: Final = 100
#: Times that the process of its code may break over the same partition.
TRIES: Final = 3
_REST: Final = 10.0  #: seconds until it is asked again

_log = logging.getLogger("opgrid.daemon")


@dataclass(slots=True)
class _Progress:
    """What was launched; runs that have ended, and are not run again, are not looked at again."""

    launched: dict[str, RunId]
    going: set[RunId] = field(default_factory=set)
    failed: int = 0
    broken: int = 0  #: times that the process of the code broke since it last answered
    rest_until: float = 0.0


class Backfills:
    def __init__(
        self, store: ServiceStore, locations: Sequence[Location], clock: Callable[[], float], timeout: float
    ) -> None:
        self._store, self._locations, self._clock, self._timeout = store, locations, clock, timeout
        self._progress: dict[str, _Progress] = {}
        self._busy: dict[str, Future[None]] = {}
        self.are_there = False  #: some that have not ended, at the last turn

    def turn(self) -> None:
        """Begin what there is to do; returns at once."""
        there = self._store.backfills((BackfillStatus.REQUESTED, BackfillStatus.CANCELING))
        self.are_there = bool(there)
        for backfill_id in [each for each in self._progress if each not in {one.backfill_id for one in there}]:
            del self._progress[backfill_id]
        for backfill in reversed(there):
            if self._is_busy(backfill):
                continue
            progress = self._looked_at(backfill)
            if backfill.status is BackfillStatus.CANCELING:
                self._cancel(backfill, progress)
            else:
                self._go_on(backfill, progress)

    def _is_busy(self, backfill: Backfill) -> bool:
        future = self._busy.get(backfill.backfill_id)
        if future is None:
            return False
        if not future.done():
            return True
        del self._busy[backfill.backfill_id]
        error = future.exception()
        if error is not None:
            _log.error("Backfill %s: %s", backfill.backfill_id, error, exc_info=error)
            self._progress.pop(backfill.backfill_id, None)
        return False

    def _looked_at(self, backfill: Backfill) -> _Progress:
        progress = self._progress.get(backfill.backfill_id)
        if progress is None:
            launched = self._store.latest_by([backfill.origin]).get(backfill.origin, {})
            progress = self._progress[backfill.backfill_id] = _Progress(launched, set(launched.values()))
        statuses = self._store.statuses(sorted(progress.going))
        failed: list[RunId] = []
        for run_id in list(progress.going):
            status = statuses.get(run_id, RunStatus.CANCELED)  # a run that was deleted did not succeed
            if status is RunStatus.SUCCESS:
                progress.going.discard(run_id)
            elif status.is_final:
                failed.append(run_id)
        if failed:
            self._follow(progress, failed)
        return progress

    def _follow(self, progress: _Progress, failed: Sequence[RunId]) -> None:
        """A run that failed goes on with its retry, and while it may yet be run again."""
        undecided = to_look_at(self._store, failed)
        retries = self._store.launched_by([retry_origin(run_id) for run_id in failed])
        for run_id in failed:
            retry = retries.get(retry_origin(run_id), {})
            if retry:
                progress.going.discard(run_id)
                progress.going.update(retry.values())
            elif run_id not in undecided:
                progress.going.discard(run_id)
                progress.failed += 1

    def _cancel(self, backfill: Backfill, progress: _Progress) -> None:
        reason = f"Backfill {backfill.backfill_id} was canceled."
        self._store.cancel_runs(sorted(progress.going), reason, self._clock())
        if not progress.going:
            self._end(backfill, BackfillStatus.CANCELED)

    def _go_on(self, backfill: Backfill, progress: _Progress) -> None:
        left = [key for key in backfill.partitions if key not in progress.launched]
        if not left and not progress.going:
            failed = progress.failed > 0
            self._end(backfill, BackfillStatus.COMPLETED_FAILED if failed else BackfillStatus.COMPLETED_SUCCESS)
            return
        room = (backfill.options.at_once or AHEAD) - len(progress.going)
        wanted = left[: max(0, min(room, BATCH))]
        if not wanted or self._clock() < progress.rest_until:
            return
        location = next((each for each in self._locations if each.name == backfill.location), None)
        if location is None:
            there = ", ".join(each.name for each in self._locations)
            self._note(backfill, f"The daemon has no code location {backfill.location!r}. It has: {there}.")
        elif location.loaded is None:
            why = f": {location.error.message}" if location.error is not None else " yet"
            self._note(backfill, f"Code location {location.name!r} is not loaded{why}")
        else:
            self._busy[backfill.backfill_id] = location.submit(
                lambda: self._launch(backfill, progress, wanted, location), "backfill"
            )

    def _note(self, backfill: Backfill, text: str | None) -> None:
        """Why it waits; None: it does not."""
        if backfill.error != text:
            here = BackfillStatus.REQUESTED
            self._store.move_backfill(backfill.backfill_id, here, here, error=text)
            if text is not None:
                _log.warning("Backfill %s of %s waits. %s", backfill.backfill_id, backfill.job, text)

    def _launch(self, backfill: Backfill, progress: _Progress, wanted: Sequence[str], location: Location) -> None:
        try:
            self._launch_some(backfill, progress, wanted, location)
        except ValueRefused as error:
            self._end(backfill, BackfillStatus.COMPLETED_FAILED, str(error))

    def _launch_some(self, backfill: Backfill, progress: _Progress, wanted: Sequence[str], location: Location) -> None:
        new: list[NewRun] = []
        for key in wanted:
            try:
                made = self._made(backfill, key, location)
            except LocationBroken as broken:
                self._store_runs(backfill, progress, new)
                if not isinstance(broken, LocationAway):
                    progress.broken = 1 if new else progress.broken + 1
                problem = f"Partition {key!r} cannot be run: {broken}"
                if progress.broken >= TRIES:
                    self._end(backfill, BackfillStatus.COMPLETED_FAILED, problem)
                else:
                    progress.rest_until = self._clock() + _REST
                    self._note(backfill, f"{problem} It is tried again.")
                return
            if isinstance(made, str):
                self._store_runs(backfill, progress, new)
                self._end(backfill, BackfillStatus.COMPLETED_FAILED, f"Partition {key!r} cannot be run: {made}")
                return
            new.append(made)
        self._store_runs(backfill, progress, new)
        progress.broken = 0
        self._note(backfill, None)

    def _store_runs(self, backfill: Backfill, progress: _Progress, new: Sequence[NewRun]) -> None:
        stored = set(self._store.launch(new))
        for run in new:
            if run.record.run_id in stored:
                progress.launched[run.key] = run.record.run_id
                progress.going.add(run.record.run_id)
        if len(stored) < len(new):  # another daemon was quicker
            self._progress.pop(backfill.backfill_id, None)

    def _made(self, backfill: Backfill, key: str, location: Location) -> NewRun | str:
        """A run, or what is wrong. Raises LocationBroken, DatabaseUnreachable."""
        options = backfill.options
        tags = {**options.tags, BACKFILL_TAG: backfill.backfill_id}
        try:
            parent = self._store.run(options.parents[key]) if key in options.parents else None
            if parent is not None:
                if NUMBER_TAG in parent.tags:  # its retries are counted anew
                    tags[NUMBER_TAG] = "0"
                return again(self._store, parent, failed_only=True, tags=tags, origin=backfill.origin, key=key)
        except DatabaseUnreachable:
            raise
        except OpGridError as error:
            return str(error)
        except (KeyError, msgspec.MsgspecError) as error:
            return f"{type(error).__name__}: {error}"
        asked = Prepare(backfill.job, options.run_config, tags, key, options.executor, options.op_selection)
        answer = location.ask(asked, self._timeout)
        if isinstance(answer, Evaluated):
            return ready(answer.runs[0], backfill.origin, key)
        return f"{answer.error.kind}: {answer.error.message}" if isinstance(answer, Failed) else repr(answer)

    def _end(self, backfill: Backfill, status: BackfillStatus, error: str | None = None) -> None:
        self._store.move_backfill(backfill.backfill_id, backfill.status, status, self._clock(), error)
        _log.info("Backfill %s of %s: %s.", backfill.backfill_id, backfill.job, status.value)
