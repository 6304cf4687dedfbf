"""Runs that others drive, on the command line: launching, waiting, following, canceling."""

from __future__ import annotations

import json
from dataclasses import replace

import click

from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId
from orchestrator.cli.audit import audited
from orchestrator.cli.display import Watch, say_at_the_end, watching
from orchestrator.cli.driving import summary
from orchestrator.instance import Instance
from orchestrator.services.launching import Request, prepare
from orchestrator.services.runs import find_run, pages
from orchestrator.services.submission import cancel, is_driven, queued, wait_for, why_queued
from orchestrator.settings import Settings
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.wiring import open_store

_EXIT = {RunStatus.SUCCESS: 0, RunStatus.FAILURE: 1, RunStatus.CANCELED: 1}


def launch_and_show(request: Request, and_wait: bool, as_json: bool) -> int:
    """Queue a run; returns the exit code."""
    settings = Settings.load()
    settings.make_home()
    store = open_store(settings)
    try:
        instance = Instance(store, settings.home, settings.broker_url, settings.python_logs)
        prepared = prepare(replace(request, python_logs=settings.python_logs, partitions=instance))
        with audited(store, "launchRun", request.job.name):
            (run_id,) = store.launch([queued(prepared)])
        if as_json and not and_wait:
            click.echo(json.dumps({"run_id": run_id, "job": request.job.name, "status": RunStatus.QUEUED.value}))
        else:
            click.echo(f"Run {run_id}: {request.job.name} is queued.", err=as_json)
            _explain(store, run_id, settings)
        return _followed(store, instance, run_id, None, as_json) if and_wait else 0
    finally:
        store.close()


def wait_and_show(run_id: str, timeout: float | None, as_json: bool) -> int:
    """Wait for the end of a run, showing its events; returns the exit code."""
    settings = Settings.load()
    store = open_store(settings)
    try:
        instance = Instance(store, settings.home)
        run = find_run(instance, run_id)
        _explain(store, run.run_id, settings)
        return _followed(store, instance, run.run_id, timeout, as_json)
    finally:
        store.close()


def cancel_and_show(run_id: str, reason: str, force: bool) -> int:
    """Ask for the end of a run; returns the exit code."""
    settings = Settings.load()
    store = open_store(settings)
    try:
        run = find_run(Instance(store, settings.home), run_id)
        with audited(store, "terminateRun", run.run_id):
            status = cancel(store, run, reason)
            if force and not status.is_final:
                Instance(store, settings.home).report_run_canceled(run, reason)
                status = RunStatus.CANCELED
        if status.is_final:
            click.echo(f"Run {run.run_id}: {status.value}.")
        else:
            click.echo(f"Run {run.run_id} is asked to end.")
            if not is_driven(store, run):
                click.echo(
                    "Nobody drives it at the moment: it ends when somebody does. Start: opgrid orchestrator, or "
                    f"opgrid run resume {run.run_id}",
                    err=True,
                )
        return 0
    finally:
        store.close()


def _explain(store: ServiceStore, run_id: RunId, settings: Settings) -> None:
    run = store.run(run_id)
    reason = None if run is None else why_queued(store, run, settings.sections.concurrency.runs)
    if reason is not None:
        click.echo(f"Queued: {reason}", err=True)


def _followed(store: ServiceStore, instance: Instance, run_id: RunId, timeout: float | None, as_json: bool) -> int:
    job = instance.record(run_id).job
    with watching(job, quiet=as_json) as watch:
        status = wait_for(store, run_id, timeout, _Tail(store, run_id, watch))
    if status is None:
        click.echo(f"Run {run_id} goes on: {instance.record(run_id).status.value}.", err=True)
    elif not as_json:
        say_at_the_end(f"Run {run_id} ended: {status.value}.")
    if as_json:
        say_at_the_end(json.dumps(summary(instance, instance.record(run_id))))
    return 1 if status is None else _EXIT[status]


class _Tail:
    """Shows the events of a run that are new since the last call."""

    def __init__(self, store: ServiceStore, run_id: RunId, watch: Watch) -> None:
        self._store, self._run_id, self._watch = store, run_id, watch
        self._seen = 0

    def __call__(self) -> None:
        for page in pages(self._store, self._run_id, self._seen):
            self._seen = page[-1][0]
            self._watch([event for _, event in page])
