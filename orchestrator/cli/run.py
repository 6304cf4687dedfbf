"""``opgrid run``: list, show and resume runs."""

from __future__ import annotations

import json
import sys
import time

import click
import msgspec


@click.group()
def run() -> None:
    """List, show and resume runs."""


@run.command("list")
@click.option("--limit", type=click.IntRange(1), default=25, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def list_runs(limit: int, as_json: bool) -> None:
    """Runs, newest first."""
    from orchestrator.cli.driving import seconds, summary
    from orchestrator.instance import Instance
    from orchestrator.settings import Settings

    with Instance.of(Settings.load()) as instance:
        found = instance.get_runs(limit=limit)
        if as_json:
            click.echo(json.dumps([summary(instance, record) for record in found]))
            return
        for record in found:
            created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
            took = "" if seconds(record) is None else f"{seconds(record):.2f} s"
            click.echo(f"{record.run_id}  {record.status.value:<11}  {created}  {took:>10}  {record.job}")
        if not found:
            click.echo("There are no runs yet. Start one with: opgrid job execute -f FILE -j JOB", err=True)


@run.command("show")
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all events.")
def show_run(run_id: str, as_json: bool) -> None:
    """A run, its steps and its events. RUN_ID may be the beginning of one."""
    from orchestrator.cli.display import line
    from orchestrator.cli.driving import summary
    from orchestrator.instance import Instance
    from orchestrator.services.runs import find_run
    from orchestrator.settings import Settings

    with Instance.of(Settings.load()) as instance:
        record = find_run(instance, run_id)
        steps = instance.store.steps(record.run_id)
        events = instance.store.events(record.run_id)
        if as_json:
            body = {
                **summary(instance, record),
                "tags": record.brief.tags,
                "run_config": record.brief.run_config,
                "created": record.created,
                "started": record.started,
                "ended": record.ended,
                "step_list": [
                    {
                        "step": step.step,
                        "status": step.status.value,
                        "attempt": step.attempt,
                        "started": step.started,
                        "ended": step.ended,
                    }
                    for step in steps
                ],
                "events": [{"number": number, **msgspec.to_builtins(event)} for number, event in events],
            }
            click.echo(json.dumps(body))
            return
        click.echo(f"Run {record.run_id}  {record.job}  {record.status.value}  on {record.brief.executor.name}")
        for _, event in events:
            click.echo(line(event))


@run.command("resume")
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="The last line on stdout is the result as JSON.")
def resume(run_id: str, as_json: bool) -> None:
    """Go on with a run whose coordinator has died, from its log."""
    from orchestrator.cli.driving import resume_and_show
    from orchestrator.instance import Instance
    from orchestrator.services.runs import find_run
    from orchestrator.settings import Settings

    with Instance.of(Settings.load()) as instance:
        whole = find_run(instance, run_id).run_id
    sys.exit(resume_and_show(whole, as_json))
