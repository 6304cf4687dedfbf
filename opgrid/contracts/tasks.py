"""What an executor is asked to do: one attempt at one step, and what all steps of a run share."""

from __future__ import annotations

from typing import Any

import msgspec

from opgrid.contracts.config import ExecutorChoice, ResolvedConfig
from opgrid.errors import PathNotText
from opgrid.ids import NodePath, RunId, StepKey

# ``gc=False``: there are very many of these, and frozen values that hold only values before them make no cycles.


class OutputRef(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One stored output of an accepted attempt: all that a reader needs to find it, and to reject anything else."""

    run_id: RunId
    step: StepKey
    output: str = "result"
    mapping_key: str | None = None  #: of a dynamic output
    attempt: int = 1
    claim: str = ""
    manifest: Any = None  #: what the IO manager wants back to load it (JSON); None: nothing was stored


class Stored(msgspec.Struct, frozen=True, gc=False, tag="stored"):
    ref: OutputRef


class Gathered(msgspec.Struct, frozen=True, gc=False, tag="gathered"):
    """A list, in this order."""

    items: tuple[OutputRef, ...]


class FromConfig(msgspec.Struct, frozen=True, gc=False, tag="config"):
    """``inputs.<name>`` of the node's config; see :class:`opgrid.contracts.config.NodeConfig`."""


class FromJobInput(msgspec.Struct, frozen=True, gc=False, tag="job_input"):
    """A top-level input of the job: from ``input_values`` or the ``inputs`` of the run config."""

    name: str


class FromDefault(msgspec.Struct, frozen=True, gc=False, tag="default"):
    """The default value of the parameter or of its ``In``."""


class FromInputManager(msgspec.Struct, frozen=True, gc=False, tag="input_manager"):
    """No upstream output: the input's own manager loads it."""


Source = Stored | Gathered | FromConfig | FromJobInput | FromDefault | FromInputManager


class TaskInput(msgspec.Struct, frozen=True, gc=False):
    name: str
    source: Source


class Ended(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How a step ended whose process died before its hooks had run."""

    kind: str = ""  #: of the error that it failed with; empty: it succeeded
    message: str = ""


class StepTask(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One attempt at one step. ``(run_id, step, attempt)`` names it for ever; inputs of type Nothing are not listed."""

    run_id: RunId
    step: StepKey
    node: NodePath
    attempt: int = 1  #: fences: each start has its own
    retry_number: int = 0  #: counts the retries that the user's policy granted
    mapping_keys: tuple[str, ...] = ()
    inputs: tuple[TaskInput, ...] = ()
    queue: str | None = None
    priority: int = 0  #: higher first
    timeout: float | None = None  #: seconds
    start_timeout: float | None = None  #: seconds that it may wait for a worker
    executor: str | None = None  #: None: the run's executor
    then: tuple[StepTask, ...] = ()  #: steps of the same run to go on with, in this order, where it was
    after: tuple[StepKey, ...] = ()  #: steps of the same message that must have succeeded before
    needs: tuple[Source, ...] = ()  #: outputs of theirs that inputs of type Nothing wait for, and that may not come
    fused: bool = False  #: stays with the steps that it was sent with, however long they take
    alone: bool = False  #: it shares its message with no other
    op: str = ""  #: name of its op: what else ran of it tells how long it may take
    ended: Ended | None = None  #: only its hooks are to be run

    @property
    def id(self) -> tuple[RunId, StepKey, int]:
        return self.run_id, self.step, self.attempt


class CodeTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where user code is loaded from: exactly one of file, module, package."""

    file: str | None = None
    module: str | None = None
    package: str | None = None
    attribute: str | None = None
    working_directory: str | None = None
    arguments: str | None = None  #: JSON ``[args, kwargs]`` for the attribute, which is then a function
    python: str | None = None  #: the interpreter that has what it imports; None: that of whoever loads it

    def __post_init__(self) -> None:
        """Raises PathNotText."""
        for path in (self.file, self.working_directory, self.python):
            PathNotText.check(path)

    @property
    def location(self) -> str:
        """The name of the code location: what messages and workers agree on."""
        return (self.file or self.module or self.package or "").rsplit("/", 1)[-1]


class JobRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which job: by name in a location, and the hash of its structure; or by value."""

    name: str
    structure_hash: str
    location: str = ""
    value: str | None = None  #: hash of the pickled job, when it travels by value


class PythonLogs(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ops write elsewhere than to ``context.log`` and goes into the event log all the same."""

    loggers: tuple[str, ...] = ()  #: of ``logging``, with those below them; ``root`` for all
    level: int | None = None  #: that these loggers are set to
    prints: bool = False  #: standard output and error


class RunBrief(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the steps of one run share. Stored once for remote workers, under its hash."""

    run_id: RunId
    job: JobRef
    executor: ExecutorChoice
    config: ResolvedConfig = ResolvedConfig()
    run_config: Any = None  #: as the user gave it, merged with the job's own: what ``context.run_config`` shows
    tags: dict[str, str] = {}
    root_run_id: RunId | None = None
    parent_run_id: RunId | None = None
    io: str = "filesystem"  #: the IO manager behind ``io_manager`` where the job binds none: memory, filesystem, redis
    stream: str = ""  #: where remote workers report: the shard that drives the run
    created: float = 0.0  #: Unix seconds: tells it from another run that had its id; 0: not known
    python_logs: PythonLogs = PythonLogs()
    notices: tuple[str, ...] = ()  #: what of its config was ignored, in words, for its log
