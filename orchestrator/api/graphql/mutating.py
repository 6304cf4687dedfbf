"""What every mutation does: ask for the role, tell who did what, and make answers of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import strawberry

from opgrid.contracts.events import ErrorInfo
from opgrid.errors import OpGridError
from orchestrator.api.access import Role
from orchestrator.api.backend import Asking
from orchestrator.api.graphql.errors import Error, PythonError, UnauthorizedError
from orchestrator.services.auditing import audit

T = TypeVar("T")


def mutate(
    info: strawberry.Info[Asking, None], role: Role, about: str, work: Callable[[], T]
) -> T | PythonError | UnauthorizedError:
    """What ``work`` gives. Errors of opgrid come back as data; others are masked on their way out."""
    asking = info.context
    answer: T | PythonError | UnauthorizedError
    if not asking.viewer.may(role):
        named = asking.viewer.name
        answer = UnauthorizedError(
            message=f"{named} has the role {asking.viewer.role.name.lower()}; this needs {role.name.lower()}."
        )
    else:
        try:
            answer = work()
        except OpGridError as error:
            answer = PythonError.of(ErrorInfo.of(error))
    audit(asking.store, asking.viewer.name, info.field_name, about, _failure(answer))
    return answer


def _failure(answer: Any) -> str | None:
    """What went wrong, under the name that it has elsewhere, too; None where nothing did."""
    if isinstance(answer, PythonError) and answer.class_name is not None:
        return answer.class_name
    name = type(answer).__name__
    return name if isinstance(answer, Error) or name.endswith(("Failure", "Invalid", "Error")) else None
