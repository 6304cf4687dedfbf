"""``opgrid dev``: the whole service in one terminal."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from orchestrator.cli.orchestrator import log_to_stderr, stop_on_signals
from orchestrator.cli.target import codes_options

if TYPE_CHECKING:
    from opgrid.broker.fleet import WorkerProcess
    from orchestrator.daemon.daemon import Daemon
    from orchestrator.locations.location import Source
    from orchestrator.settings import Settings

_LOOK = 1.0  #: seconds between looks for changed code

_log = logging.getLogger("opgrid.dev")


@click.command()
@codes_options
@click.option(
    "-c", "--concurrency", type=click.IntRange(1), help="Processes of the worker; one a processor by default."
)
def dev(sources: Sequence[Source], concurrency: int | None) -> None:
    """Orchestrator, daemon and, where a job runs on Celery, a worker on an embedded Redis. Code that changes is loaded
    anew. Ctrl-C ends all of it.
    """
    from orchestrator.locations.changes import Changes
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_coordinator, open_daemon, open_store

    log_to_stderr()
    stopped = threading.Event()
    stop_on_signals(stopped.set)
    with ExitStack() as stack:
        settings = Settings.load()
        settings.make_home()
        settings = stack.enter_context(_with_broker(settings))
        store = open_store(settings)
        stack.callback(store.close)
        coordinator = open_coordinator(settings, store)
        daemon = open_daemon(settings, store, sources)
        worker = _Worker(settings, sources, concurrency)
        stack.callback(worker.stop)
        for name, service in (("orchestrator", coordinator), ("daemon", daemon)):
            thread = threading.Thread(target=service.run, name=f"opgrid-{name}")
            thread.start()
            stack.callback(thread.join)
            stack.callback(service.stop)
        click.echo(f"Code: {', '.join(source.name for source in sources)}. Home: {settings.home}. Ctrl-C ends it.")
        click.echo("Launch a job in another terminal: opgrid job launch -f FILE -j JOB", err=False)
        changes = Changes(sources)
        while not stopped.wait(_LOOK):
            if changes.found():
                _log.info("Code has changed: loading it anew.")
                daemon.reload()
                worker.restart()
            worker.start_where_needed(daemon)
        click.echo("Ending.")


@contextmanager
def _with_broker(settings: Settings) -> Iterator[Settings]:
    """The broker that is given, or an embedded one."""
    if settings.broker_url is not None:
        yield settings
        return
    from opgrid.broker.embedded import EmbeddedRedis

    with EmbeddedRedis.start() as redis:
        yield replace(settings, broker_url=redis.url)


class _Worker:
    """Started once a job of the code runs on Celery."""

    def __init__(self, settings: Settings, sources: Sequence[Source], concurrency: int | None) -> None:
        self._settings, self._sources = settings, sources
        self._concurrency = concurrency or os.cpu_count() or 1
        self._process: WorkerProcess | None = None

    def start_where_needed(self, daemon: Daemon) -> None:
        if self._process is None and any(job.executor == "celery" for job in daemon.jobs()):
            self._start()

    def _start(self) -> None:
        from opgrid.broker.fleet import start_worker
        from opgrid.io.keys import KeyRing

        assert self._settings.broker_url is not None
        KeyRing.load(str(self._settings.home))
        log = self._settings.home / "worker.log"
        self._process = start_worker(
            self._settings.broker_url,
            self._sources[0].code,
            str(self._settings.home),
            concurrency=self._concurrency,
            options=_further(self._sources[1:]),
            log=log,
            wait=False,
        )
        _log.info("Started a worker with %d processes; its log is %s.", self._concurrency, log)

    def restart(self) -> None:
        if self._process is not None:
            self.stop()
            self._start()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None


def _further(sources: Sequence[Source]) -> list[str]:
    options: list[str] = []
    for code in (source.code for source in sources):
        options += ["-f", code.file] if code.file else ["-m", code.module or code.package or ""]
    return options
