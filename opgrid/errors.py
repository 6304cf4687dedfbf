"""The error tree. An error names the thing, the place and the way out; its fields are its arguments, so it pickles.

``ErrorClass("a message")`` works for every class of the public tree; specific errors below them take fields and build
the message from these in :meth:`OpGridError.describe`.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Iterable, Sequence


class OpGridError(Exception):
    """The base of all errors that opgrid raises on purpose."""

    #: of the command line, when this error ends it
    exit_code = 1

    def describe(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__

    def __str__(self) -> str:
        return self.describe()


class OutputGone(OpGridError, LookupError):
    """A value that a step had stored is not there any more: its store lost it, or its time was over."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def listed(names: Collection[str], most: int = 20) -> str:
    """``'a', 'b', 'c'`` for a sentence, cut at ``most``."""
    shown = ", ".join(repr(name) for name in sorted(names)[:most])
    more = len(names) - most
    return (shown or "none") + (f" and {more} more" if more > 0 else "")


# ---- definitions ---------------------------------------------------------------------------------------------------


class InvalidDefinitionError(OpGridError):
    """A definition breaks a rule; raised where it is made."""

    exit_code = 3


class InvalidConfigDefinitionError(InvalidDefinitionError):
    """A config schema is not one."""


class InvalidInvocationError(OpGridError):
    """An op was called in a way that its definition does not allow."""


class InvariantViolationError(OpGridError):
    """What was asked contradicts what opgrid guarantees."""

    exit_code = 2


class InvalidSubsetError(OpGridError):
    """A selection names steps that the job does not have."""

    exit_code = 2


class NothingSelected(InvalidSubsetError):
    """A clause of a selection matches no step."""

    def __init__(self, clause: str, known: Sequence[str]) -> None:
        super().__init__(clause, known)
        self.clause, self.known = clause, known

    def describe(self) -> str:
        name = self.clause.strip("*+").partition("[")[0]
        hint = nearest(name, self.known) or f" There are: {listed(self.known)}."
        return f"The selection {self.clause!r} matches no step of this job.{hint}"


class InvalidConfigError(OpGridError):
    """Run config does not fit its schema; the message lists every error with its path, ``errors`` holds them one by
    one.
    """

    exit_code = 2

    def __init__(self, message: str, errors: Sequence[object] = ()) -> None:
        super().__init__(message, errors)
        self.message, self.errors = message, errors


class ConfigMappingFunctionError(OpGridError):
    """The function of a config mapping raised; see ``__cause__``."""

    exit_code = 2


class NotPartitionedError(InvariantViolationError):
    """A partition was asked for of a job that has none."""


class BackwardsRange(InvariantViolationError):
    """The end of a range of partitions comes before its start."""

    def __init__(self, start: str, end: str, of: str = "") -> None:
        super().__init__(start, end, of)
        self.start, self.end, self.of = start, end, of

    def describe(self) -> str:
        place = f"in {self.of}, " if self.of else ""
        return (
            f"The range from {self.start!r} to {self.end!r} runs backwards: {place}{self.end!r} comes first. Swap them."
        )


class UnknownPartitionError(OpGridError):
    """A partition key that the partitions definition does not have."""

    exit_code = 2


class UnknownResourceError(OpGridError, AttributeError):
    """``context.resources`` has no such resource, or the op did not declare that it needs it."""


class UnmetExecutorRequirementsError(OpGridError):
    """The executor cannot run this job as it is configured; found before the run starts."""

    exit_code = 2


class UnknownName(OpGridError):
    """Something was looked up by name and is not there."""

    exit_code = 2

    def __init__(self, kind: str, name: str, known: Collection[str], where: str = "", hint: str = "") -> None:
        super().__init__(kind, name, known, where, hint)
        self.kind, self.name, self.known, self.where, self.hint = kind, name, known, where, hint

    def describe(self) -> str:
        place = f" in {self.where}" if self.where else ""
        known = f" There are: {listed(self.known)}." if self.known else " There is none."
        hint = f" {self.hint}" if self.hint else ""
        return f"There is no {self.kind} {self.name!r}{place}.{nearest(self.name, self.known)}{known}{hint}"


class UnknownJob(UnknownName, InvariantViolationError):
    """A code location has no job of that name."""


class UnknownExecutor(UnknownName):
    """No executor of that name is installed."""


# ---- loading code ----------------------------------------------------------------------------------------------------


class LoadError(OpGridError):
    """Definitions could not be loaded from where the user said they are."""

    exit_code = 3


class ShadowedPackage(LoadError):
    """A stranger's module stands where one of opgrid's own packages must be."""

    def __init__(self, package: str, found: str, expected: str) -> None:
        super().__init__(package, found, expected)
        self.package, self.found, self.expected = package, found, expected

    def describe(self) -> str:
        return (
            f"opgrid needs its own package {self.package!r} ({self.expected}), but {self.found} is in the way. "
            f"Rename that file or folder, or run from another working directory."
        )


# ---- running ---------------------------------------------------------------------------------------------------------


class UserCodeExecutionError(OpGridError):
    """User code raised; see ``__cause__``."""


class ExecutionStepExecutionError(UserCodeExecutionError):
    """The body of an op raised."""


class ExecutionLoadInputError(UserCodeExecutionError):
    """Loading an input failed."""


class ExecutionHandleOutputError(UserCodeExecutionError):
    """Storing an output failed."""


class ResourceFunctionError(UserCodeExecutionError):
    """Opening a resource failed."""


class HookExecutionError(UserCodeExecutionError):
    """A hook raised; its step is not affected."""


class TypeCheckError(UserCodeExecutionError):
    """A type's check function itself raised."""


class TypeCheckDidNotPass(OpGridError):
    """A value is not of the type that its input or output declares."""

    def __init__(self, description: str, type: str = "", metadata: dict[str, object] | None = None) -> None:
        super().__init__(description, type, metadata)
        self.description, self.type, self.metadata = description, type, metadata or {}


class StepOutputNotFoundError(OpGridError):
    """A required output was not yielded."""

    def __init__(self, description: str, step_key: str = "", output_name: str = "") -> None:
        super().__init__(description, step_key, output_name)
        self.step_key, self.output_name = step_key, output_name


class ExecutionStepNotFoundError(InvalidSubsetError):
    """A run has no such step."""


class MaxRetriesExceededError(OpGridError):
    """A step asked for more retries than it may have, or failed when it had had those of its policy."""


class SubprocessError(OpGridError):
    """A process that ran a step died."""


class ExecutionInterruptedError(BaseException):
    """Raised in user code when its step is canceled."""


class RunNotFoundError(UnknownName):
    """No run has this id."""


class UnknownCursor(InvariantViolationError):
    """The run behind which a list was to go on is not there."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def describe(self) -> str:
        return f"The list cannot go on behind run {self.run_id!r}, which is not there, or not any more. Begin it anew."


class EventLogInvalidForRun(OpGridError):
    """The log of a run holds what this version of opgrid cannot read."""

    exit_code = 4

    def __init__(self, run_id: str, entry: int = 0, problem: str = "") -> None:
        super().__init__(run_id, entry, problem)
        self.run_id, self.entry, self.problem = run_id, entry, problem

    def describe(self) -> str:
        entry = f" at entry {self.entry}" if self.entry else ""
        problem = f": {self.problem.rstrip('.')}" if self.problem else ""
        return (
            f"The log of run {self.run_id!r} cannot be read{entry}{problem}. Read it with the version of opgrid that "
            f"wrote it, or forget the run: opgrid run delete {self.run_id}"
        )


class RunAlreadyExists(OpGridError):
    """A run with this id is in the storage already."""

    exit_code = 2


class RunFailedError(OpGridError):
    """A run ended in failure and its caller asked for an exception."""


class LaunchFailedError(OpGridError):
    """A run could not be launched."""


class HomeNotSetError(OpGridError):
    """OPGRID_HOME is needed and not set."""

    exit_code = 2


class SettingsError(OpGridError):
    """A setting is unknown or has a value that cannot be used."""

    exit_code = 2


class PathNotText(SettingsError):
    """A file or folder has a name that cannot be stored and sent, since it is no text."""

    def __init__(self, path: str, encoding: str) -> None:
        super().__init__(path, encoding)
        self.path, self.encoding = path, encoding

    @classmethod
    def check(cls, path: str | None) -> None:
        """Raises PathNotText."""
        try:
            (path or "").encode()
        except UnicodeEncodeError:
            raise cls(str(path), sys.getfilesystemencoding()) from None

    def describe(self) -> str:
        return (
            f"The path {self.path!r} is no text: it has a name that is not in {self.encoding}, the encoding of this "
            "process. Rename it, or, where it is UTF-8, set LC_ALL=C.UTF-8."
        )


class ExecutorUnavailable(OpGridError):
    """What an executor depends on cannot be reached now; the same call may be made again."""

    exit_code = 4


class BrokerUnreachable(ExecutorUnavailable):
    """Redis does not answer."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def describe(self) -> str:
        return (
            f"The broker at {self.url} cannot be reached: {self.problem.rstrip('.')}. "
            f"Start it, or set OPGRID_BROKER_URL to one that runs, or unset it to use an embedded Redis."
        )


class BrokerBusy(BrokerUnreachable):
    """Redis answers, and does not do now what it is asked: its memory is full, it cannot save, it is a replica."""

    def describe(self) -> str:
        return f"The broker at {self.url} does not do now what it is asked: {self.problem.rstrip('.')}."


class BrokerRefuses(BrokerUnreachable):
    """Redis answers, and does not let our user do what it must."""

    def describe(self) -> str:
        return (
            f"The broker at {self.url} does not let our user do what it must: {self.problem.rstrip('.')}. "
            "Give it the rights of a worker (ACL SETUSER): its keys, its channels, and the commands."
        )


class BrokerUnfit(BrokerUnreachable):
    """Redis answers, and is in no state to be given steps."""

    def describe(self) -> str:
        return f"The broker at {self.url} is sent no steps: {self.problem}."


class DatabaseUnreachable(OpGridError):
    """The database does not answer."""

    exit_code = 4


class DatabaseUnusable(DatabaseUnreachable):
    """The database is there, and does not let us do what we must, or lacks what it has to have: to wait is no use."""


class ValueRefused(OpGridError):
    """The database is there, and refuses what was to be stored: asked again, it would again."""

    exit_code = 2

    def __init__(self, database: str, problem: str, runs: Sequence[str] = ()) -> None:
        super().__init__(database, problem, runs)
        self.database, self.problem = database, problem
        self.runs = runs  #: of a turn: those that it was about

    def describe(self) -> str:
        return f"The database {self.database} refuses a value: {self.problem}. Make it shorter, or write it otherwise."


class PayloadRejected(OpGridError):
    """Stored bytes are not what their writer signed: they were not unpickled."""


class PayloadDamaged(PayloadRejected):
    """Stored bytes are not what was written there, by accident: who made the value makes it again."""
