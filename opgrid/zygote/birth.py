"""What a zygote is asked for, and what is told of the life of a child."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec


class Child(msgspec.Struct, frozen=True, omit_defaults=True, tag="child"):
    """:class:`Descriptors` come along, and then those that the child gets; their numbers end its arguments."""

    door: str  #: what it does (``opgrid.doors``)
    arguments: list[str] = []
    folders: list[str] = []  #: where it will look for modules first
    asks: bool = False  #: it may have children of the same zygote


class Imports(msgspec.Struct, frozen=True, omit_defaults=True, tag="imports"):
    """:data:`Modules` in a file that comes along."""

    folders: list[str] = []  #: to look for them first
    at_once: bool = True  #: else when no child has been asked for in a while


Wanted = Child | Imports


#: Names of modules, and the files that they are to come from; "" for any.
Modules = dict[str, str]


class Descriptors(NamedTuple):
    """Of a child that is wanted, in the order in which they come along."""

    stdout: int
    stderr: int
    vitals: int  #: takes what :func:`born` and :func:`ended` give


#: Among the arguments of a zygote; anything else in its place: it does not.
LEARNS: Final = "learns"

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
