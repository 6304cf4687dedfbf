"""What all partitions definitions are: a set of keys, in an order, that may depend on the time and on what was added
to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from opgrid.definitions.names import LONGEST_PARTITION_KEY, check_length
from opgrid.errors import BackwardsRange, InvalidDefinitionError, UnknownPartitionError, nearest

PARTITION_TAG: Final = "opgrid/partition"
PARTITION_SET_TAG: Final = "opgrid/partition_set"
#: Of a run for several partitions that follow one another: ``first...last``.
PARTITION_RANGE_TAG: Final = "opgrid/partition_range"
_DOTS: Final = "..."


class DynamicPartitionsStore(Protocol):
    """Where the keys of dynamic partitions are kept: an instance."""

    def get_dynamic_partitions(self, partitions_def_name: str) -> Sequence[str]: ...


class PartitionKeyRange(NamedTuple):
    """All keys from ``start`` to ``end``, both included; as text ``start...end``."""

    start: str
    end: str

    @classmethod
    def parse(cls, text: str) -> PartitionKeyRange | None:
        """None for what is no range."""
        start, dots, end = text.partition(_DOTS)
        return cls(start, end) if dots and start and end else None

    def __str__(self) -> str:
        return f"{self.start}{_DOTS}{self.end}"


class PartitionsDefinition(ABC):
    """The partitions of a job. ``current_time`` is now where it is not given."""

    @abstractmethod
    def get_partition_keys(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> Sequence[str]:
        """In their order, computed anew for each call."""

    @abstractmethod
    def describe(self) -> str:
        """What this is, in a few words, for errors and lists."""

    def has_partition_key(
        self,
        partition_key: str,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> bool:
        return partition_key in self.get_partition_keys(current_time, dynamic_partitions_store)

    def validate_partition_key(
        self,
        partition_key: str,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> None:
        """Raises UnknownPartitionError, naming the nearest."""
        given: object = partition_key
        if not isinstance(given, str):
            hint = f" Give the range as text: {str(given)!r}." if isinstance(given, PartitionKeyRange) else ""
            raise UnknownPartitionError(
                f"A partition key has to be a string, not a {type(given).__name__}: {given!r}.{hint}"
            )
        if not self.has_partition_key(partition_key, current_time, dynamic_partitions_store):
            raise self.unknown(partition_key, current_time, dynamic_partitions_store)

    def unknown(
        self, key: str, current_time: datetime | None, store: DynamicPartitionsStore | None
    ) -> UnknownPartitionError:
        keys = self.get_partition_keys(current_time, store)
        span = f" There are {len(keys)}, from {keys[0]!r} to {keys[-1]!r}." if keys else " There are none."
        return UnknownPartitionError(f"{self.describe()} has no partition {key!r}.{nearest(key, keys)}{span}")

    def get_first_partition_key(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> str | None:
        keys = self.get_partition_keys(current_time, dynamic_partitions_store)
        return keys[0] if keys else None

    def get_last_partition_key(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> str | None:
        keys = self.get_partition_keys(current_time, dynamic_partitions_store)
        return keys[-1] if keys else None

    def get_num_partitions(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> int:
        return len(self.get_partition_keys(current_time, dynamic_partitions_store))

    def get_partition_keys_in_range(
        self,
        partition_key_range: PartitionKeyRange,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> Sequence[str]:
        """Raises UnknownPartitionError for an end that is no key; a range that runs backwards is an error, too."""
        start, end = partition_key_range.start, partition_key_range.end
        for key in (start, end):
            self.validate_partition_key(key, current_time, dynamic_partitions_store)
        keys = list(self.get_partition_keys(current_time, dynamic_partitions_store))
        first, last = keys.index(start), keys.index(end)
        if first > last:
            raise BackwardsRange(start, end, self.describe())
        return keys[first : last + 1]

    def get_tags_for_partition_key(self, partition_key: str) -> Mapping[str, str]:
        return {PARTITION_TAG: partition_key}

    def __str__(self) -> str:
        return self.describe()


def in_ranges(wanted: Iterable[str], keys: Sequence[str]) -> list[str]:
    """Of ``keys`` those ``wanted``, in the order of ``keys``; what follows one another there as a range ``a...d``."""
    chosen = set(wanted)
    stretches: list[list[str]] = []
    before = False
    for key in keys:
        if key in chosen:
            if not before:
                stretches.append([])
            stretches[-1].append(key)
        before = key in chosen
    return [each[0] if len(each) == 1 else str(PartitionKeyRange(each[0], each[-1])) for each in stretches]


def check_keys(keys: Iterable[object], what: str) -> tuple[str, ...]:
    """Strings, each once, and none that other notations of partitions could not hold."""
    if isinstance(keys, str):
        raise InvalidDefinitionError(
            f"The partition keys of {what} have to be a list of strings, not the string {keys!r}."
        )
    found = tuple(keys)
    seen: set[str] = set()
    for key in found:
        if not isinstance(key, str) or not key:
            raise InvalidDefinitionError(
                f"{key!r} cannot be a partition key of {what}: keys are strings that are not empty. Use str(...)."
            )
        if "..." in key or not key.isprintable():
            raise InvalidDefinitionError(
                f"{key!r} cannot be a partition key of {what}: '...' writes ranges, and control characters cannot be "
                "shown."
            )
        check_length(key, "The partition key", f"of {what}", LONGEST_PARTITION_KEY)
        if key in seen:
            raise InvalidDefinitionError(f"The partition key {key!r} of {what} is there twice: keys have to be unique.")
        seen.add(key)
    return tuple(key for key in found if isinstance(key, str))


def moment(current_time: datetime | None) -> datetime:
    """The one place where partitions look at the clock: when a caller gave no time. Times without a zone are UTC."""
    if current_time is None:
        return datetime.now(UTC)
    return current_time if current_time.tzinfo is not None else current_time.replace(tzinfo=UTC)
