"""Modules that are the same for every child: where they came from, and whether that has changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from opgrid.doors import OURS

#: When it was written, how long it is, which file it is.
Stamp = tuple[int, int, int]


def installed(path: Sequence[str]) -> list[str]:
    """The folders among these that pip and its like put packages into, and the standard library's."""
    standard = os.path.dirname(os.__file__)
    return [folder for folder in path if folder.startswith(standard) or _has_distributions(folder)]


def loaded_from(folders: Sequence[str], but: frozenset[str]) -> dict[str, str]:
    """Modules from these folders, and our own, in the order in which they were asked for: the files they came from."""
    roots = tuple(folder + os.sep for folder in folders)
    found = {}
    for name in list(sys.modules):
        if name not in but and (file := file_of(name)) and (top(name) in OURS or file.startswith(roots)):
            found[name] = file
    return found


def file_of(name: str) -> str | None:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec.origin if spec is not None and spec.has_location and spec.name == name else None


def folder_of(top: str) -> str:
    """The one on ``sys.path`` that the module or package was found in."""
    file = file_of(top) or ""
    folder = os.path.dirname(file)
    return os.path.dirname(folder) if os.path.basename(file).startswith("__init__.") else folder


def stamp(file: str) -> Stamp | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def top(name: str) -> str:
    return name.partition(".")[0]


def names_in(folder: str) -> Iterator[str]:
    """Of the modules and packages there."""
    try:
        entries = os.listdir(folder)
    except OSError:
        return
    for entry in entries:
        name, _, ending = entry.partition(".")
        if ending or os.path.exists(os.path.join(folder, name, "__init__.py")):
            yield name


def _has_distributions(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.endswith(".dist-info") for entry in entries)
    except OSError:
        return False
