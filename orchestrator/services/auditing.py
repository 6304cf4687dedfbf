"""Who did what, and what came of it: written down alike, whichever way it was asked for."""

from __future__ import annotations

import time
from typing import Final

from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import AuditEntry

DONE: Final = "done"
_LONGEST: Final = 1000  #: characters of what it was about


def audit(store: ServiceStore, who: str, action: str, about: str, error: str | None) -> None:
    """``action``: the name of the mutation that does it. ``error``: the name of what went wrong, if anything did."""
    store.add_audit(AuditEntry(time.time(), who, action, about[:_LONGEST], error or DONE))
