"""``opgrid job``: list, print and execute jobs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from opgrid.contracts.tasks import CodeTarget
from orchestrator.cli.target import clauses_of, code_options, run_config_of, tags_of


@click.group()
def job() -> None:
    """List, print and execute jobs."""


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


@job.command("execute")
@code_options
@click.option("-j", "--job", "name", required=True, help="Name of the job.")
@click.option(
    "-c", "--config", "files", multiple=True, type=click.Path(path_type=Path), help="YAML run config; may be repeated."
)
@click.option("--config-json", "config_text", help="Run config as JSON, on top of the files.")
@click.option("--executor", help="in_process, multiprocess, celery, or one that is installed.")
@click.option("-o", "--op-selection", "selection", multiple=True, help="Run only these ops: name, *name, name*, +name.")
@click.option("--partition", help="Run this partition of a partitioned job.")
@click.option("--tags", help="Tags of the run as a JSON object.")
@click.option("--run-id", help="Id of the new run.")
@click.option("--json", "as_json", is_flag=True, help="The last line on stdout is the result as JSON.")
def execute(
    code: CodeTarget,
    name: str,
    files: Sequence[Path],
    config_text: str | None,
    executor: str | None,
    selection: Sequence[str],
    partition: str | None,
    tags: str | None,
    run_id: str | None,
    as_json: bool,
) -> None:
    """Run a job here and wait for its end."""
    from opgrid.loading import load_job
    from orchestrator.cli.driving import run_and_show
    from orchestrator.services.launching import Request

    request = Request(
        job=load_job(code, name),
        run_config=run_config_of(files, config_text),
        executor=executor,
        op_selection=clauses_of(selection) or None,
        tags=tags_of(tags),
        run_id=run_id,
        partition_key=partition,
        code=code,
    )
    sys.exit(run_and_show(request, as_json))
