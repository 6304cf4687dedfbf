"""The API over a database of the test's own, and one code location for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from opgrid.contracts.tasks import CodeTarget
from orchestrator.api.access import LOCAL, Viewer
from orchestrator.api.backend import Asking, Backend
from orchestrator.api.graphql.schema import schema
from orchestrator.api.pulse import Heart
from orchestrator.daemon.daemon import DUTIES
from orchestrator.locations.loader import Loader
from orchestrator.locations.location import Location, Source
from orchestrator.sections import Sections
from orchestrator.services.removal import Removal
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.sql.store import SqlStore

CODE = CodeTarget(file=str(Path(__file__).with_name("web_code.py")))
PLACE = "web_code.py"


@dataclass
class Api:
    """Asks as the pages do."""

    backend: Backend
    viewer: Viewer = LOCAL
    problems: list[str] = field(default_factory=list)

    @property
    def store(self) -> ServiceStore:
        return self.backend.store

    def raw(self, query: str, **variables: Any) -> Any:
        return schema.execute_sync(query, variables, Asking(self.backend, self.viewer))

    def __call__(self, query: str, **variables: Any) -> Any:
        """The data; fails the test for errors."""
        result = self.raw(query, **variables)
        assert not result.errors, result.errors
        return result.data

    def launch(self, job: str = "adding", config: Any = None, **more: Any) -> str:
        params = {"selector": {"repositoryLocationName": PLACE, "jobName": job}, "runConfigData": config, **more}
        answer = self(LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])


LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId status } }
    ... on RunConfigValidationInvalid { pipelineName errors { __typename message path reason } }
    ... on Error { message }
  }
}
"""


@pytest.fixture(scope="session")
def location(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Location]:
    home = tmp_path_factory.mktemp("code")
    environ = {"OPGRID_HOME": str(home), "OPGRID_DATABASE_URL": f"sqlite:///{home / 'opgrid.db'}"}
    made = Location(Source(PLACE, CODE), environ)
    assert made.load(), made.error
    yield made
    made.close()


@pytest.fixture
def new_api(location: Location) -> Iterator[Callable[[str], Api]]:
    """Makes an API over the database at a URL."""
    stores: list[SqlStore] = []

    def make(url: str) -> Api:
        store = SqlStore(url)
        stores.append(store)
        loader = Loader([location])
        return Api(Backend(store, loader, Sections(), Heart(store, lambda: loader.version), Removal(store), DUTIES))

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def api(new_api: Callable[[str], Api], tmp_path: Path) -> Api:
    return new_api(f"sqlite:///{tmp_path / 'opgrid.db'}")


@pytest.fixture
def any_api(new_api: Callable[[str], Api], database_url: str) -> Api:
    return new_api(database_url)
