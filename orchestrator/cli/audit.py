"""Who did what on the command line, kept beside what was done by way of the API and under the same names."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opgrid.errors import OpGridError

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
    from orchestrator.storage.service_records import AuditEntry

    outcome = "done"
    try:
        yield
    except OpGridError as error:
        outcome = type(error).__name__
        raise
    finally:
        store.add_audit(AuditEntry(time.time(), f"{user()}, command line", action, about[:1000], outcome))
