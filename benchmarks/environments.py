"""Environments of the peers: one a family, made with pip from pinned versions when it is first needed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_FOLDER: Final = ROOT / "build" / "peers"
_PINS: Final = Path(__file__).parent / "peers"
_PIP: Final = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")


class NotInstalled(Exception):
    """A peer is not to be had here; says why."""


@cache
def interpreter(family: str) -> str:
    """Of the environment of ``benchmarks/peers/FAMILY.txt``. Raises NotInstalled."""
    python = _FOLDER / family / "bin" / "python"

    def install(pins: Path) -> None:
        _run([sys.executable, "-m", "venv", "--clear", str(_FOLDER / family)])
        _run([str(python), *_PIP, "-r", str(pins)])

    _made(family, install)
    return str(python)


@cache
def arrays() -> str:
    """A folder with numpy, for those who run in our own environment. Raises NotInstalled."""
    folder = _FOLDER / "arrays"
    _made("arrays", lambda pins: _run([sys.executable, *_PIP, "--upgrade", "--target", str(folder), "-r", str(pins)]))
    return str(folder)


def _made(name: str, install: Callable[[Path], None]) -> None:
    pins = _PINS / f"{name}.txt"
    stamp = _FOLDER / f"{name}.installed"
    wanted = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {', '.join(pins.read_text().split())}", flush=True)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    install(pins)
    stamp.write_text(wanted)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise NotInstalled((words or ["pip failed"])[-1])
