"""``opgrid flower``: Celery's monitor for this broker, on this machine only, behind a password, without buttons."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import closing
from typing import Final

import click

from opgrid.broker.connection import broker_url, connect, reaching
from opgrid.broker.keys import Keys
from opgrid.errors import SettingsError

#: What is said here is read nowhere else; a Kubernetes service that is called flower sets the port to an address.
_SAID_HERE: Final = frozenset(
    f"FLOWER_{name}" for name in ("ADDRESS", "BASIC_AUTH", "PORT", "READ_ONLY", "UNAUTHENTICATED_API", "URL_PREFIX")
)


@click.command()
@click.option("-b", "--broker", metavar="URL", help="Where Redis is; otherwise OPGRID_BROKER_URL.")
@click.option("--address", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=5555, show_default=True)
@click.option("--url-prefix", default="", help="Where a proxy serves it.")
@click.option("--user", default="opgrid", show_default=True)
@click.option("--password", envvar="OPGRID_FLOWER_PASSWORD", help="Made up and shown once if none is given.")
def flower(broker: str | None, address: str, port: int, url_prefix: str, user: str, password: str | None) -> None:
    """Start Flower for the current broker."""
    url = broker or broker_url()
    if url is None:
        raise SettingsError("Flower needs the broker of your workers: set OPGRID_BROKER_URL.")
    Keys.load()
    with closing(connect(url, "flower")) as client, reaching(url):
        client.ping()
    shown = password or secrets.token_urlsafe(12)
    credentials = f"{user}:{shown}"
    if "," in credentials or not credentials.isascii():  # what stands between commas would do, each for itself
        raise SettingsError("User and password of Flower can have no commas, and only ASCII characters. Choose others.")
    prefix = url_prefix.strip("/")
    if not password:
        place = f"http://{address}:{port}/{prefix}/" if prefix else f"http://{address}:{port}"
        click.echo(f"Flower: {place}  user {user}  password {shown}", err=True)
    environ = {name: value for name, value in os.environ.items() if name not in _SAID_HERE}
    environ |= {
        "OPGRID_BROKER_URL": url,
        "FLOWER_BASIC_AUTH": credentials,
    }  # not an argument: those are listed
    command = [sys.executable, "-P", "-m", "worker.flower_app", "flower"]
    command += ["--read_only", f"--address={address}", f"--port={port}"]
    command += [f"--url_prefix={prefix}"] if prefix else []
    os.execve(sys.executable, command, environ)
