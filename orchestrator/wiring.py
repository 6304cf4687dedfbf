"""The composition root: the one place that knows which implementation stands behind which protocol."""

from __future__ import annotations

from opgrid.contracts.executor import Executor, ExecutorSetup
from orchestrator.coordinator.children import Children
from orchestrator.coordinator.coordinator import Coordinator
from orchestrator.settings import Settings
from orchestrator.storage.service_protocols import ServiceStore


def open_store(settings: Settings) -> ServiceStore:
    """The store at the database URL, brought to this version. Raises DatabaseUnreachable."""
    from orchestrator.storage.sql.store import SqlStore

    return SqlStore(settings.database_url)


def open_coordinator(settings: Settings, store: ServiceStore) -> Coordinator:
    """The service over a store that stays open. Nothing starts before it runs."""
    home = settings.make_home()
    environ = {"OPGRID_HOME": str(home), "OPGRID_DATABASE_URL": settings.database_url}
    broker_url = settings.broker_url
    if broker_url is not None:
        environ["OPGRID_BROKER_URL"] = broker_url

    def make_executor(stream: str) -> Executor:
        from opgrid.plugins import executor_class

        return executor_class("celery").create(ExecutorSetup({}, str(home), None, None, broker_url, stream))

    children = Children(store, home, environ)
    limits = settings.sections.concurrency.runs
    return Coordinator(store, children, limits, make_executor if broker_url is not None else None)
