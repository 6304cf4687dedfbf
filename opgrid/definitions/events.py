"""What ops give and tell: outputs, events of their own, failures and requests to be tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Generic, TypeVar

from opgrid.contracts.metadata import RawMetadata, check_metadata
from opgrid.contracts.tags import tags_of
from opgrid.definitions.names import check_mapping_key
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

    def with_metadata(self, metadata: RawMetadata | None) -> Output[T]:
        """The same with this metadata in the place of its own."""
        return Output(self.value, self.output_name, metadata, self.data_version, tags=self.tags)

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


@dataclass(frozen=True, slots=True)
class TypeCheck:
    """What the check function of a type may return instead of a bool."""

    success: bool
    description: str | None = None
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metadata", check_metadata(self.metadata, "a TypeCheck"))


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
        self.description = None if description is None else str(description)  # an exception is given often enough
        self.metadata = check_metadata(metadata, "a Failure")
        self.allow_retries = True if allow_retries is None else allow_retries

    def describe(self) -> str:
        return self.description or "Failure"


class RetryRequested(OpGridError):
    """Raise it, best ``from`` the error at hand, to have the step tried again."""

    def __init__(self, max_retries: int | None = 1, seconds_to_wait: float | None = None) -> None:
        super().__init__(max_retries, seconds_to_wait)
        retries: object = max_retries
        if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int)):
            raise InvalidDefinitionError(f"RetryRequested(max_retries={max_retries!r}): it has to be a whole number.")
        wait: object = seconds_to_wait
        if wait is not None and (isinstance(wait, bool) or not isinstance(wait, int | float) or not isfinite(wait)):
            raise InvalidDefinitionError(
                f"RetryRequested(seconds_to_wait={seconds_to_wait!r}): it has to be a number of seconds."
            )
        self.max_retries = 1 if max_retries is None else max_retries
        self.seconds_to_wait = seconds_to_wait

    def describe(self) -> str:
        wait = "" if self.seconds_to_wait is None else f", after {self.seconds_to_wait} s"
        return f"The op asked to be tried again, {self.max_retries} times at most{wait}."
