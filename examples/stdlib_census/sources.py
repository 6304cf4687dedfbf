"""The files of a library: which there are, what their modules are called, and a key for each."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Not part of the library itself, wherever they are found below its root.
_STRANGERS = frozenset({"site-packages", "dist-packages", "__pycache__"})

#: Python's tests of itself: nearly as many files as all the rest.
_TESTS = "test"


@dataclass(frozen=True, slots=True)
class Source:
    """One file. ``sha`` tells a worker whether its own copy is the one that was listed."""

    module: str
    path: str  #: below the root, with slashes
    is_package: bool
    sha: str


def find_sources(root: Path, tests: bool = False) -> list[Source]:
    """All Python files below ``root`` in the order of their module names."""
    found = []
    for path in root.rglob("*.py"):
        inside = path.relative_to(root)
        if _STRANGERS.intersection(inside.parts) or (inside.parts[0] == _TESTS and not tests):
            continue
        found.append(
            Source(module_name(inside), inside.as_posix(), path.name == "__init__.py", sha_of(path.read_bytes()))
        )
    return sorted(found, key=lambda source: (source.module, source.path))


def module_name(path: Path) -> str:
    """``xml/etree/ElementTree.py`` is ``xml.etree.ElementTree``; ``json/__init__.py`` is ``json``."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def sha_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def mapping_keys(names: Sequence[str]) -> list[str]:
    """A key for each name, of letters, digits and underscores only, no two alike even where case does not count.

    ``xml.dom`` and ``xml_dom`` would both be ``xml_dom``: such names get a suffix from their
    hash, the others stay readable.
    """
    plain = [re.sub(r"[^A-Za-z0-9_]", "_", name) for name in names]
    seen = Counter(key.lower() for key in plain)
    keys = [
        key if seen[key.lower()] == 1 else f"{key}_{hashlib.sha256(name.encode()).hexdigest()[:10]}"
        for key, name in zip(plain, names, strict=True)
    ]
    _refuse_twins(keys)
    return keys


def _refuse_twins(keys: Iterable[str]) -> None:
    twins = [key for key, count in Counter(key.lower() for key in keys).items() if count > 1]
    if twins:
        raise ValueError(f"Two files have the same module name; their keys are {sorted(twins)}.")
