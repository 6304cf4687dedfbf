"""Tables in metadata: rows, what their columns are, and what is promised of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self


@dataclass(frozen=True, slots=True)
class TableRecord:
    """A row: values by column name."""

    data: Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class TableColumnConstraints:
    """What is promised of a column; ``other`` is free text."""

    nullable: bool = True
    unique: bool = False
    other: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "other", tuple(self.other))


@dataclass(frozen=True, slots=True)
class TableConstraints:
    """What is promised of a table, in free text."""

    other: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "other", tuple(self.other))


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table in metadata. ``type`` is free text."""

    name: str
    type: str = "string"
    description: str | None = None
    constraints: TableColumnConstraints = TableColumnConstraints()
    tags: Mapping[str, str] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"name": self.name, "type": self.type, "description": self.description}
        if self.constraints != TableColumnConstraints():
            promised = self.constraints
            data["constraints"] = {
                "nullable": promised.nullable,
                "unique": promised.unique,
                "other": list(promised.other),
            }
        if self.tags:
            data["tags"] = dict(self.tags)
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        promised = TableColumnConstraints(**data.get("constraints", {}))
        return cls(data["name"], data["type"], data["description"], promised, data.get("tags", {}))


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a table in metadata, in their order."""

    columns: Sequence[TableColumn] = field(default_factory=tuple)
    constraints: TableConstraints = TableConstraints()

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))

    _KINDS: ClassVar[Mapping[type, str]] = {bool: "bool", int: "int", float: "float", str: "string"}

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Self:
        """From the first row; a table without rows has no columns."""
        first = rows[0] if rows else {}
        return cls(tuple(TableColumn(name, cls._KINDS.get(type(value), "string")) for name, value in first.items()))

    @classmethod
    def from_name_type_dict(cls, name_type_dict: Mapping[str, str]) -> Self:
        """Of columns that are given as ``{"id": "int"}``."""
        return cls(tuple(TableColumn(name, kind) for name, kind in name_type_dict.items()))

    def as_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"columns": [each.as_data() for each in self.columns]}
        return {**data, "constraints": list(self.constraints.other)} if self.constraints.other else data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        columns = [TableColumn.from_data(each) for each in data["columns"]]
        return cls(columns, TableConstraints(data.get("constraints", [])))
