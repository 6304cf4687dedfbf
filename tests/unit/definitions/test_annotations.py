"""Annotations that cannot be evaluated where a function is defined: postponed, in quotes, or lazy."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from opgrid.errors import InvalidDefinitionError

#: Type checkers know numpy as np, and Row stands further down in the file.
SOURCE = """
from typing import Optional

from opgrid import (
    Config, ConfigurableResource, build_op_context, build_schedule_context, failure_hook, op, resource, schedule
)

class Rows(Config):
    count: int = 2

class Server(ConfigurableResource):
    url: str

@op
def measure(context: np.Context, config: Rows, server: Server, array: np.ndarray, number: int = 1) -> list[Row]:
    return [config.count, server.url, array, number]

@op
def maybe(row: Optional["Row"], rows: "list[int]") -> "Row":
    return row

@resource
def connection(init_context: np.Context) -> np.Connection:
    return "connected"

@failure_hook
def alarm(context: np.Context) -> None: ...

@schedule(cron_schedule="0 0 * * *", job_name="nightly")
def nightly(context: np.Context, server: Server) -> Row:
    return {}

class Row: ...
"""


@pytest.fixture(
    params=[
        "from __future__ import annotations\n",
        pytest.param(
            "", marks=pytest.mark.skipif(sys.version_info < (3, 14), reason="Python evaluates them at once until 3.13")
        ),
    ],
    ids=["postponed", "lazy"],
)
def first_line(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def known(first_line: str) -> dict[str, Any]:
    return namespace(first_line + SOURCE)


def namespace(source: str) -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "jobs"}
    exec(compile(source, "jobs.py", "exec", dont_inherit=True), found)
    return found


def test_an_op_knows_by_the_others_what_each_parameter_is(known: dict[str, Any]) -> None:
    measure = known["measure"]
    assert measure.signature.context == "context"
    assert measure.signature.config == "config"
    assert dict(measure.signature.resources) == {"server": "server"}
    assert {name: port.type.display_name for name, port in measure.ins.items()} == {"array": "Any", "number": "Int"}
    assert measure.outs["result"].type.display_name == "Any"


def test_an_op_is_called_by_position(known: dict[str, Any]) -> None:
    context = known["build_op_context"](op_config={"count": 3})
    given = known["measure"](context, known["Rows"](count=3), known["Server"](url="here"), "array")
    assert given == [3, "here", "array", 1]


def test_quotes_are_read_wherever_they_stand(known: dict[str, Any]) -> None:
    maybe = known["maybe"]
    assert {name: port.type.display_name for name, port in maybe.ins.items()} == {"row": "Any?", "rows": "[Int]"}


def test_resources_hooks_and_schedules_are_made_and_called(known: dict[str, Any]) -> None:
    assert known["connection"](None) == "connected"
    assert known["alarm"].name == "alarm"
    assert known["nightly"](known["build_schedule_context"](), known["Server"](url="here")) == {}


def test_a_config_mapping_names_what_its_annotation_does_not_find(first_line: str) -> None:
    mapping = "from opgrid import config_mapping\n@config_mapping\ndef by_host(given: Simple): ..."
    with pytest.raises(InvalidDefinitionError, match=r"'by_host' cannot be resolved: 'Simple' is not known"):
        namespace(first_line + mapping)
