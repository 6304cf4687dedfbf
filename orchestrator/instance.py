"""What runs were stored where: a thin face over the store, for users' code."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from opgrid.contracts.events import AnyEvent, AssetMaterialized, EventType, RunFailed
from opgrid.contracts.facts import AssetKey
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import PythonLogs
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.run_request import AddDynamicPartitionsRequest
from opgrid.doors import through
from opgrid.errors import InvariantViolationError, RunNotFoundError
from opgrid.ids import RunId
from opgrid.reconstruction import ReconstructableJob, reconstructable
from orchestrator.coordinator.ownership import end_canceled
from orchestrator.services.removal import Removal
from orchestrator.settings import Settings, sqlite_url
from orchestrator.storage.memory import MemoryStore
from orchestrator.storage.protocols import Store
from orchestrator.storage.records import (
    AssetRecordsFilter,
    EventLogConnection,
    EventLogRecord,
    EventRecordsFilter,
    EventRecordsResult,
    EventsFilter,
    RunRecord,
    RunsFilter,
    RunStats,
    RunStatusChangeRecordsFilter,
    StepRecord,
)
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import Backfill, BackfillStatus, Tick

_AT_ONCE: Final = 500  #: runs that one query names


@contextmanager
def instance_for_test(
    overrides: Mapping[str, object] | None = None, set_home: bool = True, temp_dir: str | None = None
) -> Iterator[Instance]:
    """An instance in a folder of its own, that OPGRID_HOME names meanwhile, so that ``Instance.get()`` finds it.

    ``overrides`` is what its ``opgrid.yaml`` says; ``temp_dir`` a folder to use, and to keep. The environment's other
    settings are not looked at.
    """
    before = os.environ.get("OPGRID_HOME")
    with _made_for_test(overrides, temp_dir) as made:
        if not set_home:
            yield made
            return
        os.environ["OPGRID_HOME"] = str(made.home)
        try:
            yield made
        finally:
            if before is None:
                del os.environ["OPGRID_HOME"]
            else:
                os.environ["OPGRID_HOME"] = before


@contextmanager
def _made_for_test(overrides: Mapping[str, object] | None, folder: str | None) -> Iterator[Instance]:
    with nullcontext(folder) if folder is not None else tempfile.TemporaryDirectory(prefix="opgrid-") as home:
        (Path(home) / "opgrid.yaml").write_text(json.dumps(dict(overrides or {})))
        with Instance.of(Settings.load({"OPGRID_HOME": home})) as made:
            yield made


class Instance:
    """``Instance.get()`` in a project, ``Instance.ephemeral()`` in tests. ``with`` it, or ``dispose`` of it."""

    def __init__(
        self,
        store: Store,
        home: Path | None = None,
        broker_url: str | None = None,
        python_logs: PythonLogs | None = None,
        folder: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.store = store
        self.home = home
        self.broker_url = broker_url
        self.python_logs = python_logs or PythonLogs()
        self._folder = folder

    @classmethod
    def get(cls) -> Self:
        """The one that OPGRID_HOME names. Raises HomeNotSetError."""
        return cls.of(Settings.load(home_required=True))

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises DatabaseUnreachable."""
        home = settings.make_home()
        return cls(through("store")(settings), home, settings.broker_url, settings.python_logs)

    @classmethod
    def from_config(cls, config_dir: str | Path) -> Self:
        """The one whose home this folder is, with its ``opgrid.yaml``. Raises SettingsError."""
        return cls.of(Settings.load({**os.environ, "OPGRID_HOME": str(config_dir)}))

    @classmethod
    def ephemeral(cls) -> Self:
        """Keeps nothing and needs nothing."""
        return cls(MemoryStore())

    @classmethod
    def local_temp(cls) -> Self:
        """Stored in a folder that goes with it."""
        folder = tempfile.TemporaryDirectory(prefix="opgrid-")
        home = Path(folder.name)
        made = cls.of(Settings(home, sqlite_url(home / "opgrid.db")))
        made._folder = folder
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dispose()

    def dispose(self) -> None:
        self.store.close()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def is_ephemeral(self) -> bool:
        return self.home is None

    def require_home(self) -> Path:
        """Raises InvariantViolationError for an ephemeral instance."""
        if self.home is None:
            raise InvariantViolationError(
                "An ephemeral instance has no folder for what other processes must read. "
                "Use Instance.get() or Instance.local_temp(), or job.execute_in_process()."
            )
        return self.home

    def get_run_by_id(self, run_id: str) -> RunRecord | None:
        return self.store.run(run_id)

    get_run_record_by_id = get_run_by_id

    def record(self, run_id: str) -> RunRecord:
        """Raises RunNotFoundError."""
        found = self.store.run(run_id)
        if found is None:
            known = [run.run_id for run in self.store.runs(limit=20)]
            raise RunNotFoundError("run", run_id, known, "this installation", "See: opgrid run list")
        return found

    def has_run(self, run_id: str) -> bool:
        return self.store.run(run_id) is not None

    def get_runs(
        self,
        filters: RunsFilter | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> Sequence[RunRecord]:
        """Newest first, or oldest; those behind the run with the id ``cursor``. Raises InvariantViolationError where
        it is not there any more.
        """
        return self.store.runs(filters, limit, cursor, ascending)

    get_run_records = get_runs

    def get_runs_count(self, filters: RunsFilter | None = None) -> int:
        return self.store.count(filters)

    def all_logs(self, run_id: str, of_type: EventType | Collection[EventType] | None = None) -> list[AnyEvent]:
        """Every event of a run, or those of some types, oldest first. Raises EventLogInvalidForRun."""
        job = self._job_of(run_id)
        return [event.of_job(job) for _, event in self.store.events(run_id, 0, None, EventsFilter(_types(of_type)))]

    def get_records_for_run(
        self,
        run_id: str,
        cursor: int | None = None,
        of_type: EventType | Collection[EventType] | None = None,
        limit: int | None = None,
        ascending: bool = True,
    ) -> EventLogConnection:
        """Events of a run behind ``cursor``, of some types or of all; oldest first, or newest."""
        more = None if limit is None or not ascending else limit + 1
        found = self.store.events(run_id, cursor or 0, more, EventsFilter(_types(of_type)))
        found = found if ascending else found[::-1]
        job = self._job_of(run_id)
        records = [EventLogRecord(number, event.of_job(job)) for number, event in found[:limit]]
        return EventLogConnection(
            records, records[-1].storage_id if records else cursor or 0, 0 < len(records) < len(found)
        )

    def get_event_records(
        self, event_records_filter: EventRecordsFilter, limit: int | None = None, ascending: bool = False
    ) -> list[EventLogRecord]:
        """Events of all runs, newest first or oldest."""
        found = self.store.event_records(event_records_filter, limit, ascending)
        run_ids, jobs = list({each.run_id for each in found}), dict[str, str]()
        for start in range(0, len(run_ids), _AT_ONCE):
            some = RunsFilter(run_ids=tuple(run_ids[start : start + _AT_ONCE]))
            jobs.update((run.run_id, run.job) for run in self.store.runs(some))
        return [EventLogRecord(each.storage_id, each.event_log_entry.of_job(jobs.get(each.run_id))) for each in found]

    def _job_of(self, run_id: str) -> str | None:
        run = self.store.run(run_id)
        return None if run is None else run.job

    def get_run_stats(self, run_id: str) -> RunStats:
        """Raises RunNotFoundError."""
        run = self.record(run_id)
        ends = [step.status for step in self.store.steps(run_id)]
        return RunStats(
            run.run_id,
            ends.count(StepStatus.SUCCESS),
            ends.count(StepStatus.FAILURE),
            len(self.all_logs(run_id, EventType.ASSET_MATERIALIZATION)),
            run.created,
            run.started,
            run.ended,
        )

    def get_run_step_stats(self, run_id: str, step_keys: Sequence[str] | None = None) -> list[StepRecord]:
        """Where each step stands, in the order in which they started; of all steps, or of some."""
        steps = self.store.steps(run_id)
        return steps if step_keys is None else [step for step in steps if step.step in step_keys]

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Over those that it has. The queue heeds them while the run waits; steps under way do not see them. Raises
        RunNotFoundError.
        """
        self.record(run_id)
        self.store.add_tags(run_id, {key: str(value) for key, value in new_tags.items()})

    # ---- starting runs ---------------------------------------------------------------------------------------------

    def create_run_for_job(
        self,
        job_def: JobDefinition | ReconstructableJob,
        execution_plan: None = None,
        run_id: str | None = None,
        run_config: Any = None,
        resolved_op_selection: Collection[str] | None = None,
        status: RunStatus | str | None = None,
        tags: Mapping[str, str] | None = None,
        root_run_id: str | None = None,
        parent_run_id: str | None = None,
        op_selection: Sequence[str] | None = None,
        *,
        partition_key: str | None = None,
        executor: str | None = None,
    ) -> RunRecord:
        """Check and store a run that is not to start yet: it is NOT_STARTED until ``submit_run`` or ``launch_run``.

        Other processes have to be able to load the job for that: it is at the top level of a module, or a
        ``reconstructable``. It is planned here, so that ``execution_plan`` stays None, and ``status`` is no other;
        ``resolved_op_selection`` are names of ops, where there is no ``op_selection``. Raises what is wrong with the
        run, and RunAlreadyExists.
        """
        from orchestrator.services.launching import Request, prepare
        from orchestrator.services.submission import created

        if execution_plan is not None:
            raise InvariantViolationError("A run is planned when it is created: leave out execution_plan.")
        if status is not None and RunStatus(status) is not RunStatus.NOT_STARTED:
            raise InvariantViolationError(
                f"A run is created as NOT_STARTED, not as {RunStatus(status).value}. Use submit_run or launch_run."
            )
        code = None
        if isinstance(job_def, ReconstructableJob):
            code, job_def = job_def.code, job_def.get_definition()
        else:
            with suppress(InvariantViolationError):  # it is told when the run is to start
                code = reconstructable(job_def).code
        request = Request(
            job_def,
            run_config,
            executor,
            op_selection or sorted(resolved_op_selection or ()) or None,
            tags=tags or {},
            run_id=run_id,
            code=code,
            partition_key=partition_key,
            root_run_id=root_run_id,
            parent_run_id=parent_run_id,
            python_logs=self.python_logs,
            partitions=self,
        )
        new = created(prepare(request))
        self.store.create_run(new.record, new.plan, new.snapshot)
        return self.record(new.record.run_id)

    def submit_run(self, run_id: str, workspace: object = None) -> RunRecord:
        """Put a run that was created into the queue, for an orchestrator to start as its limits allow.

        ``workspace`` is not needed: a run knows where its code is. Raises RunNotFoundError, and
        InvariantViolationError for a run that has been started, that no other process could load, or of an ephemeral
        instance.
        """
        from orchestrator.services.submission import submit

        submit(self._service, self.record(run_id))
        return self.record(run_id)

    def launch_run(self, run_id: str, workspace: object = None) -> RunRecord:
        """The same, past the queue and its limits: an orchestrator starts it at once."""
        from orchestrator.services.submission import launch

        launch(self._service, self.record(run_id))
        return self.record(run_id)

    def report_run_canceled(self, run: RunRecord, message: str | None = None) -> None:
        """End a run at once, over the head of whoever drives it. What it has started may run on for a while."""
        end_canceled(self.store, run.run_id, message or "The run was marked as canceled.")

    def report_run_failed(self, run: RunRecord, message: str | None = None) -> None:
        """The same, as a failure."""
        now = time.time()
        event = RunFailed(run_id=run.run_id, at=now, reason=message or "The run was marked as failed.")
        self.store.end_run(run.run_id, RunStatus.FAILURE, [event], now)

    def delete_run(self, run_id: str) -> None:
        """With its log and with what its steps stored, also what is left of one that is not there. Raises
        InvariantViolationError for one that waits or goes on, and for one that a re-execution may need.
        """
        run = self.store.run(run_id)
        if run is None:
            self._removal().remove([RunId(run_id)])
        else:
            self._removal().remove_one(run)

    def wipe(self) -> None:
        """Forget every run that has ended, with its log and with what its steps stored. Those that wait or go on
        stay, and those that re-executions of them may need.
        """
        self._removal().remove_ended()

    def _removal(self) -> Removal:
        return Removal(self.store, self.home, self.broker_url)

    # ---- what ops materialized -------------------------------------------------------------------------------------

    def get_asset_materializations(
        self, asset_key: AssetKey | str | Sequence[str], after: int = 0
    ) -> list[tuple[int, AssetMaterialized]]:
        """(number, event) behind ``after``, of all runs, oldest first."""
        return self.store.materializations(tuple(AssetKey.of(asset_key).path), after)

    def get_latest_materialization_event(self, asset_key: AssetKey) -> AnyEvent | None:
        """The newest of all runs."""
        wanted = EventRecordsFilter(EventType.ASSET_MATERIALIZATION, asset_key=asset_key)
        found = self.get_event_records(wanted, limit=1)
        return found[0].event_log_entry if found else None

    def fetch_materializations(
        self,
        records_filter: AssetKey | AssetRecordsFilter,
        limit: int,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> EventRecordsResult:
        """Of all runs, newest first or oldest; those behind the ``cursor`` that the last call gave."""
        return self._fetch(_of_asset(records_filter, EventType.ASSET_MATERIALIZATION), limit, cursor, ascending)

    def fetch_observations(
        self,
        records_filter: AssetKey | AssetRecordsFilter,
        limit: int,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> EventRecordsResult:
        """As ``fetch_materializations``."""
        return self._fetch(_of_asset(records_filter, EventType.ASSET_OBSERVATION), limit, cursor, ascending)

    def fetch_run_status_changes(
        self,
        records_filter: EventType | RunStatusChangeRecordsFilter,
        limit: int,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> EventRecordsResult:
        """The events by which runs changed their status, as ``fetch_materializations``. Raises
        InvariantViolationError for a type of events that are none.
        """
        wanted = (
            records_filter
            if isinstance(records_filter, RunStatusChangeRecordsFilter)
            else RunStatusChangeRecordsFilter(records_filter)
        )
        return self._fetch(wanted.events(), limit, cursor, ascending, wanted.job_names)

    def _fetch(
        self,
        wanted: EventRecordsFilter,
        limit: int,
        cursor: str | None,
        ascending: bool,
        jobs: Collection[str] | None = None,
    ) -> EventRecordsResult:
        found = list[EventLogRecord]()
        at = cursor
        while len(found) <= limit:
            some = self.get_event_records(_behind(wanted, at, ascending), limit + 1, ascending)
            found += [each for each in some if jobs is None or each.event_log_entry.job_name in jobs]
            if len(some) <= limit:
                break
            at = str(some[-1].storage_id)
        records = found[:limit]
        return EventRecordsResult(
            records, str(records[-1].storage_id) if records else cursor or "", 0 < len(records) < len(found)
        )

    def has_asset_key(self, asset_key: AssetKey) -> bool:
        """Whether an op has materialized or observed it."""
        return any(
            self.get_event_records(EventRecordsFilter(kind, asset_key), limit=1)
            for kind in (EventType.ASSET_MATERIALIZATION, EventType.ASSET_OBSERVATION)
        )

    # ---- the service -----------------------------------------------------------------------------------------------

    def get_backfills(self, status: BackfillStatus | None = None, limit: int | None = None) -> list[Backfill]:
        """Newest first; of all statuses where none is given. Raises InvariantViolationError for an ephemeral
        instance.
        """
        return self._service.backfills(() if status is None else (status,), limit)

    def get_ticks(self, location: str, name: str, limit: int = 25) -> list[Tick]:
        """Of a schedule or sensor in a code location, newest first. Raises InvariantViolationError for an ephemeral
        instance.
        """
        return self._service.ticks(location, name, limit)

    @property
    def _service(self) -> ServiceStore:
        if isinstance(self.store, MemoryStore):
            raise InvariantViolationError("An ephemeral instance has no service: no backfills, schedules or sensors.")
        return cast("ServiceStore", self.store)

    # ---- dynamic partitions ----------------------------------------------------------------------------------------

    def get_dynamic_partitions(self, partitions_def_name: str) -> list[str]:
        """In the order in which they were added."""
        return self.store.dynamic_partitions(partitions_def_name)

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        return partition_key in self.store.dynamic_partitions(partitions_def_name)

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        """Those that are there stay where they are. Raises InvalidDefinitionError for what can be no key."""
        request = AddDynamicPartitionsRequest(partitions_def_name, partition_keys)
        if request.partition_keys:
            self.store.add_dynamic_partitions(partitions_def_name, request.partition_keys)

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        """Nothing happens where there is none."""
        self.store.delete_dynamic_partitions(partitions_def_name, [partition_key])


def _of_asset(wanted: AssetKey | AssetRecordsFilter, event_type: EventType) -> EventRecordsFilter:
    return (wanted if isinstance(wanted, AssetRecordsFilter) else AssetRecordsFilter(wanted)).events(event_type)


def _behind(wanted: EventRecordsFilter, cursor: str | None, ascending: bool) -> EventRecordsFilter:
    """Raises InvariantViolationError for what is no cursor."""
    if not cursor:
        return wanted
    if not cursor.isdecimal():
        raise InvariantViolationError(f"{cursor!r} is no cursor. Give the one that the last call gave.")
    at, after, before = int(cursor), wanted.after_cursor, wanted.before_cursor
    if ascending:
        return dataclasses.replace(wanted, after_cursor=at if after is None else max(at, after))
    return dataclasses.replace(wanted, before_cursor=at if before is None else min(at, before))


def _types(of_type: EventType | Collection[EventType] | None) -> tuple[EventType, ...]:
    if of_type is None:
        return ()
    return (of_type,) if isinstance(of_type, EventType) else tuple(of_type)
