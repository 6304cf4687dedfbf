"""The weather example: its partitions, schedule, failure sensor and chain; loaded and backfilled by the service."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from examples.weather_etl.jobs import alert, every_morning, records, weather, when_a_load_fails
from examples.weather_etl.station import DATA, Station
from examples.weather_etl.warehouse import Warehouse
from opgrid import (
    RunRequest,
    build_run_status_sensor_context,
    build_schedule_context,
    instance_for_test,
)
from opgrid.contracts.events import RunFailed
from tests.integration.service import Service, until


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, Any]:
    return {"station": Station(), "warehouse": Warehouse(path=str(tmp_path / "weather.db"))}


def by_hand() -> list[dict[str, str]]:
    with DATA.open(newline="") as file:
        return list(csv.DictReader(file))


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_day_a_range_and_the_records(tmp_path: Path, resources: dict[str, Any]) -> None:
    path = tmp_path / "weather.db"
    for partition in ("2014-07-01", "2014-07-01", "2012-01-01...2015-12-31"):
        assert weather.execute_in_process(partition_key=partition, resources=resources).success
    expected = by_hand()
    assert rows(path, "select count(*), round(sum(rain), 1) from days") == [
        (1461, round(sum(float(row["precipitation"]) for row in expected), 1))
    ]
    found = records.execute_in_process(resources=resources).output_for_node("find_records")
    hottest = max(expected, key=lambda row: float(row["temp_max"]))
    assert found["hottest"] == f"{hottest['date']}: {float(hottest['temp_max'])}"
    coldest = min(expected, key=lambda row: float(row["temp_min"]))
    assert found["coldest"] == f"{coldest['date']}: {float(coldest['temp_min'])}"


def test_the_schedule_asks_for_yesterday() -> None:
    for now, day in (("2026-11-24", "2014-11-23"), ("2028-03-01", "2012-02-29"), ("2027-01-01", "2014-12-31")):
        moment = datetime.fromisoformat(f"{now}T06:00").replace(tzinfo=UTC)
        request = every_morning(build_schedule_context(scheduled_execution_time=moment))
        assert isinstance(request, RunRequest)
        assert request.partition_key == day
        weather.validate_partition_key(day)


def test_a_load_that_fails_leads_to_an_alert(tmp_path: Path, resources: dict[str, Any]) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("date,precipitation,temp_max,temp_min,wind\n2014-07-01,0.0,10.0,20.0,1.0\n")
    resources["station"] = Station(path=str(broken))
    with instance_for_test() as instance:
        for partition, reason in (("2014-07-01", "is above"), ("2014-07-02", "nothing of 2014-07-02")):
            result = weather.execute_in_process(
                partition_key=partition, resources=resources, instance=instance, raise_on_error=False
            )
            assert not result.success
            (event,) = [each for each in instance.all_logs(result.run_id) if isinstance(each, RunFailed)]
            context = build_run_status_sensor_context("when_a_load_fails", event, instance, result.run)
            (request,) = when_a_load_fails.evaluate_run(context).run_requests
            assert alert.execute_in_process(request.run_config, resources=resources).success
            (told,) = rows(tmp_path / "weather.db", f"select * from alerts where partition = '{partition}'")
            assert (told[0], reason in told[2]) == (result.run_id, True)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    root = str(Path(__file__).parents[2])
    made.environ["PYTHONPATH"] = root
    monkeypatch.chdir(tmp_path)  # where the warehouse is
    yield made
    made.close()


def test_backfilled_by_the_service(service: Service, tmp_path: Path) -> None:
    code = ("-m", "examples.weather_etl.jobs")
    service.start("orchestrator")
    service.start("daemon", "run", *code)
    days = ("--from", "2014-07-01", "--to", "2014-07-03", "--noprompt")
    for options in (("--executor", "in_process"), ("--single-run", "--executor", "in_process")):
        asked = service.start("job", "backfill", *code, "-j", "weather", *days, *options)
        assert asked.wait(100) == 0, service.logs()
    chain = "sensor:examples.weather_etl.jobs:records_after_weather"
    until(lambda: len(service.store.launched(chain)) == 4, 120, service.logs)
    for run_id in service.store.launched(chain).values():
        assert service.ended(run_id).value == "SUCCESS"
    assert rows(tmp_path / "weather.db", "select count(*) from days") == [(3,)]
    assert len(rows(tmp_path / "weather.db", "select * from records")) == 4
