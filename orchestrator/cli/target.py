"""What several commands are told: where user code is, run config, tags and selections."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import InvalidConfigError


def code_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds -f, -m, --package-name, -a and -d; the command gets one CodeTarget as ``code``."""

    @click.option(
        "-f", "--python-file", "file", type=click.Path(path_type=Path), help="Python file with the definitions."
    )
    @click.option("-m", "--module-name", "module", help="Importable module with the definitions.")
    @click.option("--package-name", "package", help="Importable package with the definitions.")
    @click.option("-a", "--attribute", help="Name of the Definitions, job or graph in it.")
    @click.option(
        "-d", "--working-directory", "folder", type=click.Path(path_type=Path), help="Where imports start from."
    )
    @wraps(command)
    def with_code(
        file: Path | None,
        module: str | None,
        package: str | None,
        attribute: str | None,
        folder: Path | None,
        **rest: Any,
    ) -> Any:
        given = [name for name in (file, module, package) if name]
        if len(given) != 1:
            raise click.UsageError("Say where the code is with one of -f FILE, -m MODULE or --package-name PACKAGE.")
        code = CodeTarget(
            file=os.path.abspath(file) if file else None,
            module=module,
            package=package,
            attribute=attribute,
            working_directory=os.path.abspath(folder) if folder else None,
        )
        return command(code=code, **rest)

    return with_code


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


def clauses_of(given: Sequence[str]) -> list[str]:
    """Of selections: an option may hold several, with commas between."""
    return [clause.strip() for entry in given for clause in entry.split(",")]


def _json_object(text: str, option: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidConfigError(f"{option} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidConfigError(f"{option} must be a JSON object, not {text!r}.")
    return found
