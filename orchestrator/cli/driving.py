"""Driving a run from the command line: what runs around it, what is shown, and the exit code."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import thread as pools
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, Final

import click

from opgrid.config.files import merged
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import InvariantViolationError, listed
from opgrid.loading import load_job
from orchestrator.cli.display import Watch, say_at_the_end, watching
from orchestrator.cli.memory import collect_rarely
from orchestrator.coordinator.ownership import RunIsDriven
from orchestrator.engine.inbox import Inbox, cancel_on_signals
from orchestrator.instance import Instance
from orchestrator.services.execute import drive_here
from orchestrator.services.launching import Request, prepare
from orchestrator.services.reexecution import ReexecutionOptions, reexecution
from orchestrator.services.runs import find_run, resume_run
from orchestrator.services.submission import driver_of
from orchestrator.settings import Settings
from orchestrator.storage.records import RunRecord
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.wiring import open_store

_AT_ONCE: Final = 500  #: runs that one statement names
_EXIT = {RunStatus.SUCCESS: 0, RunStatus.FAILURE: 1}


def run_and_show(request: Request, as_json: bool) -> int:
    """Execute a job; returns the exit code."""
    settings = Settings.load()
    prepared = prepare(replace(request, python_logs=settings.python_logs, partitions=_Partitions(settings)))
    with ExitStack() as stack:
        broker_url = settings.broker_url
        if prepared.brief.executor.name == "celery":
            broker_url = stack.enter_context(_fleet(settings, request.code))
        instance = stack.enter_context(Instance.of(settings))
        click.echo(f"Run {prepared.brief.run_id}: {request.job.name} on {prepared.brief.executor.name}", err=as_json)
        return _shown(
            instance,
            prepared.brief.run_id,
            request.job.name,
            as_json,
            lambda watch, inbox: drive_here(
                prepared, instance.store, settings.home, broker_url, watch=watch, inbox=inbox
            ),
        )


class _Partitions:
    """Opens the store only for jobs that ask for it: what is wrong with others is told before anything is made."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get_dynamic_partitions(self, partitions_def_name: str) -> list[str]:
        with Instance.of(self._settings) as instance:
            return instance.get_dynamic_partitions(partitions_def_name)


def resume_and_show(run_id: str, as_json: bool) -> int:
    """Go on with a run whose coordinator died; returns the exit code. Raises RunIsDriven."""
    settings = Settings.load()
    with ExitStack() as stack:
        instance = stack.enter_context(Instance.of(settings))
        record = instance.record(run_id)
        if record.status.is_final:
            click.echo(f"Run {run_id} has ended already: {record.status.value}.", err=True)
            return 2
        store = stack.enter_context(closing(open_store(settings)))
        if (driver := driver_of(store, record)) is not None:  # of all runs of its shard, too
            raise RunIsDriven(run_id, driver)
        broker_url = settings.broker_url
        if record.brief.executor.name == "celery":
            broker_url = stack.enter_context(_fleet(settings, record.code))
        return _shown(
            instance,
            record.run_id,
            record.job,
            as_json,
            lambda watch, inbox: resume_run(
                record, instance.store, settings.home, broker_url, watch=watch, inbox=inbox
            ),
        )


def reexecution_of(
    run_id: str, steps: Sequence[str], failed_only: bool, config: Mapping[str, Any], changed: Mapping[str, Any]
) -> Request:
    """What runs an earlier run again, with ``config`` laid over its own and other fields of a Request ``changed``."""
    with Instance.of(Settings.load()) as instance:
        parent = find_run(instance, run_id)
        if parent.code is None:
            raise InvariantViolationError(
                f"Run {parent.run_id} was started by a program, which alone has its job: run it again there, with "
                "execute_job(..., reexecution_options=ReexecutionOptions(...))."
            )
        options = ReexecutionOptions(parent.run_id, steps, failed_only)
        merged_config = merged([parent.run_config, config]) if config else None
        job = load_job(parent.code, parent.job)
        return reexecution(instance, options, job, run_config=merged_config, **changed)


def _shown(instance: Instance, run_id: str, job: str, as_json: bool, drive: Callable[[Watch, Inbox], RunStatus]) -> int:
    inbox = Inbox()
    collect_rarely()
    with watching(job, quiet=as_json) as watch, cancel_on_signals(inbox) as received:
        status = drive(watch, inbox)
    record = instance.record(run_id)
    say_at_the_end(json.dumps(summary(instance, record)) if as_json else _closing(instance, record))
    if left := _threads_left():
        click.echo(f"Threads that its ops have started go on, and this command with them: {listed(left)}", err=True)
    if status is RunStatus.CANCELED and received:
        return 128 + received[0]
    return _EXIT.get(status, 1)


def _threads_left() -> list[str]:
    """Names of those for which Python waits at the end. Threads of a pool that wait for work end with it at once."""
    frames = sys._current_frames()
    return [
        each.name
        for each in threading.enumerate()
        if not each.daemon and each is not threading.main_thread() and not _waits_for_work(frames.get(each.ident or 0))
    ]


def _waits_for_work(frame: FrameType | None) -> bool:
    return frame is not None and (frame.f_code.co_filename, frame.f_code.co_name) == (pools.__file__, "_worker")


def summary(instance: Instance, record: RunRecord) -> dict[str, object]:
    """What scripts read: ``seconds`` is from the start of the run to its end, None while it runs."""
    return _summary(record, Counter(step.status for step in instance.store.steps(record.run_id)))


def summaries(store: ServiceStore, records: Sequence[RunRecord]) -> list[dict[str, object]]:
    """The same of many."""
    told: list[dict[str, object]] = []
    for start in range(0, len(records), _AT_ONCE):
        some = records[start : start + _AT_ONCE]
        counts = store.step_counts([record.run_id for record in some])
        told += [_summary(record, counts.get(record.run_id, {})) for record in some]
    return told


def _summary(record: RunRecord, counts: Mapping[StepStatus, int]) -> dict[str, object]:
    return {
        "run_id": record.run_id,
        "job": record.job,
        "status": record.status.value,
        "executor": record.brief.executor.name,
        "steps": {status.value: count for status, count in sorted(counts.items())},
        "seconds": seconds(record),
    }


def seconds(record: RunRecord) -> float | None:
    if record.started is None or record.ended is None:
        return None
    return round(record.ended - record.started, 6)


def _closing(instance: Instance, record: RunRecord) -> str:
    counts = Counter(step.status.value for step in instance.store.steps(record.run_id))
    steps = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    took = f" in {seconds(record):.2f} s" if seconds(record) is not None else ""
    ended = f"Run {record.run_id} ended: {record.status.value}{took} ({steps or 'no steps'})."
    return f"{ended} See: opgrid run show {record.run_id}"


@contextmanager
def _fleet(settings: Settings, code: CodeTarget | None) -> Iterator[str]:
    """The broker that is given, with whatever workers it has; or an embedded one with a worker of our own."""
    if settings.broker_url is not None:
        from opgrid.broker.connection import check, connect

        with closing(connect(settings.broker_url, "cli")) as client:
            check(client, settings.broker_url)
        yield settings.broker_url
        return
    from opgrid.broker.embedded import EmbeddedRedis
    from opgrid.broker.fleet import start_worker
    from opgrid.io.keys import KeyRing

    home = settings.make_home()
    KeyRing.load(str(home))
    with EmbeddedRedis.start() as redis:
        log = home / "worker.log"
        worker = start_worker(redis.url, code, str(home), concurrency=os.cpu_count() or 1, log=log)
        try:
            yield redis.url
        finally:
            worker.stop()
