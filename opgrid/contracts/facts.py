"""What an op tells of the world outside: what it made, what it looked at, what it checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from opgrid.contracts.metadata import MetadataValue, RawMetadata, check_metadata
from opgrid.contracts.tags import tags_of
from opgrid.errors import InvalidDefinitionError

_BETWEEN_PARTS: Final = re.compile(r"\W+")


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

    @classmethod
    def from_user_string(cls, text: str) -> AssetKey:
        """Of ``warehouse/orders``."""
        return cls(text.split("/"))

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.path)

    def to_user_string(self) -> str:
        return "/".join(self.path)

    def to_string(self) -> str:
        """As JSON: ``["warehouse", "orders"]``."""
        return json.dumps(self.path)

    def to_python_identifier(self, suffix: str | None = None) -> str:
        """``warehouse__orders``, for what has to have a name."""
        return "__".join([*self.path, *([] if suffix is None else [suffix])]).replace("-", "_").replace(".", "_")

    def with_prefix(self, prefix: str | Sequence[str]) -> AssetKey:
        return AssetKey([*AssetKey(prefix).path, *self.path])

    def has_prefix(self, prefix: Sequence[str]) -> bool:
        return self.path[: len(prefix)] == list(prefix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AssetKey) and self.path == other.path

    def __hash__(self) -> int:
        return hash(tuple(self.path))

    def __repr__(self) -> str:
        return f"AssetKey({self.path!r})"


class _Fact:
    """Two that say the same are equal."""

    __slots__ = ()

    def _said(self) -> list[Any]:
        raise NotImplementedError

    def __hash__(self) -> int:
        return hash(repr(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._said() == other._said()


class _AssetEvent(_Fact):
    """A key that is one text is divided where it holds anything but letters, digits and underscores; with none of
    these, it is one part.
    """

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
        self.asset_key = AssetKey.of(_parts(asset_key) if isinstance(asset_key, str) else asset_key)
        self.description = _text(description, "description", what)
        self.metadata = check_metadata(metadata, what)
        self.partition = _text(partition, "partition", what)
        self.tags = tags_of(tags, what)

    @property
    def label(self) -> str:
        return " ".join(self.asset_key.path)

    def with_metadata(self, metadata: RawMetadata | None) -> Self:
        """The same with this metadata in the place of its own."""
        return type(self)(self.asset_key, self.description, metadata, self.partition, self.tags)

    def _said(self) -> list[Any]:
        return [self.asset_key, self.description, self.metadata, self.partition, self.tags]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.asset_key.to_user_string()!r})"


def _text(given: object, name: str, what: str) -> str | None:
    if given is None or isinstance(given, str):
        return given
    raise InvalidDefinitionError(f"The {name} of {what} has to be text, not {given!r}.")


def _parts(text: str) -> list[str]:
    return [part for part in _BETWEEN_PARTS.split(text) if part] or [text]


class AssetMaterialization(_AssetEvent):
    """A step has produced or changed something outside of opgrid."""

    __slots__ = ()

    @staticmethod
    def file(
        path: str, description: str | None = None, asset_key: AssetKey | str | Sequence[str] | None = None
    ) -> AssetMaterialization:
        """A file was written; its key is its path, where none is given."""
        return AssetMaterialization(asset_key or path, description, {"path": MetadataValue.path(path)})


class AssetObservation(_AssetEvent):
    """A step has looked at something outside of opgrid."""

    __slots__ = ()


class ExpectationResult(_Fact):
    """The outcome of a check of data; it does not fail the step."""

    __slots__ = ("description", "label", "metadata", "success")

    def __init__(
        self,
        success: bool,
        label: str | None = None,
        description: str | None = None,
        metadata: RawMetadata | None = None,
    ) -> None:
        what = "an ExpectationResult"
        given: object = success
        if not isinstance(given, bool):
            raise InvalidDefinitionError(f"The success of {what} is True or False, not {success!r}.")
        self.success = success
        self.label = _text(label, "label", what)
        self.description = _text(description, "description", what)
        self.metadata = check_metadata(metadata, what)

    def _said(self) -> list[Any]:
        return [self.success, self.label, self.description, self.metadata]

    def __repr__(self) -> str:
        return f"ExpectationResult({self.success!r}, {self.label!r})"
