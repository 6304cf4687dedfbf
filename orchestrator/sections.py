"""The sections of ``opgrid.yaml`` that the service reads: every key is checked, and told where and how it is meant."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from opgrid.contracts.decoding import converted
from opgrid.errors import SettingsError, listed, nearest
from orchestrator.coordinator.monitoring import RunMonitoring
from orchestrator.coordinator.queue import QueueLimits
from orchestrator.engine.pools import PoolSettings

#: Days or seconds; a million days is more than dates can be.
Positive = Annotated[float, Meta(gt=0, le=1e6)]
Count = Annotated[int, Meta(ge=0)]


class Concurrency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    runs: QueueLimits = QueueLimits()
    pools: PoolSettings = PoolSettings()


class RunRetries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs that failed are run again, from where they failed."""

    enabled: bool = False
    max_retries: Count = 0  #: of runs without the tag ``opgrid/max_retries``


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the daemon forgets, and after how many days, or beyond how many; None: never."""

    runs_days: Positive | None = None
    runs_count: Count | None = None  #: runs that are kept at most; those that go on are not touched
    logs_days: Positive | None = None  #: events of runs that ended; how the runs themselves went stays
    logs_count: Count | None = None  #: events that are kept at most; those of runs that go on are not touched
    ticks_count: Count | None = None  #: ticks that are kept of each schedule and sensor, at most
    ticks_days: Positive | None = 30.0
    skipped_ticks_days: Positive | None = 7.0


class Daemon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tick_timeout_seconds: Positive = 60.0  #: that a schedule or sensor may take
    max_catchup_runs: Annotated[int, Meta(ge=1)] = 5  #: of a partitioned schedule that missed ticks


class WebToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may use the web, with what rights."""

    name: str
    token: str  #: itself, or ``env:NAME``
    role: Literal["viewer", "launcher", "admin"] = "viewer"


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: tuple[WebToken, ...] = ()  #: without any, only this machine may ask, and may do everything
    allowed_hosts: tuple[str, ...] = ()  #: names that browsers call it by, next to this machine's own
    flower_url: str | None = None  #: where pages link to


class Sections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    concurrency: Concurrency = Concurrency()
    run_monitoring: RunMonitoring = RunMonitoring()
    run_retries: RunRetries = RunRetries()
    retention: Retention = Retention()
    daemon: Daemon = Daemon()
    web: Web = Web()


NAMES = Sections.__struct_fields__

T = TypeVar("T")


def sections(given: dict[str, Any], path: Path) -> Sections:
    """Raises SettingsError, naming the file and the key."""
    _check(given, Sections, str(path), "")
    try:
        return converted(given, Sections)
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at `$.")
        place = f" {where.rstrip('`')}:" if where else ""
        raise SettingsError(f"{path}:{place} {said}.") from error


def _check(given: Any, kind: Any, path: str, place: str) -> None:
    """Unknown keys and choices, with what there is: the decoder would only say that one is unknown."""
    if isinstance(given, list):
        for each in given:
            _check(each, _item(kind), path, place)
    if get_origin(kind) is Literal and given not in get_args(kind):
        raise SettingsError(f"{path}: {place.removesuffix('.')} is {given!r}; there are: {listed(get_args(kind))}.")
    if not isinstance(given, dict) or not isinstance(kind, type) or not issubclass(kind, msgspec.Struct):
        return
    hints = get_type_hints(kind)
    for key, value in given.items():
        if key not in hints:
            raise SettingsError(
                f"{path}: there is no setting {place + str(key)!r}.{nearest(str(key), hints)} There are: "
                f"{', '.join(sorted(hints))}."
            )
        _check(value, _plain(hints[key]), path, f"{place}{key}.")


def _plain(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        return next(each for each in get_args(kind) if each is not type(None))
    return kind


def _item(kind: Any) -> Any:
    return get_args(kind)[0] if get_args(kind) else None
