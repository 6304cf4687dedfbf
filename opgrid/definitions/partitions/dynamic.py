"""Partitions that come and go while a deployment runs, or that a function tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from opgrid.definitions.partitions.base import DynamicPartitionsStore, PartitionsDefinition, check_keys, moment
from opgrid.definitions.partitions.partition import Partition
from opgrid.definitions.run_request import AddDynamicPartitionsRequest, DeleteDynamicPartitionsRequest
from opgrid.errors import InvalidDefinitionError, InvariantViolationError, UnknownPartitionError

#: Takes the current time, or None, and gives keys or Partition objects.
PartitionFn = Callable[[datetime | None], Sequence[Any]]


class DynamicPartitionsDefinition(PartitionsDefinition):
    """Keys that are kept under ``name`` in the instance and added there, or that ``partition_fn`` gives whenever it
    is asked.

    files = DynamicPartitionsDefinition(name="files")
    """

    def __init__(self, partition_fn: PartitionFn | None = None, name: str | None = None) -> None:
        if (partition_fn is None) == (name is None):
            raise InvalidDefinitionError(
                "DynamicPartitionsDefinition takes either name=, for keys that are kept in the instance, or "
                "partition_fn=, for keys "
                "that a function gives."
            )
        if (name is not None and type(name) is not str) or name == "":
            raise InvalidDefinitionError(f"DynamicPartitionsDefinition(name={name!r}): the name has to be a string.")
        if partition_fn is not None and not callable(partition_fn):
            raise InvalidDefinitionError(
                f"DynamicPartitionsDefinition(partition_fn={partition_fn!r}): it has to be a function."
            )
        self.partition_fn = partition_fn
        self.name = name

    def get_partition_keys(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> Sequence[str]:
        return [each.name for each in self.partitions(current_time, dynamic_partitions_store)]

    def partitions(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> Sequence[Partition]:
        """Keys with the values that the function may have given them."""
        if self.partition_fn is not None:
            given = self.partition_fn(moment(current_time))
            found = [each if isinstance(each, Partition) else Partition(each, each) for each in given]
            check_keys([each.name for each in found], self.describe())
            return found
        if dynamic_partitions_store is None:
            raise InvariantViolationError(
                f"The keys of {self.describe()} are kept in an instance, and none was given: pass "
                "dynamic_partitions_store=instance."
            )
        keys = dynamic_partitions_store.get_dynamic_partitions(self.name or "")
        return [Partition(key, key) for key in keys]

    def unknown(
        self, key: str, current_time: datetime | None, store: DynamicPartitionsStore | None
    ) -> UnknownPartitionError:
        error = super().unknown(key, current_time, store)
        if self.name is None:
            return error
        return UnknownPartitionError(f"{error} Add it with instance.add_dynamic_partitions({self.name!r}, [{key!r}]).")

    def build_add_request(self, partition_keys: Iterable[str]) -> AddDynamicPartitionsRequest:
        """For the ``dynamic_partitions_requests`` of a SensorResult."""
        return AddDynamicPartitionsRequest(self._named(), partition_keys)

    def build_delete_request(self, partition_keys: Iterable[str]) -> DeleteDynamicPartitionsRequest:
        return DeleteDynamicPartitionsRequest(self._named(), partition_keys)

    def _named(self) -> str:
        if self.name is None:
            raise InvalidDefinitionError(
                f"{self.describe()} has no name: nothing can be added to what a function gives."
            )
        return self.name

    def describe(self) -> str:
        if self.name is not None:
            return f"DynamicPartitionsDefinition(name={self.name!r})"
        return f"DynamicPartitionsDefinition({getattr(self.partition_fn, '__name__', 'partition_fn')})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DynamicPartitionsDefinition)
            and self.name == other.name
            and self.partition_fn == other.partition_fn
        )

    def __hash__(self) -> int:
        return hash((self.name, self.partition_fn))

    __repr__ = PartitionsDefinition.__str__
