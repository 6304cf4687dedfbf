"""What schedules and sensors ask for: runs, nothing for a reason, and changes to dynamic partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from opgrid.contracts.tags import tags_of
from opgrid.definitions.names import LONGEST_PARTITION_KEY, LONGEST_VALUE, check_length, check_storable
from opgrid.errors import InvalidDefinitionError


@dataclass(frozen=True)
class RunRequest:
    """A run to launch. Of one sensor, a ``run_key`` is launched once and never again; of a schedule, once a tick.

    yield RunRequest(run_key="orders.csv", run_config={"ops": {"load": {"config": {"file": "orders.csv"}}}})
    """

    run_key: str | None = None
    run_config: Any = None  #: a dict or a RunConfig; kept as a dict
    tags: Mapping[str, Any] | None = None  #: kept as strings
    job_name: str | None = None  #: needed where the schedule or sensor has several jobs
    asset_selection: Any = None
    stale_assets_only: bool = False
    partition_key: str | None = None
    asset_check_keys: Any = None

    def __post_init__(self) -> None:
        what = f"RunRequest(run_key={self.run_key!r})"
        for name in ("run_key", "job_name", "partition_key"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InvalidDefinitionError(f"{what} has {name}={value!r}: it has to be a string. Use str(...).")
        if self.run_key is not None:
            object.__setattr__(self, "run_key", str.__str__(self.run_key))  # it may be a MultiPartitionKey
            check_storable(self.run_key, f"The run_key {self.run_key[:40]!r} of a RunRequest", LONGEST_VALUE)
        if self.asset_selection is not None or self.stale_assets_only or self.asset_check_keys is not None:
            raise InvalidDefinitionError(f"{what} selects assets; opgrid runs jobs of ops. Name a job with job_name=.")
        object.__setattr__(self, "run_config", plain_config(self.run_config, what))
        object.__setattr__(self, "tags", tags_of(self.tags, what))

    def with_replaced_attrs(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def with_tags(self, tags: Mapping[str, str]) -> Self:
        """The request's own tags go before these."""
        return replace(self, tags={**tags, **(self.tags or {})})


@dataclass(frozen=True, slots=True)
class SkipReason:
    """Nothing to launch this time, and why."""

    skip_message: str | None = None


class _PartitionsRequest:
    partitions_def_name: str
    partition_keys: Sequence[str]

    def __init__(self, partitions_def_name: str, partition_keys: Iterable[str]) -> None:
        what = type(self).__name__
        if not _is_text(partitions_def_name):
            raise InvalidDefinitionError(
                f"{what} has the name {partitions_def_name!r}: it has to be that of a DynamicPartitionsDefinition."
            )
        keys: object = partition_keys
        several = tuple(keys) if isinstance(keys, Iterable) and not isinstance(keys, str) else None
        if several is None or not all(map(_is_text, several)):
            raise InvalidDefinitionError(f"{what} has the keys {keys!r}: they have to be a list of strings.")
        object.__setattr__(self, "partitions_def_name", partitions_def_name)
        object.__setattr__(self, "partition_keys", several)


@dataclass(frozen=True, init=False)
class AddDynamicPartitionsRequest(_PartitionsRequest):
    """Keys to add to the dynamic partitions of this name; those that are there stay."""

    partitions_def_name: str
    partition_keys: Sequence[str]

    def __init__(self, partitions_def_name: str, partition_keys: Iterable[str]) -> None:
        super().__init__(partitions_def_name, partition_keys)
        for key in self.partition_keys:
            check_storable(key, f"The partition key {key[:40]!r} of an {type(self).__name__}")
            check_length(key, "The partition key", f"of an {type(self).__name__}", LONGEST_PARTITION_KEY)


@dataclass(frozen=True, init=False)
class DeleteDynamicPartitionsRequest(_PartitionsRequest):
    """Keys to take out of the dynamic partitions of this name."""

    partitions_def_name: str
    partition_keys: Sequence[str]


DynamicPartitionsRequest = AddDynamicPartitionsRequest | DeleteDynamicPartitionsRequest


@dataclass(frozen=True, init=False)
class SensorResult:
    """All that a sensor has to say at once.

    return SensorResult([RunRequest(run_key=name) for name in new], cursor=new[-1])
    """

    run_requests: Sequence[RunRequest] | None
    skip_reason: SkipReason | None
    cursor: str | None
    dynamic_partitions_requests: Sequence[DynamicPartitionsRequest] | None
    asset_events: Sequence[Any]

    def __init__(
        self,
        run_requests: Iterable[RunRequest] | None = None,
        skip_reason: SkipReason | str | None = None,
        cursor: str | None = None,
        dynamic_partitions_requests: Iterable[DynamicPartitionsRequest] | None = None,
        asset_events: Iterable[Any] | None = None,
    ) -> None:
        asked = _several(dynamic_partitions_requests, "dynamic_partitions_requests")
        object.__setattr__(self, "run_requests", _several(run_requests, "run_requests"))
        object.__setattr__(
            self, "skip_reason", SkipReason(skip_reason) if isinstance(skip_reason, str) else skip_reason
        )
        object.__setattr__(self, "cursor", cursor)
        object.__setattr__(self, "dynamic_partitions_requests", asked)
        object.__setattr__(self, "asset_events", _several(asset_events, "asset_events") or ())
        if self.run_requests and self.skip_reason is not None:
            raise InvalidDefinitionError("A SensorResult has both run requests and a skip reason: give one of them.")
        for each in self.run_requests or ():
            if not isinstance(each, RunRequest):
                raise InvalidDefinitionError(
                    f"The run_requests of a SensorResult have {each!r} among them, which is no RunRequest."
                )
        for request in self.dynamic_partitions_requests or ():
            if not isinstance(request, AddDynamicPartitionsRequest | DeleteDynamicPartitionsRequest):
                raise InvalidDefinitionError(
                    f"The dynamic_partitions_requests of a SensorResult have {request!r} among them. Make them with "
                    "build_add_request() "
                    f"or build_delete_request() of a DynamicPartitionsDefinition."
                )
        if self.cursor is not None and not isinstance(self.cursor, str):
            raise InvalidDefinitionError(
                f"A SensorResult has the cursor {self.cursor!r}: it has to be a string. Use str() or json.dumps()."
            )
        if self.cursor is not None:
            check_storable(self.cursor, "The cursor of a SensorResult")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluation of a schedule or sensor decided. Requests are complete: job, tags and partition's config
    are in them.
    """

    run_requests: tuple[RunRequest, ...] = ()
    skip_message: str | None = None  #: None when there are run requests
    cursor: str | None = None  #: of a sensor, to be kept when the tick succeeded
    dynamic_partitions_requests: tuple[DynamicPartitionsRequest, ...] = ()
    asset_events: tuple[Any, ...] = field(default=())


def _several(given: object, name: str) -> Sequence[Any] | None:
    """As it is, where it can be looked at twice."""
    if given is None or (isinstance(given, Sequence) and not isinstance(given, str)):
        return given
    if isinstance(given, Iterable) and not isinstance(given, str):
        return tuple(given)
    raise InvalidDefinitionError(f"The {name} of a SensorResult are {given!r}: they have to be a list.")


def _is_text(given: object) -> bool:
    return isinstance(given, str) and bool(given)


def plain_config(config: Any, what: str) -> dict[str, Any]:
    """Run config as a dict, whichever way the user wrote it."""
    if config is None:
        return {}
    if hasattr(config, "to_config_dict"):
        config = config.given()
    if not isinstance(config, Mapping):
        raise InvalidDefinitionError(f"The run config of {what} has to be a dict or a RunConfig, not {config!r}.")
    return dict(config)
