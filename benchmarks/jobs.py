"""opgrid's jobs of the workloads, which workers load; and a second set, whose steps travel in a message each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any, Final

from benchmarks import bodies
from benchmarks.workloads import CONSUMERS, PER_MIB, WIDTH, WORKLOADS, Shape, Workload, lengths
from opgrid import DynamicOut, DynamicOutput, GraphDefinition, JobDefinition, OpDefinition, graph, op, repository

#: What keeps steps from travelling together.
SINGLE: Final = {"opgrid/fuse": "false"}


def graph_of(workload: Workload) -> GraphDefinition:
    """The graph and its ops, made anew."""
    make = _MAKERS[workload.shape]
    return make(workload, workload.key.replace("-", "_"))


def job_of(workload: Workload, single: bool = False) -> JobDefinition:
    return graph_of(workload).to_job(name=_name_of(workload, single), tags=SINGLE if single else None)


def _name_of(workload: Workload, single: bool) -> str:
    name = workload.key.replace("-", "_")
    return f"{name}_single" if single else name


def _chain(workload: Workload, name: str) -> GraphDefinition:
    pause = workload.pause

    @op(name=f"{name}_zero")
    def zero() -> int:
        bodies.pause(pause)
        return 0

    @op(name=f"{name}_increment")
    def increment(number: int) -> int:
        return bodies.increment(number, pause)

    @graph(name=f"{name}_graph")
    def made() -> None:
        number = zero()
        for _ in range(workload.size - 1):
            number = increment(number)

    return made


def _fan(workload: Workload, name: str) -> GraphDefinition:
    pause = workload.pause

    @op(name=f"{name}_spread", out=DynamicOut())
    def spread() -> Iterator[DynamicOutput[int]]:
        bodies.pause(pause)
        for number in range(workload.size):
            yield DynamicOutput(number, mapping_key=str(number))

    @op(name=f"{name}_increment")
    def increment(number: int) -> int:
        return bodies.increment(number, pause)

    @op(name=f"{name}_total")
    def total(numbers: list[int]) -> int:
        bodies.pause(pause)
        return sum(numbers)

    @graph(name=f"{name}_graph")
    def made() -> None:
        total(spread().map(increment).collect())

    return made


def _mixed(workload: Workload, name: str) -> GraphDefinition:
    @op(name=f"{name}_spread", out=DynamicOut())
    def spread() -> Iterator[DynamicOutput[float]]:
        for number, seconds in enumerate(lengths(workload.size)):
            yield DynamicOutput(seconds, mapping_key=str(number))

    @op(name=f"{name}_wait")
    def wait(seconds: float) -> int:
        return bodies.wait(seconds)

    @op(name=f"{name}_total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @graph(name=f"{name}_graph")
    def made() -> None:
        total(spread().map(wait).collect())

    return made


def _layers(workload: Workload, name: str) -> GraphDefinition:
    layers = workload.size if workload.shape is Shape.LAYERS else workload.size // WIDTH
    pause = workload.pause

    def first(number: int) -> OpDefinition:
        @op(name=f"{name}_first_{number}")
        def place() -> int:
            bodies.pause(pause)
            return number

        return place

    places = [first(number) for number in range(WIDTH)]

    @op(name=f"{name}_combine")
    def combine(left: int, right: int) -> int:
        return bodies.combine(left, right, pause)

    @graph(name=f"{name}_graph")
    def made() -> None:
        values: list[Any] = [place() for place in places]
        for layer in range(1, layers):
            values = [combine.alias(f"at_{layer}_{i}")(values[i], values[(i + 1) % WIDTH]) for i in range(WIDTH)]

    return made


def _payload(workload: Workload, name: str) -> GraphDefinition:
    @op(name=f"{name}_array")
    def array() -> Any:
        return bodies.array(workload.size * PER_MIB)

    @op(name=f"{name}_sum")
    def sum_(values: Any) -> float:
        return bodies.total(values)

    @graph(name=f"{name}_graph")
    def made() -> None:
        values = array()
        for number in range(CONSUMERS):
            sum_.alias(f"sum_{number}")(values)

    return made


def _one(workload: Workload, name: str) -> GraphDefinition:
    @op(name=f"{name}_stamp")
    def stamp() -> int:
        return bodies.stamp()

    @graph(name=f"{name}_graph")
    def made() -> None:
        stamp()

    return made


def _fibo(workload: Workload, name: str) -> GraphDefinition:
    @op(name=f"{name}_begin")
    def begin() -> tuple[int, float]:
        return bodies.timed_fibo((0, 0.0), workload.number)

    @op(name=f"{name}_fibo")
    def fibo(before: tuple[int, float]) -> tuple[int, float]:
        return bodies.timed_fibo(before, workload.number)

    @graph(name=f"{name}_graph")
    def made() -> None:
        found = begin()
        for _ in range(workload.size - 1):
            found = fibo(found)

    return made


_MAKERS: Final = {
    Shape.CHAIN: _chain,
    Shape.FAN: _fan,
    Shape.LAYERS: _layers,
    Shape.PLAN: _layers,
    Shape.PAYLOAD: _payload,
    Shape.FIRST: _one,
    Shape.RUNS: _one,
    Shape.FIBO: _fibo,
    Shape.MIXED: _mixed,
}


def last_nodes(workload: Workload) -> list[str]:
    """The ops whose outputs are the result."""
    name = workload.key.replace("-", "_")
    match workload.shape:
        case Shape.CHAIN:
            return [_numbered(f"{name}_increment", workload.size - 1)]
        case Shape.FIBO:
            return [_numbered(f"{name}_fibo", workload.size - 1)]
        case Shape.FAN | Shape.MIXED:
            return [f"{name}_total"]
        case Shape.LAYERS:
            return [f"at_{workload.size - 1}_{i}" for i in range(WIDTH)]
        case Shape.PAYLOAD:
            return [f"sum_{number}" for number in range(CONSUMERS)]
        case _:
            return [f"{name}_stamp"]


def _numbered(op_name: str, times: int) -> str:
    """The name of the last of several calls of an op."""
    return op_name if times == 1 else f"{op_name}_{times}"


@cache
def job_for(key: str, single: bool = False) -> JobDefinition:
    """Of the workload with this key; made when it is asked for: a process is to make the one that it runs, as those of
    others do.
    """
    return job_of(WORKLOADS[key], single)


@repository
def jobs() -> dict[str, Any]:
    kept = [each for each in WORKLOADS.values() if each.shape is not Shape.PLAN]
    made = {_name_of(each, single): partial(job_for, each.key, single) for each in kept for single in (False, True)}
    return {"jobs": made}
