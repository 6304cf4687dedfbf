"""``opgrid run``: list, show, resume, repeat and delete runs."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from opgrid import options
from opgrid.contracts.status import RunStatus
from orchestrator.cli.target import clauses_of, confirm, run_config_of, tags_of


@click.group()
def run() -> None:
    """List, show, resume, repeat and delete runs."""


@run.command("list")
@click.option("--limit", type=options.COUNT, default=25, show_default=True)
@click.option("-j", "--job", "job", help="Only runs of this job.")
@click.option("-l", "--location", "location", help="Only runs of this code location.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in RunStatus], case_sensitive=False),
    help="Only runs of this status; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def list_runs(limit: int, job: str | None, location: str | None, statuses: Sequence[str], as_json: bool) -> None:
    """Runs, newest first."""
    from orchestrator.cli.driving import seconds, summaries
    from orchestrator.settings import Settings
    from orchestrator.storage.records import RunsFilter
    from orchestrator.wiring import open_store

    settings = Settings.load()
    settings.make_home()
    with contextlib.closing(open_store(settings)) as store:
        wanted = RunsFilter(job_name=job, location=location, statuses=tuple(RunStatus(each) for each in statuses))
        found = store.runs(wanted, limit)
        if as_json:
            click.echo(json.dumps(summaries(store, found)))
            return
        for record in found:
            created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
            took = "" if seconds(record) is None else f"{seconds(record):.2f} s"
            click.echo(f"{record.run_id}  {record.status.value:<11}  {created}  {took:>10}  {record.job}")
        if not found and wanted != RunsFilter():
            click.echo("There are no such runs.", err=True)
        elif not found:
            click.echo("There are no runs yet. Start one with: opgrid job execute -f FILE -j JOB", err=True)


@run.command("show")
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all events.")
def show_run(run_id: str, as_json: bool) -> None:
    """A run, its events, and the traceback of what failed. RUN_ID may be the beginning of one."""
    from orchestrator.cli.display import told
    from orchestrator.cli.driving import summary
    from orchestrator.instance import Instance
    from orchestrator.services.runs import find_run, pages
    from orchestrator.settings import Settings

    with Instance.of(Settings.load()) as instance:
        record = find_run(instance, run_id)
        if as_json:
            steps = instance.store.steps(record.run_id)
            events = instance.store.events(record.run_id)
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
        for page in pages(instance.store, record.run_id):
            click.echo("\n".join(told(event) for _, event in page))


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


@run.command("cancel")
@click.argument("run_id")
@click.option("--reason", default="It was canceled on the command line.", help="Kept with the run.")
@click.option("--force", is_flag=True, help="Mark it as canceled at once, whatever it has started.")
def cancel(run_id: str, reason: str, force: bool) -> None:
    """Ask for the end of a run, wherever it runs. RUN_ID may be the beginning of one."""
    from orchestrator.cli.launching import cancel_and_show

    sys.exit(cancel_and_show(run_id, reason, force))


def _answer(run_id: str, step: str | None, note: str, approved: bool) -> None:
    from opgrid.errors import InvariantViolationError
    from orchestrator.cli.audit import audited, user
    from orchestrator.instance import Instance
    from orchestrator.services.approvals import answer
    from orchestrator.services.runs import find_run
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_store

    settings = Settings.load()
    store = open_store(settings)
    with Instance(store, settings.home) as instance:
        record = find_run(instance, run_id)
        if step is None:
            gates = store.gates([record.run_id])
            waiting = [gate.step for gate in gates if gate.approved is None]
            if not waiting and len(gates) == 1:
                waiting = [gates[0].step]  # it is told why it waits no more
            if len(waiting) != 1:
                shown = ", ".join(waiting) or "none"
                raise InvariantViolationError(f"Name a step of run {record.run_id}. Those that wait: {shown}.")
            (step,) = waiting
        done = "approved" if approved else "rejected"
        with audited(store, "answerApproval", f"{record.run_id} {step}: {done}"):
            gate = answer(store, record, step, approved, user(), note)
        click.echo(f"{done.capitalize()} {gate.step} of run {record.run_id}: {gate.question}")


@run.command("approve")
@click.argument("run_id")
@click.argument("step", required=False)
@click.option("--note", default="", help="Kept with the run.")
def approve(run_id: str, step: str | None, note: str) -> None:
    """Let a step run that waits for an approval. STEP may be left out where only one waits."""
    _answer(run_id, step, note, True)


@run.command("reject")
@click.argument("run_id")
@click.argument("step", required=False)
@click.option("--note", default="", help="Why; it is the error of the step.")
def reject(run_id: str, step: str | None, note: str) -> None:
    """Let a step fail that waits for an approval. STEP may be left out where only one waits."""
    _answer(run_id, step, note, False)


@run.command("wait")
@click.argument("run_id")
@click.option("--timeout", type=options.seconds, help="Seconds, after which it exits with 1.")
@click.option("--json", "as_json", is_flag=True, help="The last line on stdout is the result as JSON.")
def wait(run_id: str, timeout: float | None, as_json: bool) -> None:
    """Show the events of a run as they come, until it has ended; exits as it ends."""
    from orchestrator.cli.launching import wait_and_show

    sys.exit(wait_and_show(run_id, timeout, as_json))


@run.command("logs")
@click.argument("run_id")
@click.option("--step", help="Only of this step.")
@click.option("--level", default="DEBUG", show_default=True, help="Only messages from this level on.")
def logs(run_id: str, step: str | None, level: str) -> None:
    """What the ops of a run logged, and the traceback of what failed."""
    import logging

    from opgrid.contracts.events import EventType
    from orchestrator.cli.display import told
    from orchestrator.instance import Instance
    from orchestrator.services.runs import find_run, find_step, pages
    from orchestrator.settings import Settings
    from orchestrator.storage.records import EventsFilter

    lowest = logging.getLevelNamesMapping().get(level.upper())
    if lowest is None:
        raise click.UsageError(f"--level is {level!r}; it has to be a level such as INFO.")
    with Instance.of(Settings.load()) as instance:
        record = find_run(instance, run_id)
        if step is not None:
            step = find_step(instance.store, record, step)
        wanted = EventsFilter((EventType.LOG_MESSAGE, EventType.STEP_FAILURE), step, level=lowest)
        for page in pages(instance.store, record.run_id, wanted=wanted):
            click.echo("\n".join(told(event) for _, event in page))


@run.command("reexecute")
@click.argument("run_id")
@click.option("--from-failure", is_flag=True, help="Only what did not succeed, and what never ran.")
@click.option("-s", "--step-selection", "selection", multiple=True, help="Only these steps: b, *b, b*, mapped[key].")
@click.option(
    "-c",
    "--config",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="YAML run config, laid over its own.",
)
@click.option("--config-json", "config_text", help="Run config as JSON, on top of the files.")
@click.option("--executor", help="Another executor than its own.")
@click.option("--tags", help="More tags, as a JSON object.")
@click.option("--launch", is_flag=True, help="Queue it, for an orchestrator to start, rather than run it here.")
@click.option("--json", "as_json", is_flag=True, help="The last line on stdout is the result as JSON.")
def reexecute(
    run_id: str,
    from_failure: bool,
    selection: Sequence[str],
    files: Sequence[Path],
    config_text: str | None,
    executor: str | None,
    tags: str | None,
    launch: bool,
    as_json: bool,
) -> None:
    """Run an earlier run again, as it was or with changes, in the code of today."""
    from orchestrator.cli.driving import reexecution_of, run_and_show
    from orchestrator.cli.launching import launch_and_show

    changed = {"executor": executor, "tags": tags_of(tags)}
    config = run_config_of(files, config_text)
    request = reexecution_of(run_id, clauses_of(selection), from_failure, config, changed)
    sys.exit(launch_and_show(request, False, as_json) if launch else run_and_show(request, as_json))


@run.command("delete")
@click.argument("run_id")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def delete(run_id: str, force: bool) -> None:
    """Forget a run that has ended, with its log and what its steps stored. RUN_ID may be the beginning of one."""
    from orchestrator.cli.audit import audited
    from orchestrator.instance import Instance
    from orchestrator.services.runs import find_run
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_store

    settings = Settings.load()
    store = open_store(settings)
    with Instance(store, settings.home, settings.broker_url) as instance:
        record = find_run(instance, run_id)
        if not force and record.is_finished:
            confirm(f"Delete run {record.run_id} of {record.job} ({record.status.value})?", "--force")
        with audited(store, "deleteRun", record.run_id):
            instance.delete_run(record.run_id)
        click.echo(f"Deleted run {record.run_id}.")


@run.command("export")
@click.argument("run_id")
@click.argument("file", type=click.Path(path_type=Path))
def export(run_id: str, file: Path) -> None:
    """Write a run with its plan and log into a file, to be looked at elsewhere. Values of its steps are not in it."""
    from opgrid.errors import InvariantViolationError
    from orchestrator.instance import Instance
    from orchestrator.services.export import exported
    from orchestrator.services.runs import find_run
    from orchestrator.settings import Settings

    with Instance.of(Settings.load()) as instance:
        record = find_run(instance, run_id)
        try:
            file.write_bytes(exported(instance.store, record))
        except OSError as error:
            raise InvariantViolationError(f"{file} cannot be written: {error.strerror}.") from error
        click.echo(f"Wrote run {record.run_id} of {record.job} to {file}.")


@run.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def import_runs(files: Sequence[Path]) -> None:
    """Store exported runs here. One that went on when it was exported counts as canceled."""
    from opgrid.errors import InvariantViolationError
    from orchestrator.instance import Instance
    from orchestrator.services.export import NoExport, imported
    from orchestrator.settings import Settings

    with Instance.of(Settings.load()) as instance:
        for file in files:
            try:
                run_id = imported(instance.store, file.read_bytes())
            except OSError as error:
                raise InvariantViolationError(f"{file} cannot be read: {error.strerror}.") from error
            except NoExport as error:
                raise NoExport(f"{file}: {error}") from error
            click.echo(f"Imported run {run_id} from {file}.")


@run.command("wipe")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def wipe(force: bool) -> None:
    """Forget all runs that have ended, with their logs and what their steps stored. Those that wait or go on stay."""
    from orchestrator.cli.audit import audited
    from orchestrator.services.removal import END_FIRST, ENDED
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_removal, open_store

    settings = Settings.load()
    with contextlib.closing(open_store(settings)) as store:
        count = store.count(ENDED)
        if not force:
            confirm(f"Delete all {count} runs that have ended?", "--force")
        with audited(store, "wipe", f"{count} runs"):
            deleted = open_removal(settings, store).remove_ended()
        click.echo(f"Deleted {_runs(deleted)}.")
        left = store.count()
        if left:
            why = "which has not ended" if left == 1 else "which have not ended or are needed by one of these"
            click.echo(f"{_runs(left)} left, {why}. {END_FIRST}", err=True)


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
