"""The inputs and outputs of ops and graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from opgrid.contracts.facts import AssetKey
from opgrid.contracts.metadata import RawMetadata, check_metadata
from opgrid.definitions.types import Nothing, Type, resolve_type
from opgrid.errors import InvalidDefinitionError

__all__ = ["ABSENT", "DynamicOut", "GraphIn", "GraphOut", "In", "Nothing", "Out"]


class _Absent:
    """Says that a value was not given, where None could be one. Stays one object when it is pickled."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


class In:
    """An input of an op. What is not given here is taken from the parameter of the same name.

    @op(ins={"after": In(Nothing), "rows": In(list, input_manager_key="warehouse")})
    def report(rows): ...
    """

    __slots__ = (
        "_default",
        "_type",
        "asset_key",
        "asset_partitions",
        "description",
        "input_manager_key",
        "metadata",
    )

    def __init__(
        self,
        type: Any = ABSENT,
        description: str | None = None,
        default_value: Any = ABSENT,
        metadata: RawMetadata | None = None,
        asset_key: AssetKey | str | Sequence[str] | None = None,
        asset_partitions: Any = None,
        input_manager_key: str | None = None,
    ) -> None:
        self._type: Type | None = None if type is ABSENT else _type(type, "In")
        self._default = default_value
        self.description = description
        self.metadata = _checked(metadata, "an In") if metadata else {}
        self.asset_key = None if asset_key is None else AssetKey.of(asset_key)
        self.asset_partitions = asset_partitions
        self.input_manager_key = input_manager_key
        if self._type is Nothing and self.has_default:
            raise InvalidDefinitionError("In(Nothing) carries no value, so it cannot have a default_value.")

    @property
    def type(self) -> Type:
        return _ANY if self._type is None else self._type

    @property
    def has_type(self) -> bool:
        """Whether the type was said, rather than left to the annotation."""
        return self._type is not None

    @property
    def has_default(self) -> bool:
        return self._default is not ABSENT

    @property
    def default_value(self) -> Any:
        """Look at ``has_default`` first."""
        if self._default is ABSENT:
            raise InvalidDefinitionError("This input has no default value.")
        return self._default

    def filled(self, type: Type, default_value: Any, description: str | None) -> In:
        """With what the parameter says wherever this says nothing."""
        found = In.__new__(In)
        found._type = type if self._type is None else self._type
        found._default = default_value if self._default is ABSENT else self._default
        found.description = self.description or description
        found.metadata = self.metadata
        found.asset_key = self.asset_key
        found.asset_partitions = self.asset_partitions
        found.input_manager_key = self.input_manager_key
        return found

    def __repr__(self) -> str:
        return f"In({self.type.display_name})"


class Out:
    """An output of an op; with ``is_required=False`` the op may leave it out, and what depends on it is skipped."""

    __slots__ = ("_type", "code_version", "description", "io_manager_key", "is_required", "metadata")

    is_dynamic: bool = False

    def __init__(
        self,
        type: Any = ABSENT,
        description: str | None = None,
        is_required: bool = True,
        io_manager_key: str | None = None,
        metadata: RawMetadata | None = None,
        code_version: str | None = None,
    ) -> None:
        self._type: Type | None = None if type is ABSENT else _type(type, "Out")
        self.description = description
        self.is_required = is_required
        self.io_manager_key = io_manager_key or "io_manager"
        self.metadata = _checked(metadata, "an Out") if metadata else {}
        self.code_version = code_version

    @property
    def type(self) -> Type:
        return _ANY if self._type is None else self._type

    @property
    def has_type(self) -> bool:
        return self._type is not None

    def filled(self, type: Type, description: str | None) -> Out:
        found = self.__class__.__new__(self.__class__)
        found._type = type if self._type is None else self._type
        found.description = self.description or description
        found.is_required = self.is_required
        found.io_manager_key = self.io_manager_key
        found.metadata = self.metadata
        found.code_version = self.code_version
        return found

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.type.display_name})"


class DynamicOut(Out):
    """An output with any number of values, each with a mapping key.

    What takes it is mapped over them, or collects them.
    """

    __slots__ = ()

    is_dynamic = True


class GraphIn:
    """An input of a graph."""

    __slots__ = ("description",)

    def __init__(self, description: str | None = None) -> None:
        self.description = description


class GraphOut:
    """An output of a graph."""

    __slots__ = ("description",)

    def __init__(self, description: str | None = None) -> None:
        self.description = description


_ANY: Final = resolve_type(Any)


def _type(given: Any, where: str) -> Type:
    """In an annotation a string may stand for a class that is not there yet; here it would check nothing."""
    if isinstance(given, str):
        raise InvalidDefinitionError(
            f"{where}({given!r}): a type is a class or a Type, not its name. Pass the class itself."
        )
    return resolve_type(given, where)


def _checked(metadata: RawMetadata, what: str) -> dict[str, Any]:
    """As it was written: IO managers read it, nobody records it."""
    check_metadata(metadata, what)
    return dict(metadata)
