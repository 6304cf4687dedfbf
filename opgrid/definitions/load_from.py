"""Definitions from whole modules and packages: every job, schedule and sensor at their top levels."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from opgrid.definitions.definitions import Definitions
from opgrid.definitions.executor import ExecutorDefinition
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.schedule import ScheduleDefinition
from opgrid.definitions.sensor import SensorDefinition
from opgrid.errors import InvalidDefinitionError, InvariantViolationError


def load_definitions_from_modules(
    modules: Iterable[ModuleType],
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, Any] | None = None,
    executor: ExecutorDefinition | None = None,
) -> Definitions:
    """What is there under several names is there once. ``Definitions`` that a module holds are merged in."""
    jobs: list[Any] = []
    schedules: list[Any] = []
    sensors: list[Any] = []
    bundles: list[Definitions] = []
    for module in modules:
        if not isinstance(module, ModuleType):
            raise InvalidDefinitionError(f"Definitions are loaded from modules, not from {module!r}.")
        for value in vars(module).values():
            kinds = ((JobDefinition, jobs), (ScheduleDefinition, schedules), (SensorDefinition, sensors))
            for kind, found in (*kinds, (Definitions, bundles)):
                if isinstance(value, kind) and not any(value is each for each in found):
                    found.append(value)  # type: ignore[arg-type]
    own = Definitions(
        jobs=jobs,
        schedules=schedules,
        sensors=sensors,
        resources=resources,
        loggers=loggers,
        executor=executor,
    )
    return Definitions.merge(own, *bundles) if bundles else own


def load_definitions_from_module(
    module: ModuleType,
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, Any] | None = None,
    executor: ExecutorDefinition | None = None,
) -> Definitions:
    """The jobs, schedules and sensors that a module holds, as one ``Definitions``."""
    return load_definitions_from_modules([module], resources, loggers, executor)


def load_definitions_from_current_module(
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, Any] | None = None,
    executor: ExecutorDefinition | None = None,
) -> Definitions:
    """The module that calls it, as far as it has been executed: put the call at its end."""
    frame = inspect.currentframe()
    caller = frame.f_back if frame is not None else None
    module = inspect.getmodule(caller) if caller is not None else None
    if module is None:
        raise InvariantViolationError("load_definitions_from_current_module() was called outside of any module.")
    return load_definitions_from_modules([module], resources, loggers, executor)


def load_definitions_from_package_module(
    package_module: ModuleType,
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, Any] | None = None,
    executor: ExecutorDefinition | None = None,
) -> Definitions:
    """A package with all modules and packages below it, which are imported for it."""
    return load_definitions_from_modules(_below(package_module), resources, loggers, executor)


def load_definitions_from_package_name(
    package_name: str,
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, Any] | None = None,
    executor: ExecutorDefinition | None = None,
) -> Definitions:
    """As :func:`load_definitions_from_package_module`, of a package that is imported by this name."""
    return load_definitions_from_package_module(importlib.import_module(package_name), resources, loggers, executor)


def _below(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}."):
        yield importlib.import_module(found.name)
