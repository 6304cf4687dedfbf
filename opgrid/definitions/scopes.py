"""Which fan-outs a node is mapped over, and what a graph looks like from outside because of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


class Scope:
    """What a node is mapped over.

    The scopes of some inputs of its graph, and dynamic outputs inside it, the outermost first.
    """

    __slots__ = ("bases", "keys")

    def __init__(self, bases: frozenset[str], keys: tuple[str, ...]) -> None:
        self.bases = bases
        self.keys = keys

    def inside(self, key: str) -> Scope:
        return Scope(self.bases, (*self.keys, key))

    def outside(self) -> Scope:
        return ROOT if len(self.keys) == 1 and not self.bases else Scope(self.bases, self.keys[:-1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scope) and self.keys == other.keys and self.bases == other.bases

    def __hash__(self) -> int:
        return hash((self.bases, self.keys))

    def __repr__(self) -> str:
        return " > ".join([*sorted(self.bases), *self.keys]) or "top level"


ROOT: Final = Scope(frozenset(), ())
#: Marks the key of a fan-out over an input of the graph.
INPUT_KEY: Final = "<"


def joined(one: Scope, other: Scope) -> Scope | None:
    """The inner one of two scopes; None when neither is inside the other."""
    if one is other or other is ROOT:
        return one
    if one is ROOT:
        return other
    longer, shorter = (one, other) if len(one.keys) >= len(other.keys) else (other, one)
    if longer.keys[: len(shorter.keys)] != shorter.keys:
        return None
    return longer if longer.bases >= shorter.bases else Scope(longer.bases | shorter.bases, longer.keys)


class OutputShape:
    """Where an output of a graph stands."""

    __slots__ = ("key", "scope")

    def __init__(self, scope: Scope, key: str | None) -> None:
        self.scope = scope
        self.key = key  #: of the fan-out that it opens, when it is dynamic


class Shape:
    """What has to be known about a graph wherever it is used: its outputs' scopes, and how it uses its inputs."""

    __slots__ = ("meetings", "outputs", "uses")

    def __init__(self, outputs: Mapping[str, OutputShape], uses: Mapping[str, str], meetings: frozenset[Scope]) -> None:
        self.outputs = outputs
        self.uses = uses  #: input -> "value" or "dynamic"
        self.meetings = meetings  #: scopes inside that several inputs share, or that an input opens
