"""``opgrid instance``: the installation itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from orchestrator.settings import Settings
    from orchestrator.storage.service_protocols import ServiceStore


@click.group()
def instance() -> None:
    """Look at the installation, and bring its database up to date."""


@contextmanager
def _opened() -> Iterator[tuple[Settings, ServiceStore]]:
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_store

    settings = Settings.load()
    settings.make_home()
    store = open_store(settings)
    try:
        yield settings, store
    finally:
        store.close()


@instance.command("info")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(as_json: bool) -> None:
    """Where runs are stored, and who serves them."""
    import time
    from importlib.metadata import version

    from sqlalchemy import make_url

    with _opened() as (settings, store):
        now = time.time()
        found = {
            "version": version("opgrid"),
            "home": str(settings.home),
            "database": make_url(settings.database_url).render_as_string(hide_password=True),
            "broker": _without_password(settings.broker_url),
            "runs_that_go_on": len(store.open_runs()),
            "leases": {name: lease.owner for name, lease in sorted(store.held().items()) if lease.expires > now},
        }
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        shown = ", ".join(f"{each} by {owner}" for each, owner in value.items()) if isinstance(value, dict) else value
        click.echo(f"{name.replace('_', ' ')}: {shown or 'none'}")


def _without_password(url: str | None) -> str | None:
    from sqlalchemy import make_url

    return None if url is None else make_url(url).render_as_string(hide_password=True)


@instance.command("migrate")
def migrate() -> None:
    """Bring the database to the version of this code. Every command does so; this one does nothing else."""
    with _opened() as (settings, _):
        from sqlalchemy import make_url

        click.echo(f"{make_url(settings.database_url).render_as_string(hide_password=True)} is up to date.")
