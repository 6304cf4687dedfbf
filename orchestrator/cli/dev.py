"""``opgrid dev``: the whole service in one terminal."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click
import msgspec

from opgrid.errors import DatabaseUnreachable, OpGridError
from orchestrator.cli.orchestrator import log_to_stderr, stop_on_signals
from orchestrator.cli.target import codes_options

if TYPE_CHECKING:
    from opgrid.broker.fleet import WorkerProcess
    from orchestrator.locations.loader import Loader
    from orchestrator.locations.location import Source
    from orchestrator.settings import Settings
    from orchestrator.storage.service_protocols import ServiceStore

_LOOK = 1.0  #: seconds between looks for changed code
_PAUSE = 10.0  #: seconds until a worker is started again that has ended by itself more than once

_log = logging.getLogger("opgrid.dev")


@click.command()
@codes_options
@click.option(
    "-c", "--concurrency", type=click.IntRange(1), help="Processes of the worker; one a processor by default."
)
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="Address of the web pages.")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=3000,
    show_default=True,
    help="Of the web pages; 0: a free one.",
)
def dev(sources: Sequence[Source], concurrency: int | None, host: str, port: int) -> None:
    """Web pages, orchestrator, daemon and, where a job runs on Celery, a worker on an embedded Redis. Code that changes
    is loaded anew. Ctrl-C ends all of it.
    """
    from orchestrator.cli.web import Serving, address_of, check_bind, hosts_of, listening
    from orchestrator.locations.changes import Changes
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_coordinator, open_daemon, open_loader, open_store, open_web

    log_to_stderr()
    stopped = threading.Event()
    stop_on_signals(stopped.set)
    with ExitStack() as stack:
        settings = Settings.load()
        check_bind(settings, host)
        bound = stack.enter_context(listening(host, port))
        settings.make_home()
        settings = stack.enter_context(_with_broker(settings))
        store = open_store(settings)
        stack.callback(store.close)
        coordinator = open_coordinator(settings, store)
        loader = open_loader(settings, sources)
        stack.callback(loader.close)
        loader.start()
        daemon = open_daemon(settings, store, loader)
        worker = _Worker(settings, store, loader, concurrency)
        stack.callback(worker.stop)
        faults: list[OpGridError] = []
        for name, service in (("orchestrator", coordinator), ("daemon", daemon)):
            thread = threading.Thread(target=_to_the_end, args=[service.run, stopped, faults], name=f"opgrid-{name}")
            thread.start()
            stack.callback(thread.join)
            stack.callback(service.stop)
        app = open_web(settings, store, loader, hosts=hosts_of(host), prefix="", is_read_only=False)
        serving = Serving(app, bound, stopped.set)
        stack.callback(serving.stop)
        click.echo(f"opgrid is at {address_of(bound)}")
        click.echo(f"Code: {', '.join(source.name for source in sources)}. Home: {settings.home}. Ctrl-C ends it.")
        changes = Changes(sources)
        while not stopped.wait(_LOOK):
            if changes.found():
                _log.info("Code has changed: loading it anew.")
                loader.reload()
                worker.restart()
            worker.look(time.monotonic())
        if faults:
            raise faults[0]
        if serving.has_failed:
            raise click.ClickException("What serves the web pages has ended by itself.")
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


def _to_the_end(run: Callable[[], None], stopped: threading.Event, faults: list[OpGridError]) -> None:
    """Where one part ends, for whatever reason, all of it does."""
    try:
        run()
    except OpGridError as error:
        faults.append(error)
    finally:
        stopped.set()


class _Worker:
    """Started once a job of the code runs on Celery, or a run that somebody has launched. It serves the code locations
    that load: with one that does not, it would not start.
    """

    def __init__(self, settings: Settings, store: ServiceStore, loader: Loader, concurrency: int | None) -> None:
        self._settings, self._store, self._loader = settings, store, loader
        self._concurrency = concurrency or os.cpu_count() or 1
        self._process: WorkerProcess | None = None
        self._served: list[Source] = []
        self._again = 0.0  #: before then it is not started again: something may keep it from starting
        self._seen: set[str] = set()  #: runs that need none

    def look(self, now: float) -> None:
        """Start it where it is needed, and again with the code that loads now, or when it has ended by itself."""
        if self._process is None:
            if self._loading() and (self._has_jobs() or self._has_runs()):
                self._start()
        elif self._served != self._loading():
            self.restart()
        elif (code := self._process.process.poll()) is not None and now >= self._again:
            self._again = now + _PAUSE
            _log.error("The worker has ended, with exit code %d: see %s. It is started again.", code, self._process.log)
            self.restart()

    def _loading(self) -> list[Source]:
        """What is not known to be broken."""
        return [place.source for place in self._loader.locations if place.source.server is None and place.error is None]

    def _has_jobs(self) -> bool:
        from orchestrator.coordinator.shards import CELERY

        return any(job.executor == CELERY for location in self._loader.locations for job in location.info.jobs)

    def _has_runs(self) -> bool:
        """Of which a step goes to Celery, by the run's executor or its own."""
        from orchestrator.coordinator.shards import CELERY, executors_of, plan_of

        try:
            new = [row.run_id for row in self._store.open_runs() if row.run_id not in self._seen]
            for record in (self._store.run(run_id) for run_id in new):
                if record is not None and CELERY in executors_of(record, plan_of(self._store, record)):
                    return True
        except DatabaseUnreachable:
            return False
        self._seen.update(new)
        return False

    def _start(self) -> None:
        from opgrid.broker.fleet import start_worker
        from opgrid.io.keys import KeyRing

        assert self._settings.broker_url is not None
        KeyRing.load(str(self._settings.home))
        log = self._settings.home / "worker.log"
        self._served = self._loading()
        self._process = start_worker(
            self._settings.broker_url,
            None,
            str(self._settings.home),
            concurrency=self._concurrency,
            options=[text for source in self._served for text in ("--code", msgspec.json.encode(source.code).decode())],
            log=log,
            wait=False,
        )
        _log.info("Started a worker with %d processes; its log is %s.", self._concurrency, log)

    def restart(self) -> None:
        if self._process is not None:
            self.stop()
            if self._loading():
                self._start()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
