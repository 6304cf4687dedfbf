"""Executor definitions: which executor a job runs on, and how it is configured.

What they name is found by entry point.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from opgrid.definitions.names import check_name
from opgrid.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from opgrid.config import ConfigField


class ExecutorRequirement(Enum):
    """What has to be true of a run for an executor to take it; checked before the run starts."""

    RECONSTRUCTABLE_PIPELINE = "RECONSTRUCTABLE_PIPELINE"
    #: Another process can load the job by name: from a file or module, or by ``reconstructable``.
    RECONSTRUCTABLE_JOB = "RECONSTRUCTABLE_PIPELINE"
    #: The instance has a home that another process can open.
    NON_EPHEMERAL_INSTANCE = "NON_EPHEMERAL_INSTANCE"
    #: No output is kept in memory.
    PERSISTENT_OUTPUTS = "PERSISTENT_OUTPUTS"


Requirements = Sequence[ExecutorRequirement] | Callable[[Mapping[str, Any]], Sequence[ExecutorRequirement]]


def multiple_process_executor_requirements() -> list[ExecutorRequirement]:
    """All of them: what an executor needs whose steps run in processes that load everything by name."""
    return list(ExecutorRequirement)


class InitExecutorContext(NamedTuple):
    """What the function of an executor is annotated to take in code written for Dagster.

    Nothing calls that function here: an executor is made from :class:`opgrid.contracts.executor.ExecutorSetup`.
    """

    job: Any
    executor_def: ExecutorDefinition
    executor_config: Mapping[str, Any]
    instance: Any


class ExecutorDefinition:
    """A name of the entry-point group ``opgrid.executors``, and the config that goes to the executor behind it.

    @job(executor_def=celery_executor.configured({"queue": "heavy"}))
    def crunch(): ...
    """

    def __init__(
        self,
        name: str,
        config_schema: Any = None,
        description: str | None = None,
        config: Mapping[str, Any] | None = None,
        schema: Callable[[], Any] | None = None,
        requirements: Requirements | None = None,
    ) -> None:
        self.name = check_name(name, "an executor")
        self._schema = schema if schema is not None else lambda: config_schema
        self.description = description
        #: Given by ``configured``: what run config says is laid over it.
        self.config: dict[str, Any] = dict(config or {})
        self.requirements = _checked_requirements(requirements, f"executor {name!r}")
        self.base: ExecutorDefinition | None = None
        self.config_fn: Callable[[Any], Any] | None = None

    def get_requirements(self, executor_config: Mapping[str, Any]) -> Sequence[ExecutorRequirement]:
        """Of an executor with this config."""
        if not callable(self.requirements):
            return self.requirements
        return _listed_requirements(self.requirements(executor_config), f"executor {self.name!r}")

    @property
    def config_schema(self) -> Any:
        return self._schema()

    @cached_property
    def config_field(self) -> ConfigField | None:
        schema = self.config_schema
        if schema is None:
            return None
        from opgrid.config import as_field

        return as_field(schema)

    def configured(
        self,
        config_or_config_fn: Any,
        name: str | None = None,
        config_schema: Any = None,
        description: str | None = None,
    ) -> ExecutorDefinition:
        """The same executor with config of its own.

        ``name`` is accepted and says nothing new, as executors are found by name.
        """
        from opgrid.definitions.configured import configured_executor

        return configured_executor(self, config_or_config_fn, config_schema, description)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ExecutorDefinition)
            and self.name == other.name
            and self.config == other.config
            and self.config_fn is other.config_fn
            and self.requirements == other.requirements
        )

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"ExecutorDefinition({self.name!r}{f', config={self.config!r}' if self.config else ''})"


@overload
def executor(name: Callable[..., Any]) -> ExecutorDefinition: ...
@overload
def executor(
    name: str | None = None, config_schema: Any = None, requirements: Requirements | None = None
) -> Callable[[Any], ExecutorDefinition]: ...
def executor(name: Any = None, config_schema: Any = None, requirements: Requirements | None = None) -> Any:
    """Makes a definition for an executor of your own.

    What it goes on is the executor's class, or a function named like its entry point: the executor itself is found in
    the entry-point group ``opgrid.executors`` by this name, in whatever process it is needed. ``requirements``, a
    list or a function of the config that gives one, are checked before a run starts; what its class says of itself
    (``crosses_processes``) need not be said again.
    """

    def decorated(target: Any) -> ExecutorDefinition:
        called = name if isinstance(name, str) else target.__name__
        return ExecutorDefinition(called, config_schema, inspect.getdoc(target), requirements=requirements)

    return decorated(name) if callable(name) else decorated


def _checked_requirements(given: Any, what: str) -> Requirements:
    return given if callable(given) else _listed_requirements(given or (), what)


def _listed_requirements(given: Any, what: str) -> tuple[ExecutorRequirement, ...]:
    found = tuple(given) if isinstance(given, list | tuple | set | frozenset) else (given,)
    for each in found:
        if not isinstance(each, ExecutorRequirement):
            raise InvalidDefinitionError(
                f"The requirements of {what} have to be a list of ExecutorRequirement, not {given!r}. For all of them: "
                "multiple_process_executor_requirements()."
            )
    return found


def check_executor(given: object, what: str) -> ExecutorDefinition | None:
    if given is None or isinstance(given, ExecutorDefinition):
        return given
    hint = f" For example: {given}_executor." if isinstance(given, str) else ""
    raise InvalidDefinitionError(
        f"{what}: executor_def= has to be an executor definition such as in_process_executor, multiprocess_executor or "
        f"celery_executor, not {given!r}.{hint}"
    )


# ---- schemas ---------------------------------------------------------------------------------------------


def _retries() -> Any:
    from opgrid.config import Field, Selector

    return Field(
        Selector({"enabled": {}, "disabled": {}}),
        default_value={"enabled": {}},
        description="Whether retry policies and requested retries are obeyed.",
    )


def _in_process() -> Any:
    return {"retries": _retries()}


def _multiprocess() -> Any:
    from opgrid.config import Array, Field, Noneable, ScalarUnion, Selector, StringSource

    per_value = ScalarUnion(str, {"applyLimitPerUniqueValue": bool})
    limit = {"key": str, "value": Field(Noneable(per_value), is_required=False), "limit": int}
    return {
        "retries": _retries(),
        "max_concurrent": Field(
            Noneable(int),
            default_value=None,
            description="How many steps run at once; None or 0: as many as the machine has processors.",
        ),
        "start_method": Field(
            Selector({"spawn": {}, "forkserver": {"preload_modules": Field([StringSource], is_required=False)}}),
            is_required=False,
            description="How processes start: forked from one that has these modules ready, or from nothing.",
        ),
        "tag_concurrency_limits": Field(
            Array(limit), is_required=False, description="How many steps with a tag run at once."
        ),
        "step_dependency_config": Field(
            {"require_upstream_step_success": Field(bool, default_value=True)},
            is_required=False,
            description="Accepted; a step starts when the steps above it have succeeded.",
        ),
    }


def _celery() -> Any:
    from opgrid.config import Field, Noneable, StringSource

    return {
        "retries": _retries(),
        "broker": Field(
            Noneable(StringSource), is_required=False, description="URL of Redis; default: OPGRID_BROKER_URL."
        ),
        "queue": Field(Noneable(StringSource), is_required=False, description="For steps that no tag sends elsewhere."),
        "priority": Field(
            Noneable(int), is_required=False, description="For steps that no tag gives another; higher first."
        ),
        "start_timeout": Field(
            Noneable(float),
            is_required=False,
            description="Seconds that a step may wait for a worker before the run says so.",
        ),
        "include": Field(
            [StringSource], is_required=False, description="Accepted; workers load code from their own settings."
        ),
        "config_source": Field(
            Noneable(dict), is_required=False, description="Accepted; workers have settings of their own."
        ),
        "backend": Field(
            Noneable(StringSource), is_required=False, description="Accepted; there is no result backend."
        ),
    }


def _multi_or_in_process() -> Any:
    from opgrid.config import Field, Selector

    return Field(
        Selector({"multiprocess": _multiprocess(), "in_process": _in_process()}), default_value={"multiprocess": {}}
    )


in_process_executor = ExecutorDefinition(
    "in_process", description="One step after the other, in the process that runs the job.", schema=_in_process
)
multiprocess_executor = ExecutorDefinition(
    "multiprocess", description="In a pool of processes on this machine.", schema=_multiprocess
)
celery_executor = ExecutorDefinition("celery", description="On a fleet of Celery workers, over Redis.", schema=_celery)
#: What a job runs on when it says nothing: the run config chooses, a pool of processes unless it says otherwise.
multi_or_in_process_executor = ExecutorDefinition(
    "multi_or_in_process",
    description="A pool of processes, or this process, as the run config says.",
    schema=_multi_or_in_process,
)
