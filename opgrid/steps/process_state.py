"""What a process is given back before each step that it runs, whatever the op before has made of it."""

from __future__ import annotations

import logging
import os
import signal
from typing import Final

try:
    from _signal import getsignal  # type: ignore[import-not-found]
except ImportError:  # then it takes longer than all else here: that of the module would make each answer an enum
    from signal import getsignal

_log: Final = logging.getLogger("opgrid.steps")


class ProcessState:
    """The folder, the file mask and the handler of this signal that a process has now. Made in its main thread, like
    every call: handlers can be set nowhere else.
    """

    def __init__(self, number: signal.Signals) -> None:
        self._folder = _folder()
        self._mask = os.umask(0o077)
        os.umask(self._mask)
        self._number, self._handler = number, getsignal(number)

    def restore(self) -> None:
        """Raises nothing: where its folder is gone, the process stays where it is."""
        os.umask(self._mask)
        if getsignal(self._number) is not self._handler:
            _log.warning("A step has replaced what tells steps to stop (%s): it is put back.", self._number.name)
            signal.signal(self._number, self._handler)
        if (folder := _folder()) != self._folder and self._folder is not None:
            _log.warning("A step has left its process in the folder %s; the next begins in %s.", folder, self._folder)
            try:
                os.chdir(self._folder)
            except OSError as error:
                _log.warning("It cannot go back there: %s", error)


def _folder() -> str | None:
    """None where it is not there any more."""
    try:
        return os.getcwd()
    except OSError:
        return None
