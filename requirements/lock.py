"""Compile the locks beside this file from pyproject.toml; with --check, say which of them are out of date.

Pins that still fit are kept, so a newer release elsewhere never makes a lock stale; `--upgrade` takes the newest.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).resolve().parent
PROJECT = FOLDER.parent / "pyproject.toml"

#: Each lock with what goes into it. One follows the pins of those before it, so that all images agree.
LOCKS = {
    "runtime.txt": ["pyproject.toml"],
    "worker.txt": ["--group", "worker"],
    "dev.txt": ["pyproject.toml", "--all-extras", "--group", "dev", "--group", "docs"],
    "bootstrap.txt": ["--group", "bootstrap"],
}
FOLLOWS = {"worker.txt": "runtime.txt", "dev.txt": "runtime.txt", "bootstrap.txt": "dev.txt"}
OPTIONS = ["--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate", "--python-version", "3.11"]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="change nothing; exit 1 when a lock is out of date")
    options.add_argument("--upgrade", action="store_true", help="take the newest releases that fit")
    chosen = options.parse_args()
    return check() if chosen.check else write(upgrade=chosen.upgrade)


def write(upgrade: bool) -> int:
    for name in LOCKS:
        done = compile_lock(name, FOLDER, ["--upgrade"] if upgrade else [])
        if done.returncode:
            sys.stderr.write(done.stderr)
            return done.returncode
    return 0


def check() -> int:
    problems = [*addresses(), *misfits()]
    with tempfile.TemporaryDirectory() as copy:
        for name in LOCKS:
            shutil.copy(FOLDER / name, copy)
        for name in LOCKS:
            done = compile_lock(name, Path(copy), [])
            if "No solution found" in done.stderr:
                problems.append(f"{name}: its pins do not fit pyproject.toml any more.\n{done.stderr}")
            elif done.returncode:
                print(f"locks: no registry answered, so only the direct pins were checked ({last_line(done.stderr)})")
                break
            elif pins(FOLDER / name) != pins(Path(copy) / name):
                problems.append(f"{name} is out of date.")
    for problem in problems:
        print(f"locks: {problem}", file=sys.stderr)
    if problems:
        print("locks: run `make lock` and commit requirements/.", file=sys.stderr)
    return 1 if problems else 0


def compile_lock(name: str, folder: Path, more: list[str]) -> subprocess.CompletedProcess[str]:
    follow = ["--constraint", str(folder / FOLLOWS[name])] if name in FOLLOWS else []
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    return subprocess.run(
        [str(uv), "pip", "compile", *OPTIONS, *more, *LOCKS[name], *follow, "--output-file", str(folder / name)],
        cwd=PROJECT.parent,
        stdout=subprocess.DEVNULL,  # uv prints the lock as well
        stderr=subprocess.PIPE,
        text=True,
    )


def addresses() -> Iterator[str]:
    """A lock that names a server ties everyone to that server."""
    for name in LOCKS:
        if "://" in (FOLDER / name).read_text():
            yield f"{name} holds the address of a server."


def misfits() -> Iterator[str]:
    """What pyproject.toml asks for and a lock does not give; needs no registry."""
    project = tomllib.loads(PROJECT.read_text())
    groups = project["dependency-groups"]
    wanted = {
        "runtime.txt": project["project"]["dependencies"],
        "worker.txt": group(groups, "worker"),
        "dev.txt": [*project["project"]["dependencies"], *group(groups, "dev"), *group(groups, "docs")],
        "bootstrap.txt": group(groups, "bootstrap"),
    }
    for name, lines in wanted.items():
        given = dict(re.findall(r"^([\w.-]+)==(\S+)", (FOLDER / name).read_text(), re.MULTILINE))
        for requirement in map(Requirement, lines):
            version = given.get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                yield f"{name} has {requirement.name} {version or 'not at all'}, pyproject.toml wants {requirement}."


def group(groups: dict[str, Any], name: str) -> list[str]:
    lines: list[str] = []
    for entry in groups[name]:
        lines += [entry] if isinstance(entry, str) else group(groups, entry["include-group"])
    return lines


def pins(lock: Path) -> list[str]:
    """Names, versions and markers. Hashes stay out: a wheel added to an old release does not make a lock stale."""
    return [line.rstrip(" \\") for line in lock.read_text().splitlines() if line[:1].isalnum()]


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1].strip()


if __name__ == "__main__":
    sys.exit(main())
