"""Kinds of numbers that options of the command line take."""

from __future__ import annotations

from typing import Final

import click

_LONGEST: Final = 10**9  #: seconds; clocks of the system wait some centuries at most
_MOST: Final = 2**31 - 1  #: what every database takes, and GraphQL

#: How many rows are listed, or runs go on at a time: one at least.
COUNT: Final = click.IntRange(1, _MOST)
#: How many may use something at once, or none.
SLOTS: Final = click.IntRange(0, _MOST)


def seconds(given: str | float) -> float:
    """A length of time: NaN, which no clock ever reaches, is none. Raises click.BadParameter."""
    try:
        length = float(given)
    except ValueError:
        length = -1.0
    if not 0 <= length <= _LONGEST:
        raise click.BadParameter(f"{given!r} is not a number of seconds, from 0 to {_LONGEST}.")
    return length
