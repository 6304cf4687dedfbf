"""``opgrid schedule`` and ``opgrid sensor``: what they have in common is written once."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from opgrid.options import COUNT
from orchestrator.cli.audit import audited
from orchestrator.cli.target import source_options

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.locations.location import Source
    from orchestrator.locations.messages import LocationInfo
    from orchestrator.services.automation import Info
    from orchestrator.services.evaluation import Evaluator
    from orchestrator.storage.service_protocols import ServiceStore
    from orchestrator.storage.service_records import InstigatorKind


@click.group()
def schedule() -> None:
    """List, start, stop and try out schedules."""


@click.group()
def sensor() -> None:
    """List, start, stop and try out sensors."""


@contextmanager
def _opened(source: Source) -> Iterator[tuple[ServiceStore, LocationInfo, Evaluator]]:
    """The code is loaded here: this process is the user's own."""
    from orchestrator.instance import Instance
    from orchestrator.locations.messages import Describe, Described
    from orchestrator.services.evaluation import Evaluator
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_store

    settings = Settings.load()
    settings.make_home()
    store = open_store(settings)
    try:
        instance = Instance(store, settings.home, settings.broker_url, settings.python_logs)
        evaluator = Evaluator(source.name, source.code, lambda: instance)
        described = evaluator(Describe())
        assert isinstance(described, Described)
        yield store, described.info, evaluator
    finally:
        store.close()


def _kind(of: str) -> InstigatorKind:
    from orchestrator.storage.service_records import InstigatorKind

    return InstigatorKind(of)


def _when(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at is not None else "never"


def _several(info: LocationInfo, kind: str) -> Sequence[Info]:
    return info.schedules if kind == "schedule" else info.sensors


def _list(source: Source, kind: str, only: str | None, only_names: bool, as_json: bool) -> None:
    from opgrid.contracts.wording import span
    from orchestrator.locations.messages import ScheduleInfo
    from orchestrator.services.automation import is_running, state_of

    rows: list[dict[str, object]] = []
    with _opened(source) as (store, info, _):
        for each in _several(info, kind):
            state = state_of(store, info.name, each)
            running = is_running(each, state)
            if only is not None and (only == "running") != running:
                continue
            when = f"{' | '.join(each.cron)} {each.zone}" if isinstance(each, ScheduleInfo) else span(each.interval)
            rows.append(
                {
                    "name": each.name,
                    "running": running,
                    "when": when,
                    "jobs": each.jobs,
                    "last_tick": state.completed,
                    "cursor": state.cursor,
                }
            )
    if as_json:
        click.echo(json.dumps(rows))
    for row in () if as_json else rows:
        if only_names:
            click.echo(row["name"])
            continue
        jobs, status = ", ".join(row["jobs"]), "RUNNING" if row["running"] else "STOPPED"  # type: ignore[arg-type]
        last = _when(row["last_tick"])  # type: ignore[arg-type]
        click.echo(f"{row['name']}  {status}  {row['when']}  {jobs}  last tick: {last}")


def _change(source: Source, kind: str, verb: str, names: Sequence[str], every: bool) -> None:
    from orchestrator.services import automation

    done = {"start": "Started", "stop": "Stopped", "reset": "Reset"}[verb]
    with _opened(source) as (store, info, _):
        wanted = [each.name for each in _several(info, kind)] if every else list(names)
        if not wanted:
            raise click.UsageError(f"Name a {kind}.")
        for found in [automation.named(info, _kind(kind), name) for name in wanted]:
            with audited(store, f"{verb}{kind.capitalize()}", found.name):
                getattr(automation, verb)(store, info.name, found)
            click.echo(f"{done} {kind} {found.name}.")


def _logs(source: Source, kind: str, name: str, limit: int, as_json: bool) -> None:
    import msgspec

    from orchestrator.services.automation import named

    with _opened(source) as (store, info, _):
        named(info, _kind(kind), name)
        ticks = store.ticks(info.name, name, limit)
    if as_json:
        click.echo(msgspec.json.encode(ticks).decode())
        return
    for tick in ticks:
        about = ", ".join(tick.run_ids) or tick.reason or (tick.error.message if tick.error else "")
        click.echo(f"{_when(tick.at)}  {tick.status.value:<7}  {about}")
        for text in tick.log:
            click.echo(f"    {text}")


def _add_commands(group: click.Group, kind: str) -> None:
    """What both have: list, start, stop, reset and logs."""

    @group.command("list", help=f"All {kind}s of a code location.")
    @source_options
    @click.option("--running", "only", flag_value="running", help="Only those that run.")
    @click.option("--stopped", "only", flag_value="stopped", help="Only those that do not.")
    @click.option("--name", "only_names", is_flag=True, help="Only names.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON list.")
    def list_all(**given: Any) -> None:
        _list(kind=kind, **given)

    @group.command("start", help=f"Let {kind}s tick from now on.")
    @click.argument("names", nargs=-1)
    @source_options
    @click.option("--start-all", "every", is_flag=True, help="All of the code location.")
    def start(**given: Any) -> None:
        _change(kind=kind, verb="start", **given)

    @group.command("stop", help=f"Let {kind}s tick no more.")
    @click.argument("names", nargs=-1)
    @source_options
    def stop(**given: Any) -> None:
        _change(kind=kind, verb="stop", every=False, **given)

    @group.command("reset", help=f"Let {kind}s run or not as their definitions say.")
    @click.argument("names", nargs=-1)
    @source_options
    def reset(**given: Any) -> None:
        _change(kind=kind, verb="reset", every=False, **given)

    @group.command("logs", help=f"The ticks of a {kind}, newest first.")
    @click.argument("name")
    @source_options
    @click.option("--limit", type=COUNT, default=25, show_default=True)
    @click.option("--json", "as_json", is_flag=True, help="One JSON list.")
    def logs(**given: Any) -> None:
        _logs(kind=kind, **given)


_add_commands(schedule, "schedule")
_add_commands(sensor, "sensor")


@schedule.command("preview")
@click.argument("name")
@source_options
@click.option(
    "--at", type=click.DateTime(), help="The time of the tick, in the zone of the schedule; otherwise the next one."
)
@click.option("--ticks", type=click.IntRange(1), help="So many ticks, from then on.")
def preview_schedule(source: Source, name: str, at: datetime | None, ticks: int | None) -> None:
    """What a tick would launch. Nothing is launched."""
    from datetime import datetime
    from itertools import islice
    from zoneinfo import ZoneInfo

    from orchestrator.locations.messages import ScheduleInfo, TickSchedule
    from orchestrator.services.automation import named
    from orchestrator.services.ticks import cron_of

    with _opened(source) as (_, info, evaluator):
        found = named(info, _kind("schedule"), name)
        assert isinstance(found, ScheduleInfo)
        zone = ZoneInfo(found.zone)
        start = datetime.now(zone) if at is None else at.replace(tzinfo=zone)
        cron = cron_of(found)
        several = [start]
        if at is None or ticks is not None:
            several = list(islice(cron.after(start, inclusive=at is not None), ticks or 1))
        elif not cron.ticks_at(start):
            later = next(cron.after(start), None)
            then = f"the next is {later.isoformat(' ', 'seconds')}" if later is not None else "nor later"
            click.echo(f"It does not tick at that time; {then}.", err=True)
        if not several:
            raise click.UsageError(f"Schedule {name!r} never ticks again.")
        for when in several:
            click.echo(f"Tick at {when.isoformat(' ', 'seconds')}")
            _show(evaluator(TickSchedule(name, when.timestamp())))


@sensor.command("preview")
@click.argument("name")
@source_options
@click.option("--cursor", help="As if this were its cursor; otherwise its own.")
@click.option("--last-run-key", help="As if it had launched this run key last.")
def preview_sensor(source: Source, name: str, cursor: str | None, last_run_key: str | None) -> None:
    """What a tick would launch. Nothing is launched, and the cursor stays."""
    from orchestrator.locations.messages import TickSensor
    from orchestrator.services.automation import named, state_of

    with _opened(source) as (store, info, evaluator):
        found = named(info, _kind("sensor"), name)
        state = state_of(store, info.name, found)
        run_key = last_run_key or state.last_run_key
        _show(evaluator(TickSensor(name, cursor or state.cursor, run_key, state.completed, state.since)))


@sensor.command("cursor")
@click.argument("name")
@source_options
@click.option("--set", "value", help="The new cursor.")
@click.option("--delete", "delete", is_flag=True, help="As if it had never ticked.")
def cursor(source: Source, name: str, value: str | None, delete: bool) -> None:
    """Show or change the cursor of a sensor."""
    from orchestrator.locations.messages import SensorInfo
    from orchestrator.services.automation import named, set_cursor, state_of

    with _opened(source) as (store, info, _):
        found = named(info, _kind("sensor"), name)
        assert isinstance(found, SensorInfo)
        if delete or value is not None:
            with audited(store, "setSensorCursor", found.name):
                set_cursor(store, info.name, found, None if delete else value)
        click.echo(state_of(store, info.name, found).cursor or "There is no cursor.")


def _show(answer: object) -> None:
    from orchestrator.locations.messages import Evaluated

    if not isinstance(answer, Evaluated):
        sys.exit(1)
    for run in answer.runs:
        key = f" (run key {run.run_key!r})" if run.run_key is not None else ""
        click.echo(f"Would launch {run.brief.job.name}{key}: {json.dumps(run.brief.run_config or {})}")
        click.echo(f"    tags {json.dumps(run.brief.tags)}")
    if answer.skipped is not None:
        click.echo(f"Skipped: {answer.skipped}")
    if answer.cursor is not None:
        click.echo(f"Cursor: {answer.cursor}")
