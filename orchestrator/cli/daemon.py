"""``opgrid daemon``: schedules and sensors, as a service."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.orchestrator import log_to_stderr, stop_on_signals
from orchestrator.cli.target import codes_options

if TYPE_CHECKING:
    from orchestrator.locations.location import Source


@click.group()
def daemon() -> None:
    """Run schedules and sensors."""


@daemon.command("run")
@codes_options
def run(sources: Sequence[Source]) -> None:
    """Until SIGTERM or Ctrl-C; SIGHUP loads the code anew. Several may run: each duty is done by one."""
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_daemon, open_loader, open_store

    log_to_stderr()
    settings = Settings.load()
    store = open_store(settings)
    loader = open_loader(settings, sources)
    try:
        made = open_daemon(settings, store, loader)
        stop_on_signals(made.stop, loader.reload)
        loader.start()
        made.run()
    finally:
        loader.close()
        store.close()


@daemon.command("liveness-check")
def liveness_check() -> None:
    """Exit with 0 where somebody does each duty of the daemon, otherwise with 1."""
    from orchestrator.daemon.daemon import DUTIES
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_store

    store = open_store(Settings.load())
    try:
        held = store.held()
    finally:
        store.close()
    now = time.time()
    missing = [name for name in DUTIES if name not in held or held[name].expires < now]
    for name in DUTIES:
        click.echo(f"{name}: {'nobody' if name in missing else held[name].owner}")
    sys.exit(1 if missing else 0)
