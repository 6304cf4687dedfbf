"""What workers read of each run: stored once, by a hash that every message of the run names."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from opgrid.broker.connection import reaching
from opgrid.broker.messages import encode_run
from opgrid.broker.protocol import RUN_TTL, Protocol
from opgrid.contracts.executor import ExecutorSetup
from opgrid.contracts.tasks import RunBrief
from opgrid.contracts.wire import hash_of
from opgrid.errors import SettingsError
from opgrid.ids import RunId
from opgrid.io.envelope import seal
from opgrid.io.keys import KeyRing
from opgrid.loading import by_value

_PURPOSE_JOB = "job"


class Known(NamedTuple):
    given: RunBrief
    content: str  #: the hash
    brief: RunBrief  #: as workers read it


class Briefs:
    """Of one executor. A brief is stored with the first message that names it, or at once."""

    def __init__(self, setup: ExecutorSetup, stream: str, protocol: Protocol, ring: KeyRing) -> None:
        self._setup, self._stream, self._protocol, self._ring = setup, stream, protocol, ring
        self._known: dict[RunId, Known] = {}
        self._unstored: dict[str, bytes] = {}  #: by hash
        #: The job, when it travels by value, and its hash once it is stored.
        self._pickled = by_value(setup.job) if setup.code is None and setup.job is not None else None
        self._job: str | None = None

    def get(self, run_id: RunId) -> Known | None:
        return self._known.get(run_id)

    def all(self) -> list[Known]:
        return list(self._known.values())

    def of(self, run: RunBrief, again: bool = False) -> Known:
        """``again``: to be stored even if it was before. Raises SettingsError and BrokerUnreachable."""
        known = self._known.get(run.run_id)
        if known is not None and known.given is run and not again:
            return known
        brief = run if run.stream else msgspec.structs.replace(run, stream=self._stream)
        if self._setup.code is None and not brief.job.location and brief.job.value is None:
            job = msgspec.structs.replace(brief.job, value=self._stored_job())
            brief = msgspec.structs.replace(brief, job=job)
        content, data = encode_run(brief)
        self._unstored[content] = data
        known = self._known[run.run_id] = Known(run, content, brief)
        return known

    def stored(self, run: RunBrief, again: bool = False) -> Known:
        """As ``of``, and it is stored at once."""
        known = self.of(run, again)
        data = self._unstored.get(known.content)
        if data is not None:
            with reaching(self._protocol.url):
                self._protocol.client.set(self._protocol.keys.brief(known.content), data, ex=RUN_TTL)
            del self._unstored[known.content]
        return known

    def unstored(self, content: str) -> bytes | None:
        """What is to be stored with the next message; None where it was."""
        return self._unstored.get(content)

    def is_stored(self, content: str) -> None:
        """With a message."""
        self._unstored.pop(content, None)

    def store_again(self, run_id: RunId) -> None:
        """With its next message: a worker that does not find the brief throws that away."""
        known = self._known.get(run_id)
        if known is not None:
            content, data = encode_run(known.brief)
            self._unstored[content] = data

    def start_over(self) -> None:
        """Redis has lost the job, too."""
        self._job = None

    def forget(self, run_id: RunId) -> Known | None:
        known = self._known.pop(run_id, None)
        if known is not None:
            self._unstored.pop(known.content, None)
        return known

    def _stored_job(self) -> str:
        """A job that no worker can load by name travels pickled and signed, once."""
        if self._job is None:
            data = self._pickled
            if data is None:
                raise SettingsError("The Celery executor was given neither a code location nor a job.")
            self._job = hash_of(data)
            with reaching(self._protocol.url):
                sealed = seal(_PURPOSE_JOB, [data], self._ring)
                self._protocol.client.set(self._protocol.keys.job(self._job), sealed, ex=RUN_TTL)
        return self._job
