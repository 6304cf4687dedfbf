"""Jobs by where they come from, so that other processes can load them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from opgrid.contracts.tasks import CodeTarget
from opgrid.definitions.graph import GraphDefinition
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.nodes import Invocable
from opgrid.errors import InvariantViolationError
from opgrid.loading import load


class ReconstructableJob:
    """A job, and the code location that other processes load it from."""

    def __init__(self, code: CodeTarget, make: Callable[[], Any], op_selection: Iterable[str] | None = None) -> None:
        self.code = code
        self._make = make
        self._op_selection = None if op_selection is None else tuple(op_selection)

    def get_subset(self, *, op_selection: Iterable[str] | None = None) -> ReconstructableJob:
        """The same job, of which a run takes only the selected ops."""
        return ReconstructableJob(self.code, self._make, op_selection)

    def get_definition(self) -> JobDefinition:
        """Raises InvariantViolationError when that is no job, InvalidSubsetError for ops that it does not have."""
        made = self._make()
        if isinstance(made, GraphDefinition):
            made = made.to_job()
        if not isinstance(made, JobDefinition):
            raise InvariantViolationError(
                f"{self.code.attribute!r} in {self.code.location} is a {type(made).__name__}, and has to be a job, a "
                "graph, or a function that returns one."
            )
        return made if self._op_selection is None else made.get_subset(op_selection=self._op_selection)

    def __repr__(self) -> str:
        return f"ReconstructableJob({self.code.location!r}, {self.code.attribute!r})"


def reconstructable(target: JobDefinition | GraphDefinition | Callable[[], JobDefinition]) -> ReconstructableJob:
    """A job at the top level of a module or file, or a function there that returns one.

    Raises InvariantViolationError for what other processes cannot find again: something made inside of a function, a
    lambda, something typed at a prompt.
    """
    name = _name_of(target)
    module = sys.modules.get(_module_of(target, name))
    if module is None or getattr(module, name, None) is not target:
        raise InvariantViolationError(
            f"{name!r} is not to be found at the top level of its module under that name, so that other processes "
            "could not load it. Assign it there, or write a function at the top level that returns it."
        )
    make = target if not isinstance(target, Invocable | JobDefinition) else lambda: target
    return ReconstructableJob(_code_of(module, name), make)


def build_reconstructable_job(
    reconstructor_module_name: str,
    reconstructor_function_name: str,
    reconstructable_args: Sequence[Any] = (),
    reconstructable_kwargs: Mapping[str, Any] | None = None,
    reconstructor_working_directory: str | None = None,
) -> ReconstructableJob:
    """A generated job: a function at the top level of a module that makes it of these arguments (JSON values)."""
    arguments = json.dumps([list(reconstructable_args), dict(reconstructable_kwargs or {})], sort_keys=True)
    code = CodeTarget(
        module=reconstructor_module_name,
        attribute=reconstructor_function_name,
        working_directory=reconstructor_working_directory or os.getcwd(),
        arguments=arguments,
    )

    def make() -> JobDefinition:
        (only,) = load(code).resolve_all_job_defs()
        return only

    return ReconstructableJob(code, make)


def _name_of(target: Any) -> str:
    qualified = getattr(target, "__qualname__", None)
    if qualified is None and isinstance(target, JobDefinition | GraphDefinition):
        return target.name
    if not callable(target) or not qualified:
        raise InvariantViolationError(
            f"reconstructable(...) takes a job, or a function that returns one, not {target!r}."
        )
    if "<lambda>" in qualified:
        raise InvariantViolationError(
            "reconstructable(...) cannot take a lambda: other processes load the job by name. Write a function at the "
            "top level of a module."
        )
    if "<locals>" in qualified:
        raise InvariantViolationError(
            f"reconstructable(...) cannot take {qualified!r}: its __qualname__ says that it is made inside of a "
            "function, where other processes cannot find it. Move it to the top level of its module."
        )
    return str(qualified)


def _module_of(target: Any, name: str) -> str:
    """Of a job made by to_job, which does not know its module: the caller's."""
    given = getattr(target, "__module__", None)
    if given is not None and not given.startswith("opgrid.definitions"):
        return str(given)
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get(name) is not target:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "__main__"))


def _code_of(module: ModuleType, name: str) -> CodeTarget:
    file = getattr(module, "__file__", None)
    if file is None:
        raise InvariantViolationError(
            f"{name!r} was made at a prompt, where other processes cannot load it. Put it into a file."
        )
    path = Path(file).resolve()
    loaded_by_path = "." not in module.__name__ and path.stem != module.__name__
    if module.__name__ == "__main__" or module.__spec__ is None or loaded_by_path:
        return CodeTarget(file=str(path), attribute=name)
    root = path.parent.parent if path.name == "__init__.py" else path.parent
    for _ in range(module.__name__.count(".")):
        root = root.parent
    return CodeTarget(module=module.__name__, attribute=name, working_directory=str(root))
