"""Who did what on the command line, kept beside what was done by way of the API and under the same names."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.storage.service_protocols import ServiceStore


def user() -> str:
    """Name of whoever runs this command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"user {os.getuid()}"


@contextmanager
def audited(store: ServiceStore, action: str, about: str) -> Iterator[None]:
    """``action``: the name of the mutation that does the same."""
    from orchestrator.services.auditing import audit

    failure: str | None = None
    try:
        yield
    except BaseException as error:
        failure = type(error).__name__
        raise
    finally:
        audit(store, f"{user()}, command line", action, about, failure)
