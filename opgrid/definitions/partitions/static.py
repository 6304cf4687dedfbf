"""Partitions that are written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from opgrid.definitions.partitions.base import DynamicPartitionsStore, PartitionsDefinition, check_keys


class StaticPartitionsDefinition(PartitionsDefinition):
    """A fixed list of keys, in this order.

    StaticPartitionsDefinition(["eu", "us"])
    """

    def __init__(self, partition_keys: Sequence[str]) -> None:
        self._keys = check_keys(partition_keys, "StaticPartitionsDefinition")

    def get_partition_keys(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> Sequence[str]:
        return list(self._keys)

    def has_partition_key(
        self,
        partition_key: str,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> bool:
        return partition_key in self._known

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._keys)

    def describe(self) -> str:
        shown = ", ".join(repr(key) for key in self._keys[:3])
        return f"StaticPartitionsDefinition([{shown}{', ...' if len(self._keys) > 3 else ''}])"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticPartitionsDefinition) and self._keys == other._keys

    def __hash__(self) -> int:
        return hash(self._keys)

    __repr__ = PartitionsDefinition.__str__
