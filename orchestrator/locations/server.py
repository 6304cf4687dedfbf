"""The other end: a process with user code that answers until nobody asks any more."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import msgspec

from opgrid.config.report import ConfigProblem
from opgrid.contracts.events import ErrorInfo
from opgrid.contracts.wire import legible
from opgrid.errors import InvalidConfigError
from orchestrator.locations.messages import Answer, Asked, Evaluated, Failed, Problem, receive_asked, send

#: Answers one question; what it raises is the answer, too.
Handler = Callable[[Asked], Answer]


def serve(connection: socket.socket, handle: Handler) -> None:
    """Until the other side has gone."""
    for kind in ("schedule", "sensor"):  # all that they log is told, and nothing of ours but warnings
        logging.getLogger(f"opgrid.{kind}").setLevel(logging.DEBUG)
    while (asked := receive_asked(connection)) is not None:
        log = _Log()
        logging.getLogger("opgrid").addHandler(log)
        try:
            answer = handle(asked)
            if isinstance(answer, Evaluated):
                skipped = None if answer.skipped is None else legible(answer.skipped)
                answer = msgspec.structs.replace(answer, skipped=skipped, log=tuple(log.lines))
        except KeyboardInterrupt:
            return
        except BaseException as error:  # user code may raise anything, SystemExit too
            answer = Failed(ErrorInfo.of(error), tuple(log.lines), _problems(error))
        finally:
            logging.getLogger("opgrid").removeHandler(log)
        try:
            send(connection, answer)
        except OSError:
            return  # who asked has given up


def _problems(error: BaseException) -> tuple[Problem, ...]:
    found = error.errors if isinstance(error, InvalidConfigError) else ()
    return tuple(Problem(each.kind.value, each.path, each.message) for each in found if isinstance(each, ConfigProblem))


class _Log(logging.Handler):
    """What schedules and sensors log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) >= 500:
            return
        try:
            self.lines.append(legible(f"{record.levelname}: {record.getMessage()}")[:2000])
        except Exception:  # a line that does not fit its arguments is told on stderr, as logging does
            self.handleError(record)
