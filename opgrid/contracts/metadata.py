"""Metadata: labelled values that users attach to outputs, events and failures, kept as JSON in the event log."""

from __future__ import annotations

import builtins
import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json import dumps as json_text
from typing import Any, ClassVar, Self, TypeAlias

from opgrid.errors import InvalidDefinitionError

#: What users may write where metadata is expected.
RawMetadata: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MetadataValue:
    """One value and how it is meant to be shown.

    context.add_output_metadata({"report": MetadataValue.md("# Done"), "rows": 12})
    """

    kind: str
    value: Any

    @classmethod
    def text(cls, text: str) -> Self:
        return cls("text", _a(str, text, "text"))

    @classmethod
    def int(cls, value: builtins.int) -> Self:
        return cls("int", _a(builtins.int, value, "int"))

    @classmethod
    def float(cls, value: builtins.float) -> Self:
        return cls("float", builtins.float(_a((builtins.int, builtins.float), value, "float")))

    @classmethod
    def bool(cls, value: builtins.bool) -> Self:
        return cls("bool", _a(builtins.bool, value, "bool"))

    @classmethod
    def url(cls, url: str) -> Self:
        return cls("url", _a(str, url, "url"))

    @classmethod
    def path(cls, path: str | os.PathLike[str]) -> Self:
        return cls("path", os.fspath(path))

    @classmethod
    def notebook(cls, path: str | os.PathLike[str]) -> Self:
        return cls("notebook", os.fspath(path))

    @classmethod
    def md(cls, data: str) -> Self:
        return cls("md", _a(str, data, "md"))

    @classmethod
    def json(cls, data: Any) -> Self:
        try:
            json_text(data)
        except (TypeError, ValueError) as error:
            raise InvalidDefinitionError(
                f"MetadataValue.json: {data!r} cannot be written as JSON ({error})."
            ) from error
        return cls("json", data)

    @classmethod
    def table(cls, records: Sequence[TableRecord], schema: TableSchema | None = None) -> Self:
        rows = [dict(record.data) for record in records]
        found = schema if schema is not None else TableSchema.of(rows)
        return cls("table", {"records": rows, "schema": found.as_data()})

    @classmethod
    def table_schema(cls, schema: TableSchema) -> Self:
        return cls("table_schema", schema.as_data())

    @classmethod
    def timestamp(cls, value: datetime.datetime | builtins.int | builtins.float) -> Self:
        """Unix seconds, or a datetime with a time zone."""
        if isinstance(value, datetime.datetime):
            if value.tzinfo is None:
                raise InvalidDefinitionError(
                    "MetadataValue.timestamp: the datetime has no time zone; give it a tzinfo."
                )
            return cls("timestamp", value.timestamp())
        return cls("timestamp", builtins.float(_a((builtins.int, builtins.float), value, "timestamp")))

    @classmethod
    def null(cls) -> Self:
        return cls("null", None)

    @classmethod
    def job(cls, job_name: str, location_name: str = "", *, repository_name: str | None = None) -> Self:
        return cls("job", {"job_name": job_name, "location_name": location_name, "repository_name": repository_name})

    @classmethod
    def run(cls, run_id: str) -> Self:
        return cls("run", _a(str, run_id, "run"))

    @classmethod
    def pool(cls, pool: str) -> Self:
        return cls("pool", _a(str, pool, "pool"))

    @classmethod
    def python_artifact(cls, python_artifact: Any) -> Self:
        """A class or function, by its name."""
        module, name = getattr(python_artifact, "__module__", None), getattr(python_artifact, "__qualname__", None)
        if module is None or name is None:
            raise InvalidDefinitionError(
                f"MetadataValue.python_artifact takes a class or a function, not {python_artifact!r}."
            )
        return cls("python_artifact", {"module": module, "name": name})

    def as_data(self) -> dict[str, Any]:
        return {"type": self.kind, "value": self.value}


def _a(kinds: Any, value: Any, kind: str) -> Any:
    good = isinstance(value, kinds) and not (isinstance(value, bool) and kind not in ("bool",))
    if not good:
        raise InvalidDefinitionError(f"MetadataValue.{kind} cannot hold {value!r}, a {type(value).__name__}.")
    return value


# ---- tables ----------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class TableConstraints:
    """What is promised of a table, in free text."""

    other: Sequence[str] = ()


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


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a table in metadata, in their order."""

    columns: Sequence[TableColumn] = field(default_factory=tuple)
    constraints: TableConstraints = TableConstraints()

    _KINDS: ClassVar[Mapping[type, str]] = {bool: "bool", int: "int", float: "float", str: "string"}

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Self:
        """From the first row; a table without rows has no columns."""
        first = rows[0] if rows else {}
        return cls(tuple(TableColumn(name, cls._KINDS.get(type(value), "string")) for name, value in first.items()))

    def as_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"columns": [each.as_data() for each in self.columns]}
        return {**data, "constraints": list(self.constraints.other)} if self.constraints.other else data


_PLAIN: Mapping[type, str] = {type(None): "null", bool: "bool", int: "int", float: "float", str: "text"}

# ---- as JSON ---------------------------------------------------------------------------------------------


def metadata_value(label: str, value: Any) -> MetadataValue:
    """A plain value as the kind of metadata it is most likely meant to be."""
    kind = _PLAIN.get(type(value))
    if kind is not None:
        return MetadataValue(kind, value)
    match value:
        case MetadataValue():
            return value
        case os.PathLike():
            return MetadataValue.path(value)
        case dict() | list():
            return MetadataValue.json(value)
        case TableSchema():
            return MetadataValue.table_schema(value)
        case datetime.datetime():
            return MetadataValue.timestamp(value)
        case type():
            return MetadataValue.python_artifact(value)
        case _ if callable(value) and hasattr(value, "__qualname__"):
            return MetadataValue.python_artifact(value)
        case _:
            raise InvalidDefinitionError(
                f"The metadata {label!r} has the value {value!r}, a {type(value).__name__}. Use a string, a number, "
                "a bool, None, a dict or list that JSON can hold, a path, or one of MetadataValue's."
            )


def check_metadata(metadata: object, what: str) -> dict[str, MetadataValue]:
    """Metadata of ``what``, each value as the kind that it is meant to be."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidDefinitionError(f"The metadata of {what} has to be a dict, not {metadata!r}.")
    for label in metadata:
        if not isinstance(label, str):
            raise InvalidDefinitionError(f"The metadata of {what} has the label {label!r}; labels have to be strings.")
    return {label: metadata_value(label, value) for label, value in metadata.items()}


def metadata_to_json(metadata: RawMetadata | None) -> dict[str, Any]:
    """As the event log holds it: ``{label: {"type": kind, "value": JSON}}``."""
    if not metadata:
        return {}
    return {str(label): metadata_value(label, value).as_data() for label, value in metadata.items()}


def metadata_from_json(data: Mapping[str, Any]) -> dict[str, MetadataValue]:
    """The values behind what :func:`metadata_to_json` wrote."""
    return {label: MetadataValue(each["type"], each["value"]) for label, each in data.items()}
