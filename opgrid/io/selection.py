"""Which IO manager an output or input goes through, and whether all of them can work with an executor."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from opgrid.contracts.executor import Executor
from opgrid.errors import InvalidDefinitionError, UnknownName, UnmetExecutorRequirementsError, listed, nearest
from opgrid.io.manager import IOManager
from opgrid.plugins import IO_MANAGERS

if TYPE_CHECKING:
    from opgrid.definitions.job import JobDefinition

#: The resource key that outputs use unless they name another.
DEFAULT_KEY: Final = "io_manager"

#: Known without asking the installation's metadata: a pool child needs one of these at once.
_BUILT_IN: Final = {
    "memory": ("opgrid.io.memory", "InMemoryIOManager"),
    "filesystem": ("opgrid.io.filesystem", "FilesystemStore"),
    "redis": ("opgrid.io.redis", "RedisStore"),
}


def default_manager(name: str) -> IOManager:
    """A fresh manager by name: what stands behind ``io_manager`` where a job binds none."""
    manager = manager_class(name)()
    return manager


def manager_class(name: str) -> type[IOManager]:
    """Raises UnknownName, naming the nearest."""
    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name]
        found: Any = getattr(import_module(module), attribute)
    else:
        from importlib.metadata import entry_points

        entries = {entry.name: entry for entry in entry_points(group=IO_MANAGERS)}
        if name not in entries:
            raise UnknownName("IO manager", name, {*_BUILT_IN, *entries})
        found = entries[name].load()
    if not (isinstance(found, type) and issubclass(found, IOManager)):
        raise InvalidDefinitionError(
            f"The IO manager {name!r} is registered as {found!r}, which is no IOManager class."
        )
    return found


def check_io(job: JobDefinition, executor: type[Executor], io: str | None = None, persistent: bool = False) -> None:
    """Before a run starts: every manager key is bound, and none keeps values in memory that another process will want.

    ``io`` is the default manager's name; the executor's own default if none is given. ``persistent``: the definition of
    the executor wants that outputs are kept, whatever its class says.
    """
    bound = job.resource_defs
    default = io or executor.default_io
    crosses = persistent or executor.crosses_processes
    good = set[str]()  #: keys of which nothing more is to be asked: a job has few, and many outputs
    for path, node in job.op_table.items():
        op = node.op
        for name, out in op.outs.items():
            key = out.io_manager_key
            if key in good:
                continue
            _must_be_bound(key, bound, f"output {name!r} of {path!r}")
            if crosses:
                if out.type.is_nothing:
                    continue
                _must_cross(key, bound, default, f"Output {name!r} of {path!r}", executor)
            good.add(key)
        for name, port in op.ins.items():
            if port.input_manager_key:
                _must_be_bound(port.input_manager_key, bound, f"input {name!r} of {path!r}")


def _must_be_bound(key: str, bound: Any, what: str) -> None:
    if key != DEFAULT_KEY and key not in bound:
        raise InvalidDefinitionError(
            f"There is no resource {key!r} for {what}.{nearest(key, bound)} Bound to the job: {listed(bound)}. "
            "Give it in resource_defs= of the job, or in resources= of the Definitions."
        )


def _must_cross(key: str, bound: Any, default: str, what: str, executor: type[Executor]) -> None:
    if key in bound:
        if not keeps_in_memory(bound[key]):
            return
    elif manager_class(default).crosses_processes:
        return
    why = "runs steps in several processes" if executor.crosses_processes else "requires outputs that persist"
    raise UnmetExecutorRequirementsError(
        f"{what} is kept in memory (resource {key!r}), but {executor.__name__} {why}: the "
        f"next step would not find it. Bind a filesystem or Redis IO manager to {key!r}, or choose the in_process "
        "executor."
    )


def keeps_in_memory(resource: Any) -> bool:
    """As far as can be told without opening it: from the object, class or definition behind a definition."""
    behind = [
        getattr(resource, "manager_class", None),
        getattr(resource, "given", None),
        getattr(getattr(resource, "resource_fn", None), "value", None),
    ]
    base = getattr(resource, "base", None)
    return any(getattr(each, "crosses_processes", True) is False for each in behind) or (
        base is not None and keeps_in_memory(base)
    )
