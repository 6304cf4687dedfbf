"""The composition root: the one place that knows which implementation stands behind which protocol."""

from __future__ import annotations

from collections.abc import Sequence

from opgrid.contracts.executor import Executor, ExecutorSetup
from orchestrator.coordinator.children import Children
from orchestrator.coordinator.coordinator import Coordinator
from orchestrator.daemon.daemon import Daemon
from orchestrator.locations.location import Location, Source
from orchestrator.settings import Settings
from orchestrator.storage.service_protocols import ServiceStore


def open_store(settings: Settings) -> ServiceStore:
    """The store at the database URL, brought to this version. Raises DatabaseUnreachable."""
    from orchestrator.storage.sql.store import SqlStore

    return SqlStore(settings.database_url)


def open_coordinator(settings: Settings, store: ServiceStore) -> Coordinator:
    """The service over a store that stays open. Nothing starts before it runs."""
    home, broker_url = settings.make_home(), settings.broker_url

    def make_executor(stream: str) -> Executor:
        from opgrid.plugins import executor_class

        return executor_class("celery").create(ExecutorSetup({}, str(home), None, None, broker_url, stream))

    children = Children(store, home, environ_of(settings))
    limits = settings.sections.concurrency.runs
    return Coordinator(store, children, limits, make_executor if broker_url is not None else None)


def open_daemon(settings: Settings, store: ServiceStore, sources: Sequence[Source]) -> Daemon:
    """Schedules and sensors of these code locations. Nothing starts before it runs."""
    environ = environ_of(settings)
    return Daemon(store, [Location(source, environ) for source in sources], settings.sections)


def environ_of(settings: Settings) -> dict[str, str]:
    """What makes another process use the same installation."""
    found = {"OPGRID_HOME": str(settings.make_home()), "OPGRID_DATABASE_URL": settings.database_url}
    return found if settings.broker_url is None else {**found, "OPGRID_BROKER_URL": settings.broker_url}
