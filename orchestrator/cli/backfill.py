"""``opgrid backfill``, and ``opgrid job backfill``."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from opgrid.options import COUNT
from orchestrator.cli.audit import audited
from orchestrator.cli.target import clauses_of, confirm, keys_of, tags_of

if TYPE_CHECKING:
    from opgrid.contracts.status import RunStatus
    from orchestrator.locations.location import Source
    from orchestrator.settings import Settings
    from orchestrator.storage.service_protocols import ServiceStore
    from orchestrator.storage.service_records import Backfill


@click.group()
def backfill() -> None:
    """List, show, cancel and repeat backfills."""


@contextmanager
def _opened() -> Iterator[tuple[Settings, ServiceStore]]:
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_store

    settings = Settings.load()
    settings.make_home()
    store = open_store(settings)
    try:
        yield settings, store
    finally:
        store.close()


def backfill_and_show(
    source: Source,
    name: str,
    partitions: Sequence[str],
    start: str | None,
    end: str | None,
    every: bool,
    missing: bool,
    failed: bool,
    from_failure: bool,
    at_once: int | None,
    selection: Sequence[str],
    executor: str | None,
    tags: str | None,
    title: str,
    noprompt: bool,
    as_json: bool,
    single_run: bool,
) -> int:
    """Ask for a backfill; returns the exit code."""
    from opgrid.definitions.partitions.base import in_ranges
    from opgrid.errors import InvariantViolationError
    from opgrid.loading import load_job
    from orchestrator.instance import Instance
    from orchestrator.services import backfills
    from orchestrator.storage.service_records import BackfillOptions

    only = keys_of(partitions)
    if not (only or start or end or every):
        raise click.UsageError("Say which partitions: --partitions a,b, --from X --to Y, or --all.")
    if single_run and (from_failure or at_once):
        raise click.UsageError("--single-run makes one run: --from-failure and --at-once do not go with it.")
    job = load_job(source.code, name)
    if job.partitions_def is None:
        raise InvariantViolationError(f"Job {name!r} has no partitions, so that there is nothing to backfill.")
    with _opened() as (settings, store):
        instance = Instance(store, settings.home)
        keys = [str(key) for key in job.partitions_def.get_partition_keys(None, instance)]
        last = backfills.last_runs(store, source.name, name, keys)
        wanted = backfills.chosen(keys, only=only, start=start, end=end, last=last, missing=missing, failed=failed)
        asked, parents = backfills.from_failure(wanted, keys, last) if from_failure else (wanted, {})
        asked = in_ranges(wanted, keys) if single_run else asked
        options = BackfillOptions(
            tags_of(tags),
            title,
            None,
            tuple(clauses_of(selection)),
            executor,
            at_once,
            parents,
            backfills.spans(asked, keys),
        )
        if single_run and wanted:
            job.validate_partition_key(asked[0], dynamic_partitions_store=instance)
            if options.run_config is None:
                job.get_run_config_for_partition_key(asked[0])
        if not noprompt and wanted:
            runs = "1 run" if len(asked) == 1 else f"{len(asked)} runs"
            confirm(f"Launch {runs} of {name}, from {wanted[0]!r} to {wanted[-1]!r}?", "--noprompt")
        with audited(store, "launchPartitionBackfill", f"{name}: {len(wanted)} partitions"):
            made = backfills.request(store, source.name, name, asked, options)
        if as_json:
            click.echo(json.dumps({"backfill_id": made.backfill_id, "partitions": wanted}))
        else:
            click.echo(f"Backfill {made.backfill_id}: {len(wanted)} partitions of {name}.")
            if not _is_served(store):
                click.echo("No daemon runs. Start one with: opgrid daemon run -f FILE", err=True)
    return 0


def _is_served(store: ServiceStore) -> bool:
    from orchestrator.daemon.daemon import BACKFILLS

    lease = store.held().get(BACKFILLS)
    return lease is not None and lease.expires > time.time()


def _counts(backfill: Backfill, launched: Mapping[RunStatus | None, int]) -> dict[str, int]:
    """Runs by status, and partitions that have none yet."""
    counts = {status.value: count for status, count in launched.items() if status is not None}
    waiting = len(backfill.partitions) - sum(launched.values())
    return {**dict(sorted(counts.items())), **({"not launched": waiting} if waiting else {})}


@backfill.command("list")
@click.option("--limit", type=COUNT, default=25, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def list_backfills(limit: int, as_json: bool) -> None:
    """Backfills, newest first."""
    with _opened() as (_, store):
        several = store.backfills(limit=limit)
        counts = store.launch_counts([each.origin for each in several])
        rows = [
            {
                "backfill_id": each.backfill_id,
                "job": each.job,
                "status": each.status.value,
                "title": each.options.title,
                "partitions": each.size,
                "runs": _counts(each, counts.get(each.origin, {})),
                "error": each.error,
            }
            for each in several
        ]
    if as_json:
        click.echo(json.dumps(rows))
    for row in () if as_json else rows:
        click.echo(
            f"{row['backfill_id']}  {row['status']:<17}  {row['job']}  {_worded(row['runs'])}  {row['title']}".rstrip()
        )
        if row["error"]:
            click.echo(f"    {row['error']}")


def _worded(counts: object) -> str:
    assert isinstance(counts, dict)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


@backfill.command("show")
@click.argument("backfill_id")
def show(backfill_id: str) -> None:
    """A backfill, and the run of each partition."""
    from orchestrator.services.backfills import find

    with _opened() as (_, store):
        found = find(store, backfill_id)
        launched = store.latest_by([found.origin]).get(found.origin, {})
        statuses = store.statuses(list(launched.values()))
        counts = _counts(found, Counter(statuses.get(run_id) for run_id in launched.values()))
        click.echo(f"Backfill {found.backfill_id}  {found.job}  {found.status.value}  {_worded(counts)}")
        if found.error is not None:
            click.echo(found.error)
        for key in found.partitions:
            run_id = launched.get(key)
            status = statuses.get(run_id) if run_id is not None else None
            click.echo(f"{key}  {status.value if status is not None else 'not launched'}  {run_id or ''}".rstrip())


@backfill.command("cancel")
@click.argument("backfill_id")
def cancel(backfill_id: str) -> None:
    """Launch no more of its runs, and cancel those that go on."""
    from orchestrator.services.backfills import find, stop

    with _opened() as (_, store):
        found = find(store, backfill_id)
        with audited(store, "cancelPartitionBackfill", backfill_id):
            stop(store, found)
        click.echo(f"Backfill {backfill_id} is asked to end.")


@backfill.command("resume")
@click.argument("backfill_id")
@click.option("--all-steps", is_flag=True, help="Runs that failed start anew, rather than where they failed.")
def resume(backfill_id: str, all_steps: bool) -> None:
    """Another backfill, of what did not succeed in this one."""
    from orchestrator.services.backfills import again, find

    with _opened() as (_, store):
        found = find(store, backfill_id)
        if not found.status.is_final:
            click.echo(f"Backfill {backfill_id} goes on: {found.status.value}.", err=True)
            sys.exit(2)
        with audited(store, "resumePartitionBackfill", backfill_id):
            made = again(store, found, from_failure=not all_steps)
        click.echo(f"Backfill {made.backfill_id}: {made.size} partitions of {made.job}.")
