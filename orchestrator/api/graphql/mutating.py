"""What every mutation does: ask for the role, tell who did what, and make answers of errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import strawberry

from opgrid.contracts.events import ErrorInfo
from opgrid.errors import OpGridError
from orchestrator.api.access import Role
from orchestrator.api.backend import Asking
from orchestrator.api.graphql.errors import PythonError, UnauthorizedError
from orchestrator.storage.service_records import AuditEntry

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
    now = time.time()
    outcome = type(answer).__name__
    asking.store.add_audit(AuditEntry(now, asking.viewer.name, info.field_name, about[:1000], outcome))
    return answer
