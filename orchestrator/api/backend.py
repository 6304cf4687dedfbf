"""What resolvers are handed: the store, the code locations, and who asks."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

from opgrid.errors import OpGridError
from orchestrator.api.access import Viewer
from orchestrator.api.pulse import Heart
from orchestrator.locations.loader import Loader
from orchestrator.locations.location import Location
from orchestrator.locations.messages import Answer, Asked, DescribeJob, JobDetails, JobInfo
from orchestrator.sections import Sections
from orchestrator.services.removal import Removal
from orchestrator.storage.service_protocols import ServiceStore

#: Seconds that user code may take to answer.
PATIENCE = 60.0
#: The one repository of a code location, as Dagster names it.
REPOSITORY = "__repository__"


class NoSuchJob(OpGridError):
    """A job, or a code location, that is not loaded."""


@dataclass
class Backend:
    """One a process."""

    store: ServiceStore
    loader: Loader
    settings: Sections
    heart: Heart
    removal: Removal
    duties: tuple[str, ...] = ()  #: leases of the daemon
    is_read_only: bool = False
    #: Held while a message of events is made: of many who read along, each is one turn of the event loop.
    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    _details: dict[tuple[str, str, float], JobDetails] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def location(self, name: str) -> Location:
        """Raises NoSuchJob."""
        found = self.loader.named(name)
        if found is None:
            raise NoSuchJob(f"There is no code location {name!r}.")
        return found

    def job(self, location: str, name: str) -> tuple[Location, JobInfo]:
        """Raises NoSuchJob."""
        found = self.location(location)
        for job in found.info.jobs:
            if job.name == name:
                return found, job
        raise NoSuchJob(f"Code location {location!r} has no job {name!r}.")

    def details(self, location: str, name: str) -> JobDetails:
        """What only the code knows of a job; asked once for each time that it was loaded. Raises NoSuchJob,
        LocationBroken.
        """
        found, _ = self.job(location, name)
        key = location, name, found.loaded or 0.0
        with self._lock:
            known = self._details.get(key)
        if known is None:
            answer = self.ask(found, DescribeJob(name))
            if not isinstance(answer, JobDetails):
                raise NoSuchJob(f"Code location {location!r} cannot describe {name!r}.")
            known = answer
            with self._lock:
                if len(self._details) > 500:
                    self._details.clear()
                self._details[key] = known
        return known

    def ask(self, location: Location, asked: Asked) -> Answer:
        """Raises LocationBroken."""
        return location.ask(asked, PATIENCE)


@dataclass
class Asking:
    """One request, or one connection over which changes are told."""

    backend: Backend
    viewer: Viewer
    events: int = 0  #: that were read for it
    #: Held while events are read and sent: who does not take them has one message of them waiting, not one of each run.
    telling: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def store(self) -> ServiceStore:
        return self.backend.store
