"""What is shown of pools: the limits that hold, and who uses them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from opgrid import job, op
from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import InvariantViolationError
from opgrid.ids import RunId, StepKey
from orchestrator.cli.instance import instance
from orchestrator.engine.pools import PoolSettings, Slot
from orchestrator.services.launching import Request, prepare
from orchestrator.services.pools import Pool, all_pools, limit_pool
from orchestrator.services.submission import queued
from orchestrator.storage.sql.store import SqlStore


@op(pool="db")
def writes() -> None: ...


@op(pool="api")
def calls() -> None: ...


@job
def both() -> None:
    writes()
    calls()


@contextmanager
def opened(home: Path, pooling: PoolSettings) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{home / 'opgrid.db'}", pooling)
    try:
        yield store
    finally:
        store.close()


def started(store: SqlStore) -> RunId:
    code = CodeTarget(module=__name__)
    (run_id,) = store.launch([queued(prepare(Request(both, executor="in_process", code=code)))])
    store.dequeue([run_id], 1.0)
    return run_id


def test_a_pool_without_a_limit_of_its_own_has_that_of_all(tmp_path: Path) -> None:
    with opened(tmp_path, PoolSettings(default_limit=3)) as store:
        slot = Slot("api", started(store), StepKey("calls"))
        store.set_pool("db", 2)
        store.take_slots(dict.fromkeys([slot], 0))
        assert all_pools(store) == [Pool("api", 3, True, [slot]), Pool("db", 2, False, ())]
    with opened(tmp_path, PoolSettings()) as store:
        assert all_pools(store) == [Pool("api", None, False, [slot]), Pool("db", 2, False, ())]


def test_pools_that_hold_back_whole_runs_are_used_by_runs(tmp_path: Path) -> None:
    with opened(tmp_path, PoolSettings(granularity="run", default_limit=3)) as store:
        store.set_pool("db", 2)
        run_id = started(store)
        used = {name: [Slot(name, run_id, StepKey(""))] for name in ("api", "db")}
        assert all_pools(store) == [Pool("api", 3, True, used["api"]), Pool("db", 2, False, used["db"])]


@pytest.mark.parametrize("granularity", ["op", "run"])
def test_the_command_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, granularity: Any) -> None:
    monkeypatch.setenv("OPGRID_HOME", str(tmp_path))
    monkeypatch.delenv("OPGRID_DATABASE_URL", raising=False)
    pools = f"{{granularity: {granularity}, default_limit: 3}}"
    (tmp_path / "opgrid.yaml").write_text(f"concurrency: {{pools: {pools}}}")
    with opened(tmp_path, PoolSettings(granularity)) as store:
        store.set_pool("db", 2)
        run_id = started(store)
        store.take_slots(dict.fromkeys([Slot("api", run_id, StepKey("calls"))], 0))

    def get(*args: str) -> str:
        ended = CliRunner().invoke(instance, ["concurrency", "get", *args], catch_exceptions=False)
        return ended.stdout

    of_api = {"pool": "api", "limit": 3, "used": [{"run_id": run_id, "step": "calls" if granularity == "op" else None}]}
    assert json.loads(get("api", "--json")) == [of_api]
    if granularity == "op":
        api, db = [f"    calls of run {run_id}"], []
    else:
        api = db = [f"    run {run_id}"]
    lines = ["api: 1 in use, limit 3 (default_limit)", *api, f"db: {len(db)} in use, limit 2", *db]
    assert get("--all").splitlines() == lines

    def said(*args: str) -> str:
        return CliRunner().invoke(instance, ["concurrency", *args], catch_exceptions=False).stdout

    users = "steps" if granularity == "op" else "runs"
    assert said("set", "db", "4") == f"At most 4 {users} use the pool 'db' at once.\n"
    assert said("delete", "db") == "The pool 'db' has no limit of its own: the default_limit holds, 3.\n"
    (tmp_path / "opgrid.yaml").unlink()
    said("set", "db", "4")
    assert said("delete", "db") == "The pool 'db' has no limit.\n"


@pytest.mark.parametrize(("name", "limit"), [("", 1), ("x" * 256, 1), ("db", -1), ("db", 1_000_001)])
def test_what_is_no_limit_of_a_pool_is_refused(tmp_path: Path, name: str, limit: int) -> None:
    with opened(tmp_path, PoolSettings()) as store:
        with pytest.raises(InvariantViolationError, match="characters, not|has to be 0 to 1000000"):
            limit_pool(store, name, limit)
        assert store.pools() == {}


def test_a_pool_without_a_name_gets_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPGRID_HOME", str(tmp_path))
    monkeypatch.delenv("OPGRID_DATABASE_URL", raising=False)
    told = CliRunner().invoke(instance, ["concurrency", "set", "", "1"])
    assert isinstance(told.exception, InvariantViolationError)
    with opened(tmp_path, PoolSettings()) as store:
        assert store.pools() == {}
