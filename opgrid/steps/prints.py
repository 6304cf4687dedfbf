"""What ops print, as log messages of their step: where the installation's settings ask for it."""

from __future__ import annotations

import sys
import time
from typing import IO, Any, Final

from opgrid.contracts.events import LogMessage
from opgrid.steps.attempt import CURRENT

#: A line that does not end is told when it has grown so long.
_LONGEST: Final = 8192


class Tee:
    """In the place of ``sys.stdout`` or ``sys.stderr``: passes everything on, and tells lines that a step wrote."""

    def __init__(self, stream: IO[str], name: str, level: int) -> None:
        self.stream, self.name, self.level = stream, name, level
        self._line = ""

    def write(self, text: str) -> int:
        written = self.stream.write(text)
        attempt = CURRENT.get()
        if attempt is not None and attempt.scope.brief.python_logs.prints:
            *lines, self._line = (self._line + text).split("\n")
            if len(self._line) > _LONGEST:
                lines, self._line = [*lines, self._line], ""
            for line in lines:
                self._tell(line)
        return written

    def end_line(self) -> None:
        """The step has ended: what it left without an end is told."""
        line, self._line = self._line, ""
        if line:
            self._tell(line)

    def _tell(self, line: str) -> None:
        attempt = CURRENT.get()
        if attempt is None or not line.strip():
            return
        task = attempt.task
        attempt.sink.emit(
            LogMessage(
                run_id=task.run_id,
                at=time.time(),
                message=line,
                level=self.level,
                logger=self.name,
                step=task.step,
                attempt=task.attempt,
            )
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def tell_prints() -> None:
    """From now on in this process, for runs that ask for it. May be called again, after somebody replaced a stream."""
    if not isinstance(sys.stdout, Tee):
        sys.stdout = Tee(sys.stdout, "stdout", 20)
    if not isinstance(sys.stderr, Tee):
        sys.stderr = Tee(sys.stderr, "stderr", 30)


def end_lines() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Tee):
            stream.end_line()
