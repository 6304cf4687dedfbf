"""The composition root: the one place that knows which implementation stands behind which protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opgrid.contracts.executor import Executor, ExecutorSetup
from opgrid.io.keys import KeyRing
from orchestrator.coordinator.children import Children
from orchestrator.coordinator.coordinator import Coordinator
from orchestrator.coordinator.fleet import Fleet
from orchestrator.daemon.daemon import DUTIES, Daemon
from orchestrator.locations.loader import Loader
from orchestrator.locations.location import Location, Source
from orchestrator.services.removal import Removal
from orchestrator.settings import Settings
from orchestrator.storage.service_protocols import ServiceStore

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def open_store(settings: Settings) -> ServiceStore:
    """The store at the database URL, brought to this version. Raises DatabaseUnreachable."""
    from orchestrator.storage.sql.store import SqlStore

    return SqlStore(settings.database_url, settings.sections.concurrency.pools)


def open_coordinator(settings: Settings, store: ServiceStore) -> Coordinator:
    """The service over a store that stays open. Nothing starts before it runs."""
    home, broker_url = settings.make_home(), settings.broker_url

    def make_executor(stream: str) -> Executor:
        from opgrid.plugins import executor_class

        setup = ExecutorSetup({}, str(home), None, None, broker_url, stream, database=store.identity())
        return executor_class("celery").create(setup)

    children = Children(store, home, environ_of(settings))
    limits = settings.sections.concurrency.runs
    monitoring = settings.sections.run_monitoring
    if broker_url is None:
        return Coordinator(store, children, limits, None, monitoring=monitoring)
    return Coordinator(store, children, limits, make_executor, Fleet(store, broker_url), monitoring)


def open_loader(settings: Settings, sources: Sequence[Source]) -> Loader:
    """Code locations, each in a process of its own. Nothing starts before it does; close it."""
    environ, ring = environ_of(settings), ring_for(settings, sources)
    return Loader([Location(source, environ, ring) for source in sources])


def ring_for(settings: Settings, sources: Sequence[Source]) -> KeyRing | None:
    """What code servers are spoken to with; None where there is none. Raises SettingsError where there is no key."""
    is_served = any(source.server is not None for source in sources)
    return KeyRing.load(str(settings.home), create=False) if is_served else None


def open_daemon(settings: Settings, store: ServiceStore, loader: Loader) -> Daemon:
    """Schedules and sensors of the code locations that ``loader`` keeps loaded. Nothing starts before it runs."""
    return Daemon(store, loader, settings.sections, open_removal(settings, store))


def open_web(
    settings: Settings, store: ServiceStore, loader: Loader, *, hosts: Sequence[str], prefix: str, is_read_only: bool
) -> ASGIApp:
    """The API and the pages. Raises SettingsError for tokens that are not there."""
    from orchestrator.api.access import Access
    from orchestrator.api.app import make_app
    from orchestrator.api.backend import Backend
    from orchestrator.api.pulse import Heart

    heart = Heart(store, lambda: loader.version)
    backend = Backend(store, loader, settings.sections, heart, open_removal(settings, store), DUTIES, is_read_only)
    web = settings.sections.web
    return make_app(backend, Access(web, is_read_only), (*hosts, *web.allowed_hosts), prefix)


def open_removal(settings: Settings, store: ServiceStore) -> Removal:
    return Removal(store, settings.home, settings.broker_url)


def environ_of(settings: Settings) -> dict[str, str]:
    """What makes another process use the same installation."""
    found = {"OPGRID_HOME": str(settings.make_home()), "OPGRID_DATABASE_URL": settings.database_url}
    return found if settings.broker_url is None else {**found, "OPGRID_BROKER_URL": settings.broker_url}
