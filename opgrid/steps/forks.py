"""Processes that user code forks and that come back from it: copies of this one, with its connections to the database,
to Redis and to the pool, that would go on as if they were this one. They end where user code ends.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from opgrid.steps.attempt import Attempt

#: Exit code of a copy that user code raised in.
_RAISED: Final = 1

_here = object()


def here() -> object:
    """This process, and no copy of it."""
    return _here


def end_copies(attempt: Attempt, error: BaseException | None = None) -> None:
    """Ends this process if it is a copy of the one that makes the attempt. To be called where user code has returned or
    raised; ``error``: what it raised, where that was caught already.
    """
    if attempt.process is not _here:
        _end(attempt, error or sys.exception())


def _end(attempt: Attempt, error: BaseException | None) -> NoReturn:
    """Nothing is done that a process does at its end: all of that is for the one that it is a copy of."""
    with suppress(Exception):
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else _RAISED
        else:
            code = 0 if error is None else _RAISED
            if error is not None:
                traceback.print_exception(error)
            print(
                f"A process that op {attempt.named_op} forked came back from it, and ends here. Let it end itself, "
                "with os._exit, or use multiprocessing or subprocess.",
                file=sys.stderr,
            )
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    os._exit(_RAISED)


def _forked() -> None:
    global _here
    _here = object()


os.register_at_fork(after_in_child=_forked)
