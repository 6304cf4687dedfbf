"""Settings of the environment that workers and coordinators read alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from opgrid.errors import SettingsError

DEFAULT_LEASE_TTL: Final = 8.0
_SHORTEST_TTL, _LONGEST_TTL = 0.2, 3600


def lease_ttl(environ: Mapping[str, str] = os.environ) -> float:
    """``OPGRID_LEASE_TTL`` in seconds. Raises SettingsError."""
    text = environ.get("OPGRID_LEASE_TTL") or str(DEFAULT_LEASE_TTL)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _SHORTEST_TTL <= seconds <= _LONGEST_TTL:
        raise SettingsError(
            f"OPGRID_LEASE_TTL is {text!r}; it is a number of seconds, {_SHORTEST_TTL} to {_LONGEST_TTL}."
        )
    return seconds


def whole_number(name: str, default: int, environ: Mapping[str, str] = os.environ, *, least: int = 1) -> int:
    """A setting that counts something. Raises SettingsError."""
    text = environ.get(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise SettingsError(f"{name} is {text!r}: it has to be a whole number, {least} or more.")
    return value
