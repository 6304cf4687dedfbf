"""The composition root: the one place that knows which implementation stands behind which protocol."""

from __future__ import annotations

from orchestrator.settings import Settings
from orchestrator.storage.protocols import Store


def open_store(settings: Settings) -> Store:
    """The store at the database URL, brought to this version. Raises DatabaseUnreachable."""
    from orchestrator.storage.sql.store import SqlStore

    return SqlStore(settings.database_url)
