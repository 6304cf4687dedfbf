"""What several commands are told: where user code is, run config, tags and selections."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import InvalidConfigError, nearest

if TYPE_CHECKING:
    from orchestrator.locations.location import Source


def code_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As ``source_options``; the command gets the CodeTarget alone, as ``code``."""

    @source_options
    @wraps(command)
    def with_code(source: Source, **rest: Any) -> Any:
        return command(code=source.code, **rest)

    return with_code


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds -f, -m, --package-name, -a, -d, -w and -l; the command gets one code location as ``source``, whose code it
    can load.
    """

    @click.option(
        "-f", "--python-file", "file", type=click.Path(path_type=Path), help="Python file with the definitions."
    )
    @click.option("-m", "--module-name", "module", help="Importable module with the definitions.")
    @click.option("--package-name", "package", help="Importable package with the definitions.")
    @click.option("-a", "--attribute", help="Name of the Definitions, job or graph in it.")
    @click.option(
        "-d", "--working-directory", "folder", type=click.Path(path_type=Path), help="Where imports start from."
    )
    @click.option("-w", "--workspace", "workspace", type=click.Path(path_type=Path), help="Workspace file.")
    @click.option("-l", "--location", "location", help="Name of the code location, where a workspace has several.")
    @wraps(command)
    def with_source(
        file: Path | None,
        module: str | None,
        package: str | None,
        attribute: str | None,
        folder: Path | None,
        workspace: Path | None,
        location: str | None,
        **rest: Any,
    ) -> Any:
        given = [name for name in (file, module, package, workspace) if name]
        if len(given) > 1:
            raise click.UsageError(
                "Say where the code is with one of -f FILE, -m MODULE, --package-name PACKAGE or -w WORKSPACE."
            )
        code = CodeTarget(
            file=os.path.abspath(file) if file else None,
            module=module,
            package=package,
            attribute=attribute,
            working_directory=os.path.abspath(folder) if folder else None,
        )
        if workspace is not None or not given:
            return command(source=_chosen(workspace, location), **rest)
        from orchestrator.locations.location import Source

        return command(source=Source(code.location, code), **rest)

    return with_source


def _chosen(workspace: Path | None, location: str | None) -> Source:
    """Of a workspace or project file. Raises SettingsError."""
    from orchestrator.locations.workspace import sources

    there = sources((), [workspace] if workspace else [])
    found = [source for source in there if location in (None, source.name)]
    if len(found) != 1:
        names = [source.name for source in there]
        wrong = "Name one with -l." if location is None else f"{location!r} is none.{nearest(location, names)}"
        raise click.UsageError(f"{wrong} Code locations: {', '.join(names)}.")
    if found[0].server is not None:
        raise click.UsageError(
            f"The code of {found[0].name!r} is on a code server: use the web pages, or this command where the code is."
        )
    return found[0]


def codes_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds -f, -m and --package-name, each of which may be repeated, -a, -d and -w; the command gets ``sources``."""

    @click.option("-f", "--python-file", "files", multiple=True, type=click.Path(path_type=Path), help="Python file.")
    @click.option("-m", "--module-name", "modules", multiple=True, help="Importable module.")
    @click.option("--package-name", "packages", multiple=True, help="Importable package.")
    @click.option("-a", "--attribute", help="Name of the Definitions in it.")
    @click.option(
        "-d", "--working-directory", "folder", type=click.Path(path_type=Path), help="Where imports start from."
    )
    @click.option(
        "-w", "--workspace", "workspaces", multiple=True, type=click.Path(path_type=Path), help="Workspace file."
    )
    @wraps(command)
    def with_sources(
        files: Sequence[Path],
        modules: Sequence[str],
        packages: Sequence[str],
        attribute: str | None,
        folder: Path | None,
        workspaces: Sequence[Path],
        **rest: Any,
    ) -> Any:
        from orchestrator.locations.workspace import sources

        more: dict[str, Any] = {"attribute": attribute, "working_directory": os.path.abspath(folder or ".")}
        codes = [
            *(CodeTarget(file=os.path.abspath(file), **more) for file in files),
            *(CodeTarget(module=module, **more) for module in modules),
            *(CodeTarget(package=package, **more) for package in packages),
        ]
        return command(sources=sources(codes, workspaces), **rest)

    return with_sources


def run_config_of(files: Sequence[Path], text: str | None) -> Mapping[str, Any]:
    """YAML files, merged in their order, then JSON. Raises InvalidConfigError, naming the file."""
    from opgrid.config.files import config_from_files, merged

    config = config_from_files([str(file) for file in files]) if files else {}
    if text is None:
        return config
    return merged([config, _json_object(text, "--config-json")])


def tags_of(text: str | None) -> dict[str, str]:
    """From a JSON object; what is no string is JSON again."""
    given = _json_object(text, "--tags") if text else {}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}


def confirm(question: str, otherwise: str) -> None:
    """Ask on the terminal, and end the command at a no; ``otherwise`` is the option that does not ask. Raises
    UsageError where nobody can answer.
    """
    try:
        click.confirm(question, abort=True)
    except click.Abort as end:
        if not isinstance(end.__context__, EOFError):
            raise
        click.echo(err=True)
        raise click.UsageError(f"Nobody is there to answer: give {otherwise} where it is not to be asked.") from None


def clauses_of(given: Sequence[str]) -> list[str]:
    """Of selections: an option may hold several, with commas between."""
    return [clause.strip() for entry in given for clause in entry.split(",")]


def keys_of(given: Sequence[str]) -> list[str]:
    """Of partitions, likewise; a key that has a comma stands in double quotes, as in CSV. Raises click.UsageError."""
    found: list[str] = []
    for entry in given:
        try:
            found += [key.strip() for row in csv.reader([entry], skipinitialspace=True, strict=True) for key in row]
        except csv.Error as error:
            raise click.UsageError(f"The quotes in {entry!r} do not fit: {error}.") from None
    return found


def _json_object(text: str, option: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidConfigError(f"{option} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidConfigError(f"{option} must be a JSON object, not {text!r}.")
    return found
