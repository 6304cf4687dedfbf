"""User code into definitions: a file, a module or a package, loaded once per process.

Our own packages have common names, so that a module of the user's can stand in the way: :func:`check_packages` finds
out, and from then on ``orchestrator``, ``executors`` and ``worker`` are ours whatever ``sys.path`` says.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opgrid.contracts.tasks import CodeTarget, JobRef
from opgrid.doors import OURS
from opgrid.errors import LoadError, OpGridError, ShadowedPackage, UnknownName, listed

if TYPE_CHECKING:
    from opgrid.definitions.definitions import Definitions
    from opgrid.definitions.job import JobDefinition

T = TypeVar("T")

_ROOT: Final = Path(__file__).resolve().parent.parent

_loaded: dict[CodeTarget, Definitions] = {}


class CodeMismatch(LoadError):
    """This process holds another version of a job than the one that its run was planned from."""

    def __init__(self, job: str, planned: str, found: str) -> None:
        super().__init__(job, planned, found)
        self.job, self.planned, self.found = job, planned, found

    def describe(self) -> str:
        return (
            f"Job {self.job!r} has another structure in this process ({self.found[:12]}) than in the one that "
            f"planned the run ({self.planned[:12]}): the code was changed or deployed in between. Launch the run "
            "again."
        )


# ---- definitions -----------------------------------------------------------------------------------------------------


def load(target: CodeTarget) -> Definitions:
    """The definitions at ``target``. LoadError with the user's traceback when they cannot be had."""
    found = _loaded.get(target)
    if found is None:
        module = _module(target)
        found = _loaded[target] = _definitions(module, target)
    return found


def load_job(target: CodeTarget, name: str) -> JobDefinition:
    """Raises UnknownJob, naming the nearest."""
    return load(target).get_job_def(name)


def job_for(wanted: JobRef, target: CodeTarget) -> JobDefinition:
    """The very job that a run was planned from; CodeMismatch when this process holds another."""
    job = load_job(target, wanted.name)
    if wanted.structure_hash and job.structure_hash != wanted.structure_hash:
        raise CodeMismatch(wanted.name, wanted.structure_hash, job.structure_hash)
    return job


def by_value(job: object) -> bytes:
    """A job for processes that cannot load it by its name. LoadError for one that holds what cannot be pickled."""
    import cloudpickle

    try:
        pickled: bytes = cloudpickle.dumps(job, protocol=5)
    except Exception as error:
        raise LoadError(
            f"Job {getattr(job, 'name', job)!r} cannot be pickled for the processes that run its steps: {error}. Give "
            "them its name instead: put it at the top level of a module and pass reconstructable(job). Or make "
            "what it holds where it is used, in the function of a resource for example."
        ) from error
    return pickled


def _definitions(module: ModuleType, target: CodeTarget) -> Definitions:
    from opgrid.definitions.definitions import Definitions

    where = _named(target)
    if target.attribute is not None:
        value = _attribute(module, target.attribute, where)
        if target.arguments is not None:
            args, kwargs = json.loads(target.arguments)
            value = functools.partial(value, *args, **kwargs)
        return _as_definitions(value, f"{target.attribute!r} in {where}")
    bundles = {id(value): name for name, value in vars(module).items() if isinstance(value, Definitions)}
    if len(bundles) > 1:
        raise LoadError(
            f"{where} has several Definitions ({listed(sorted(bundles.values()))}): keep one at the top level, merge "
            "them with Definitions.merge, or choose one with -a."
        )
    if bundles:
        (name,) = bundles.values()
        found = vars(module)[name]
        assert isinstance(found, Definitions)
        return found
    return _of_loose_parts(module, where)


def _of_loose_parts(module: ModuleType, where: str) -> Definitions:
    """A module without Definitions: the jobs (and schedules and sensors) at its top level."""
    from opgrid.definitions.definitions import Definitions
    from opgrid.definitions.job import JobDefinition

    def of(kind: Any) -> list[Any]:
        return list({id(value): value for value in vars(module).values() if isinstance(value, kind)}.values())

    jobs = of(JobDefinition)
    schedules = of(_class("opgrid.definitions.schedule", "ScheduleDefinition"))
    sensors = of(_class("opgrid.definitions.sensor", "SensorDefinition"))
    if not (jobs or schedules or sensors):
        raise LoadError(
            f"{where} has no Definitions and no jobs at its top level. Put there: defs = Definitions(jobs=[...]), "
            f"or name what to load with -a."
        )
    return _built(lambda: Definitions(jobs=jobs, schedules=schedules, sensors=sensors), where)


def _class(module: str, name: str) -> Any:
    """A class that the user's code may have imported; no class at all where it has not."""
    return getattr(sys.modules.get(module), name, ())


def _attribute(module: ModuleType, name: str, where: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        raise UnknownName(
            "attribute", name, [each for each in vars(module) if not each.startswith("_")], where
        ) from None


def _as_definitions(value: Any, what: str) -> Definitions:
    from opgrid.definitions.definitions import Definitions
    from opgrid.definitions.graph import GraphDefinition
    from opgrid.definitions.job import JobDefinition
    from opgrid.definitions.nodes import Invocable

    if isinstance(value, Definitions):
        return value
    if isinstance(value, JobDefinition):
        return _built(lambda: Definitions(jobs=[value]), what)
    if isinstance(value, GraphDefinition):
        return _built(lambda: Definitions(jobs=[value.to_job()]), what)
    if callable(value) and not isinstance(value, type | Invocable):
        return _as_definitions(_built(value, what), f"the value returned by {what}")
    raise LoadError(
        f"{what} is a {type(value).__name__}: it has to be Definitions, a job, a graph or a function that returns one."
    )


def _built(make: Callable[[], T], what: str) -> T:
    try:
        return make()
    except OpGridError as error:
        raise LoadError(f"{what}: {error}") from error
    except Exception as error:
        raise LoadError(f"{what} raised:\n{_of_user(error)}") from error


# ---- modules ---------------------------------------------------------------------------------------------------------


def _module(target: CodeTarget) -> ModuleType:
    given = [kind for kind in (target.file, target.module, target.package) if kind]
    if len(given) != 1:
        raise LoadError(f"A code location is one file, module or package; {len(given) or 'none'} of them given.")
    directory = os.path.abspath(target.working_directory or os.getcwd())
    if not os.path.isdir(directory):
        raise LoadError(f"The working directory {directory} does not exist.")
    if target.file is not None:
        return _from_file(Path(directory, target.file).resolve(), directory)
    _put_on_path(directory)
    return _imported(target.module or target.package or "", _named(target))


def _from_file(path: Path, directory: str) -> ModuleType:
    if not path.is_file():
        near = sorted(each.name for each in path.parent.glob("*.py")) if path.parent.is_dir() else []
        beside = f" In that folder there are: {listed(near)}." if near else ""
        raise LoadError(f"There is no file {path}.{beside}")
    _put_on_path(directory)
    _put_on_path(str(path.parent))
    name = _module_name(path)
    there = sys.modules.get(name)
    if there is not None and _file_of(there) == path:
        return there
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        raise _failed(error, str(path)) from error
    return module


def _module_name(path: Path) -> str:
    """The same in every process: what a step pickles in one is found in another."""
    stem = path.stem
    taken = sys.modules.get(stem)
    if (
        not stem.isidentifier()
        or stem in sys.stdlib_module_names
        or stem in OURS
        or (taken is not None and _file_of(taken) != path)
    ):
        return "opgrid_code_" + "".join(each if each.isalnum() else "_" for each in stem)
    return stem


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _imported(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and (name + ".").startswith(error.name + "."):
            raise LoadError(
                f"There is no module {error.name!r} (searched for {name!r} from {os.getcwd()}). Install it, or name "
                "the folder that holds it with -d."
            ) from error
        raise _failed(error, where) from error


def _failed(error: BaseException, where: str) -> BaseException:
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return error
    if isinstance(error, OpGridError):
        return LoadError(f"{where} could not be loaded: {error}\n{''.join(_of_user(error).stack.format())}".rstrip())
    return LoadError(f"{where} could not be loaded:\n{''.join(_of_user(error).format())}".rstrip())


def _of_user(error: BaseException) -> traceback.TracebackException:
    """Without the lines that are not the user's."""
    found = traceback.TracebackException.from_exception(error)
    found.stack[:] = [frame for frame in found.stack if not _machinery(frame.filename)]
    return found


def _machinery(file: str) -> bool:
    """Ours, or Python's for importing."""
    ours = any(file.startswith(str(_ROOT / package) + os.sep) for package in OURS)
    return ours or file.startswith("<frozen importlib") or os.sep + "importlib" + os.sep in file


def _put_on_path(directory: str) -> None:
    if directory not in sys.path:
        sys.path.insert(0, directory)
    check_packages()


def _named(target: CodeTarget) -> str:
    if target.file:
        return target.file
    return f"package {target.package!r}" if target.package else f"module {target.module!r}"


# ---- our own packages ------------------------------------------------------------------------------------------------


def check_packages(roots: Sequence[str] = ()) -> None:
    """ShadowedPackage when a stranger's module has the name of one of our packages and comes before it; else they
    are ours for good.
    """
    for root in (*roots, *sys.path):
        if _is_root(os.path.abspath(root)):
            break
    if not any(isinstance(finder, _OurPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OurPackages())


@functools.lru_cache(maxsize=256)
def _is_root(place: str) -> bool:
    """Whether our packages lie there; else there are no others of their names. What is looked at once is not looked at
    again: processes are forked from one that has.
    """
    folder = Path(place).resolve()
    if folder == _ROOT:
        return True
    for name in OURS:
        stranger = _stranger(folder, name)
        if stranger is not None:
            raise ShadowedPackage(name, str(stranger), str(_ROOT / name))
    return False


def _stranger(folder: Path, name: str) -> Path | None:
    for candidate in (folder / name / "__init__.py", folder / f"{name}.py"):
        if candidate.is_file():
            return candidate
    return None


class _OurPackages:
    """Finds the top-level packages that are ours beside this one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None and fullname in OURS and (_ROOT / fullname / "__init__.py").is_file():
            return PathFinder.find_spec(fullname, [str(_ROOT)], target)
        return None
