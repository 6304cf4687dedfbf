"""Steps on a fleet of Celery workers over Redis."""

from __future__ import annotations

from executors.celery.executor import CeleryExecutor

__all__ = ["CeleryExecutor"]
