"""What a process is given back before each step that it runs, whatever the op before has made of it."""

from __future__ import annotations

import logging
import os
import signal
from typing import Final

_log: Final = logging.getLogger("opgrid.steps")


class Surroundings:
    """The folder, the file mask and the handlers of these signals that a process has now. Made in its main thread, like
    every call: handlers can be set nowhere else.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self._folder = _folder()
        self._mask = os.umask(0o077)
        os.umask(self._mask)
        self._handlers = {each: signal.getsignal(each) for each in signals}

    def restore(self) -> None:
        """Raises nothing: where its folder is gone, the process stays where it is."""
        if (folder := _folder()) != self._folder and self._folder is not None:
            _log.warning("A step has left its process in the folder %s; the next begins in %s.", folder, self._folder)
            try:
                os.chdir(self._folder)
            except OSError as error:
                _log.warning("It cannot go back there: %s", error)
        os.umask(self._mask)
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is not handler:
                _log.warning("A step has replaced what tells steps to stop (%s): it is put back.", number.name)
                signal.signal(number, handler)


def _folder() -> str | None:
    """None where it is not there any more."""
    try:
        return os.getcwd()
    except OSError:
        return None
