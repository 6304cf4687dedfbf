"""Loggers that a job defines, and those that come with opgrid."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from opgrid import (
    Field,
    InitLoggerContext,
    InvalidConfigError,
    OpExecutionContext,
    build_init_logger_context,
    colored_console_logger,
    get_logger,
    job,
    json_console_logger,
    logger,
    op,
)
from opgrid.contracts.events import LogMessage

records: list[logging.LogRecord] = []


class Keeping(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        records.append(record)


@logger({"level": str})
def keeping(context: InitLoggerContext) -> logging.Logger:
    made = logging.Logger("keeping", level=context.logger_config["level"])
    made.addHandler(Keeping())
    return made


@op
def talk(context: OpExecutionContext) -> None:
    context.log.debug("low")
    context.log.info("middle %s", "one")
    context.log.error("high", exc_info=ValueError("why"))
    get_logger("mine").warning("from afar")


@job(logger_defs={"keeping": keeping, "json": json_console_logger, "colored": colored_console_logger})
def talks() -> None:
    talk()


@pytest.fixture(autouse=True)
def _forget() -> None:
    records.clear()


def test_records_carry_where_they_come_from() -> None:
    result = talks.execute_in_process(run_config={"loggers": {"keeping": {"config": {"level": "INFO"}}}})
    assert [record.getMessage() for record in records] == ["middle one", "high", "from afar"]
    for record in records:
        about: Any = record
        assert (about.run_id, about.step_key, about.op_name, about.job_name) == (result.run_id, "talk", "talk", "talks")


def test_the_log_of_the_run_has_all_levels() -> None:
    messages = [event for event in talks.execute_in_process().all_events if isinstance(event, LogMessage)]
    assert [(event.message, event.level) for event in messages] == [
        ("low", logging.DEBUG),
        ("middle one", logging.INFO),
        ("high", logging.ERROR),
        ("from afar", logging.WARNING),
    ]
    assert messages[2].error is not None
    assert messages[2].error.kind == "ValueError"
    assert {event.step for event in messages} == {"talk"}
    assert messages[3].logger == "mine"


def test_a_message_that_does_not_fit_its_arguments_fails_nothing() -> None:
    @op
    def sloppy(context: OpExecutionContext) -> None:
        context.log.info("%d things", "many")

    @job
    def runs() -> None:
        sloppy()

    result = runs.execute_in_process()
    (message,) = [event for event in result.all_events if isinstance(event, LogMessage)]
    assert "cannot be formatted" in message.message


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    talks.execute_in_process(run_config={"loggers": {"json": {"config": {"log_level": "INFO"}}}})
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in (printed.out + printed.err).splitlines() if line.startswith("{")]
    assert [line.get("message") or line.get("msg") for line in lines] == ["middle one", "high", "from afar"]


def test_colored_lines(capsys: pytest.CaptureFixture[str]) -> None:
    talks.execute_in_process(run_config={"loggers": {"colored": {"config": {"log_level": "ERROR", "name": "x"}}}})
    printed = capsys.readouterr()
    shown = printed.out + printed.err
    assert "high" in shown
    assert "middle" not in shown


def test_a_logger_is_a_function_to_a_test() -> None:
    made = keeping.logger_fn(build_init_logger_context({"level": "ERROR"}))
    assert made.level == logging.ERROR


def test_a_logger_is_called_with_config_that_is_checked_and_filled_in() -> None:
    @logger({"level": str, "name": Field(str, default_value="ours")})
    def ours(context: InitLoggerContext) -> logging.Logger:
        return logging.Logger(context.logger_config["name"], level=context.logger_config["level"])

    for made in (ours(build_init_logger_context({"level": "ERROR"})), ours.configured({"level": "ERROR"})()):
        assert (made.name, made.level) == ("ours", logging.ERROR)
    with pytest.raises(InvalidConfigError, match="at config: this is required"):
        ours()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"config": {"level": "INFO"}}, "root:loggers:console:config:level: there is no such field"),
        ({"config": {"log_level": 10}}, "root:loggers:console:config:log_level: expected str, got 10"),
        ({"log_level": "INFO"}, "root:loggers:console:log_level: there is no such field"),
    ],
)
def test_config_of_the_console_is_checked_where_a_job_has_no_loggers(entry: Any, told: str) -> None:
    @job
    def silent() -> None: ...

    with pytest.raises(InvalidConfigError, match=told):
        silent.execute_in_process(run_config={"loggers": {"console": entry}})
    assert silent.execute_in_process(run_config={"loggers": {"console": {"config": {"log_level": "DEBUG"}}}}).success
