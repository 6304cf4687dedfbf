"""``opgrid worker``: start a Celery worker that runs steps."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from opgrid.broker.address import BrokerAddress
from opgrid.broker.connection import broker_url, check, connect, reaching
from opgrid.broker.environment import lease_ttl
from opgrid.broker.keys import DEFAULT_QUEUE, Keys
from opgrid.broker.presence import is_alive
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import OpGridError, PathNotText, SettingsError
from opgrid.io.redis import RedisStore
from opgrid.options import seconds
from worker.settings import WorkerSettings, default_name


@click.group()
def worker() -> None:
    """Start workers that run the steps of Celery runs."""


@worker.command()
@click.option("-f", "--python-file", "files", multiple=True, metavar="FILE", help="A file with jobs to serve.")
@click.option("-m", "--module-name", "modules", multiple=True, metavar="MODULE", help="A module with jobs to serve.")
@click.option("-a", "--attribute", metavar="NAME", help="The attribute of that file or module that holds them.")
@click.option("-d", "--working-directory", metavar="DIR", help="Where files and modules are looked for.")
@click.option("--code", "given", multiple=True, hidden=True, help="All that there is to say of a location, as JSON.")
@click.option("-q", "--queues", default=DEFAULT_QUEUE, show_default=True, help="Queues to serve, with commas between.")
@click.option("-c", "--concurrency", type=click.IntRange(1), help="Processes; one a processor by default.")
@click.option("-n", "--name", help="The name of this worker, unique; NAME or NAME@HOST.")
@click.option("-b", "--broker", metavar="URL", help="Where Redis is; otherwise OPGRID_BROKER_URL.")
@click.option("--max-tasks-per-child", type=click.IntRange(1), help="Start a new process after so many messages.")
@click.option(
    "--max-memory-per-child",
    type=click.IntRange(1),
    help="MiB; a process that uses more is replaced after its message.",
)
@click.option("--autoscale", metavar="MAX,MIN", help="As many processes as there is work for; instead of -c.")
@click.option(
    "--code-patience",
    type=seconds,
    default=60.0,
    show_default=True,
    help="Seconds until a step fails that no worker has the code for.",
)
@click.option(
    "--cancel-grace",
    type=seconds,
    default=10.0,
    show_default=True,
    help="Seconds between asking a step to stop and killing it.",
)
@click.option(
    "--watchdog",
    type=seconds,
    default=30.0,
    show_default=True,
    help="Seconds without taking one of the messages that wait, until the worker ends to be started again; 0: never.",
)
@click.option(
    "-l",
    "--log-level",
    default="WARNING",
    show_default=True,
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
)
def start(
    files: tuple[str, ...],
    modules: tuple[str, ...],
    attribute: str | None,
    working_directory: str | None,
    given: tuple[str, ...],
    queues: str,
    concurrency: int | None,
    name: str | None,
    broker: str | None,
    max_tasks_per_child: int | None,
    max_memory_per_child: int | None,
    autoscale: str | None,
    code_patience: float,
    cancel_grace: float,
    watchdog: float,
    log_level: str,
) -> None:
    """Run steps until SIGTERM, which lets running steps end first."""
    scale = _scale(autoscale) if autoscale is not None else None
    if scale is not None and concurrency is not None:
        raise click.UsageError("--autoscale says how many processes there are: leave out --concurrency.")
    served = _queues(queues)
    try:
        more = {"attribute": attribute, "working_directory": working_directory}
        targets = [CodeTarget(file=file, **more) for file in files]
        targets += [CodeTarget(module=module, **more) for module in modules]
        targets += [_target(each) for each in given]
        settings = WorkerSettings(
            broker_url=_broker(broker),
            home=_home(),
            deployment=Keys.load().deployment,
            name=_full_name(name),
            code=tuple(targets),
            queues=served,
            concurrency=scale[0] if scale else concurrency or os.cpu_count() or 1,
            autoscale=scale,
            lease_ttl=lease_ttl(),
            code_patience=code_patience,
            cancel_grace=cancel_grace,
            watchdog_seconds=watchdog,
            max_tasks_per_child=max_tasks_per_child,
            max_memory_per_child=max_memory_per_child,
            log_level=log_level.upper(),
        )
        RedisStore()  # reads the settings of where values are kept: a mistake in them would lose every message
        code = run(settings)
    except OpGridError as error:
        raise _told(error) from error
    sys.exit(code)


@worker.command("liveness-check")
@click.option("-n", "--name", help="As the worker was started with.")
@click.option("-b", "--broker", metavar="URL", help="Where Redis is; otherwise OPGRID_BROKER_URL.")
def liveness_check(name: str | None, broker: str | None) -> None:
    """Exit with 0 where the worker of this name lives, by its own word in Redis, otherwise with 1."""
    try:
        url = _broker(broker)
        with contextlib.closing(connect(url, "liveness")) as client, reaching(url):
            lives = is_alive(client, Keys.load(), _full_name(name))
    except OpGridError as error:
        raise _told(error) from error
    click.echo(f"{_full_name(name)} {'lives' if lives else 'has not told of itself lately'}.")
    sys.exit(0 if lives else 1)


def _target(text: str) -> CodeTarget:
    try:
        return json_decoder(CodeTarget).decode(text)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{text!r} is no code location: {error}.", param_hint="--code") from None


def _scale(text: str) -> tuple[int, int]:
    """(most, least)"""
    try:
        most, least = sorted((int(part) for part in text.split(",")), reverse=True)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not MAX,MIN, for example 8,2.", param_hint="--autoscale") from None
    if least < 1:
        raise click.BadParameter("at least one process.", param_hint="--autoscale")
    return most, least


def _queues(text: str) -> tuple[str, ...]:
    """Each once."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise click.BadParameter(f"{text!r} names no queue, for example {DEFAULT_QUEUE}.", param_hint="--queues")
    return names


def _told(error: OpGridError) -> click.ClickException:
    """In one line, with its own exit code."""
    shown = click.ClickException(str(error))
    vars(shown)["exit_code"] = error.exit_code
    return shown


def run(settings: WorkerSettings) -> int:
    """Serve until told to stop; the exit code. Raises OpGridError when it cannot start."""
    from importlib.metadata import version

    from opgrid.io.keys import KeyRing
    from opgrid.loading import check_packages

    check_packages()
    is_here = BrokerAddress.parse(settings.broker_url).is_here  # so are those that share the home, and its key
    ring = KeyRing.load(settings.home, create=is_here)
    _check_broker(settings, ring)

    from worker.app import celery_app
    from worker.code import Code
    from worker.control import install as install_control
    from worker.parent import Parent
    from worker.pool import install
    from worker.respite import Respite
    from worker.restart import install as install_restart
    from worker.tasks import register
    from worker.transport import install as install_transport

    code = Code(settings.code)
    code.warm()
    settings = msgspec.structs.replace(settings, versions=code.versions(), release=version("opgrid"))
    install_transport()
    install_control()
    install_restart()
    app = celery_app(settings)
    register(app)
    parent = Parent(settings)
    try:
        install(app, settings, code, ring, parent)
        gc.collect()
        gc.freeze()  # pages with loaded code stay shared with the children
        celery: Any = app.Worker(
            hostname=settings.name,
            queues=list(settings.queues),
            concurrency=settings.autoscale[1] if settings.autoscale else settings.concurrency,
            autoscale=settings.autoscale,
            loglevel=settings.log_level,
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        )
        celery.wait_for_soft_shutdown = Respite(parent, settings.drain_seconds, settings.cancel_grace)
        celery.start()
        return int(celery.exitcode or 0)
    finally:
        parent.stop()


def _broker(given: str | None) -> str:
    url = given or broker_url()
    if url is None:
        raise SettingsError(
            "A worker needs a broker that others reach too: set OPGRID_BROKER_URL, for example to redis://localhost:6379/0."
        )
    return BrokerAddress.parse(url).celery_url


def _home() -> str:
    home = str(Path(os.environ.get("OPGRID_HOME") or ".opgrid").absolute())
    PathNotText.check(home)
    return home


def _full_name(name: str | None) -> str:
    if name is None:
        return default_name()
    return name if "@" in name else f"{name}@{default_name().partition('@')[2]}"


def _check_broker(settings: WorkerSettings, ring: Any) -> None:
    """That Redis is there and fit, and that this deployment signs with a key that we have."""
    from opgrid.broker.deployment import agree_on_key

    with contextlib.closing(connect(settings.broker_url, f"wk-{settings.name}")) as client:
        check(client, settings.broker_url)
        with reaching(settings.broker_url):
            agree_on_key(client, Keys(settings.deployment), ring)
