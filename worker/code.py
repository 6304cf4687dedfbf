"""The user's code in this worker: loaded before children are forked, found by name, compared by structure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cloudpickle

from opgrid.contracts.tasks import CodeTarget, JobRef
from opgrid.contracts.wire import code_version
from opgrid.definitions.job import JobDefinition
from opgrid.errors import LoadError, OpGridError, PayloadRejected, UnknownName
from opgrid.io.envelope import open_sealed
from opgrid.io.keys import KeyRing
from opgrid.loading import CodeMismatch, job_for, load

PURPOSE_JOB = "job"


class CodeMissing(LoadError):
    """No code location of this worker has the job."""

    def __init__(self, job: str, location: str, here: Sequence[str]) -> None:
        super().__init__(job, location, tuple(here))
        self.job, self.location, self.here = job, location, here

    def describe(self) -> str:
        here = ", ".join(self.here) or "none; start it with -f FILE or -m MODULE"
        return f"This worker has no job {self.job!r} of {self.location or 'that location'} (it serves: {here})."


class JobUnreadable(LoadError):
    """A job that travelled by value, and needs what is not here."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def describe(self) -> str:
        return (
            f"This run's job came by value, and cannot be read here ({self.problem}). Workers need the modules that "
            "its ops were imported from; or pass reconstructable(job), and have workers serve its file or module."
        )


class Code:
    """All code locations that this worker serves."""

    def __init__(self, targets: Sequence[CodeTarget]) -> None:
        self.targets = tuple(targets)

    def warm(self) -> None:
        """Import everything now: children that are forked later have it already. LoadError."""
        for target in self.targets:
            load(target)

    def versions(self) -> tuple[str, ...]:
        """Of each location; empty for one with a job that cannot be resolved."""
        found = []
        for target in self.targets:
            try:
                jobs = load(target).resolve_all_job_defs()
            except OpGridError:
                found.append("")
            else:
                found.append(code_version((job.name, job.structure_hash) for job in jobs))
        return tuple(found)

    @property
    def locations(self) -> list[str]:
        return [target.location for target in self.targets]

    def job(self, wanted: JobRef) -> JobDefinition:
        """The very job that the run was planned from. LoadError: CodeMissing or CodeMismatch.

        A location of another name will do when its job has the same structure: what counts is the hash.
        """
        refused: LoadError | None = None
        for target in sorted(self.targets, key=lambda each: each.location != wanted.location):
            try:
                return job_for(wanted, target)
            except CodeMismatch as error:
                refused = refused or error
            except UnknownName:
                continue
        raise refused or CodeMissing(wanted.name, wanted.location, self.locations)


@lru_cache(maxsize=16)
def unpickled_job(sealed: bytes, ring: KeyRing) -> JobDefinition:
    """A job that travelled by value. Raises JobUnreadable; PayloadRejected before anything is unpickled that we did not
    sign.
    """
    (data,) = open_sealed(sealed, PURPOSE_JOB, ring)
    try:
        job = cloudpickle.loads(data)
    except (Exception, SystemExit) as error:
        raise JobUnreadable(f"{type(error).__name__}: {error}") from error
    if not isinstance(job, JobDefinition):
        raise PayloadRejected(f"a {type(job).__name__} came where a job should be")
    return job
