"""The jobs that are measured. Every op returns a small int, so that what is measured is everything but the op."""

from __future__ import annotations

from collections.abc import Iterator

from opgrid import Definitions, DynamicOut, DynamicOutput, JobDefinition, graph, op

CHAIN = 200
FAN = 1000


@op
def zero() -> int:
    return 0


@op
def increment(number: int) -> int:
    return number + 1


@op(out=DynamicOut())
def spread() -> Iterator[DynamicOutput[int]]:
    for number in range(FAN):
        yield DynamicOutput(number, mapping_key=str(number))


@op
def total(numbers: list[int]) -> int:
    return sum(numbers)


@graph
def chain_graph() -> None:
    number = zero()
    for _ in range(CHAIN - 1):
        number = increment(number)


@graph
def fan_graph() -> None:
    total(spread().map(increment).collect())


chain: JobDefinition = chain_graph.to_job(name="chain")
fan: JobDefinition = fan_graph.to_job(name="fan")
defs = Definitions(jobs=[chain, fan])
