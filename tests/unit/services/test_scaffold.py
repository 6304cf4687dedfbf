"""Run configs to fill in."""

from __future__ import annotations

from typing import Any

from opgrid import (
    Config,
    ConfigurableResource,
    Field,
    In,
    Nothing,
    RunConfig,
    config_mapping,
    graph,
    job,
    mem_io_manager,
    op,
)
from orchestrator.services.scaffold import scaffold


class Fetch(Config):
    url: str
    retries: int = 3


class Server(ConfigurableResource):
    host: str
    port: int = 80


@op
def fetch(config: Fetch) -> None: ...


@op(config_schema={"size": int, "name": Field(str, default_value="n")})
def old(context) -> None: ...  # type: ignore[no-untyped-def]


@op
def plain() -> None: ...


@graph
def inner() -> None:
    fetch()
    plain()


@job(resource_defs={"server": Server.configure_at_launch()})
def whole() -> None:
    old()
    inner()
    plain()


def test_everything() -> None:
    assert scaffold(whole) == {
        "ops": {
            "old": {"config": {"size": 0, "name": "n"}},
            "inner": {"ops": {"fetch": {"config": {"url": "...", "retries": 3}}}},
        },
        "resources": {"server": {"config": {"host": "...", "port": 80}}},
    }


def test_only_what_has_to_be_given() -> None:
    assert scaffold(whole, required_only=True) == {
        "ops": {"old": {"config": {"size": 0}}, "inner": {"ops": {"fetch": {"config": {"url": "..."}}}}},
        "resources": {"server": {"config": {"host": "..."}}},
    }


def test_what_the_job_brings_is_shown_and_not_asked_for() -> None:
    @job(config=RunConfig(ops={"fetch": Fetch(url="here")}))
    def brings() -> None:
        fetch()
        old()

    assert scaffold(brings)["ops"]["fetch"] == {"config": {"url": "here"}}
    assert list(scaffold(brings, required_only=True)["ops"]) == ["old"]


def test_inputs_that_nothing_feeds_are_asked_for() -> None:
    class Given:
        """No type that run config can hold as it is."""

    @op(ins={"start": In(Nothing), "table": In(input_manager_key="tables")})
    def take(number: int, given: Given, table: str, wired: int, more: int = 1) -> None: ...

    @op
    def one() -> int:
        return 1

    @graph
    def around() -> None:
        take(wired=one())

    @job(config={"ops": {"brought": {"inputs": {"number": 7}}}}, resource_defs={"tables": mem_io_manager})
    def takes() -> None:
        around()
        take.alias("brought")(wired=one())

    assert scaffold(takes, required_only=True) == {
        "ops": {
            "around": {"ops": {"take": {"inputs": {"number": "<value>", "given": {"value": "<value>"}}}}},
            "brought": {"inputs": {"given": {"value": "<value>"}}},
        }
    }
    assert scaffold(takes)["ops"]["brought"] == {"inputs": {"given": {"value": "<value>"}, "number": 7}}


def test_inputs_are_asked_for_where_the_graph_around_passes_on_what_nothing_feeds() -> None:
    @op
    def take(number: int, more: int = 1) -> int:
        return number

    @op
    def one() -> int:
        return 1

    @graph
    def passes(number: int) -> int:
        return take(number)

    @graph
    def around(number: int) -> int:
        return passes(number)

    @job(config={"ops": {"brought": {"inputs": {"number": 7}}}})
    def takes(top: int) -> None:
        around()
        around.alias("brought")()
        around.alias("fed")(one())
        around.alias("of_the_job")(top)

    asked = scaffold(takes, required_only=True)
    assert asked == {
        "ops": {"around": {"ops": {"passes": {"ops": {"take": {"inputs": {"number": "<value>"}}}}}}},
        "inputs": {"top": "<value>"},
    }
    assert scaffold(takes)["ops"]["brought"] == {"inputs": {"number": 7}}


def test_a_mapping_stands_for_all() -> None:
    class Simple(Config):
        url: str

    @config_mapping
    def simple(given: Simple) -> dict[str, Any]:
        return {"ops": {"fetch": {"config": {"url": given.url}}}}

    @job(config=simple)
    def mapped() -> None:
        fetch()

    assert scaffold(mapped) == {"url": "..."}
