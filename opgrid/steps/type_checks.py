"""A value against the type that its input or output declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from opgrid.contracts.metadata import metadata_to_json
from opgrid.definitions.types import GOOD
from opgrid.errors import TypeCheckDidNotPass, TypeCheckError

if TYPE_CHECKING:
    from opgrid.definitions.types import Type
    from opgrid.steps.attempt import Attempt


def check(
    type: Type, attempt: Attempt, value: Any, place: Literal["input", "output"], name: str
) -> tuple[dict[str, Any], TypeCheckDidNotPass | None]:
    """The outcome as data for the event, and the error to raise once the event is out."""
    try:
        found = type.check(attempt.context if type.needs_context else None, value)
    except Exception as error:
        raise TypeCheckError(
            f"The type check of {type.display_name!r} raised, on {place} {name!r} of {attempt.whose}."
        ) from error
    report: dict[str, Any] = {"success": found.success, "type": type.display_name}
    if found is GOOD:  # as nearly all are
        return report, None
    if found.description:
        report["description"] = found.description
    if found.metadata:
        report["metadata"] = metadata_to_json(found.metadata)
    if found.success:
        return report, None
    described = f" Description: {found.description}" if found.description else ""
    return report, TypeCheckDidNotPass(
        f"Type check failed for step {place} {name!r} of {attempt.whose}: expected type {type.display_name!r}."
        f"{described}",
        type.display_name,
        dict(found.metadata or {}),
    )
