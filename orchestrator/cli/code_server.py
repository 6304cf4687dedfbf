"""``opgrid code-server``: the code of a location, for a service on other machines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli.orchestrator import log_to_stderr, stop_on_signals
from orchestrator.cli.target import code_options

if TYPE_CHECKING:
    from opgrid.contracts.tasks import CodeTarget


@click.group("code-server")
def code_server() -> None:
    """Serve the code of a location to a service on other machines."""


@code_server.command("start")
@code_options
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=4266, show_default=True, help="0: a free one.")
def start(code: CodeTarget, host: str, port: int) -> None:
    """Until SIGTERM or Ctrl-C, for those that have the same OPGRID_SECRET_KEY. A workspace file names it, with
    code_server. The code is loaded anew for each connection: reload the location to take up a change.
    """
    from opgrid.io.keys import KeyRing
    from orchestrator.cli.web import listening
    from orchestrator.locations.code_server import CodeServer
    from orchestrator.settings import Settings
    from orchestrator.wiring import environ_of

    log_to_stderr()
    settings = Settings.load()
    home = settings.make_home()
    with listening(host, port) as bound:
        server = CodeServer(bound, code, KeyRing.load(str(home)), environ_of(settings))
        stop_on_signals(server.stop)
        click.echo(f"Code of {code.location} is at {bound.getsockname()[0]}:{bound.getsockname()[1]}")
        sys.stdout.flush()
        server.run()
