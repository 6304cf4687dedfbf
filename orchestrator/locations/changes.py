"""Whether code has changed on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from orchestrator.locations.location import Source

_MOST: Final = 5000  #: files that are looked at
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


class Changes:
    """Python files in the folders of code locations, by their times and sizes."""

    def __init__(self, sources: Iterable[Source]) -> None:
        folders: set[Path] = set()
        for source in sources:
            code = source.code
            if code.file is not None:
                folders.add(Path(code.file).parent)
            elif code.working_directory is not None:
                folders.add(Path(code.working_directory))
        self._folders = sorted(folders)
        self._known = self._look()

    def found(self) -> bool:
        """Whether there were any since the last call."""
        now = self._look()
        before, self._known = self._known, now
        return now != before

    def _look(self) -> dict[str, tuple[int, int]]:
        seen: dict[str, tuple[int, int]] = {}
        for folder in self._folders:
            for path in _python_files(str(folder)):
                if len(seen) >= _MOST:
                    return seen
                try:
                    found = os.stat(path)
                except OSError:
                    continue
                seen[path] = found.st_mtime_ns, found.st_size
        return seen


def _python_files(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        yield from (os.path.join(place, name) for name in files if name.endswith(".py"))
