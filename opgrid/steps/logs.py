"""``context.log`` and the bridge from ``logging``: log records become events of the step that wrote them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from opgrid.contracts.events import ErrorInfo, LogMessage
from opgrid.steps.attempt import CURRENT

if TYPE_CHECKING:
    from opgrid.steps.attempt import Attempt

#: Loggers made by :func:`get_logger` live below this one.
ROOT: Final = "opgrid.user"


class StepLogger(logging.Logger):
    """A logger like any other whose records go into the run's event log, and to the loggers that the run config
    sets up.
    """

    def __init__(self, attempt: Attempt) -> None:
        super().__init__("opgrid", logging.DEBUG)
        self._attempt = attempt
        self._others = attempt.scope.loggers()

    def isEnabledFor(self, level: int) -> bool:
        return level >= self.level

    def handle(self, record: logging.LogRecord) -> None:
        _tell(self._attempt, record, "opgrid")
        _pass_on(self._attempt, record, self._others)


class Bridge(logging.Handler):
    """Put on a logger, it sends what user code logs while a step runs into the run's event log, where the run asks for
    that logger.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.of = name

    def emit(self, record: logging.LogRecord) -> None:
        attempt = CURRENT.get()
        if attempt is None or (self.of != ROOT and self.of not in attempt.scope.brief.python_logs.loggers):
            return
        if hasattr(record, "step_key"):
            return  # it was told before it was passed on to a logger of the job, from which it has come here
        if self.of == "root" and record.name.split(".")[0] == "opgrid":
            return  # what get_logger() gives tells for itself, and the engine's own notes are none of the user's
        _tell(attempt, record, record.name.removeprefix(ROOT + "."))
        _pass_on(attempt, record, attempt.scope.loggers())


def get_logger(name: str | None = None) -> logging.Logger:
    """A logger for code that has no context at hand: inside a step its records become events of that step."""
    bridge(ROOT, logging.DEBUG)
    return logging.getLogger(f"{ROOT}.{name}" if name else ROOT)


def bridge(name: str, level: int | None = None) -> None:
    """Send the records of the logger ``name``, and of those below it, into the event log. May be called twice."""
    logger = logging.getLogger(None if name == "root" else name)
    if not any(isinstance(handler, Bridge) for handler in logger.handlers):
        logger.addHandler(Bridge(name))
    if level is not None:
        logger.setLevel(level)


def _tell(attempt: Attempt, record: logging.LogRecord, logger: str) -> None:
    error = record.exc_info[1] if record.exc_info else None
    try:
        message = record.getMessage()
    except Exception as problem:  # a format string that does not fit must not fail the step
        message = f"{record.msg!r} with arguments {record.args!r} cannot be formatted: {problem}"
    task = attempt.task
    attempt.sink.emit(
        LogMessage(
            run_id=task.run_id,
            at=time.time(),
            message=message,
            level=record.levelno,
            logger=logger,
            step=task.step,
            attempt=task.attempt,
            error=None if error is None else ErrorInfo.of(error),
        )
    )


def _pass_on(attempt: Attempt, record: logging.LogRecord, loggers: Sequence[logging.Logger]) -> None:
    """To the loggers of the job."""
    for logger in loggers:
        if logger.isEnabledFor(record.levelno):
            _describe(record, attempt)
            logger.handle(record)


def _describe(record: logging.LogRecord, attempt: Attempt) -> None:
    """Fields that a user's formatter may name: ``%(run_id)s``, ``%(step_key)s``, ``%(op_name)s``, ``%(job_name)s``."""
    record.run_id = attempt.task.run_id
    record.step_key = attempt.task.step
    record.op_name = attempt.node.op.name
    record.job_name = attempt.job_name
