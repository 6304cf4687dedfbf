"""``opgrid definitions``: checking what a deployment would load."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.target import codes_options

if TYPE_CHECKING:
    from orchestrator.locations.location import Source


@click.group()
def definitions() -> None:
    """Check definitions."""


@definitions.command("validate")
@codes_options
def validate(sources: Sequence[Source]) -> None:
    """Load every code location in a process of its own, as a service would; exit with 3 where one does not load."""
    from orchestrator.locations.location import Location
    from orchestrator.settings import Settings
    from orchestrator.wiring import ring_for

    broken = 0
    ring = ring_for(Settings.load(), sources)
    for source in sources:
        location = Location(source, ring=ring)
        try:
            if location.load():
                info = location.info
                counts = f"{len(info.jobs)} jobs, {len(info.schedules)} schedules, {len(info.sensors)} sensors"
                click.echo(f"{location.name}: {counts}")
            else:
                broken += 1
                assert location.error is not None
                click.echo(f"{location.name} does not load. {location.error.message}", err=True)
        finally:
            location.close()
    sys.exit(3 if broken else 0)
