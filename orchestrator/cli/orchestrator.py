"""``opgrid orchestrator``: the service that drives launched runs."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable

import click

from orchestrator.engine.signals import hear


@click.command()
@click.option(
    "--liveness-check", "check", is_flag=True, help="Exit with 0 where an orchestrator works, otherwise with 1."
)
def orchestrator(check: bool) -> None:
    """Drive launched runs until SIGTERM or Ctrl-C; several may run, and take over from each other."""
    from orchestrator.cli.memory import collect_rarely
    from orchestrator.coordinator.coordinator import is_there
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_coordinator, open_store

    settings = Settings.load()
    store = open_store(settings)
    try:
        if check:
            sys.exit(0 if is_there(store) else 1)
        log_to_stderr()
        coordinator = open_coordinator(settings, store)
        collect_rarely()
        stop_on_signals(coordinator.stop)
        coordinator.run()
    finally:
        store.close()


def log_to_stderr() -> None:
    """A line an event, as log collectors want it."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("opgrid").setLevel(logging.INFO)


def stop_on_signals(stop: Callable[[], None], reload: Callable[[], None] | None = None) -> None:
    """SIGINT and SIGTERM call ``stop``, SIGHUP ``reload``, in a thread of their own, until the process ends."""
    listeners: dict[signal.Signals, Callable[[int], object]] = {
        number: lambda _: stop() for number in (signal.SIGINT, signal.SIGTERM)
    }
    if reload is not None:
        listeners[signal.SIGHUP] = lambda _: reload()
    hear(listeners)
