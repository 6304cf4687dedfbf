"""Starting, stopping and looking at schedules and sensors."""

from __future__ import annotations

import dataclasses
import time
from typing import Final

from opgrid.definitions.names import check_storable
from opgrid.errors import UnknownName
from orchestrator.locations.messages import LocationInfo, ScheduleInfo, SensorInfo
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import Instigator, InstigatorKind

Info = ScheduleInfo | SensorInfo

#: What is changed here; the rest is for ticks, of which one may be going on.
_RUNNING: Final = ("running", "since")


def state_of(store: ServiceStore, location: str, info: Info) -> Instigator:
    """As it is stored, or as its definition says."""
    for state in store.instigators():
        if (state.location, state.name) == (location, info.name):
            return state
    return new_state(location, info)


def new_state(location: str, info: Info) -> Instigator:
    """Of one that nobody has started or stopped, and that has not ticked."""
    kind = InstigatorKind.SCHEDULE if isinstance(info, ScheduleInfo) else InstigatorKind.SENSOR
    return Instigator(location, info.name, kind)


def is_running(info: Info, state: Instigator) -> bool:
    return info.running if state.running is None else state.running


def start(store: ServiceStore, location: str, info: Info) -> None:
    """It ticks from now on; what was before is not made up for."""
    state = state_of(store, location, info)
    if not is_running(info, state):
        _begin(store, info, dataclasses.replace(state, running=True))
    elif state.running is None:
        store.set_instigator(dataclasses.replace(state, running=True), _RUNNING)


def stop(store: ServiceStore, location: str, info: Info) -> None:
    """Cursor and history stay."""
    store.set_instigator(dataclasses.replace(state_of(store, location, info), running=False, since=None), _RUNNING)


def reset(store: ServiceStore, location: str, info: Info) -> None:
    """As its definition says again."""
    state = state_of(store, location, info)
    if info.running and not is_running(info, state):
        _begin(store, info, dataclasses.replace(state, running=None))
    else:
        store.set_instigator(dataclasses.replace(state, running=None, since=None), _RUNNING)


def _begin(store: ServiceStore, info: Info, state: Instigator) -> None:
    """A sensor on the status of runs leaves out what happened while it was stopped."""
    state = dataclasses.replace(state, since=time.time())
    if isinstance(info, SensorInfo) and info.run_status is not None:
        store.set_instigator(dataclasses.replace(state, cursor=str(store.last_event())), (*_RUNNING, "cursor"))
    else:
        store.set_instigator(state, _RUNNING)


def set_cursor(store: ServiceStore, location: str, info: SensorInfo, cursor: str | None) -> None:
    """Raises InvalidDefinitionError for what not every database stores."""
    if cursor is not None:
        check_storable(cursor, f"The cursor of sensor {info.name!r}")
    store.set_instigator(dataclasses.replace(state_of(store, location, info), cursor=cursor), ("cursor",))


def named(info: LocationInfo, kind: InstigatorKind, name: str) -> Info:
    """Raises UnknownName, naming the nearest."""
    several: tuple[Info, ...] = info.schedules if kind is InstigatorKind.SCHEDULE else info.sensors
    for each in several:
        if each.name == name:
            return each
    raise UnknownName(kind.value, name, [each.name for each in several], f"code location {info.name!r}")
