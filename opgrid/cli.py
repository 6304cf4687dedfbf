"""The root of the command line: it finds command groups by entry point and imports one only when it is called."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TextIO

import click

from opgrid.errors import OpGridError

GROUP = "opgrid.commands"

#: What a stream says that takes no more; an error of these about a file names it.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

#: One line for each group that ships with opgrid: ``--help`` must not import what it describes.
_HELP = {
    "backfill": "List, show, cancel and repeat backfills.",
    "code-server": "Serve the code of a location to other machines, as a service.",
    "daemon": "Run schedules and sensors, as a service.",
    "definitions": "Check that definitions load.",
    "dev": "The whole service in one terminal.",
    "flower": "Show workers and tasks in Flower.",
    "instance": "Look at the installation, and bring its database up to date.",
    "job": "List, print, execute and launch jobs.",
    "orchestrator": "Drive launched runs, as a service.",
    "run": "List, show, cancel and resume runs.",
    "schedule": "List, start, stop and try out schedules.",
    "sensor": "List, start, stop and try out sensors.",
    "web": "Serve the pages and the API, as a service.",
    "worker": "Start workers that run steps.",
}


class _Root(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_groups())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _groups().get(cmd_name)
        return None if entry is None else entry.load()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, _HELP.get(name, f"From {entry.value.partition(':')[0]}."))
            for name, entry in sorted(_groups().items())
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opgrid", message="opgrid %(version)s")
def root() -> None:
    """Run op jobs: in process, on local processes, or on a fleet of Celery workers."""


def main(argv: Sequence[str] | None = None) -> None:
    """The console script.

    Exit codes: 0 ok, 1 run failed, 2 usage, 3 definitions do not load, 4 no broker or database, 130 and
    143 ended by SIGINT and SIGTERM.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    try:
        root.main(args, prog_name="opgrid", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except OpGridError as error:
        if os.environ.get("OPGRID_TRACEBACK"):
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if os.environ.get("OPGRID_TRACEBACK") or error.errno not in _NO_ROOM or error.filename is not None:
            raise
        click.echo(f"Error: Output cannot be written: {error.strerror}.", err=True)
        _drop_what_is_left(sys.stdout)
        sys.exit(1)


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed by who started us; the next file would get its number, and what we print
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open until we end
        elif isinstance(stream, io.TextIOWrapper):  # what it cannot show, as of a file's name, ends no run
            stream.reconfigure(errors="backslashreplace")


def _drop_what_is_left(stream: TextIO) -> None:
    """Python would try again at its end to write what the stream could not, and complain in words of its own."""
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def _groups() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
