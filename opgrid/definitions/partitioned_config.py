"""Run config that depends on the partition, and the tags that tell which partition a run is for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from opgrid.contracts.tags import tags_of
from opgrid.definitions.partitions import (
    PARTITION_RANGE_TAG,
    PARTITION_SET_TAG,
    DailyPartitionsDefinition,
    DynamicPartitionsDefinition,
    DynamicPartitionsStore,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    Partition,
    PartitionKeyRange,
    PartitionsDefinition,
    StaticPartitionsDefinition,
    TimeWindowPartitionsDefinition,
    WeeklyPartitionsDefinition,
)
from opgrid.definitions.run_request import RunRequest, plain_config
from opgrid.errors import (
    InvalidDefinitionError,
    InvalidInvocationError,
    InvariantViolationError,
    UnknownPartitionError,
    UserCodeExecutionError,
)

if TYPE_CHECKING:
    from opgrid.definitions.job import JobDefinition

KeyFn = Callable[[str], Any]
PartitionFn = Callable[[Partition], Any]
WindowFn = Callable[[datetime, datetime], Any]


class PartitionedConfig:
    """A partitions definition, and for each key the run config and tags of its run. As ``config=`` of a job it
    partitions the job.

    PartitionedConfig(StaticPartitionsDefinition(["eu", "us"]), run_config_for_partition_key_fn=lambda key: {...})
    """

    def __init__(
        self,
        partitions_def: PartitionsDefinition,
        run_config_for_partition_fn: PartitionFn | None = None,
        decorated_fn: Callable[..., Any] | None = None,
        tags_for_partition_fn: PartitionFn | None = None,
        run_config_for_partition_key_fn: KeyFn | None = None,
        tags_for_partition_key_fn: KeyFn | None = None,
    ) -> None:
        self.name = getattr(decorated_fn or run_config_for_partition_key_fn, "__name__", "PartitionedConfig")
        if not isinstance(partitions_def, PartitionsDefinition):
            raise InvalidDefinitionError(
                f"{self._what} has the partitions {partitions_def!r}: they have to be a partitions definition."
            )
        if (run_config_for_partition_fn is None) == (run_config_for_partition_key_fn is None):
            raise InvalidDefinitionError(
                f"{self._what} takes one function for the run config: run_config_for_partition_key_fn=, which gets "
                "the key."
            )
        if tags_for_partition_fn is not None and tags_for_partition_key_fn is not None:
            raise InvalidDefinitionError(
                f"{self._what} has two functions for tags: keep tags_for_partition_key_fn=, which gets the key."
            )
        self.partitions_def = partitions_def
        self.decorated_fn = decorated_fn
        self.run_config_for_partition_fn = run_config_for_partition_fn
        self.run_config_for_partition_key_fn = run_config_for_partition_key_fn
        self.tags_for_partition_fn = tags_for_partition_fn
        self.tags_for_partition_key_fn = tags_for_partition_key_fn
        self.window_fn: WindowFn | None = None  #: that run config is made with, where it takes start and end

    @classmethod
    def constant(cls, partitions_def: PartitionsDefinition, config: Any = None) -> PartitionedConfig:
        """The same config for every partition: of a job with ``partitions_def=``, whose ``config=`` is of another
        kind.
        """
        plain = {} if config is None else plain_config(config, "a partitioned job")
        return cls(partitions_def, run_config_for_partition_key_fn=lambda _: plain)

    @property
    def _what(self) -> str:
        return f"Partitioned config {self.name!r}" if self.name != "PartitionedConfig" else "PartitionedConfig"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The decorated function itself, for tests of it."""
        if self.decorated_fn is None:
            raise InvalidInvocationError(
                f"{self._what} was not made with a decorator: use get_run_config_for_partition_key(key)."
            )
        return self.decorated_fn(*args, **kwargs)

    def get_partition_keys(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> Sequence[str]:
        return self.partitions_def.get_partition_keys(current_time, dynamic_partitions_store)

    def get_run_config_for_partition_key(self, partition_key: str) -> dict[str, Any]:
        """Of a key, or of a range ``first...last``. Raises UnknownPartitionError for what can be no key; whether its
        time has come is for the caller to check.
        """
        span = PartitionKeyRange.parse(partition_key)
        if span is not None:
            return self._run_config_for_range(span)
        given = self._call(
            self.run_config_for_partition_key_fn, self.run_config_for_partition_fn, partition_key, "run config"
        )
        return plain_config(given, f"partition {partition_key!r} of {self._what}")

    def _run_config_for_range(self, span: PartitionKeyRange) -> dict[str, Any]:
        """A function of start and end gets those of the range; of another, the config must be the same for all keys."""
        fn = self.window_fn
        if fn is not None and isinstance(self.partitions_def, TimeWindowPartitionsDefinition):
            start = self.partitions_def.time_window_for_partition_key(span.start).start
            end = self.partitions_def.time_window_for_partition_key(span.end).end
            given = self._call(lambda _: fn(start, end), None, str(span), "run config")
            return plain_config(given, f"partitions {span} of {self._what}")
        first, last = (self.get_run_config_for_partition_key(key) for key in (span.start, span.end))
        if first != last:
            raise InvariantViolationError(
                f"{self._what} gives each partition a run config of its own, so that one run cannot be for {span}. "
                "Give it a run config, or let the ops read context.partition_keys instead."
            )
        return first

    def get_tags_for_partition_key(self, partition_key: str, job_name: str | None = None) -> dict[str, str]:
        """The user's, and opgrid's own, which win. Of a range: opgrid's own."""
        if PartitionKeyRange.parse(partition_key) is not None:
            return partition_tags(self.partitions_def, partition_key, job_name)
        given = None
        if self.tags_for_partition_key_fn is not None or self.tags_for_partition_fn is not None:
            given = self._call(self.tags_for_partition_key_fn, self.tags_for_partition_fn, partition_key, "tags")
        own = tags_of(given, f"partition {partition_key!r} of {self._what}")
        return {**own, **partition_tags(self.partitions_def, partition_key, job_name)}

    def _call(self, by_key: KeyFn | None, by_partition: PartitionFn | None, key: str, of: str) -> Any:
        try:
            if by_key is not None:
                return by_key(key)
            return by_partition(self._partition(key)) if by_partition is not None else None
        except UnknownPartitionError:
            raise
        except Exception as error:
            raise UserCodeExecutionError(
                f"{self._what}: its function for the {of} raised {type(error).__name__} for partition {key!r}: {error}"
            ) from error

    def _partition(self, key: str) -> Partition:
        if isinstance(self.partitions_def, TimeWindowPartitionsDefinition):
            window = self.partitions_def.time_window_for_partition_key(key)
            return Partition(key, window.start, window)
        if (
            isinstance(self.partitions_def, DynamicPartitionsDefinition)
            and self.partitions_def.partition_fn is not None
        ):
            found = {each.name: each for each in self.partitions_def.partitions()}
            return found.get(key, Partition(key, key))
        return Partition(key, key)

    def __repr__(self) -> str:
        return f"PartitionedConfig({self.partitions_def.describe()})"


def partition_tags(partitions_def: PartitionsDefinition, partition_key: str, job_name: str | None) -> dict[str, str]:
    if PartitionKeyRange.parse(partition_key) is not None:
        tags = {PARTITION_RANGE_TAG: partition_key}
    else:
        tags = dict(partitions_def.get_tags_for_partition_key(partition_key))
    if job_name is not None:
        tags[PARTITION_SET_TAG] = f"{job_name}_partition_set"
    return tags


def run_request_for_partition(
    job: JobDefinition,
    partition_key: str,
    run_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    run_config: Any = None,
    current_time: datetime | None = None,
    dynamic_partitions_store: DynamicPartitionsStore | None = None,
) -> RunRequest:
    """A complete request for one partition of ``job``, or for a range ``first...last``.

    ``run_config`` replaces the partition's own, ``tags`` come on top.
    """
    config = partitioned_config_of(job)
    job.validate_partition_key(partition_key, current_time, dynamic_partitions_store)
    given = run_config if run_config is not None else config.get_run_config_for_partition_key(partition_key)
    own = config.get_tags_for_partition_key(partition_key, job.name)
    return RunRequest(run_key, given, {**(tags or {}), **own}, job.name, partition_key=partition_key)


def partitioned_config_of(job: JobDefinition) -> PartitionedConfig:
    found: PartitionedConfig | None = job.partitioned_config
    if found is not None:
        return found
    if job.partitions_def is None:
        raise InvalidDefinitionError(
            f"Job {job.name!r} is not partitioned: give it partitions_def=, or a partitioned config as config=."
        )
    return PartitionedConfig.constant(job.partitions_def, job.run_config)


# ---- decorators ----


def partitioned_config(
    partitions_def: PartitionsDefinition, tags_for_partition_key_fn: KeyFn | None = None
) -> Callable[[KeyFn], PartitionedConfig]:
    """Makes a partitioned config of a function that takes a partition key and gives run config.

    @partitioned_config(StaticPartitionsDefinition(["eu", "us"]))
    def by_region(partition_key: str):
        return {"ops": {"load": {"config": {"region": partition_key}}}}
    """

    def decorated(fn: KeyFn) -> PartitionedConfig:
        _check_function(fn, "partitioned_config")
        return _named(
            PartitionedConfig(
                partitions_def,
                decorated_fn=fn,
                run_config_for_partition_key_fn=fn,
                tags_for_partition_key_fn=tags_for_partition_key_fn,
            ),
            fn,
        )

    return decorated


def static_partitioned_config(
    partition_keys: Sequence[str],
    tags_for_partition_fn: KeyFn | None = None,
    tags_for_partition_key_fn: KeyFn | None = None,
) -> Callable[[KeyFn], PartitionedConfig]:
    """For a list of keys; the function takes the key.

    @static_partitioned_config(["eu", "us"])
    def by_region(partition_key: str): ...
    """
    _check_bare(partition_keys, "static_partitioned_config")
    return partitioned_config(
        StaticPartitionsDefinition(partition_keys), tags_for_partition_key_fn or tags_for_partition_fn
    )


def dynamic_partitioned_config(
    partition_fn: Callable[[datetime | None], Sequence[str]],
    tags_for_partition_fn: KeyFn | None = None,
    tags_for_partition_key_fn: KeyFn | None = None,
) -> Callable[[KeyFn], PartitionedConfig]:
    """For the keys that ``partition_fn`` gives at a time; the function takes the key."""
    tags = tags_for_partition_key_fn or tags_for_partition_fn
    return partitioned_config(DynamicPartitionsDefinition(partition_fn), tags)


def hourly_partitioned_config(
    start_date: datetime | str,
    minute_offset: int = 0,
    timezone: str | None = None,
    fmt: str | None = None,
    end_offset: int = 0,
    tags_for_partition_fn: WindowFn | None = None,
    exclusions: Sequence[str | datetime] | None = None,
) -> Callable[[WindowFn], PartitionedConfig]:
    """For each hour; the function takes its start and end.

    @hourly_partitioned_config(start_date="2024-01-01-00:00")
    def by_hour(start: datetime, end: datetime): ...
    """
    _check_bare(start_date, "hourly_partitioned_config")
    return _windowed(
        HourlyPartitionsDefinition(
            start_date,
            minute_offset=minute_offset,
            timezone=timezone,
            fmt=fmt,
            end_offset=end_offset,
            exclusions=exclusions,
        ),
        tags_for_partition_fn,
        "hourly_partitioned_config",
    )


def daily_partitioned_config(
    start_date: datetime | str,
    minute_offset: int = 0,
    hour_offset: int = 0,
    timezone: str | None = None,
    fmt: str | None = None,
    end_offset: int = 0,
    tags_for_partition_fn: WindowFn | None = None,
    exclusions: Sequence[str | datetime] | None = None,
) -> Callable[[WindowFn], PartitionedConfig]:
    """For each day; the function takes its start and end.

    @daily_partitioned_config(start_date="2024-01-01")
    def by_day(start: datetime, end: datetime):
        return {"ops": {"load": {"config": {"date": start.strftime("%Y-%m-%d")}}}}
    """
    _check_bare(start_date, "daily_partitioned_config")
    return _windowed(
        DailyPartitionsDefinition(
            start_date,
            minute_offset=minute_offset,
            hour_offset=hour_offset,
            timezone=timezone,
            fmt=fmt,
            end_offset=end_offset,
            exclusions=exclusions,
        ),
        tags_for_partition_fn,
        "daily_partitioned_config",
    )


def weekly_partitioned_config(
    start_date: datetime | str,
    minute_offset: int = 0,
    hour_offset: int = 0,
    day_offset: int = 0,
    timezone: str | None = None,
    fmt: str | None = None,
    end_offset: int = 0,
    tags_for_partition_fn: WindowFn | None = None,
    exclusions: Sequence[str | datetime] | None = None,
) -> Callable[[WindowFn], PartitionedConfig]:
    """For each week; the function takes its start and end."""
    _check_bare(start_date, "weekly_partitioned_config")
    return _windowed(
        WeeklyPartitionsDefinition(
            start_date, None, minute_offset, hour_offset, day_offset, timezone, fmt, end_offset, exclusions
        ),
        tags_for_partition_fn,
        "weekly_partitioned_config",
    )


def monthly_partitioned_config(
    start_date: datetime | str,
    minute_offset: int = 0,
    hour_offset: int = 0,
    day_offset: int = 1,
    timezone: str | None = None,
    fmt: str | None = None,
    end_offset: int = 0,
    tags_for_partition_fn: WindowFn | None = None,
    exclusions: Sequence[str | datetime] | None = None,
) -> Callable[[WindowFn], PartitionedConfig]:
    """For each month; the function takes its start and end."""
    _check_bare(start_date, "monthly_partitioned_config")
    return _windowed(
        MonthlyPartitionsDefinition(
            start_date,
            minute_offset=minute_offset,
            hour_offset=hour_offset,
            day_offset=day_offset,
            timezone=timezone,
            fmt=fmt,
            end_offset=end_offset,
            exclusions=exclusions,
        ),
        tags_for_partition_fn,
        "monthly_partitioned_config",
    )


def _windowed(
    partitions_def: TimeWindowPartitionsDefinition, tags_fn: WindowFn | None, decorator: str
) -> Callable[[WindowFn], PartitionedConfig]:
    def by_key(fn: WindowFn) -> KeyFn:
        def called(key: str) -> Any:
            window = partitions_def.time_window_for_partition_key(key)
            return fn(window.start, window.end)

        return called

    def decorated(fn: WindowFn) -> PartitionedConfig:
        _check_function(fn, decorator)
        made = PartitionedConfig(
            partitions_def,
            decorated_fn=fn,
            run_config_for_partition_key_fn=by_key(fn),
            tags_for_partition_key_fn=None if tags_fn is None else by_key(tags_fn),
        )
        made.window_fn = fn
        return _named(made, fn)

    return decorated


def _named(config: PartitionedConfig, fn: Callable[..., Any]) -> PartitionedConfig:
    update_wrapper(config, fn, updated=())
    return config


def _check_bare(given: object, decorator: str) -> None:
    if inspect.isfunction(given):
        raise InvalidDefinitionError(f"@{decorator} needs arguments: write @{decorator}(...) on {given.__name__!r}.")


def _check_function(fn: object, decorator: str) -> None:
    if not callable(fn):
        raise InvalidDefinitionError(f"@{decorator}(...) goes on a function, not on {fn!r}.")
