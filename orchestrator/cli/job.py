"""``opgrid job``: list, print, execute and launch jobs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opgrid.contracts.tasks import CodeTarget
from opgrid.options import COUNT
from orchestrator.cli.target import clauses_of, code_options, run_config_of, source_options, tags_of

if TYPE_CHECKING:
    from orchestrator.locations.location import Source
    from orchestrator.services.launching import Request


@click.group()
def job() -> None:
    """List, print, execute and launch jobs."""


@job.command("list")
@code_options
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def list_jobs(code: CodeTarget, as_json: bool) -> None:
    """Names and descriptions of all jobs."""
    from opgrid.loading import load

    jobs = sorted(load(code).resolve_all_job_defs(), key=lambda each: each.name)
    if as_json:
        click.echo(json.dumps([{"name": each.name, "description": each.description} for each in jobs]))
        return
    for each in jobs:
        first = (each.description or "").strip().partition("\n")[0]
        click.echo(f"{each.name}  {first}".rstrip())


@job.command("print")
@code_options
@click.option("-j", "--job", "name", required=True, help="Name of the job.")
@click.option("--json", "as_json", is_flag=True, help="The structure as JSON.")
def print_job(code: CodeTarget, name: str, as_json: bool) -> None:
    """The steps of a job, and what each waits for."""
    import msgspec

    from opgrid.loading import load_job
    from orchestrator.services.describe import lines

    found = load_job(code, name)
    if as_json:
        click.echo(msgspec.json.encode(found.structure).decode())
        return
    for line in lines(found):
        click.echo(line)


@job.command("schema")
@code_options
@click.option("-j", "--job", "name", required=True, help="Name of the job.")
def schema(code: CodeTarget, name: str) -> None:
    """JSON Schema of a run config, for the YAML support of editors."""
    from opgrid.loading import load_job

    click.echo(json.dumps(load_job(code, name).run_config_schema, indent=2, default=str))


@job.command("scaffold")
@code_options
@click.option("-j", "--job", "name", required=True, help="Name of the job.")
@click.option("--required-only", is_flag=True, help="Leave out what has a default.")
def scaffold_config(code: CodeTarget, name: str, required_only: bool) -> None:
    """A run config to fill in, as YAML."""
    import yaml

    from opgrid.loading import load_job
    from orchestrator.services.scaffold import scaffold

    click.echo(yaml.safe_dump(scaffold(load_job(code, name), required_only), sort_keys=False).rstrip())


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a new run is told, next to where its code is; the command gets a Request as ``request``."""

    @source_options
    @click.option("-j", "--job", "name", required=True, help="Name of the job.")
    @click.option(
        "-c",
        "--config",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        help="YAML run config; may be repeated.",
    )
    @click.option("--config-json", "config_text", help="Run config as JSON, on top of the files.")
    @click.option("--executor", help="in_process, multiprocess, celery, or one that is installed.")
    @click.option(
        "-o", "--op-selection", "selection", multiple=True, help="Run only these ops: name, *name, name*, +name."
    )
    @click.option("--partition", help="Run this partition of a partitioned job, or a range: first...last.")
    @click.option("--tags", help="Tags of the run as a JSON object.")
    @click.option("--run-id", help="Id of the new run: letters, digits, '.', '_' and '-'.")
    @wraps(command)
    def with_request(
        source: Source,
        name: str,
        files: Sequence[Path],
        config_text: str | None,
        executor: str | None,
        selection: Sequence[str],
        partition: str | None,
        tags: str | None,
        run_id: str | None,
        **rest: Any,
    ) -> Any:
        from opgrid.loading import load_job
        from orchestrator.services.evaluation import location_tags
        from orchestrator.services.launching import Request

        request = Request(
            job=load_job(source.code, name),
            run_config=run_config_of(files, config_text),
            executor=executor,
            op_selection=clauses_of(selection) or None,
            tags={**tags_of(tags), **location_tags(source.name, source.code)},
            run_id=run_id,
            partition_key=partition,
            code=source.code,
        )
        return command(request=request, **rest)

    return with_request


@job.command("execute")
@run_options
@click.option("--json", "as_json", is_flag=True, help="The last line on stdout is the result as JSON.")
def execute(request: Request, as_json: bool) -> None:
    """Run a job here and wait for its end."""
    from orchestrator.cli.driving import run_and_show

    sys.exit(run_and_show(request, as_json))


@job.command("launch")
@run_options
@click.option("--wait", "and_wait", is_flag=True, help="Wait for its end, and exit as it ends.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def launch(request: Request, and_wait: bool, as_json: bool) -> None:
    """Queue a run, for an orchestrator to start."""
    from orchestrator.cli.launching import launch_and_show

    sys.exit(launch_and_show(request, and_wait, as_json))


@job.command("backfill")
@source_options
@click.option("-j", "--job", "name", required=True, help="Name of a partitioned job.")
@click.option(
    "--partitions",
    multiple=True,
    metavar="KEYS",
    help="These, with commas between; may be repeated. A key that has a comma stands in quotes: '\"a, b\",c'.",
)
@click.option("--from", "start", help="From this partition on.")
@click.option("--to", "end", help="Until this partition.")
@click.option("--all", "every", is_flag=True, help="All partitions.")
@click.option("--missing", is_flag=True, help="Of these only those that never ran.")
@click.option("--failed", is_flag=True, help="Of these only those whose last run failed.")
@click.option("--from-failure", is_flag=True, help="Those whose last run failed go on from there.")
@click.option("--at-once", type=COUNT, help="Runs of it that go on at a time; 1: one after the other.")
@click.option("--single-run", is_flag=True, help="One run for all, or for each stretch that has no gap.")
@click.option("-o", "--op-selection", "selection", multiple=True, help="Run only these ops.")
@click.option("--executor", help="Another executor than the job's.")
@click.option("--tags", help="Tags of its runs as a JSON object.")
@click.option("--title", default="", help="Shown with it.")
@click.option("--noprompt", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def backfill(**given: Any) -> None:
    """Launch runs of many partitions, in the background: the daemon sees to it."""
    from orchestrator.cli.backfill import backfill_and_show

    sys.exit(backfill_and_show(**given))
