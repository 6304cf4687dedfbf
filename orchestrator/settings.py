"""Settings of this installation: environment first, then ``opgrid.yaml`` in the home.

Frozen, read once by whoever starts.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opgrid.config.documents import document
from opgrid.contracts.tasks import PythonLogs
from opgrid.errors import HomeNotSetError, PathNotText, SettingsError, nearest
from orchestrator.sections import NAMES, Sections, sections

FILE = "opgrid.yaml"
_TEXTS = frozenset({"database_url", "broker_url"})
_KEYS = _TEXTS | {"python_logs", *NAMES}
#: What Dagster calls it, and where it is here.
_THEIRS = {"run_queue": "concurrency.runs", "run_coordinator": "concurrency.runs", "storage": "database_url"}
_LOG_KEYS = frozenset({"managed_python_loggers", "python_log_level", "prints"})


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path  #: absolute
    database_url: str
    broker_url: str | None = None
    python_logs: PythonLogs = field(default_factory=PythonLogs)
    sections: Sections = field(default_factory=Sections)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, home_required: bool = False) -> Settings:
        """Raises SettingsError, naming the file and the key; PathNotText; HomeNotSetError where OPGRID_HOME must be set
        and is not.
        """
        given = environ.get("OPGRID_HOME")
        if home_required and not given:
            raise HomeNotSetError(
                "OPGRID_HOME is not set. Set it to a folder where runs are kept, or use Instance.ephemeral() for none."
            )
        home = Path(given or ".opgrid").absolute()
        PathNotText.check(str(home))
        stored = _read(home / FILE)
        return cls(
            home=home,
            database_url=environ.get("OPGRID_DATABASE_URL")
            or stored.get("database_url")
            or sqlite_url(home / "opgrid.db"),
            broker_url=environ.get("OPGRID_BROKER_URL") or stored.get("broker_url") or None,
            python_logs=_python_logs(stored.get("python_logs") or {}, home / FILE),
            sections=sections({key: stored[key] for key in NAMES if stored.get(key) is not None}, home / FILE),
        )

    def make_home(self) -> Path:
        """Create the home where it is missing; it tells git to ignore itself. Raises SettingsError."""
        ignore = self.home / ".gitignore"
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not ignore.exists():
                ignore.write_text("*\n")
        except FileExistsError:
            raise SettingsError(f"The home {self.home} is a file, and has to be a folder. See OPGRID_HOME.") from None
        except OSError as error:
            raise SettingsError(f"The home {self.home} cannot be used: {error.strerror}. See OPGRID_HOME.") from error
        return self.home


def sqlite_url(file: Path) -> str:
    """What would have a meaning in a URL stands for itself."""
    return "sqlite:///" + str(file).replace("%", "%25").replace("?", "%3F")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if not path.exists():
            return {}
        text = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}. See OPGRID_HOME.") from error
    import yaml

    try:
        found = document(text) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} must hold settings by name, not a {type(found).__name__}.")
    for key, value in found.items():
        if key not in _KEYS:
            raise SettingsError(
                f"{path}: there is no setting {key!r}.{_meant(str(key))} There are: {', '.join(sorted(_KEYS))}."
            )
        if key in _TEXTS and not isinstance(value, str):
            raise SettingsError(f"{path}: {key} must be a text, not {value!r}.")
    return found


def _meant(key: str) -> str:
    for theirs in difflib.get_close_matches(key, [*_KEYS, *_THEIRS], n=1):
        if theirs in _THEIRS:
            return f" Did you mean {_THEIRS[theirs]!r}, which Dagster calls {theirs!r}?"
    return nearest(key, _KEYS)


def _python_logs(given: Any, path: Path) -> PythonLogs:
    where = f"{path}: python_logs"
    if not isinstance(given, dict):
        raise SettingsError(f"{where} must hold settings by name, not {given!r}.")
    for key in given:
        if key not in _LOG_KEYS:
            raise SettingsError(
                f"{where}: there is no setting {key!r}.{nearest(str(key), _LOG_KEYS)} There are: "
                f"{', '.join(sorted(_LOG_KEYS))}."
            )
    loggers, level = given.get("managed_python_loggers") or [], given.get("python_log_level")
    if not isinstance(loggers, list) or not all(isinstance(each, str) for each in loggers):
        raise SettingsError(f"{where}: managed_python_loggers must be a list of names, not {loggers!r}.")
    number = logging.getLevelNamesMapping().get(str(level).upper()) if level is not None else None
    if level is not None and number is None:
        raise SettingsError(f"{where}: python_log_level must be a level such as INFO, not {level!r}.")
    prints = given.get("prints")
    if not isinstance(prints, bool | None):
        raise SettingsError(f"{where}: prints must be true or false, not {prints!r}.")
    return PythonLogs(tuple(loggers), number, bool(prints))
