"""What IO managers are told: which output is to be stored, which input is to be loaded, and on whose behalf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from opgrid.contracts.metadata import MetadataValue, check_metadata
from opgrid.contracts.tasks import OutputRef
from opgrid.errors import InvariantViolationError
from opgrid.ids import StepKey, split_step_key
from opgrid.io.setup import IOSetup

if TYPE_CHECKING:
    from opgrid.config import ConfigField
    from opgrid.definitions.op import OpDefinition
    from opgrid.definitions.types import Type


class Surroundings(Protocol):
    """The step, as far as an IO manager may look at it."""

    @property
    def job_name(self) -> str: ...
    @property
    def op_def(self) -> OpDefinition: ...
    @property
    def log(self) -> Any: ...
    def resources_of(self, manager: str) -> Any: ...
    def config_of(self, manager: str) -> Any: ...
    @property
    def run_tags(self) -> Mapping[str, str]: ...
    @property
    def step_context(self) -> Any: ...
    @property
    def io(self) -> IOSetup: ...
    def log_event(self, event: Any) -> None: ...


class Port(NamedTuple):
    """What is the same for an output, or an input, whichever step of its op it belongs to."""

    name: str
    type: Type | None = None
    config: Any = None
    definition_metadata: Mapping[str, Any] | None = None
    resource_config: Any = None
    manager: str = ""  #: its resource key
    schema: ConfigField | None = None  #: what the manager takes as config
    op: OpDefinition | None = None  #: of an output that another step reads; else that of the step


class IOContext:
    """What the contexts of outputs and inputs have in common."""

    __slots__ = ("_added", "_around", "_port", "ref")

    # Each value that goes or comes has one of these: the classes below set them themselves, without a call.
    _what: ClassVar[str]
    _port: Port
    ref: OutputRef | None
    _around: Surroundings | None
    _added: dict[str, Any] | None

    @property
    def name(self) -> str:
        return self._port.name

    @property
    def type(self) -> Type | None:
        return self._port.type

    @property
    def config(self) -> Any:
        """What the run config says of this input or output for its manager, with what the manager has for a default."""
        port = self._port
        return port.config if port.schema is None else port.schema.read(port.config, f"{self._what} {port.name!r}")

    @property
    def resource_config(self) -> Any:
        """Of the IO manager: what it was opened with."""
        port = self._port
        return self._around.config_of(port.manager) if self._around and port.manager else port.resource_config

    @property
    def definition_metadata(self) -> Mapping[str, Any]:
        return self._port.definition_metadata or {}

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.definition_metadata

    @property
    def output_ref(self) -> OutputRef:
        """Of the output that is written or read; InvariantViolationError for an input that takes none."""
        if self.ref is None:
            raise InvariantViolationError(
                f"Input {self.name!r} takes no output of another step: this IO manager has nothing to load. Connect "
                "it, give it a value in the run config, or an input manager of its own."
            )
        return self.ref

    @property
    def op_def(self) -> OpDefinition:
        """The op that makes the output, or takes the input."""
        return self._port.op or self._surroundings("op_def").op_def

    @property
    def job_name(self) -> str:
        return self._surroundings("job_name").job_name

    @property
    def log(self) -> Any:
        return self._surroundings("log").log

    @property
    def resources(self) -> Any:
        """Those that the manager requires; of one that requires none, the op's."""
        return self._surroundings("resources").resources_of(self._port.manager)

    @property
    def step_context(self) -> Any:
        return self._surroundings("step_context").step_context

    @property
    def io(self) -> IOSetup:
        """Home, broker and keys of this process."""
        return IOSetup.of_environment() if self._around is None else self._around.io

    @property
    def has_partition_key(self) -> bool:
        return self._around is not None and partition_of(self._around.run_tags) is not None

    @property
    def partition_key(self) -> str:
        key = None if self._around is None else partition_of(self._around.run_tags)
        if key is None:
            raise InvariantViolationError("This run has no partition key: ask has_partition_key first.")
        return key

    @property
    def has_asset_key(self) -> bool:
        """For managers that serve assets, too: here there are none."""
        return False

    @property
    def has_asset_partitions(self) -> bool:
        return False

    def log_event(self, event: Any) -> None:
        """Record an asset materialization or observation from within the manager."""
        self._surroundings("log_event").log_event(event)

    def consume_metadata(self) -> dict[str, Any]:
        """What the manager attached; for the event that reports its work."""
        return self._added or {}

    def _add(self, metadata: Mapping[str, Any]) -> None:
        self._added = {**(self._added or {}), **metadata}

    def _surroundings(self, name: str) -> Surroundings:
        if self._around is None:
            raise InvariantViolationError(f"context.{name} was not given: pass it to build_{self._what}_context.")
        return self._around


class OutputContext(IOContext):
    """One output of one attempt at one step.

    ``ref`` tells a built-in manager the attempt and claim under which it writes; what it sets as ``manifest`` (JSON)
    reaches every reader in its ``context.ref.manifest``, and nothing else does.
    """

    __slots__ = ("manifest", "output_metadata")
    _what = "output"

    def __init__(
        self,
        port: str | Port,
        ref: OutputRef,
        around: Surroundings | None = None,
        output_metadata: Mapping[str, Any] | None = None,
        **about: Any,
    ) -> None:
        """``about``: the fields of a :class:`Port` that is given by its name."""
        self._port = Port(port, **about) if isinstance(port, str) else port
        self.ref, self._around, self._added = ref, around, None
        self.manifest: Any = {}
        #: What the op says of this value: ``Output(value, metadata={...})``; nothing where it is read.
        self.output_metadata: Mapping[str, Any] = output_metadata or {}

    @property
    def run_id(self) -> str:
        return self.output_ref.run_id

    @property
    def step_key(self) -> str:
        return self.output_ref.step

    @property
    def mapping_key(self) -> str | None:
        return self.output_ref.mapping_key

    def get_identifier(self) -> list[str]:
        """``[run_id, step_key, output_name]`` and the mapping key: unique per output, the same for writer and
        reader.
        """
        return [self.run_id, *self._place()]

    def get_run_scoped_output_identifier(self) -> list[str]:
        return self.get_identifier()

    def get_output_identifier(self) -> list[str]:
        return self.get_identifier()

    def add_output_metadata(self, metadata: Mapping[str, Any]) -> None:
        self._add(metadata)

    def get_logged_metadata(self) -> dict[str, MetadataValue]:
        """What the manager has added so far."""
        return check_metadata(self._added, f"output {self.name!r}")

    def _place(self) -> list[str]:
        ref = self.output_ref
        return [ref.step, ref.output] if ref.mapping_key is None else [ref.step, ref.output, ref.mapping_key]


class InputContext(IOContext):
    """One input of a step; ``ref`` and ``upstream_output`` are None where its own manager loads it without an
    upstream output.
    """

    __slots__ = ("_upstream", "_writer", "run_id", "step_key")
    _what = "input"

    def __init__(
        self,
        port: str | Port,
        upstream_output: OutputContext | None = None,
        around: Surroundings | None = None,
        *,
        run_id: str = "",
        step_key: str = "",
        writer: Port | None = None,
        ref: OutputRef | None = None,
        **about: Any,
    ) -> None:
        """``ref`` and ``writer``: the output that it takes, where no context of it has been made."""
        self._port = Port(port, **about) if isinstance(port, str) else port
        self.ref = ref if upstream_output is None else upstream_output.ref
        self._around, self._added = around, None
        self._upstream = upstream_output
        self._writer = writer
        self.run_id = run_id
        self.step_key = step_key

    @property
    def has_input_name(self) -> bool:
        return bool(self._port.name)

    @property
    def upstream_output(self) -> OutputContext | None:
        if self._upstream is None and self._writer is not None and self.ref is not None:
            self._upstream = OutputContext(self._writer, self.ref, self._around)
        return self._upstream

    @property
    def mapping_key(self) -> str | None:
        keys = split_step_key(StepKey(self.step_key))[1] if self.step_key else ()
        return keys[-1] if keys else None

    def get_identifier(self) -> list[str]:
        """Of the output that this input takes."""
        upstream = self.upstream_output
        if upstream is None:
            raise InvariantViolationError(f"Input {self.name!r} takes no upstream output, so it has no identifier.")
        return upstream.get_identifier()

    def add_input_metadata(self, metadata: Mapping[str, Any], description: str | None = None) -> None:
        self._add(metadata)


PARTITION_TAG = "opgrid/partition"


def partition_of(tags: Mapping[str, str]) -> str | None:
    return tags.get(PARTITION_TAG) or tags.get("dagster/partition")
