"""One process that holds the user code of a location, and answers one question at a time."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from opgrid.contracts.tasks import CodeTarget
from opgrid.contracts.wording import span
from opgrid.errors import OpGridError
from orchestrator.locations.messages import Answer, Asked, receive_answer, send

_PAGE: Final = resource.getpagesize()


class LocationBroken(OpGridError):
    """The process of a code location does not answer."""


class LocationAway(LocationBroken):
    """Its code server cannot be reached, or has no room: the code was not asked."""


class LocationProcess:
    """Started at once, or LocationBroken is raised; the code is loaded with the first question. Used by one thread at a
    time.
    """

    def __init__(self, name: str, code: CodeTarget, environ: Mapping[str, str], python: str | None = None) -> None:
        self.name = name
        ours, theirs = socket.socketpair()
        with theirs:
            what = ["_location", str(theirs.fileno()), name, msgspec.json.encode(code).decode()]
            try:
                self._process = subprocess.Popen(
                    [python or sys.executable, "-P", "-m", "opgrid", *what],
                    env={**os.environ, **environ},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise LocationBroken(
                    f"The interpreter {python or sys.executable} of code location {name!r} cannot be started: "
                    f"{error.strerror}."
                ) from error
        self._socket = ours
        self.used = 0.0  #: when it answered last, monotonic
        self.answers = 0
        self.loaded_with: int | None = None  #: memory when its code was loaded, in bytes

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def memory(self) -> int | None:
        """Bytes that it has in memory; None where nobody tells."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * _PAGE

    def ask(self, asked: Asked, timeout: float) -> Answer:
        """Raises LocationBroken, after which this process is gone: it took too long, or ended."""
        self._socket.settimeout(timeout)
        try:
            send(self._socket, asked)
            answer = receive_answer(self._socket)
        except TimeoutError:
            self.kill()
            raise LocationBroken(f"It took longer than {span(timeout)}, and its process was ended.") from None
        except (OSError, msgspec.ValidationError) as error:
            self.kill()
            raise LocationBroken(f"The process of code location {self.name!r} cannot be talked to: {error}") from error
        if answer is None:
            self.kill()
            raise LocationBroken(f"The process of code location {self.name!r} {self._how()}.")
        return answer

    def _how(self) -> str:
        code = self._process.returncode
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"

    def kill(self) -> None:
        """With all that it started."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends the wait of another thread for its answer
        self._socket.close()
        try:
            self._process.wait(0.5)  # it may be about to end by itself, for a reason worth telling
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
