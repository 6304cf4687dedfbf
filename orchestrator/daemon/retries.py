"""Runs that failed are run again, where their tags or the settings say so."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from opgrid.contracts.status import RunStatus
from opgrid.errors import DatabaseUnreachable, OpGridError
from opgrid.ids import RunId
from orchestrator.planner.routing import MAX_RETRIES, RETRY_STRATEGY
from orchestrator.sections import RunRetries
from orchestrator.services.submission import again
from orchestrator.storage.records import BACKFILL_TAG, RunRecord
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import BackfillStatus, Instigator, InstigatorKind, NewRun, retry_origin

_NAME: Final = "run_retries"
_FAILED: Final = "PIPELINE_FAILURE"
_AT_ONCE: Final = 50
#: On a run that was launched so: which retry it is.
NUMBER_TAG: Final = "opgrid/retry_number"

_log = logging.getLogger("opgrid.daemon")


class Retries:
    """Keeps how far it has looked; a run and its retry are seen once, whatever dies in between."""

    def __init__(self, store: ServiceStore, settings: RunRetries) -> None:
        self._store, self._settings = store, settings

    def turn(self, states: list[Instigator]) -> None:
        state = _state_of(states)
        if state is None:
            cursor = str(self._store.last_event())
            self._store.set_instigator(Instigator("", _NAME, InstigatorKind.SENSOR, cursor=cursor))
            return
        for number, run_id in self._store.run_events(_FAILED, int(state.cursor or 0), _AT_ONCE):
            new = self._retry_of(run_id)
            after = dataclasses.replace(state, cursor=str(number), completed=float(number))
            if self._store.commit_tick(None, state, after, [new] if new is not None else []) is None:
                return
            state = after

    def _retry_of(self, run_id: RunId) -> NewRun | None:
        """A run of which something cannot be read is left as it is: it would keep all others from being run again."""
        try:
            run = self._store.run(run_id)
            return self._retry(run) if run is not None else None
        except DatabaseUnreachable:
            raise
        except (OpGridError, KeyError, msgspec.MsgspecError) as error:
            _log.warning("Run %s is not run again: %s: %s", run_id, type(error).__name__, error)
            return None

    def _retry(self, run: RunRecord) -> NewRun | None:
        most = _number(run, MAX_RETRIES, self._settings.max_retries if self._settings.enabled else 0)
        before = _number(run, (NUMBER_TAG,), 0)
        if before >= most or run.status is not RunStatus.FAILURE or self._is_unwanted(run):
            return None
        strategy = next((run.tags[tag] for tag in RETRY_STRATEGY if tag in run.tags), "FROM_FAILURE")
        tags = {NUMBER_TAG: str(before + 1)}
        return again(
            self._store,
            run,
            failed_only=strategy != "ALL_STEPS",
            tags=tags,
            origin=retry_origin(run.run_id),
            key=str(before + 1),
        )

    def _is_unwanted(self, run: RunRecord) -> bool:
        """Where it is of a backfill that was canceled, and not one that somebody has run again by hand."""
        its = run.tags.get(BACKFILL_TAG)
        found = self._store.backfills(backfill_id=its) if its is not None else []
        over = [each.origin for each in found if each.status in (BackfillStatus.CANCELING, BackfillStatus.CANCELED)]
        return any(run.run_id in latest.values() for latest in self._store.latest_by(over).values())


def to_look_at(store: ServiceStore, failed: Sequence[RunId]) -> set[RunId]:
    """Those that may yet be run again; what is read afterwards has the retries of the others."""
    state = _state_of(store.instigators())
    return store.behind(_FAILED, int(state.cursor or 0), failed) if state is not None else set()


def _state_of(states: Iterable[Instigator]) -> Instigator | None:
    return next((each for each in states if (each.location, each.name) == ("", _NAME)), None)


def _number(run: RunRecord, tags: tuple[str, ...], otherwise: int) -> int:
    for tag in tags:
        if tag in run.tags:
            try:
                return int(run.tags[tag])
            except ValueError:
                _log.warning("Run %s has the tag %s=%r, which is no number.", run.run_id, tag, run.tags[tag])
    return otherwise
