"""Partitions definitions: into which parts the work of a job falls, each with a key."""

from opgrid.definitions.partitions.base import (
    PARTITION_RANGE_TAG,
    PARTITION_SET_TAG,
    PARTITION_TAG,
    DynamicPartitionsStore,
    PartitionKeyRange,
    PartitionsDefinition,
)
from opgrid.definitions.partitions.dynamic import DynamicPartitionsDefinition
from opgrid.definitions.partitions.multi import MultiPartitionKey, MultiPartitionsDefinition
from opgrid.definitions.partitions.partition import Partition, TimeWindow
from opgrid.definitions.partitions.static import StaticPartitionsDefinition
from opgrid.definitions.partitions.time_window import (
    DailyPartitionsDefinition,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    ScheduleType,
    TimeWindowPartitionsDefinition,
    WeeklyPartitionsDefinition,
)

__all__ = [
    "PARTITION_RANGE_TAG",
    "PARTITION_SET_TAG",
    "PARTITION_TAG",
    "DailyPartitionsDefinition",
    "DynamicPartitionsDefinition",
    "DynamicPartitionsStore",
    "HourlyPartitionsDefinition",
    "MonthlyPartitionsDefinition",
    "MultiPartitionKey",
    "MultiPartitionsDefinition",
    "Partition",
    "PartitionKeyRange",
    "PartitionsDefinition",
    "ScheduleType",
    "StaticPartitionsDefinition",
    "TimeWindow",
    "TimeWindowPartitionsDefinition",
    "WeeklyPartitionsDefinition",
]
