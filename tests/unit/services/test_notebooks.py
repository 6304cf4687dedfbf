"""What notebooks show of jobs and results."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from opgrid import DynamicOut, DynamicOutput, graph, job, op

_SVG = "{http://www.w3.org/2000/svg}"


@op(out=DynamicOut(int))
def spread() -> Iterator[DynamicOutput[int]]:
    yield DynamicOutput(1, mapping_key="a")


@op
def add(number: int) -> int:
    return number + 1


@op
def total(numbers: list[int]) -> int:
    raise ValueError("<b>not</b> today")


@graph
def twice(number: int) -> int:
    return add(add(number))


@job
def drawn() -> None:
    total(spread().map(twice).collect())


def test_a_job_is_drawn_with_its_nodes_and_wires() -> None:
    picture = ET.fromstring(drawn._repr_svg_())
    assert [each.text for each in picture.iter(f"{_SVG}text")] == ["spread", "twice (2 ops)", "total"]
    assert [each.get("stroke-dasharray") for each in picture.iter(f"{_SVG}path")] == ["5 3", None]
    tops = [float(each.get("y") or 0) for each in picture.iter(f"{_SVG}rect")]
    assert tops == sorted(set(tops)), "one below the other"


def test_a_wide_job_keeps_its_boxes_apart() -> None:
    @job
    def wide() -> None:
        for number in range(30):
            add.alias(f"step_{number}")(add.alias(f"first_{number}")())

    picture = ET.fromstring(wide._repr_svg_())
    boxes: dict[str, list[tuple[float, float]]] = {}
    for each in picture.iter(f"{_SVG}rect"):
        left = float(each.get("x") or 0)
        boxes.setdefault(each.get("y") or "", []).append((left, left + float(each.get("width") or 0)))
    for row in boxes.values():
        row.sort()
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(row))
    assert len(boxes) == 2


def test_an_empty_job_and_a_huge_one_are_drawn_too() -> None:
    @job
    def empty() -> None: ...

    @job
    def huge() -> None:
        for _ in range(500):
            add()

    assert ET.fromstring(empty._repr_svg_()).tag == f"{_SVG}svg"
    assert "huge: 500 nodes" in huge._repr_svg_()


def test_a_result_is_a_table_with_failures_first() -> None:
    shown = drawn.execute_in_process(raise_on_error=False)._repr_html_()
    rows = [each for each in shown.split("<tr>") if "<td" in each]
    assert ["total" in rows[0], "&lt;b&gt;not&lt;/b&gt; today" in rows[0]] == [True, True]
    assert len(rows) == 4
    assert "FAILURE" in shown.split("<table>")[0]
