"""Removes runs with all that belongs to them: what their steps computed, what their processes wrote, their logs."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from opgrid.contracts.status import RunStatus
from opgrid.errors import InvariantViolationError, OpGridError
from opgrid.ids import RunId
from opgrid.io.kept import delete_run, log_of, storage_of
from orchestrator.storage.protocols import Store
from orchestrator.storage.records import RunRecord, RunsFilter

#: Of runs that nothing writes to any more.
ENDED = RunsFilter(statuses=tuple(status for status in RunStatus if status.is_final))
END_FIRST = "End it first: opgrid run cancel RUN_ID, with --force where no process drives it."

_log = logging.getLogger("opgrid.removal")


class Removal:
    """What is not reached stays and is told of; what is in Redis goes by itself after a while. Values that steps keep
    in places of their own (``base_dir`` of an IO manager, an object store) are not looked for.
    """

    def __init__(self, store: Store, home: Path | None = None, broker_url: str | None = None) -> None:
        self._store = store
        self._home = home
        self._broker_url = broker_url

    def remove(self, run_ids: Sequence[RunId]) -> None:
        """Nothing happens for one that is not there. A run is forgotten last: whoever was stopped before can go on."""
        if not run_ids:
            return
        for run_id in run_ids:
            self._remove_files(run_id)
        try:
            self._remove_values(run_ids)
        except OpGridError as error:
            _log.warning("Values in Redis stay until their time is over: %s", error)
        for run_id in run_ids:
            self._store.delete_run(run_id)

    def remove_one(self, run: RunRecord) -> None:
        """Raises InvariantViolationError for one that waits or goes on, for whoever drives it writes to its log, and
        for one whose outputs a re-execution may read yet.
        """
        if not run.is_finished:
            raise InvariantViolationError(
                f"Run {run.run_id} has not ended ({run.status.value}), and is not deleted. {END_FIRST}"
            )
        if by := self._store.needed([run.run_id]).get(run.run_id):
            raise InvariantViolationError(
                f"Run {run.run_id} is not deleted: run {by}, a re-execution of it or of the same run, has not ended "
                f"and may need its outputs. {END_FIRST}"
            )
        self.remove([run.run_id])

    def remove_ended(self) -> int:
        """All runs but those that wait or go on, and those that re-executions of these may need; gives how many."""
        ended = [run.run_id for run in self._store.runs(ENDED)]
        needed = self._store.needed(ended)
        ended = [run_id for run_id in ended if run_id not in needed]
        self.remove(ended)
        return len(ended)

    def _remove_files(self, run_id: RunId) -> None:
        folders = [] if self._home is None else [self._home / "storage"]
        spill = os.environ.get("OPGRID_IO_SPILL_TO")
        if spill and "://" not in spill:
            folders.append(Path(spill))
        for folder in folders:
            _remove(storage_of(folder, run_id))
        if self._home is not None:
            _remove(log_of(self._home, run_id))

    def _remove_values(self, run_ids: Sequence[RunId]) -> None:
        if self._broker_url is None:
            return
        from opgrid.broker.connection import connect, reaching

        with contextlib.closing(connect(self._broker_url, "removal")) as client, reaching(self._broker_url):
            for run_id in run_ids:
                delete_run(client, run_id)


def _remove(path: Path) -> None:
    """A file, or a folder with what is in it; of a link the link alone."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s stays: %s.", path, error.strerror)
