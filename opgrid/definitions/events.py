"""What ops give and tell: outputs, events of their own, failures and requests to be tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from opgrid.definitions.metadata import RawMetadata, check_metadata
from opgrid.definitions.names import check_mapping_key, tags_of
from opgrid.errors import InvalidDefinitionError, OpGridError

T = TypeVar("T")


class Output(Generic[T]):
    """A value for one output of an op, with metadata.

    @op(out={"rows": Out(), "errors": Out(is_required=False)})
    def parse():
        yield Output(12, "rows", metadata={"source": "a.csv"})
    """

    __slots__ = ("data_version", "metadata", "output_name", "tags", "value")

    def __init__(
        self,
        value: T,
        output_name: str = "result",
        metadata: RawMetadata | None = None,
        data_version: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.value = value
        self.output_name = output_name
        self.metadata: Mapping[str, Any] = check_metadata(metadata, f"output {output_name!r}") if metadata else {}
        self.data_version = data_version
        self.tags = tags_of(tags, f"output {output_name!r}") if tags else {}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Output)
            and self.value == other.value
            and self.output_name == other.output_name
            and self.metadata == other.metadata
            and self.data_version == other.data_version
            and self.tags == other.tags
        )

    def __repr__(self) -> str:
        return f"Output({self.value!r}, {self.output_name!r})"


class DynamicOutput(Generic[T]):
    """One of the values of a dynamic output; ``mapping_key`` names it, and the steps that are mapped over it.

    @op(out=DynamicOut())
    def files():
        for path in paths:
            yield DynamicOutput(path, mapping_key=path.stem)
    """

    __slots__ = ("mapping_key", "metadata", "output_name", "value")

    def __init__(
        self, value: T, mapping_key: str, output_name: str = "result", metadata: RawMetadata | None = None
    ) -> None:
        self.value = value
        self.mapping_key = check_mapping_key(mapping_key)
        self.output_name = output_name
        self.metadata: Mapping[str, Any] = check_metadata(metadata, f"output {output_name!r}") if metadata else {}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DynamicOutput)
            and self.value == other.value
            and self.mapping_key == other.mapping_key
            and self.output_name == other.output_name
            and self.metadata == other.metadata
        )

    def __repr__(self) -> str:
        return f"DynamicOutput({self.value!r}, {self.mapping_key!r}, {self.output_name!r})"


# ---- events ----------------------------------------------------------------------------------------------


class AssetKey:
    """The name of something that steps produce or look at, in parts: ``AssetKey(["warehouse", "orders"])``."""

    __slots__ = ("path",)

    def __init__(self, path: str | Sequence[str]) -> None:
        parts: list[Any] = [path] if isinstance(path, str) else list(path)
        if not parts or not all(isinstance(part, str) and part for part in parts):
            raise InvalidDefinitionError(
                f"AssetKey({path!r}): it takes a string, or a list of strings that is not empty."
            )
        self.path = parts

    @classmethod
    def of(cls, given: AssetKey | str | Sequence[str]) -> AssetKey:
        """What users may write for a key."""
        return given if isinstance(given, AssetKey) else cls(given)

    def to_user_string(self) -> str:
        return "/".join(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AssetKey) and self.path == other.path

    def __hash__(self) -> int:
        return hash(tuple(self.path))

    def __repr__(self) -> str:
        return f"AssetKey({self.path!r})"


class _AssetEvent:
    __slots__ = ("asset_key", "description", "metadata", "partition", "tags")

    def __init__(
        self,
        asset_key: AssetKey | str | Sequence[str],
        description: str | None = None,
        metadata: RawMetadata | None = None,
        partition: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        what = type(self).__name__
        self.asset_key = AssetKey.of(asset_key)
        self.description = description
        self.metadata = check_metadata(metadata, what)
        self.partition = partition
        self.tags = tags_of(tags, what)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.asset_key.to_user_string()!r})"


class AssetMaterialization(_AssetEvent):
    """A step has produced or changed something outside of opgrid."""

    __slots__ = ()


class AssetObservation(_AssetEvent):
    """A step has looked at something outside of opgrid."""

    __slots__ = ()


class ExpectationResult:
    """The outcome of a check of data; it does not fail the step."""

    __slots__ = ("description", "label", "metadata", "success")

    def __init__(
        self,
        success: bool,
        label: str | None = None,
        description: str | None = None,
        metadata: RawMetadata | None = None,
    ) -> None:
        self.success = success
        self.label = label
        self.description = description
        self.metadata = check_metadata(metadata, "an ExpectationResult")

    def __repr__(self) -> str:
        return f"ExpectationResult({self.success!r}, {self.label!r})"


@dataclass(frozen=True, slots=True)
class TypeCheck:
    """What the check function of a type may return instead of a bool."""

    success: bool
    description: str | None = None
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_metadata(self.metadata, "a TypeCheck")


# ---- raised by users -------------------------------------------------------------------------------------


class Failure(OpGridError):
    """Raise it to fail a step with a description and metadata; ``allow_retries=False`` goes past any retry policy."""

    def __init__(
        self,
        description: str | None = None,
        metadata: RawMetadata | None = None,
        allow_retries: bool | None = None,
    ) -> None:
        super().__init__(description, metadata, allow_retries)
        self.description = description
        self.metadata = check_metadata(metadata, "a Failure")
        self.allow_retries = True if allow_retries is None else allow_retries

    def describe(self) -> str:
        return self.description or "Failure"


class RetryRequested(OpGridError):
    """Raise it, best ``from`` the error at hand, to have the step tried again."""

    def __init__(self, max_retries: int | None = 1, seconds_to_wait: float | None = None) -> None:
        super().__init__(max_retries, seconds_to_wait)
        self.max_retries = 1 if max_retries is None else max_retries
        self.seconds_to_wait = seconds_to_wait

    def describe(self) -> str:
        wait = "" if self.seconds_to_wait is None else f", after {self.seconds_to_wait} s"
        return f"The op asked to be tried again, {self.max_retries} times at most{wait}."
