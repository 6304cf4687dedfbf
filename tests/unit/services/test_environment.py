"""Which variables config refers to: names, never values."""

from __future__ import annotations

from typing import Any

from opgrid import Config, ConfigurableResource, EnvVar, RunConfig, graph, job, op, resource
from orchestrator.locations.messages import EnvVarUse
from orchestrator.services.environment import uses_of


class Login(ConfigurableResource):
    password: str
    port: int = 1


class Server(ConfigurableResource):
    login: Login


class Sizes(Config):
    most: str = "x"
    names: list[str] = []


@op
def measure(config: Sizes) -> None: ...


@op(config_schema={"token": str})
def send(context: Any) -> None: ...


send_with_token = send.configured({"token": {"env": "TOKEN"}}, name="send_with_token")


@resource(config_schema={"key": str})
def signer(context: Any) -> str:
    return str(context.resource_config["key"])


@graph
def inner() -> None:
    measure()


def test_wherever_config_comes_from() -> None:
    config = RunConfig(
        ops={
            "measure": Sizes(
                most=EnvVar("MOST"),
            )
        }
    )

    @job(config=config)
    def with_config() -> None:
        measure()

    @job(
        config={
            "ops": {
                "inner": {"ops": {"measure": {"config": {"most": {"env": "DEEP"}, "names": ["a", {"env": "NAME"}]}}}}
            }
        }
    )
    def nested() -> None:
        inner()

    @job(resource_defs={"signer": signer.configured({"key": {"env": "KEY"}})})
    def sending() -> None:
        send_with_token()

    server = Server(login=Login(password=EnvVar("PASSWORD"), port=EnvVar.int("PORT")))
    assert uses_of({"server": server}, [with_config, nested, sending]) == (
        EnvVarUse("DEEP", "op", "inner"),
        EnvVarUse("KEY", "resource", "signer"),
        EnvVarUse("MOST", "op", "measure"),
        EnvVarUse("NAME", "op", "inner"),
        EnvVarUse("PASSWORD", "resource", "server"),
        EnvVarUse("PORT", "resource", "server"),
        EnvVarUse("TOKEN", "op", "send_with_token"),
    )


def test_code_that_refers_to_none() -> None:
    @job
    def plain() -> None:
        measure()

    assert uses_of({}, [plain]) == ()
