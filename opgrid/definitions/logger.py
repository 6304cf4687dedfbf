"""Loggers of a job: where ``context.log`` goes besides the event log."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, overload

from opgrid.definitions.configured import function_and_schema
from opgrid.definitions.names import by_key
from opgrid.definitions.schemas import checked_schema
from opgrid.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from opgrid.config import ConfigField

LoggerFn = Callable[["InitLoggerContext"], logging.Logger]


class InitLoggerContext:
    """What the function of a logger gets."""

    def __init__(
        self,
        logger_config: Any = None,
        logger_def: LoggerDefinition | None = None,
        job_def: Any = None,
        run_id: str | None = None,
    ) -> None:
        self.logger_config = logger_config
        self.logger_def = logger_def
        self.job_def = job_def
        self.run_id = run_id


class LoggerDefinition:
    """Makes the logger that ``context.log`` writes to as well; its config is at ``loggers.<key>.config``."""

    def __init__(self, logger_fn: LoggerFn, config_schema: Any = None, description: str | None = None) -> None:
        self.logger_fn = logger_fn
        self.config_schema = checked_schema(config_schema, "a logger")
        self.description = description

    @cached_property
    def config_field(self) -> ConfigField | None:
        if self.config_schema is None:
            return None
        from opgrid.config import as_field

        return as_field(self.config_schema)

    def configured(
        self, config_or_config_fn: Any, config_schema: Any = None, description: str | None = None
    ) -> LoggerDefinition:
        """The same logger with its config given, or made by a function from a smaller one."""
        fn, schema = function_and_schema(config_or_config_fn, config_schema, "a logger")

        def made(context: InitLoggerContext) -> logging.Logger:
            return self(InitLoggerContext(fn(context.logger_config), self, context.job_def, context.run_id))

        return LoggerDefinition(made, schema, description or self.description)

    def __call__(self, context: InitLoggerContext | None = None) -> logging.Logger:
        """The logger itself, of config that no run config was checked with. Raises InvalidConfigError."""
        given = InitLoggerContext() if context is None else context
        field = self.config_field
        config = given.logger_config if field is None else field.read(given.logger_config, "a logger")
        return self.logger_fn(InitLoggerContext(config, self, given.job_def, given.run_id))


@overload
def logger(config_schema: LoggerFn) -> LoggerDefinition: ...
@overload
def logger(config_schema: Any = None, description: str | None = None) -> Callable[[LoggerFn], LoggerDefinition]: ...
def logger(config_schema: Any = None, description: str | None = None) -> Any:
    """Makes a logger definition of a function ``(context) -> logging.Logger``."""
    if callable(config_schema) and not isinstance(config_schema, type):
        return LoggerDefinition(config_schema, None, inspect.getdoc(config_schema))

    def decorated(fn: LoggerFn) -> LoggerDefinition:
        return LoggerDefinition(fn, config_schema, description or inspect.getdoc(fn))

    return decorated


def _schema() -> dict[str, Any]:
    from opgrid.config.schema import Field

    return {"log_level": Field(str, default_value="INFO"), "name": Field(str, default_value="opgrid")}


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("run_id", "job_name", "step_key"):
            if hasattr(record, name):
                fields[name] = getattr(record, name)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


_COLORS: Final = {"DEBUG": 36, "INFO": 34, "WARNING": 33, "ERROR": 31, "CRITICAL": 35}


class _Colored(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"\x1b[{_COLORS.get(record.levelname, 0)}m{text}\x1b[0m"


def _console(context: InitLoggerContext, formatter: logging.Formatter) -> logging.Logger:
    config = context.logger_config or {"log_level": "INFO", "name": "opgrid"}
    made = logging.Logger(config["name"], level=config["log_level"].upper())
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    made.addHandler(handler)
    return made


def _colored_console(context: InitLoggerContext) -> logging.Logger:
    return _console(context, _Colored("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))


def _json_console(context: InitLoggerContext) -> logging.Logger:
    return _console(context, _Json())


class _Console(LoggerDefinition):
    """Its schema is made when it is asked for: most processes never do."""

    @cached_property
    def config_field(self) -> ConfigField | None:
        from opgrid.config import as_field

        return as_field(_schema())


colored_console_logger = _Console(_colored_console, None, "Lines in colour on stderr.")
json_console_logger = _Console(_json_console, None, "A JSON object a line on stderr.")


def checked_loggers(given: Mapping[str, Any] | None, what: str) -> dict[str, LoggerDefinition]:
    """By key. Raises InvalidDefinitionError for what is no logger."""
    found = by_key(given, what)
    for key, each in found.items():
        if not isinstance(each, LoggerDefinition):
            raise InvalidDefinitionError(
                f"{what} holds {each!r} under {key!r}, which is no logger. Make one with @logger."
            )
    return found
