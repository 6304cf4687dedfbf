"""A pytest fixture: a fleet of real workers over a Redis of its own, which a test may break.

In ``conftest.py``::

    pytest_plugins = ["opgrid.testing.plugin"]

Then a test that asks for ``opgrid_fleet`` gets an ``opgrid.testing.fleet.Fleet``; the mark ``opgrid_fleet`` says what
:func:`opgrid.fleet_for_test` is called with::

    @pytest.mark.opgrid_fleet("my_package.jobs", workers=2)
    def test_a_killed_worker_costs_nothing(opgrid_fleet):
        opgrid_fleet.kill_worker()
        with execute_job(my_job, opgrid_fleet.instance, executor="celery") as result:
            assert result.success
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opgrid.testing.fleet import Fleet, fleet_for_test


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "opgrid_fleet(...): what the fixture opgrid_fleet gives to fleet_for_test")


@pytest.fixture
def opgrid_fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Real Celery workers over an embedded Redis, and an instance, for one test."""
    mark = request.node.get_closest_marker("opgrid_fleet")
    with fleet_for_test(*mark.args, **mark.kwargs) if mark is not None else fleet_for_test() as fleet:
        yield fleet
