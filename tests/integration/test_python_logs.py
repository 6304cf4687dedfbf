"""What ops write with ``logging`` and ``print``, in the log of their run, on every executor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

_JOBS = dedent(
    """
    import logging
    import sys
    from opgrid import get_logger, job, op

    @op
    def talk(context) -> None:
        logging.getLogger("ours.deep").info("to a logger %s", "of ours")
        logging.getLogger("ours.deep").debug("too low")
        logging.getLogger("theirs").warning("to another")
        get_logger("named").info("to a logger of the run")
        context.log.info("to the context")
        print("printed", "twice")
        print("to stderr", file=sys.stderr)
        print("no end", end="")

    @op
    def quiet(after: None) -> None:
        logging.getLogger("ours").error("of another step")

    @job
    def talks():
        quiet(talk())
    """
)


def _logged(folder: Path, executor: str, settings: str) -> list[tuple[str, str, str]]:
    """(step, logger, message) of all log messages of a run under these settings."""
    (folder / "jobs.py").write_text(_JOBS)
    (folder / ".opgrid").mkdir()
    (folder / ".opgrid" / "opgrid.yaml").write_text(settings)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OPGRID_")}

    def opgrid(*arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "opgrid", *arguments]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stdout

    opgrid("job", "execute", "-f", "jobs.py", "-j", "talks", "--executor", executor, "--run-id", "one")
    events: list[dict[str, Any]] = json.loads(opgrid("run", "show", "one", "--json"))["events"]
    found = [event for event in events if event["type"] == "LOG_MESSAGE"]
    return [(event["step"], event.get("logger", "opgrid"), event["message"]) for event in found]


@pytest.mark.parametrize("executor", ["in_process", "multiprocess", pytest.param("celery", marks=pytest.mark.celery)])
def test_what_is_asked_for_is_in_the_log_of_the_run(tmp_path: Path, executor: str) -> None:
    settings = "python_logs: {managed_python_loggers: [ours], python_log_level: INFO, prints: true}"
    found = _logged(tmp_path, executor, settings)
    # a logger without a handler writes to standard error, where a process has set up none
    assert [each for each in found if each != ("talk", "stderr", "to another")] == [
        ("talk", "ours.deep", "to a logger of ours"),
        ("talk", "named", "to a logger of the run"),
        ("talk", "opgrid", "to the context"),
        ("talk", "stdout", "printed twice"),
        ("talk", "stderr", "to stderr"),
        ("talk", "stdout", "no end"),
        ("quiet", "ours", "of another step"),
    ]


def test_the_root_logger_is_all_loggers(tmp_path: Path) -> None:
    settings = "python_logs: {managed_python_loggers: [root]}"
    found = _logged(tmp_path, "in_process", settings)
    assert [message for _, _, message in found] == [
        "to another",
        "to a logger of the run",
        "to the context",
        "of another step",
    ]


def test_without_settings_only_what_is_meant_for_it(tmp_path: Path) -> None:
    found = _logged(tmp_path, "in_process", "")
    assert [message for _, _, message in found] == ["to a logger of the run", "to the context"]
