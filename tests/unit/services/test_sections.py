"""The sections of opgrid.yaml."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import PathNotText, SettingsError
from orchestrator.settings import Settings
from orchestrator.wiring import open_store


def load(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "opgrid.yaml").write_text(text)
    return Settings.load({"OPGRID_HOME": str(tmp_path)})


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "opgrid.yaml").write_bytes("web: {}  # a café\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"opgrid.yaml is not YAML"):
        Settings.load({"OPGRID_HOME": str(tmp_path)})


@pytest.mark.parametrize("name", ["what?", "100%25", "a#b", "x=1&y@z:1", "zwölf Körbe"])
def test_the_database_is_in_the_home_whatever_its_name(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    with closing(open_store(Settings.load({"OPGRID_HOME": str(home)}))):
        assert (home / "opgrid.db").is_file()


def test_paths_that_are_no_text_are_told_before_anything_is_stored_or_sent(tmp_path: Path) -> None:
    odd = str(tmp_path / os.fsdecode(b"ann\xe9e"))
    with pytest.raises(PathNotText, match=r"ann.udce9e' is no text.*Rename it"):
        Settings.load({"OPGRID_HOME": odd})
    for target in ({"file": odd}, {"module": "jobs", "working_directory": odd}):
        with pytest.raises(PathNotText):
            CodeTarget(**target)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web: 2026-02-30", "'2026-02-30' cannot be read as timestamp"),
        ("web: " + "[" * 3000, "it is nested too deeply"),
        ("web: &all {tokens: *all}", "this value holds itself"),
    ],
)
def test_a_file_that_becomes_more_than_it_says_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"opgrid.yaml is not YAML: {said}"):
        load(tmp_path, text)


def test_limits_of_the_queue(tmp_path: Path) -> None:
    text = "concurrency: {runs: {max_concurrent_runs: 3, tag_concurrency_limits: [{key: db, limit: 1}]}}"
    runs = load(tmp_path, text).sections.concurrency.runs
    assert (runs.max_concurrent_runs, runs.tag_concurrency_limits[0].key) == (3, "db")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("koncurrency: {}", "no setting 'koncurrency'. Did you mean 'concurrency'?"),
        ("run_quue: {}", "no setting 'run_quue'. Did you mean 'concurrency.runs', which Dagster calls 'run_queue'?"),
        ("run_retris: {}", "no setting 'run_retris'. Did you mean 'run_retries'?"),
        ("concurrency: {run: {}}", "no setting 'concurrency.run'. Did you mean 'runs'?"),
        (
            "concurrency: {runs: {max_concurrent_run: 3}}",
            "no setting 'concurrency.runs.max_concurrent_run'. Did you mean 'max_concurrent_runs'?",
        ),
        (
            "concurrency: {runs: {tag_concurrency_limits: [{key: a, limits: 1}]}}",
            "'concurrency.runs.tag_concurrency_limits.limits'. Did you mean 'limit'?",
        ),
        (
            "concurrency: {runs: {max_concurrent_runs: many}}",
            "concurrency.runs.max_concurrent_runs: Expected `int`, got `str`",
        ),
        (
            "concurrency: {runs: {max_concurrent_runs: -2}}",
            "concurrency.runs.max_concurrent_runs: Expected `int` >= -1",
        ),
        ("concurrency: {pools: {default_limit: -1}}", "concurrency.pools.default_limit: Expected `int` >= 0"),
        ("retention: {runs_days: .inf}", "retention.runs_days: Expected `float` <= 1000000"),
        ("retention: {ticks_days: .nan}", "retention.ticks_days: Expected `float` > 0"),
        ("daemon: {tick_timeout_seconds: .inf}", "daemon.tick_timeout_seconds: Expected `float` <= 1000000"),
        ("run_monitoring: {max_runtime_seconds: .inf}", "run_monitoring.max_runtime_seconds: Expected `float` <= 1"),
        ("retention: {runs_days: -1}", "retention.runs_days: Expected `float` > 0"),
        ("retention: {runs_count: -1}", "retention.runs_count: Expected `int` >= 0"),
        ("run_monitoring: {max_runtime_seconds: 0}", "run_monitoring.max_runtime_seconds: Expected `float` > 0"),
        ("run_retries: {max_retries: -1}", "run_retries.max_retries: Expected `int` >= 0"),
        ("daemon: {max_catchup_runs: 0}", "daemon.max_catchup_runs: Expected `int` >= 1"),
        ("daemon: {tick_timeout: 5}", "no setting 'daemon.tick_timeout'. Did you mean 'tick_timeout_seconds'?"),
        ("web: {tokens: [{name: a, token: b, rolle: admin}]}", "'web.tokens.rolle'. Did you mean 'role'?"),
        (
            "web: {tokens: [{name: a, token: b, role: boss}]}",
            "web.tokens.role is 'boss'; there are: 'admin', 'launcher', 'viewer'.",
        ),
        ("concurrency: {pools: {granularity: job}}", "concurrency.pools.granularity is 'job'; there are: 'op', 'run'."),
        ("python_logs: {prints: 'no'}", "python_logs: prints must be true or false, not 'no'."),
    ],
)
def test_what_is_wrong_is_told_by_its_path(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert "opgrid.yaml" in str(caught.value)
