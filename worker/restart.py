"""SIGHUP: a worker starts anew, as it was started, when what runs has ended; unless it was told to end, too."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from celery import platforms
from celery.apps import worker as celery_worker
from celery.signals import worker_shutting_down

_told: Final[list[str]] = []  #: to end, and how


def install() -> None:
    """In a worker's process. Celery would leave out the options of Python, and what ``-m`` means: the names of our own
    modules would go before those of the user's.
    """
    vars(celery_worker)["_reload_current_worker"] = _start_anew
    worker_shutting_down.connect(_on_end, weak=False)


def _on_end(how: str = "", **_: object) -> None:
    _told.append(how)


def _start_anew() -> None:
    """Called when Python ends, where SIGHUP has come."""
    if _told:
        return
    kept: Any = [sys.__stdin__, sys.__stdout__, sys.__stderr__]
    platforms.close_open_fds(kept)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
