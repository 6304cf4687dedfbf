"""Alembic asks for this file when its own command line is used; opgrid migrates through
``orchestrator.storage.sql.migrate``.
"""

from __future__ import annotations

from alembic import context

context.run_migrations()
