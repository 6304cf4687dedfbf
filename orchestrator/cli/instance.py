"""``opgrid instance``: the installation itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from opgrid.options import SLOTS
from orchestrator.cli.audit import audited

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

    from opgrid.broker.address import BrokerAddress
    from orchestrator.storage.address import without_password

    with _opened() as (settings, store):
        now = time.time()
        found = {
            "version": version("opgrid"),
            "home": str(settings.home),
            "database": without_password(settings.database_url),
            "database_id": store.identity(),
            "broker": settings.broker_url and BrokerAddress.parse(settings.broker_url).shown,
            "runs_that_go_on": len(store.open_runs()),
            "leases": {name: lease.owner for name, lease in sorted(store.held().items()) if lease.expires > now},
        }
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        shown = ", ".join(f"{each} by {owner}" for each, owner in value.items()) if isinstance(value, dict) else value
        click.echo(f"{name.replace('_', ' ')}: {shown or 'none'}")


@instance.command("migrate")
def migrate() -> None:
    """Bring the database to the version of this code. Every command does so; this one does nothing else."""
    with _opened() as (settings, _):
        from orchestrator.storage.address import without_password

        click.echo(f"{without_password(settings.database_url)} is up to date.")


@instance.command("take-over")
def take_over() -> None:
    """Say that this database has taken the place of the one that the deployment had on its broker. That one must not be
    in use any more; what workers still have of its runs is lost.
    """
    from opgrid.broker.connection import connect, reaching
    from opgrid.broker.deployment import take_over
    from opgrid.broker.keys import Keys
    from opgrid.errors import SettingsError

    with _opened() as (settings, store):
        url, keys = settings.broker_url, Keys.load()
        if url is None:
            raise SettingsError("There is no broker that the database could be taken over on: set OPGRID_BROKER_URL.")
        with connect(url) as client, reaching(url), audited(store, "takeOver", keys.deployment):
            before = take_over(client, keys, store.identity())
        if before is None:
            click.echo(f"The deployment {keys.deployment!r} has this database already ({store.identity()}).")
        else:
            click.echo(f"The deployment {keys.deployment!r} has this database now ({store.identity()}), not {before}.")


@instance.group("concurrency")
def concurrency() -> None:
    """How many steps may use a pool at once."""


@concurrency.command("get")
@click.argument("pool", required=False)
@click.option("--all", "every", is_flag=True, help="All pools.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def get(pool: str | None, every: bool, as_json: bool) -> None:
    """The limit of a pool, and which steps use it, or which runs."""
    from orchestrator.services.pools import all_pools

    if pool is None and not every:
        raise click.UsageError("Name a pool, or give --all.")
    with _opened() as (_, store):
        found = all_pools(store)
        if pool is not None:
            _check_pool(pool, [each.name for each in found])
        shown = [each for each in found if pool in (None, each.name)]
        if as_json:
            rows = [
                {
                    "pool": each.name,
                    "limit": each.limit,
                    "used": [{"run_id": slot.run_id, "step": slot.step or None} for slot in each.used],
                }
                for each in shown
            ]
            click.echo(json.dumps(rows))
            return
        for each in shown:
            limit = "none" if each.limit is None else f"{each.limit}{' (default_limit)' if each.is_default else ''}"
            click.echo(f"{each.name}: {len(each.used)} in use, limit {limit}")
            for slot in each.used:
                click.echo(f"    {slot.step} of run {slot.run_id}" if slot.step else f"    run {slot.run_id}")


@concurrency.command("set")
@click.argument("pool")
@click.argument("limit", type=SLOTS)
def set_limit(pool: str, limit: int) -> None:
    """Let at most LIMIT steps, or runs, use a pool at once; it holds from the next one on."""
    from orchestrator.services.pools import limit_pool

    with _opened() as (_, store):
        with audited(store, "setConcurrencyLimit", f"{pool} {limit}"):
            limit_pool(store, pool, limit)
        users = "runs" if store.pooling.granularity == "run" else "steps"
        click.echo(f"At most {limit} {users} use the pool {pool!r} at once.")


@concurrency.command("delete")
@click.argument("pool")
def delete(pool: str) -> None:
    """Take the limit of a pool away."""
    from orchestrator.services.pools import all_pools

    with _opened() as (_, store):
        _check_pool(pool, [each.name for each in all_pools(store)])
        with audited(store, "deleteConcurrencyLimit", pool):
            store.set_pool(pool, None)
        otherwise = store.pooling.default_limit
        more = "" if otherwise is None else f" of its own: the default_limit holds, {otherwise}"
        click.echo(f"The pool {pool!r} has no limit{more}.")


def _check_pool(pool: str, known: Collection[str]) -> None:
    """Raises UnknownName for one that has no limit and no slots in use."""
    from opgrid.errors import UnknownName

    if pool not in known:
        raise UnknownName("pool", pool, known, hint="A pool is there once it has a limit, or a step uses it.")
