"""Run config made whole: laid over what the job hard-codes, validated, mapped, and laid out by the nodes that use
it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from opgrid.config.env import with_references
from opgrid.config.files import merged
from opgrid.config.report import Report
from opgrid.config.schema import ABSENT, Field, as_field, check_keys
from opgrid.contracts.config import ExecutorChoice, NodeConfig, ResolvedConfig
from opgrid.contracts.structure import Delivery, FanIn, FromGraphInput, FromNode, Wire
from opgrid.definitions.logger import colored_console_logger
from opgrid.definitions.resource import config_of_port
from opgrid.errors import ConfigMappingFunctionError, InvalidConfigError, listed, nearest
from opgrid.plugins import executor_class

if TYPE_CHECKING:
    from opgrid.definitions.executor import ExecutorDefinition
    from opgrid.definitions.graph import GraphDefinition
    from opgrid.definitions.job import JobDefinition
    from opgrid.definitions.nodes import Node

_ROOT = "root"
_TOP = ("ops", "resources", "execution", "loggers", "inputs")


@dataclass(frozen=True, slots=True)
class Resolution:
    config: ResolvedConfig
    executor: ExecutorChoice
    run_config: dict[str, Any]  #: as users see it: theirs laid over the job's
    notices: tuple[str, ...] = ()  #: what was ignored, in words


def resolve_run_config(
    job: JobDefinition, given: Any = None, executor: str | None = None, selected: Collection[str] | None = None
) -> Resolution:
    """Raises InvalidConfigError with every problem; UnknownExecutor; ConfigMappingFunctionError.

    ``selected``: the paths of the ops that will run, None for all; what others lack is no problem.
    """
    walk = _Walk(job, selected)
    own = as_plain(given, f"The run config of {named(job)}")
    hard = job.run_config or {}
    if job.config_mapping is not None:
        shown, whole = own, walk.mapped(job.config_mapping, own)
        own = {}
    else:
        whole = merged([hard, own])
        shown = whole
    choice, notices = _executor(job, own, hard if job.config_mapping is None else whole, executor, walk.report)
    config = walk.resolve(whole)
    walk.report.raise_if_any(f"The run config of {named(job)} does not fit")
    return Resolution(config, choice, _with_keys_of_text(copy.deepcopy(shown)), tuple(notices))


def _with_keys_of_text(value: Any) -> Any:
    """As it is kept, and may be given again: where a schema takes other keys, it takes them as text, too."""
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else json.dumps(key, default=str): _with_keys_of_text(each)
            for key, each in value.items()
        }
    return [_with_keys_of_text(each) for each in value] if isinstance(value, list | tuple) else value


def check_job_config(job: JobDefinition) -> None:
    """What a job hard-codes has to fit as far as it goes. Raises InvalidConfigError."""
    if job.run_config is None:
        return
    walk = _Walk(job, selected=())
    walk.resolve(job.run_config)
    walk.report.raise_if_any(f"The config of {named(job)} does not fit")


def named(job: JobDefinition) -> str:
    return f"job {job.name!r} ({job.location})" if job.location else f"job {job.name!r}"


def validate_run_config(job_def: JobDefinition, run_config: Any = None) -> dict[str, Any]:
    """The run config as it would be used. Raises InvalidConfigError."""
    return resolve_run_config(job_def, run_config).run_config


def as_plain(given: Any, what: str) -> dict[str, Any]:
    if given is None:
        return {}
    if hasattr(given, "to_config_dict"):
        found: dict[str, Any] = with_references(given.given())
        return found
    if not isinstance(given, Mapping):
        raise InvalidConfigError(f"{what} has to be a RunConfig or a dict, not {given!r}.")
    known = {
        key: value for key, value in given.items() if key in ("ops", "resources", "loggers", "execution", "inputs")
    }
    if any(_holds_objects(value) for value in known.values()):
        from opgrid.config.run import RunConfig  # with pydantic, which what is plain does not need

        plain = RunConfig(**known).given()
        return {**dict(given), **with_references(plain)}
    return dict(with_references(given))


def _holds_objects(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_objects(each) for each in value.values())
    return hasattr(value, "_convert_to_config_dictionary")


class _Passed(NamedTuple):
    """What the run config says for an input of a graph, and where."""

    value: Any
    path: str


_NOTHING_PASSED: Mapping[str, _Passed] = {}


@dataclass(slots=True)
class _Walk:
    """One walk over a job, with every problem it meets."""

    job: JobDefinition
    selected: Collection[str] | None
    report: Report = field(default_factory=Report)
    nodes: dict[str, NodeConfig] = field(default_factory=dict)
    managers_ask: bool = field(init=False)  #: some cannot do without config for an input or output

    def __post_init__(self) -> None:
        self.managers_ask = any(
            schema is not None and schema.is_required
            for bound in self.job.resource_defs.values()
            for schema in (config_of_port(bound, "input"), config_of_port(bound, "output"))
        )

    def mapped(self, mapping: Any, outer: Mapping[str, Any]) -> dict[str, Any]:
        checked: Any = outer
        if mapping.config_field is not None:
            checked = mapping.config_field.check(outer, _ROOT, self.report)
        if self.report.problems:
            self.report.raise_if_any(f"The run config of {named(self.job)} does not fit its config mapping")
        found: dict[str, Any] = mapping.resolve({} if checked is ABSENT else checked, f"job {self.job.name!r}")
        return found

    def resolve(self, whole: Mapping[str, Any]) -> ResolvedConfig:
        for key in whole:
            if key not in _TOP:
                self.report.unknown(
                    f"{_ROOT}:{key}", f"there is no such section.{nearest(str(key), _TOP)} There are: {listed(_TOP)}."
                )
        ops = self._section(whole, "ops")
        graph = self.job.graph
        if graph.config is not None:
            ops = self._graph_config(graph, ops, f"{_ROOT}:ops", "") or {}
        self._graph(graph, ops, f"{_ROOT}:ops", "", {*self.job.input_values, *self._section(whole, "inputs")})
        found = ResolvedConfig(
            nodes=self.nodes,
            resources=self._resources(self._section(whole, "resources")),
            loggers=self._loggers(self._section(whole, "loggers")),
            inputs=self._inputs(self._section(whole, "inputs")),
        )
        if not self.report.problems:
            self._check_keys(found)
        return found

    def _check_keys(self, found: ResolvedConfig) -> None:
        """Also of what has no schema that would have looked at them."""
        for at, node in found.nodes.items():
            path = f"{_ROOT}:ops:{at.replace('.', ':ops:')}"
            check_keys(node.config, f"{path}:config", self.report)
            check_keys(node.inputs, f"{path}:inputs", self.report)
            check_keys(node.outputs, f"{path}:outputs", self.report)
        for section in ("resources", "loggers"):
            for key, config in getattr(found, section).items():
                check_keys(config, f"{_ROOT}:{section}:{key}:config", self.report)
        check_keys(found.inputs, f"{_ROOT}:inputs", self.report)

    def _section(self, whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        return self._mapping(whole.get(key), f"{_ROOT}:{key}")

    def _mapping(self, value: Any, path: str) -> Mapping[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.report.wrong(path, f"expected a mapping, got {value!r}.")
            return {}
        return value

    # ---- ops -------------------------------------------------------------------------------------------------------

    def _graph(
        self,
        graph: GraphDefinition,
        given: Mapping[str, Any],
        path: str,
        prefix: str,
        fed: Collection[str] = (),
        passed: Mapping[str, _Passed] = _NOTHING_PASSED,
    ) -> None:
        """``fed``: inputs of the graph that something feeds; ``passed``: those that are in the run config."""
        for name in given:
            if name not in graph.nodes:
                self.report.unknown(
                    f"{path}:{name}",
                    f"{graph.name!r} has no op or graph of that name.{nearest(str(name), graph.nodes)} There are: "
                    f"{listed(list(graph.nodes))}.",
                )
        for name, node in graph.nodes.items():
            entry = given.get(name)
            asked = node.is_graph or self.managers_ask or _takes_config(node.definition)
            if not (asked or entry is not None or passed):
                continue
            own, here, at = self._mapping(entry, f"{path}:{name}"), f"{path}:{name}", f"{prefix}{name}"
            inputs = self._inputs_of(node, self._mapping(own.get("inputs"), f"{here}:inputs"), f"{here}:inputs", fed)
            if passed and not self._left_out(at):
                inputs = {**self._passed_on(node, passed, inputs), **inputs}
            if node.is_graph:
                self._subgraph(node, own, here, at, fed_inputs(node, fed), inputs)
            else:
                self._op(node, own, here, at, inputs)

    def _inputs_of(
        self, node: Node, given: Mapping[str, Any], path: str, around: Collection[str]
    ) -> dict[str, _Passed]:
        """What is said for inputs of a node itself; ``around``: inputs of the graph it is in that something feeds."""
        definition, fed = node.definition, fed_inputs(node, around)
        found: dict[str, _Passed] = {}
        for name, value in given.items():
            if name not in definition.ins:
                self.report.unknown(
                    f"{path}:{name}",
                    f"{'graph' if node.is_graph else 'op'} {definition.name!r} has no such input."
                    f"{nearest(str(name), definition.ins)} There are: {listed(definition.ins)}.",
                )
            elif name in fed and self.selected is None and self._managed(node, name) is None:
                self.report.unknown(
                    f"{path}:{name}",
                    "this input is fed by an output of another step, or by an input of the job; it takes no config.",
                )
            else:
                found[name] = _Passed(value, f"{path}:{name}")
        return found

    def _passed_on(self, node: Node, passed: Mapping[str, _Passed], own: Collection[str]) -> dict[str, _Passed]:
        """What is said for inputs of the graph around, for those of a node that take them and have nothing said."""
        found: dict[str, _Passed] = {}
        for name, wire in node.wires.items():
            if name in own or (not node.is_graph and node.definition.ins[name].type.is_nothing):
                continue
            for source in wire.items if isinstance(wire, FanIn) else (wire,):
                if isinstance(source, FromNode) or source.name not in passed:
                    continue
                given, taker = passed[source.name], f"the input {name!r} of {node.name!r}"
                if source.delivery is not Delivery.WHOLE:
                    self.report.unknown(given.path, f"{taker} maps or collects it: only a dynamic output can feed it.")
                elif isinstance(wire, FanIn):
                    self.report.unknown(given.path, f"it stands in a list for {taker}: give that the whole list.")
                else:
                    found[name] = given
        return found

    def _subgraph(
        self,
        node: Node,
        given: Mapping[str, Any],
        path: str,
        at: str,
        fed: Collection[str],
        passed: Mapping[str, _Passed],
    ) -> None:
        graph: Any = node.definition
        mapped = graph.config is not None or graph.config_fn is not None
        self._known(given, ("config", "inputs", "outputs") if mapped else ("ops", "inputs", "outputs"), path)
        if given.get("outputs"):
            self.report.unknown(
                f"{path}:outputs",
                f"graph {graph.name!r} stores no outputs: what is said of them goes to the op inside that gives them.",
            )
        if mapped:
            inner = self._graph_config(graph, given, path, at)
            if inner is None:
                return
        else:
            inner = self._mapping(given.get("ops"), f"{path}:ops")
        self._graph(graph, inner, f"{path}:ops", f"{at}.", fed, passed)

    def _graph_config(self, graph: Any, given: Mapping[str, Any], path: str, at: str) -> Mapping[str, Any] | None:
        """Through ``configured`` and the config mapping, to the config of what is inside; None where that cannot be
        told, because the outer one does not fit or is not there for a graph that is left out.
        """
        before = len(self.report.problems)
        value = given.get("config", ABSENT)
        while graph.config_fn is not None:
            field = graph.config_field
            checked = self._checked(field, value, f"{path}:config", at)
            if len(self.report.problems) > before:
                return None
            outer = None if checked is ABSENT else checked
            value = _through(graph, outer if field is None else field.load(outer))
            graph = graph.base
        mapping = graph.config
        if mapping is None:
            return self._mapping(value.get("ops", value) if isinstance(value, Mapping) else value, path)
        checked = self._checked(mapping.config_field, value, f"{path}:config", at)
        if len(self.report.problems) > before or (checked is ABSENT and self._left_out(at)):
            return None
        inner: dict[str, Any] = mapping.resolve({} if checked is ABSENT else checked, f"graph {graph.name!r}")
        found: Mapping[str, Any] = inner.get("ops", inner)
        return found

    def _op(self, node: Node, given: Mapping[str, Any], path: str, at: str, passed: Mapping[str, _Passed]) -> None:
        op: Any = node.definition
        self._known(given, ("config", "inputs", "outputs"), path)
        config: Any = given.get("config", ABSENT)
        if op.config_field is None and op.config_fn is None and op.signature.context is None and config is not ABSENT:
            self.report.unknown(
                f"{path}:config",
                f"op {op.name!r} takes no config: it has no config parameter, and no context to look at it.",
            )
        config = self._op_config(op, config, path, at)
        inputs = self._op_inputs(node, passed, f"{path}:inputs", at)
        outputs = self._op_outputs(op, given.get("outputs"), f"{path}:outputs", at)
        if config is not ABSENT or inputs or outputs is not None:
            self.nodes[at] = NodeConfig(None if config is ABSENT else config, inputs, outputs)

    def _op_config(self, op: Any, config: Any, path: str, at: str) -> Any:
        """Through each ``configured`` down to the op that was written."""
        while op.config_fn is not None:
            field = op.config_field
            before = len(self.report.problems)
            checked = self._checked(field, config, f"{path}:config", at)
            if len(self.report.problems) > before:
                return ABSENT
            value = None if checked is ABSENT else checked
            config = _through(op, value if field is None else field.load(value))
            op = op.base
        if op.config_field is None:
            return config  # without a schema anything goes
        return self._checked(op.config_field, config, f"{path}:config", at)

    def _checked(self, schema: Field | None, value: Any, path: str, at: str) -> Any:
        if schema is None:
            return value
        if value is ABSENT and self._left_out(at):
            return ABSENT
        return schema.check(value, path, self.report)

    def _ask(
        self,
        ports: Iterable[str],
        given: Collection[str],
        schema_of: Callable[[str], Field | None],
        path: str,
        at: str,
    ) -> None:
        """For what managers cannot do without."""
        for name in ports:
            schema = None if name in given else schema_of(name)
            if schema is not None and schema.is_required:
                self._checked(schema, ABSENT, f"{path}:{name}", at)

    def _left_out(self, at: str) -> bool:
        return self.selected is not None and not any(each == at or each.startswith(f"{at}.") for each in self.selected)

    def _op_inputs(self, node: Node, given: Mapping[str, _Passed], path: str, at: str) -> dict[str, Any]:
        op: Any = node.definition
        found: dict[str, Any] = {}
        if self.managers_ask:
            self._ask(op.ins, given, lambda name: self._managed(node, name), path, at)
        for name, (value, said) in given.items():
            schema = self._managed(node, name)
            if schema is not None:
                found[name] = schema.check(value, said, self.report)
            else:
                found[name] = self._input_value(op.ins[name].type, value, said)
        return found

    def _managed(self, node: Node, name: str) -> Field | None:
        """What the manager that loads an input of an op takes."""
        definition: Any = node.definition
        if node.is_graph:
            return None
        return self._of_manager(definition.ins[name].input_manager_key, "input")

    def _op_outputs(self, op: Any, given: Any, path: str, at: str) -> Any:
        """By output, where IO managers say what they take; anything else is theirs to read."""
        if given is not None and not isinstance(given, Mapping):
            return given
        if self.managers_ask:
            self._ask(
                op.outs, given or {}, lambda name: self._of_manager(op.outs[name].io_manager_key, "output"), path, at
            )
        if given is None:
            return None
        found = dict(given)
        for name, value in given.items():
            if name not in op.outs:
                self.report.unknown(
                    f"{path}:{name}",
                    f"op {op.name!r} has no such output.{nearest(str(name), op.outs)} There are: {listed(op.outs)}.",
                )
                continue
            schema = self._of_manager(op.outs[name].io_manager_key, "output")
            if schema is not None:
                found[name] = schema.check(value, f"{path}:{name}", self.report)
        return found

    def _of_manager(self, key: str | None, side: Literal["input", "output"]) -> Field | None:
        """What the IO manager behind a resource key takes for one input or output."""
        return None if key is None else config_of_port(self.job.resource_defs.get(key), side)

    def _input_value(self, kind: Any, value: Any, path: str) -> Any:
        loader = kind.loader
        if loader is None:
            self.report.unknown(path, f"a {kind.display_name} cannot be written in run config: its type has no loader.")
            return value
        schema = loader.config_schema
        schema = schema() if callable(schema) and not isinstance(schema, type) else schema
        return value if schema is None else as_field(schema).check(value, path, self.report)

    # ---- the rest --------------------------------------------------------------------------------------------------

    def _resources(self, given: Mapping[str, Any]) -> dict[str, Any]:
        bound = self.job.resource_defs
        self._known(given, bound, f"{_ROOT}:resources", "resource")
        found: dict[str, Any] = {}
        for key, definition in bound.items():
            schema = definition.config_field
            entry = self._mapping(given.get(key), f"{_ROOT}:resources:{key}")
            self._known(entry, ("config",), f"{_ROOT}:resources:{key}")
            if schema is None:
                if definition.takes_any_config:
                    if "config" in entry:
                        found[key] = entry["config"]
                elif "config" in entry and entry["config"] not in (None, {}):
                    self.report.unknown(f"{_ROOT}:resources:{key}:config", f"resource {key!r} takes no config.")
                continue
            given_config = entry.get("config", ABSENT)
            if given_config is ABSENT and self.selected is not None and not self.selected:
                continue
            checked = schema.check(given_config, f"{_ROOT}:resources:{key}:config", self.report)
            if checked is not ABSENT:
                found[key] = checked
        return found

    def _loggers(self, given: Mapping[str, Any]) -> dict[str, Any]:
        defined = self.job.logger_defs
        found: dict[str, Any] = {}
        for key, entry in given.items():
            path = f"{_ROOT}:loggers:{key}"
            if key not in defined and key != "console":
                self.report.unknown(
                    path, f"the job has no such logger.{nearest(str(key), defined)} There are: {listed(defined)}."
                )
                continue
            given_entry = self._mapping(entry, path)
            self._known(given_entry, ("config",), path)
            config = given_entry.get("config", ABSENT)
            schema = defined.get(key, colored_console_logger).config_field
            checked = config if schema is None else schema.check(config, f"{path}:config", self.report)
            if key in defined:
                found[key] = None if checked is ABSENT else checked
        return found

    def _inputs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        ins = self.job.graph.ins
        self._known(given, ins, f"{_ROOT}:inputs", "input")
        return {
            name: self._input_value(ins[name].type, value, f"{_ROOT}:inputs:{name}")
            for name, value in given.items()
            if name in ins
        }

    def _known(self, given: Mapping[str, Any], known: Collection[str], path: str, what: str = "field") -> None:
        for key in given:
            if key not in known:
                self.report.unknown(
                    f"{path}:{key}", f"there is no such {what}.{nearest(str(key), known)} There are: {listed(known)}."
                )


def _through(definition: Any, config: Any) -> Any:
    """What the function of a configured definition makes of its config. Raises ConfigMappingFunctionError."""
    try:
        made = definition.config_fn(config)
    except Exception as error:
        raise ConfigMappingFunctionError(
            f"The config function of {definition.name!r} raised {type(error).__name__}: {error}"
        ) from error
    return made._convert_to_config_dictionary() if hasattr(made, "_convert_to_config_dictionary") else made


def _takes_config(op: Any) -> bool:
    return op.config_schema is not None or op.config_fn is not None


def fed_inputs(node: Node, around: Collection[str]) -> frozenset[str]:
    """Inputs of a node that something feeds; ``around``: those of the graph that it is in."""
    return frozenset(name for name, wire in node.wires.items() if _feeds(wire, around))


def _feeds(wire: Wire, around: Collection[str]) -> bool:
    if isinstance(wire, FanIn):
        return all(_feeds(item, around) for item in wire.items)
    return not isinstance(wire, FromGraphInput) or wire.name in around


# ---- the executor ------------------------------------------------------------------------------------------------


def _executor(
    job: JobDefinition, own: Mapping[str, Any], hard: Mapping[str, Any], asked: str | None, report: Report
) -> tuple[ExecutorChoice, list[str]]:
    """What was asked for, else what the run config says, else the job's own, else a pool of processes."""
    mine, theirs = _execution(own, report), _execution(hard, report)
    definition = job.executor_def
    default = definition.name
    name = asked or mine.get("executor") or theirs.get("executor") or default
    notices: list[str] = []
    config: Any = {}
    if theirs.get("config"):
        if (theirs.get("executor") or default) == name:
            config = theirs["config"]
        else:
            notices.append(f"The job's own execution config is for another executor than {name!r}: it is ignored.")
    config = merged([config, mine.get("config") or {}])
    found = definition if definition.name == name else _built_in(name)
    if found is None:
        executor_class(name)  # UnknownExecutor
    before = len(report.problems)
    config = _through_configured(found, config, report)
    if len(report.problems) > before:
        return ExecutorChoice(name), notices  # nothing will run
    if name == "multi_or_in_process":
        ((name, config),) = (config or {"multiprocess": {}}).items()
    return ExecutorChoice(name, dict(config or {})), notices


def _execution(config: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    found = config.get("execution") or {}
    path = f"{_ROOT}:execution"
    if not isinstance(found, Mapping):
        report.wrong(path, f"expected a mapping, got {found!r}.")
        return {}
    for key, kind, what in (("executor", str, "the name of an executor"), ("config", Mapping, "a mapping")):
        if not isinstance(found.get(key), kind | None):
            report.wrong(f"{path}:{key}", f"expected {what}, got {found[key]!r}.")
            return {}
    for key in found:
        if key not in ("executor", "config"):
            known = ("executor", "config")
            report.unknown(
                f"{path}:{key}", f"there is no such field.{nearest(str(key), known)} There are: {listed(known)}."
            )
    return found


def _built_in(name: str) -> ExecutorDefinition | None:
    from opgrid.definitions import executor

    known = (
        executor.in_process_executor,
        executor.multiprocess_executor,
        executor.celery_executor,
        executor.multi_or_in_process_executor,
    )
    return next((each for each in known if each.name == name), None)


def _through_configured(definition: ExecutorDefinition | None, config: Any, report: Report) -> Any:
    path = f"{_ROOT}:execution:config"
    while definition is not None and definition.config_fn is not None and definition.base is not None:
        schema = definition.config_field
        checked = config if schema is None else schema.check(config, path, report)
        config = merged([definition.config, definition.config_fn(checked)])
        definition = definition.base
    if definition is None:
        return config
    config = merged([definition.config, config])
    schema = definition.config_field
    if schema is None:
        return config
    checked = schema.check(config or ABSENT, path, report)
    return {} if checked is ABSENT or checked is None else checked
