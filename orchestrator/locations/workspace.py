"""Which code locations there are: from options, a workspace file, or ``[tool.opgrid]`` of a project."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opgrid.config.documents import document
from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import SettingsError, nearest
from orchestrator.locations.location import Source
from orchestrator.locations.remote import Address

_KINDS = {"python_file": "file", "python_module": "module", "python_package": "package"}
_ALL = (*_KINDS, "code_server")
_NAMES = {"python_file": "relative_path", "python_module": "module_name", "python_package": "package_name"}
#: What names the code in ``[tool.opgrid]``.
_PROJECT = {"python_file": "python_file", "module_name": "python_module", "package_name": "python_package"}
_OTHERS = ("attribute", "working_directory", "location_name", "executable_path")


def sources(codes: Sequence[CodeTarget], workspaces: Sequence[Path] = ()) -> list[Source]:
    """Of what was given; where nothing was, of ``workspace.yaml`` or ``pyproject.toml`` in this folder. Raises
    SettingsError.
    """
    found = [Source(code.location, code) for code in codes]
    for path in workspaces:
        found += of_workspace(path)
    if not found and Path("workspace.yaml").exists():
        found = of_workspace(Path("workspace.yaml"))
    if not found:
        found = _of_project(Path("pyproject.toml"))
    if not found:
        raise SettingsError(
            "There is no code: name it with -f FILE, -m MODULE, --package-name PACKAGE or -w WORKSPACE, or put a "
            "workspace.yaml, or [tool.opgrid] in pyproject.toml, here."
        )
    names = [source.name for source in found]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(
                f"Two code locations are named {name!r}. Give one of them another location_name, in a workspace file."
            )
    return found


def of_workspace(path: Path) -> list[Source]:
    """Raises SettingsError, naming the file and the key."""
    import yaml

    try:
        given = document(path.read_bytes()) or {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    entries = given.get("load_from") if isinstance(given, dict) else None
    if not isinstance(entries, list):
        raise SettingsError(f"{path} must have a list load_from, of {', '.join(_ALL)}.")
    return [_source(entry, path) for entry in entries]


def _source(entry: Any, path: Path) -> Source:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise SettingsError(f"{path}: load_from holds {entry!r}; each entry is one of {', '.join(_ALL)}.")
    ((kind, given),) = entry.items()
    if kind == "code_server":
        return _served(given, path)
    if kind not in _KINDS:
        raise SettingsError(f"{path}: there is no {kind!r} in load_from.{nearest(str(kind), _ALL)}")
    if isinstance(given, str):
        given = {_NAMES[kind]: given}
    known = (_NAMES[kind], *_OTHERS)
    if not isinstance(given, dict) or _NAMES[kind] not in given:
        raise SettingsError(f"{path}: {kind} needs a {_NAMES[kind]}.")
    _check_texts(given, known, f"{path}: {kind}")
    return _made(kind, given, path.absolute().parent)


def _check_texts(given: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    for key, value in given.items():
        if key not in known:
            raise SettingsError(f"{where} has no key {key!r}.{nearest(str(key), known)} There are: {', '.join(known)}.")
        if not isinstance(value, str) or not value:
            raise SettingsError(f"{where}: {key} must be a text, not {value!r}.")


def _served(given: Any, path: Path) -> Source:
    known = ("host", "port", "location_name")
    if not isinstance(given, dict):
        raise SettingsError(f"{path}: code_server needs a {', a '.join(known)}.")
    for key in given:
        if key not in known:
            raise SettingsError(f"{path}: code_server has no key {key!r}.{nearest(str(key), known)}")
    if not isinstance(given.get("host", ""), str):
        raise SettingsError(f"{path}: code_server: host must be a text, not {given['host']!r}.")
    name, port = given.get("location_name"), given.get("port")
    if not isinstance(name, str) or type(port) is not int or not 0 < port < 65536:
        raise SettingsError(f"{path}: code_server needs a location_name, and a port from 1 to 65535.")
    return Source(name, CodeTarget(), server=Address(given.get("host") or "127.0.0.1", port))


def _made(kind: str, given: Mapping[str, str], folder: Path) -> Source:
    what = given[_NAMES[kind]]
    code = CodeTarget(
        **{_KINDS[kind]: str(folder / what) if kind == "python_file" else what},
        attribute=given.get("attribute"),
        working_directory=os.path.normpath(folder / given.get("working_directory", ".")),
        python=_interpreter(given.get("executable_path"), folder),
    )
    return Source(given.get("location_name") or code.location, code)


def _interpreter(given: str | None, folder: Path) -> str | None:
    """A path is seen from the folder of the file that names it; a bare name is looked for in PATH."""
    if given is None:
        return None
    path = os.path.expanduser(given)
    return str(folder / path) if "/" in path else path


def _of_project(path: Path) -> list[Source]:
    if not path.exists():
        return []
    try:
        given = tomllib.loads(path.read_bytes().decode()).get("tool", {}).get("opgrid")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    if given is None:
        return []
    where = f"{path}: [tool.opgrid]"
    if not isinstance(given, dict):
        raise SettingsError(f"{where} must be a table, not {given!r}.")
    _check_texts(given, (*_PROJECT, *_OTHERS), where)
    chosen = [key for key in _PROJECT if key in given]
    if len(chosen) != 1:
        raise SettingsError(f"{where} needs one of {', '.join(_PROJECT)}.")
    kind = _PROJECT[chosen[0]]
    others = {name: given[name] for name in _OTHERS if name in given}
    return [_made(kind, {_NAMES[kind]: given[chosen[0]], **others}, path.absolute().parent)]
