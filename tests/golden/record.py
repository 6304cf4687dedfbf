"""``python -m tests.golden.record`` writes the samples of a new version. Files of older ones are never changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from msgspec import inspect

from opgrid.contracts.events import AnyEvent
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.contracts.wire import VERSION

FOLDER: Final = Path(__file__).parent
KINDS: Final[dict[str, Any]] = {"events": list[AnyEvent], "tasks": list[StepTask], "briefs": list[RunBrief]}
_PLAIN: Final[dict[type, Any]] = {
    inspect.IntType: 7,
    inspect.FloatType: 7.5,
    inspect.StrType: "text",
    inspect.AnyType: {"any": 7},
}


def samples() -> dict[str, Any]:
    """As JSON has them: of each class that may stand there, one with all fields."""
    return {name: _sample(inspect.type_info(kind), ()) for name, kind in KINDS.items()}


def _sample(kind: inspect.Type, inside: tuple[type, ...]) -> Any:
    """``inside``: the classes around it, which hold no more of themselves."""
    match kind:
        case inspect.StructType():
            found = {each.encode_name: _field(each, (*inside, kind.cls)) for each in kind.fields}
            fields = {name: value for name, value in found.items() if value not in ([], None)}
            return fields if kind.tag is None else {kind.tag_field: kind.tag, **fields}
        case inspect.UnionType():
            return next(iter(_each(kind, inside)), None)
        case inspect.VarTupleType() | inspect.ListType():
            return list(_each(kind.item_type, inside))
        case inspect.TupleType():
            return [_sample(each, inside) for each in kind.item_types]
        case inspect.DictType():
            return {"key": _sample(kind.value_type, inside)}
        case inspect.EnumType():
            return next(iter(kind.cls)).value
    return _PLAIN[type(kind)]


def _field(field: inspect.Field, inside: tuple[type, ...]) -> Any:
    """Not its default."""
    return field.default is not True if isinstance(field.type, inspect.BoolType) else _sample(field.type, inside)


def _each(kind: inspect.Type, inside: tuple[type, ...]) -> list[Any]:
    """Of a union one of each class."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return [
        _sample(one, inside)
        for one in kinds
        if not isinstance(one, inspect.NoneType) and getattr(one, "cls", None) not in inside
    ]


if __name__ == "__main__":
    (FOLDER / f"{VERSION}.json").write_text(json.dumps(samples(), indent=1) + "\n")
