"""Settings of this installation: environment first, then ``opgrid.yaml`` in the home.

Frozen, read once by whoever starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opgrid.errors import HomeNotSetError, SettingsError, nearest

FILE = "opgrid.yaml"
_KEYS = frozenset({"database_url", "broker_url"})


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path  #: absolute
    database_url: str
    broker_url: str | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, home_required: bool = False) -> Settings:
        """Raises SettingsError, naming the file and the key; HomeNotSetError where OPGRID_HOME must be set and is
        not.
        """
        given = environ.get("OPGRID_HOME")
        if home_required and not given:
            raise HomeNotSetError(
                "OPGRID_HOME is not set. Set it to a folder where runs are kept, or use Instance.ephemeral() for none."
            )
        home = Path(given or ".opgrid").absolute()
        stored = _read(home / FILE)
        return cls(
            home=home,
            database_url=environ.get("OPGRID_DATABASE_URL")
            or stored.get("database_url")
            or f"sqlite:///{home / 'opgrid.db'}",
            broker_url=environ.get("OPGRID_BROKER_URL") or stored.get("broker_url") or None,
        )

    def make_home(self) -> Path:
        """Create the home where it is missing; it tells git to ignore itself."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        ignore = self.home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        return self.home


def _read(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    import yaml

    try:
        found = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} must hold settings by name, not a {type(found).__name__}.")
    for key, value in found.items():
        if key not in _KEYS:
            raise SettingsError(
                f"{path}: there is no setting {key!r}.{nearest(str(key), _KEYS)} There are: {', '.join(sorted(_KEYS))}."
            )
        if not isinstance(value, str):
            raise SettingsError(f"{path}: {key} must be a text, not {value!r}.")
    return found
