"""``opgrid web``: the API and the pages."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.memory import collect_rarely
from orchestrator.cli.orchestrator import log_to_stderr
from orchestrator.cli.target import codes_options

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from orchestrator.locations.location import Source
    from orchestrator.settings import Settings

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_LONGEST_WORD = 1 << 20  # bytes that who watches may say at a time


@click.command()
@codes_options
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=3000, show_default=True, help="0: a free one.")
@click.option("--path-prefix", default="", help="Path under which a proxy serves it, such as /opgrid.")
@click.option("--read-only", is_flag=True, help="Nothing can be launched or changed.")
@click.option(
    "--insecure", is_flag=True, help="Listen beyond this machine without tokens: everybody may do everything."
)
def web(sources: Sequence[Source], host: str, port: int, path_prefix: str, read_only: bool, insecure: bool) -> None:
    """Serve the API and the pages until SIGTERM or Ctrl-C. Runs are started by the orchestrator."""
    from orchestrator.settings import Settings
    from orchestrator.wiring import open_loader, open_store, open_web

    log_to_stderr()
    settings = Settings.load()
    check_bind(settings, host, insecure)
    store = open_store(settings)
    loader = open_loader(settings, sources)
    try:
        loader.start()
        app = open_web(settings, store, loader, hosts=hosts_of(host), prefix=path_prefix, is_read_only=read_only)
        with listening(host, port) as bound:
            click.echo(f"opgrid is at {address_of(bound, path_prefix)}", err=True)
            server_of(app).run(sockets=[bound])
    finally:
        loader.close()
        store.close()


def check_bind(settings: Settings, host: str, insecure: bool = False) -> None:
    """Raises UsageError where strangers could launch code."""
    from orchestrator.api.access import Access

    if host not in _LOCAL and not insecure and Access(settings.sections.web).is_open:
        raise click.UsageError(
            f"{host} can be reached from other machines, and no token is asked for: whoever reaches it could run code. "
            "Set OPGRID_WEB_TOKEN or web.tokens in opgrid.yaml, or listen at 127.0.0.1. With --insecure it is done "
            "all the same."
        )


def hosts_of(host: str) -> list[str]:
    """What browsers may call it by."""
    return [host, socket.gethostname()]


def listening(host: str, port: int) -> socket.socket:
    """Raises UsageError for an address that is taken, or none of this machine's."""
    from orchestrator.api.connections import close_unread

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    close_unread(made)
    try:
        made.bind((host, port))
        made.listen()  # else the address is free to others until the pages are there
    except OSError as error:
        made.close()
        option = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise click.UsageError(f"Cannot listen at {host}:{port}: {error.strerror}. Choose another {option}.") from error
    return made


def address_of(bound: socket.socket, prefix: str = "") -> str:
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    path = prefix.strip("/")
    return f"http://{shown}:{port}/" + (f"{path}/" if path else "")


def server_of(app: ASGIApp) -> uvicorn.Server:
    import uvicorn

    from orchestrator.api.connections import AT_ONCE, Connection, Server, Watching

    collect_rarely()
    logging.getLogger("strawberry.execution").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=Connection,
        backlog=AT_ONCE,
        ws=Watching,
        ws_max_size=_LONGEST_WORD,
        timeout_graceful_shutdown=2,
        server_header=False,
        lifespan="on",
    )
    return Server(config)


class Serving:
    """The web in a thread of its own. ``on_end`` is called when it has ended, whether it was to or not."""

    def __init__(self, app: ASGIApp, bound: socket.socket, on_end: Callable[[], object] = lambda: None) -> None:
        self._server, self._on_end = server_of(app), on_end
        self._was_asked = self._has_ended = False
        self._thread = threading.Thread(target=self._run, args=[bound], name="opgrid-web")
        self._thread.start()

    def _run(self, bound: socket.socket) -> None:
        try:
            with contextlib.suppress(SystemExit):  # a thread ends alone
                self._server.run(sockets=[bound])
        finally:
            self._has_ended = True
            self._on_end()

    @property
    def has_failed(self) -> bool:
        """It has ended by itself; its log says why."""
        return self._has_ended and not self._was_asked

    def stop(self) -> None:
        self._was_asked = self._server.should_exit = True
        self._thread.join()
