"""Metadata: labelled values that users attach to outputs, events and failures, kept as JSON in the event log."""

from __future__ import annotations

import builtins
import datetime
import math
import os
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from json import dumps as json_text
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeAlias

from opgrid.contracts.tables import TableRecord, TableSchema
from opgrid.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from opgrid.contracts.facts import AssetKey

#: What users may write where metadata is expected.
RawMetadata: TypeAlias = Mapping[str, Any]


class _Constructors(ABCMeta):
    """``MetadataValue.text("...")`` and its kin. They are the class's own and not its instances', which have ``text``,
    ``url`` and ``path`` as values.
    """

    def __dir__(cls) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in vars(_Constructors) if not name.startswith("_"))})

    def text(cls, text: str) -> TextMetadataValue:
        return TextMetadataValue(text)

    def int(cls, value: builtins.int) -> IntMetadataValue:
        return IntMetadataValue(value)

    def float(cls, value: builtins.float) -> FloatMetadataValue:
        return FloatMetadataValue(value)

    def bool(cls, value: builtins.bool) -> BoolMetadataValue:
        return BoolMetadataValue(value)

    def url(cls, url: str) -> UrlMetadataValue:
        return UrlMetadataValue(url)

    def path(cls, path: str | os.PathLike[str]) -> PathMetadataValue:
        return PathMetadataValue(path)

    def notebook(cls, path: str | os.PathLike[str]) -> NotebookMetadataValue:
        return NotebookMetadataValue(path)

    def md(cls, data: str) -> MarkdownMetadataValue:
        return MarkdownMetadataValue(data)

    def json(cls, data: Any) -> JsonMetadataValue:
        return JsonMetadataValue(data)

    def table(cls, records: Sequence[TableRecord], schema: TableSchema | None = None) -> TableMetadataValue:
        return TableMetadataValue(records, schema)

    def table_schema(cls, schema: TableSchema) -> TableSchemaMetadataValue:
        return TableSchemaMetadataValue(schema)

    def timestamp(cls, value: datetime.datetime | builtins.int | builtins.float) -> TimestampMetadataValue:
        """Unix seconds, or a datetime with a time zone."""
        if isinstance(value, datetime.datetime):
            if value.tzinfo is None:
                raise InvalidDefinitionError(
                    "MetadataValue.timestamp: the datetime has no time zone; give it a tzinfo."
                )
            return TimestampMetadataValue(value.timestamp())
        return TimestampMetadataValue(value)

    def null(cls) -> NullMetadataValue:
        return NullMetadataValue()

    def job(cls, job_name: str, location_name: str = "", *, repository_name: str | None = None) -> JobMetadataValue:
        return JobMetadataValue(job_name, location_name, repository_name)

    def run(cls, run_id: str) -> RunMetadataValue:
        return RunMetadataValue(run_id)

    def pool(cls, pool: str) -> PoolMetadataValue:
        return PoolMetadataValue(pool)

    def asset(cls, asset_key: AssetKey) -> AssetMetadataValue:
        return AssetMetadataValue(asset_key)

    def python_artifact(cls, python_artifact: Any) -> PythonArtifactMetadataValue:
        """A class or function, by its name."""
        module, name = getattr(python_artifact, "__module__", None), getattr(python_artifact, "__qualname__", None)
        if module is None or name is None:
            raise InvalidDefinitionError(
                f"MetadataValue.python_artifact takes a class or a function, not {python_artifact!r}."
            )
        return PythonArtifactMetadataValue(module, name)


class MetadataValue(metaclass=_Constructors):
    """One value and how it is meant to be shown. There is a class for each kind, and ``value`` in all of them.

    context.add_output_metadata({"report": MetadataValue.md("# Done"), "rows": 12})
    """

    __slots__ = ("_data",)
    KIND: ClassVar[str]
    _data: Any  #: as the event log holds it

    @property
    def kind(self) -> str:
        return self.KIND

    @property
    @abstractmethod
    def value(self) -> Any: ...

    def as_data(self) -> dict[str, Any]:
        return {"type": self.KIND, "value": self._data}

    @classmethod
    def _of(cls, data: Any) -> Self:
        """From what the event log holds."""
        made = cls.__new__(cls)
        object.__setattr__(made, "_data", data)
        return made

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another one.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetadataValue) and (self.KIND, self._data) == (other.KIND, other._data)

    def __hash__(self) -> int:
        try:
            return hash((self.KIND, self._data))
        except TypeError:  # lists and dicts
            return hash(self.KIND)

    def __reduce__(self) -> tuple[Any, ...]:
        return _value_of_kind, (self.KIND, self._data)

    def __repr__(self) -> str:
        code = type(self).__init__.__code__
        names = code.co_varnames[1 : code.co_argcount]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


class _Text(MetadataValue):
    __slots__ = ()

    def _keep(self, given: str | os.PathLike[str] | None) -> None:
        text = os.fspath(given) if isinstance(given, os.PathLike) else given
        object.__setattr__(self, "_data", text if text is None else _a(str, text, self.KIND))

    @property
    def value(self) -> str:
        text: str = self._data
        return text


class TextMetadataValue(_Text):
    """A text, shown as it is."""

    __slots__ = ()
    KIND = "text"

    def __init__(self, text: str | None) -> None:
        self._keep(text)

    @property
    def text(self) -> str:
        return self.value


class UrlMetadataValue(_Text):
    """The address of a page."""

    __slots__ = ()
    KIND = "url"

    def __init__(self, url: str | None) -> None:
        self._keep(url)

    @property
    def url(self) -> str:
        return self.value


class PathMetadataValue(_Text):
    """The path of a file or a folder."""

    __slots__ = ()
    KIND = "path"

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._keep(path)

    @property
    def path(self) -> str:
        return self.value

    @property
    def fspath(self) -> str:
        return self.value


class NotebookMetadataValue(PathMetadataValue):
    """The path of a notebook."""

    __slots__ = ()
    KIND = "notebook"


class MarkdownMetadataValue(_Text):
    """A text in Markdown."""

    __slots__ = ()
    KIND = "md"

    def __init__(self, md_str: str | None) -> None:
        self._keep(md_str)

    @property
    def md_str(self) -> str:
        return self.value


class RunMetadataValue(_Text):
    """A run, by its id."""

    __slots__ = ()
    KIND = "run"

    def __init__(self, run_id: str) -> None:
        self._keep(run_id)

    @property
    def run_id(self) -> str:
        return self.value


class PoolMetadataValue(_Text):
    """A pool, by its name."""

    __slots__ = ()
    KIND = "pool"

    def __init__(self, pool: str) -> None:
        self._keep(pool)

    @property
    def pool(self) -> str:
        return self.value


class AssetMetadataValue(MetadataValue):
    """Something that steps produce or look at, by its key."""

    __slots__ = ()
    KIND = "asset"

    def __init__(self, asset_key: AssetKey) -> None:
        from opgrid.contracts.facts import AssetKey

        object.__setattr__(self, "_data", list(_a(AssetKey, asset_key, "asset").path))

    @property
    def asset_key(self) -> AssetKey:
        from opgrid.contracts.facts import AssetKey

        return AssetKey(self._data)

    @property
    def value(self) -> AssetKey:
        return self.asset_key


class IntMetadataValue(MetadataValue):
    """A whole number."""

    __slots__ = ()
    KIND = "int"

    def __init__(self, value: int | None) -> None:
        object.__setattr__(self, "_data", value if value is None else _a(int, value, "int"))

    @property
    def value(self) -> int | None:
        number: int | None = self._data
        return number


class FloatMetadataValue(MetadataValue):
    """A number."""

    __slots__ = ()
    KIND = "float"

    def __init__(self, value: float | None) -> None:
        object.__setattr__(self, "_data", value if value is None else _in_json(float(_a((int, float), value, "float"))))

    @property
    def value(self) -> float | None:
        number: float | str | None = self._data
        return float(number) if isinstance(number, str) else number


class BoolMetadataValue(MetadataValue):
    """True or False."""

    __slots__ = ()
    KIND = "bool"

    def __init__(self, value: bool | None) -> None:
        object.__setattr__(self, "_data", value if value is None else _a(bool, value, "bool"))

    @property
    def value(self) -> bool | None:
        truth: bool | None = self._data
        return truth


class TimestampMetadataValue(MetadataValue):
    """A moment, in Unix seconds."""

    __slots__ = ()
    KIND = "timestamp"

    def __init__(self, value: float) -> None:
        object.__setattr__(self, "_data", float(_a((int, float), value, "timestamp")))

    @property
    def value(self) -> float:
        seconds: float = self._data
        return seconds


class NullMetadataValue(MetadataValue):
    """No value."""

    __slots__ = ()
    KIND = "null"

    def __init__(self) -> None:
        object.__setattr__(self, "_data", None)

    @property
    def value(self) -> None:
        return None


class JsonMetadataValue(MetadataValue):
    """What JSON can hold."""

    __slots__ = ()
    KIND = "json"

    def __init__(self, data: Any) -> None:
        try:
            json_text(data)
        except (TypeError, ValueError) as error:
            raise InvalidDefinitionError(
                f"MetadataValue.json: {data!r} cannot be written as JSON ({error})."
            ) from error
        object.__setattr__(self, "_data", data)

    @property
    def data(self) -> Any:
        return self._data

    @property
    def value(self) -> Any:
        return self._data


class PythonArtifactMetadataValue(MetadataValue):
    """A class or a function, by its module and name."""

    __slots__ = ()
    KIND = "python_artifact"

    def __init__(self, module: str, name: str) -> None:
        object.__setattr__(self, "_data", {"module": module, "name": name})

    @property
    def module(self) -> str:
        return str(self._data["module"])

    @property
    def name(self) -> str:
        return str(self._data["name"])

    @property
    def value(self) -> Self:
        return self


class JobMetadataValue(MetadataValue):
    """A job, by its name and its code location."""

    __slots__ = ()
    KIND = "job"

    def __init__(self, job_name: str, location_name: str, repository_name: str | None = None) -> None:
        told = {"job_name": job_name, "location_name": location_name, "repository_name": repository_name}
        object.__setattr__(self, "_data", told)

    @property
    def job_name(self) -> str:
        return str(self._data["job_name"])

    @property
    def location_name(self) -> str:
        return str(self._data["location_name"])

    @property
    def repository_name(self) -> str | None:
        name: str | None = self._data["repository_name"]
        return name

    @property
    def value(self) -> Self:
        return self


class TableMetadataValue(MetadataValue):
    """Rows, and what their columns are; without a schema, the columns are those of the first row."""

    __slots__ = ()
    KIND = "table"

    def __init__(self, records: Sequence[TableRecord], schema: TableSchema | None = None) -> None:
        rows = [dict(record.data) for record in records]
        found = schema if schema is not None else TableSchema.of(rows)
        object.__setattr__(self, "_data", {"records": rows, "schema": found.as_data()})

    @property
    def records(self) -> Sequence[TableRecord]:
        return [TableRecord(row) for row in self._data["records"]]

    @property
    def schema(self) -> TableSchema:
        return TableSchema.from_data(self._data["schema"])

    @property
    def value(self) -> Self:
        return self


class TableSchemaMetadataValue(MetadataValue):
    """What the columns of a table are."""

    __slots__ = ()
    KIND = "table_schema"

    def __init__(self, schema: TableSchema) -> None:
        object.__setattr__(self, "_data", schema.as_data())

    @property
    def schema(self) -> TableSchema:
        return TableSchema.from_data(self._data)

    @property
    def value(self) -> TableSchema:
        return self.schema


_KINDS: Mapping[str, type[MetadataValue]] = {
    kind.KIND: kind
    for kind in (
        TextMetadataValue,
        IntMetadataValue,
        FloatMetadataValue,
        BoolMetadataValue,
        UrlMetadataValue,
        PathMetadataValue,
        NotebookMetadataValue,
        MarkdownMetadataValue,
        JsonMetadataValue,
        TableMetadataValue,
        TableSchemaMetadataValue,
        TimestampMetadataValue,
        NullMetadataValue,
        JobMetadataValue,
        RunMetadataValue,
        PoolMetadataValue,
        AssetMetadataValue,
        PythonArtifactMetadataValue,
    )
}


def _value_of_kind(kind: str, data: Any) -> MetadataValue:
    return _KINDS[kind]._of(data)


def _in_json(number: float) -> float | str:
    """It has no word for what is no number, or no end of one."""
    return number if math.isfinite(number) else repr(number)


def _a(kinds: Any, value: Any, kind: str) -> Any:
    good = isinstance(value, kinds) and not (isinstance(value, bool) and kind not in ("bool",))
    if not good:
        raise InvalidDefinitionError(f"MetadataValue.{kind} cannot hold {value!r}, a {type(value).__name__}.")
    return value


_PLAIN: Mapping[type, str] = {type(None): "null", bool: "bool", int: "int", float: "float", str: "text"}

# ---- as JSON ---------------------------------------------------------------------------------------------


def metadata_value(label: str, value: Any) -> MetadataValue:
    """A plain value as the kind of metadata it is most likely meant to be."""
    kind = _PLAIN.get(type(value))
    if kind is not None:
        return _KINDS[kind]._of(_in_json(value) if kind == "float" else value)
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
            from opgrid.contracts.facts import AssetKey

            if isinstance(value, AssetKey):
                return MetadataValue.asset(value)
            raise InvalidDefinitionError(
                f"The metadata {label!r} has the value {value!r}, a {type(value).__name__}. Use a string, a number, "
                "a bool, None, a dict or list that JSON can hold, a path, an AssetKey, or one of MetadataValue's."
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
    return {str(label): _as_data(label, value) for label, value in metadata.items()}


def _as_data(label: str, value: Any) -> dict[str, Any]:
    kind = _PLAIN.get(type(value))
    if kind is None:
        return metadata_value(label, value).as_data()
    return {"type": kind, "value": _in_json(value) if kind == "float" else value}


def metadata_from_json(data: Mapping[str, Any]) -> dict[str, MetadataValue]:
    """The values behind what :func:`metadata_to_json` wrote."""
    return {label: _value_of_kind(each["type"], each["value"]) for label, each in data.items()}
