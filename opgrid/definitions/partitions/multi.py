"""Partitions with several dimensions: a key for each, such as ``us|2024-01-01``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self

from opgrid.definitions.partitions.base import PARTITION_TAG, DynamicPartitionsStore, PartitionsDefinition
from opgrid.definitions.partitions.partition import TimeWindow
from opgrid.definitions.partitions.time_window import TimeWindowPartitionsDefinition
from opgrid.errors import InvalidDefinitionError, UnknownPartitionError, nearest

SEPARATOR: Final = "|"


class MultiPartitionKey(str):
    """A string, made of one key a dimension in the order of the dimensions' names.

    MultiPartitionKey({"region": "us", "date": "2024-01-01"}) == "2024-01-01|us"
    """

    __slots__ = ("keys_by_dimension",)
    keys_by_dimension: Mapping[str, str]

    def __new__(cls, keys_by_dimension: Mapping[str, str]) -> Self:
        ordered = dict(sorted(keys_by_dimension.items()))
        for dimension, key in ordered.items():
            if not _is_part(key):
                raise InvalidDefinitionError(
                    f"{key!r} cannot be the key of dimension {dimension!r}: keys are strings, not empty and without "
                    f"{SEPARATOR!r}."
                )
        made = super().__new__(cls, SEPARATOR.join(ordered.values()))
        made.keys_by_dimension = ordered
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return MultiPartitionKey, (dict(self.keys_by_dimension),)


class MultiPartitionsDefinition(PartitionsDefinition):
    """The product of two or more dimensions, each with a partitions definition of its own.

    MultiPartitionsDefinition({"date": DailyPartitionsDefinition("2024-01-01"), "region":
    StaticPartitionsDefinition(["eu", "us"])})
    """

    def __init__(self, partitions_defs: Mapping[str, PartitionsDefinition]) -> None:
        if len(partitions_defs) < 2:
            raise InvalidDefinitionError(
                f"MultiPartitionsDefinition has {len(partitions_defs)} dimensions; it takes two or more. For one, "
                "use its definition alone."
            )
        for name, each in partitions_defs.items():
            if not _is_part(name):
                raise InvalidDefinitionError(
                    f"MultiPartitionsDefinition: {name!r} cannot name a dimension; use a word without '|'."
                )
            if isinstance(each, MultiPartitionsDefinition) or not isinstance(each, PartitionsDefinition):
                raise InvalidDefinitionError(
                    f"Dimension {name!r} of MultiPartitionsDefinition is {each!r}: it has to be a partitions "
                    "definition with one dimension."
                )
        self.partitions_defs = dict(sorted(partitions_defs.items()))

    @property
    def partition_dimension_names(self) -> list[str]:
        return list(self.partitions_defs)

    def get_partition_keys(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> Sequence[MultiPartitionKey]:
        names = list(self.partitions_defs)
        keys = (
            each.get_partition_keys(current_time, dynamic_partitions_store) for each in self.partitions_defs.values()
        )
        return [MultiPartitionKey(dict(zip(names, each, strict=True))) for each in itertools.product(*keys)]

    def has_partition_key(
        self,
        partition_key: str,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> bool:
        parts = self._split(partition_key)
        return parts is not None and all(
            self.partitions_defs[name].has_partition_key(key, current_time, dynamic_partitions_store)
            for name, key in parts.items()
        )

    def get_num_partitions(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> int:
        number = 1
        for each in self.partitions_defs.values():
            number *= each.get_num_partitions(current_time, dynamic_partitions_store)
        return number

    def get_partition_key_from_str(self, partition_key: str) -> MultiPartitionKey:
        """The key by dimension. Raises UnknownPartitionError when it has not the right number of parts."""
        parts = self._split(partition_key)
        if parts is None:
            raise self._misshaped(partition_key)
        return MultiPartitionKey(parts)

    def time_window_for_partition_key(self, partition_key: str) -> TimeWindow:
        """Of the one dimension that is in time."""
        timed = [
            (name, each)
            for name, each in self.partitions_defs.items()
            if isinstance(each, TimeWindowPartitionsDefinition)
        ]
        if len(timed) != 1:
            raise InvalidDefinitionError(
                f"{self.describe()} has {len(timed)} dimensions in time; a time window needs one."
            )
        ((name, definition),) = timed
        return definition.time_window_for_partition_key(
            self.get_partition_key_from_str(partition_key).keys_by_dimension[name]
        )

    def get_tags_for_partition_key(self, partition_key: str) -> Mapping[str, str]:
        key = self.get_partition_key_from_str(partition_key)
        return {
            PARTITION_TAG: str(key),
            **{f"{PARTITION_TAG}/{name}": each for name, each in key.keys_by_dimension.items()},
        }

    def unknown(
        self, key: str, current_time: datetime | None, store: DynamicPartitionsStore | None
    ) -> UnknownPartitionError:
        parts = self._split(key)
        if parts is None:
            return self._misshaped(key)
        wrong = []
        for name, part in parts.items():
            definition = self.partitions_defs[name]
            if not definition.has_partition_key(part, current_time, store):
                wrong.append(
                    f"{name!r} has no {part!r}.{nearest(part, definition.get_partition_keys(current_time, store))}"
                )
        return UnknownPartitionError(
            f"{self.describe()} has no partition {key!r}: dimension {' Dimension '.join(wrong)}"
        )

    def _split(self, key: str) -> dict[str, str] | None:
        if isinstance(key, MultiPartitionKey):
            parts = dict(key.keys_by_dimension)
            return parts if list(parts) == list(self.partitions_defs) else None
        found = key.split(SEPARATOR)
        return dict(zip(self.partitions_defs, found, strict=True)) if len(found) == len(self.partitions_defs) else None

    def _misshaped(self, key: str) -> UnknownPartitionError:
        shape = SEPARATOR.join(f"<{name}>" for name in self.partitions_defs)
        return UnknownPartitionError(f"{key!r} is no partition of {self.describe()}: its keys look like {shape!r}.")

    def describe(self) -> str:
        return f"MultiPartitionsDefinition of {' and '.join(repr(name) for name in self.partitions_defs)}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MultiPartitionsDefinition) and self.partitions_defs == other.partitions_defs

    def __hash__(self) -> int:
        return hash(tuple(self.partitions_defs.items()))

    __repr__ = PartitionsDefinition.__str__


def _is_part(given: object) -> bool:
    return isinstance(given, str) and bool(given) and SEPARATOR not in given
