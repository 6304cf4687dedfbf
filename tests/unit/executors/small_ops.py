"""Ops that take no time."""

from __future__ import annotations

from opgrid import op


@op
def zero() -> int:
    return 0


@op
def increment(number: int) -> int:
    return number + 1
