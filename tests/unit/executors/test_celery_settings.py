"""What the Celery executor is told by its environment."""

from __future__ import annotations

import pytest

from executors.celery.settings import CelerySettings
from opgrid.contracts.executor import ExecutorSetup
from opgrid.errors import SettingsError

SETUP = ExecutorSetup({}, "home", None, None, "redis://localhost", "s")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("OPGRID_LEASE_TTL", text) for text in ("8s", "-1", "0", "nan", "inf")),
        *(("OPGRID_IO_RETENTION", text) for text in ("1d", "-1", "1.5")),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is '{text}'"):
        CelerySettings.of(SETUP, {name: text})


def test_settings_of_the_environment() -> None:
    found = CelerySettings.of(SETUP, {"OPGRID_LEASE_TTL": "2.5", "OPGRID_IO_RETENTION": "0"})
    assert (found.lease_ttl, found.retention) == (2.5, 0)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 0.0, -1.0])
def test_a_wait_that_no_clock_can_tell_is_refused(seconds: float) -> None:
    setup = ExecutorSetup({"start_timeout": seconds}, "home", None, None, "redis://localhost", "s")
    with pytest.raises(SettingsError, match=r"config of the Celery executor: .*start_timeout"):
        CelerySettings.of(setup, {})
