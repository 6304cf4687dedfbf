"""What a pool and its zygote say to each other, and what is told of the life of a child."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A child, when :class:`Descriptors` come along; with one descriptor, that the modules in that file be imported."""

    folders: list[str] = []  #: where user code is, which come first in ``sys.path``
    at_once: bool = True  #: else when no child has been asked for in a while


#: Names of modules, and the files that they are to come from; "" for any.
Modules = dict[str, str]


class Descriptors(NamedTuple):
    """Of a child that is wanted, in the order in which they come along."""

    channel: int
    lifeline: int
    bell: int
    stdout: int
    stderr: int
    vitals: int  #: takes what :func:`born` and :func:`ended` give


_BORN: Final = b"B"
_ENDED: Final = b"E"
_LENGTH: Final = 5


def born(pid: int) -> bytes:
    """Said by the child, once it leads a session of its own."""
    return _BORN + pid.to_bytes(4, "big", signed=True)


def ended(code: int) -> bytes:
    """Said by the zygote: the exit code, or minus the signal."""
    return _ENDED + code.to_bytes(4, "big", signed=True)


def vitals(data: bytes) -> tuple[int | None, int | None]:
    """The pid, and how it ended."""
    told = {
        data[at : at + 1]: int.from_bytes(data[at + 1 : at + _LENGTH], "big", signed=True)
        for at in range(0, len(data), _LENGTH)
    }
    return told.get(_BORN), told.get(_ENDED)
