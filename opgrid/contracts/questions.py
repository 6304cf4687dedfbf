"""What users ask of an event, in Dagster's words: what kind it is, and what it carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar, Self

from opgrid.contracts.facts import AssetKey, AssetMaterialization, AssetObservation, ExpectationResult
from opgrid.contracts.metadata import MetadataValue, metadata_from_json
from opgrid.ids import split_step_key


@dataclass(frozen=True, slots=True)
class OutputHandle:
    step_key: str
    output_name: str
    mapping_key: str | None = None


@dataclass(frozen=True, slots=True)
class TypeCheckData:
    """What the type of an input or output said of the value; ``label`` is the name of that input or output."""

    success: bool
    label: str
    description: str | None
    metadata: Mapping[str, MetadataValue]


@dataclass(frozen=True, slots=True)
class OutputData:
    """Of STEP_OUTPUT and HANDLED_OUTPUT, which has no ``type_check_data``."""

    step_output_handle: OutputHandle
    metadata: Mapping[str, MetadataValue]
    type_check_data: TypeCheckData | None = None

    @property
    def output_name(self) -> str:
        return self.step_output_handle.output_name

    @property
    def mapping_key(self) -> str | None:
        return self.step_output_handle.mapping_key


@dataclass(frozen=True, slots=True)
class InputData:
    """Of STEP_INPUT and LOADED_INPUT."""

    input_name: str
    metadata: Mapping[str, MetadataValue]
    upstream_step_key: str | None = None
    upstream_output_name: str | None = None
    type_check_data: TypeCheckData | None = None


@dataclass(frozen=True, slots=True)
class UserFailureData:
    """What ``raise Failure(...)`` said."""

    description: str
    metadata: Mapping[str, MetadataValue]
    label: str = "intentional-failure"


@dataclass(frozen=True, slots=True)
class FailureData:
    """Of STEP_FAILURE."""

    error: Any
    user_failure_data: UserFailureData | None = None

    @property
    def error_display_string(self) -> str:
        return str(self.error.to_string())


class RunFailureReason(StrEnum):
    """Why a run failed, as far as it is one of steps."""

    STEP_FAILURE = "STEP_FAILURE"
    UNKNOWN = "UNKNOWN"  #: the message of the event says more


@dataclass(frozen=True, slots=True)
class RunFailureData:
    """Of PIPELINE_FAILURE; ``error`` is that of the first step that failed."""

    error: Any
    failure_reason: RunFailureReason
    first_step_failure_event: Any
    user_failure_data: UserFailureData | None = None


@dataclass(frozen=True, slots=True)
class RetryData:
    error: Any
    seconds_to_wait: float


@dataclass(frozen=True, slots=True)
class SuccessData:
    duration_ms: float


@dataclass(frozen=True, slots=True)
class MaterializationData:
    materialization: AssetMaterialization


@dataclass(frozen=True, slots=True)
class ObservationData:
    asset_observation: AssetObservation


@dataclass(frozen=True, slots=True)
class ExpectationData:
    expectation_result: ExpectationResult


class Questions:
    """Mixed into all events. A question that an event has no answer to is answered with None."""

    __slots__ = ()
    TYPE: ClassVar[Any]

    # ---- which -----------------------------------------------------------------------------------------------------

    @property
    def event(self) -> Self:
        """The event of a log entry: the entry is the event."""
        return self

    @property
    def event_type_value(self) -> str:
        """Its kind as Dagster's log has it: ``"STEP_SUCCESS"``, ``"PIPELINE_FAILURE"``."""
        return str(self.TYPE.value)

    @property
    def step_key(self) -> str | None:
        return getattr(self, "step", None) or None

    @property
    def node_name(self) -> str | None:
        return None if self.step_key is None else split_step_key(self.step_key)[0]

    @property
    def timestamp(self) -> float:
        """Unix seconds."""
        return float(getattr(self, "at", 0.0))

    @property
    def user_message(self) -> str:
        """What ``context.log`` was given; of other events, what they say."""
        return str(getattr(self, "message", ""))

    # ---- what kind -------------------------------------------------------------------------------------------------

    def _is(self, *names: str) -> bool:
        return self.TYPE.name in names

    @property
    def is_event(self) -> bool:
        """It is not just a line of the user's log."""
        return not self._is("LOG_MESSAGE")

    @property
    def is_step_event(self) -> bool:
        return self.step_key is not None and self.is_event

    @property
    def is_step_start(self) -> bool:
        return self._is("STEP_START")

    @property
    def is_step_success(self) -> bool:
        return self._is("STEP_SUCCESS")

    @property
    def is_step_failure(self) -> bool:
        return self._is("STEP_FAILURE")

    @property
    def is_step_skipped(self) -> bool:
        return self._is("STEP_SKIPPED")

    @property
    def is_step_up_for_retry(self) -> bool:
        return self._is("STEP_UP_FOR_RETRY")

    @property
    def is_step_restarted(self) -> bool:
        return self._is("STEP_RESTARTED")

    @property
    def is_successful_output(self) -> bool:
        return self._is("STEP_OUTPUT")

    @property
    def is_handled_output(self) -> bool:
        return self._is("HANDLED_OUTPUT")

    @property
    def is_loaded_input(self) -> bool:
        return self._is("LOADED_INPUT")

    @property
    def is_step_materialization(self) -> bool:
        return self._is("ASSET_MATERIALIZATION")

    @property
    def is_asset_observation(self) -> bool:
        return self._is("ASSET_OBSERVATION")

    @property
    def is_expectation_result(self) -> bool:
        return self._is("STEP_EXPECTATION_RESULT")

    @property
    def is_hook_event(self) -> bool:
        return self._is("HOOK_COMPLETED", "HOOK_SKIPPED", "HOOK_ERRORED")

    @property
    def is_resource_init_failure(self) -> bool:
        return self._is("RESOURCE_INIT_FAILURE")

    @property
    def is_engine_event(self) -> bool:
        return self._is("ENGINE_EVENT")

    @property
    def is_run_success(self) -> bool:
        return self._is("RUN_SUCCESS")

    @property
    def is_run_failure(self) -> bool:
        return self._is("RUN_FAILURE")

    is_job_success = is_run_success
    is_job_failure = is_run_failure

    @property
    def is_failure(self) -> bool:
        return self._is("STEP_FAILURE", "RUN_FAILURE")

    # ---- what it carries -------------------------------------------------------------------------------------------

    @property
    def event_specific_data(self) -> Any:
        """What an event of its kind carries: one of the data below."""
        data = _DATA.get(self.TYPE.name)
        return None if data is None else data(self)

    def _data(self, *names: str) -> Any:
        return self.event_specific_data if self._is(*names) else None

    @property
    def step_output_data(self) -> OutputData | None:
        found: OutputData | None = self._data("STEP_OUTPUT")
        return found

    @property
    def step_input_data(self) -> InputData | None:
        found: InputData | None = self._data("STEP_INPUT")
        return found

    @property
    def step_success_data(self) -> SuccessData | None:
        found: SuccessData | None = self._data("STEP_SUCCESS")
        return found

    @property
    def step_failure_data(self) -> FailureData | None:
        found: FailureData | None = self._data("STEP_FAILURE")
        return found

    @property
    def user_failure_data(self) -> UserFailureData | None:
        """Of a step that failed by ``raise Failure(...)``."""
        data = self.step_failure_data
        return None if data is None else data.user_failure_data

    @property
    def job_failure_data(self) -> RunFailureData | None:
        found: RunFailureData | None = self._data("RUN_FAILURE")
        return found

    @property
    def step_retry_data(self) -> RetryData | None:
        found: RetryData | None = self._data("STEP_UP_FOR_RETRY")
        return found

    @property
    def step_materialization_data(self) -> MaterializationData | None:
        found: MaterializationData | None = self._data("ASSET_MATERIALIZATION")
        return found

    @property
    def asset_observation_data(self) -> ObservationData | None:
        found: ObservationData | None = self._data("ASSET_OBSERVATION")
        return found

    @property
    def step_expectation_result_data(self) -> ExpectationData | None:
        found: ExpectationData | None = self._data("STEP_EXPECTATION_RESULT")
        return found

    @property
    def asset_materialization(self) -> AssetMaterialization | None:
        data = self.step_materialization_data
        return None if data is None else data.materialization

    @property
    def asset_observation(self) -> AssetObservation | None:
        data = self.asset_observation_data
        return None if data is None else data.asset_observation

    @property
    def asset_key(self) -> AssetKey | None:
        told = self.asset_materialization or self.asset_observation
        return None if told is None else told.asset_key


def _output(event: Any) -> OutputData:
    handle = OutputHandle(event.step, event.output, event.mapping_key)
    return OutputData(handle, metadata_from_json(event.metadata))


def _yielded(event: Any) -> OutputData:
    return replace(_output(event), type_check_data=_type_check(event.type_check, event.output))


def _taken(event: Any) -> InputData:
    return InputData(event.input, {}, type_check_data=_type_check(event.type_check, event.input))


def _type_check(report: Mapping[str, Any], name: str) -> TypeCheckData:
    """A value that any type is good for has no report."""
    metadata = metadata_from_json(report.get("metadata", {}))
    return TypeCheckData(report.get("success", True), name, report.get("description"), metadata)


def _loaded(event: Any) -> InputData:
    return InputData(event.input, metadata_from_json(event.metadata), event.upstream_step, event.upstream_output)


def _failure(event: Any) -> FailureData:
    error = event.error
    if error is None or (error.kind != "Failure" and not error.metadata):
        return FailureData(error)
    return FailureData(error, UserFailureData(error.message, metadata_from_json(error.metadata)))


def _run_failure(event: Any) -> RunFailureData:
    told, first = _failure(event), event.first_step_failure_event
    reason = RunFailureReason.UNKNOWN if told.error is None else RunFailureReason.STEP_FAILURE
    return RunFailureData(told.error, reason, first, told.user_failure_data)


def _asset(event: Any) -> tuple[Any, ...]:
    return event.asset, event.description, metadata_from_json(event.metadata), event.partition, event.tags


def _expectation(event: Any) -> ExpectationResult:
    return ExpectationResult(event.success, event.label, event.description, metadata_from_json(event.metadata))


_DATA: Mapping[str, Any] = {
    "STEP_OUTPUT": _yielded,
    "HANDLED_OUTPUT": _output,
    "STEP_INPUT": _taken,
    "LOADED_INPUT": _loaded,
    "STEP_SUCCESS": lambda event: SuccessData(event.seconds * 1000),
    "STEP_FAILURE": _failure,
    "RUN_FAILURE": _run_failure,
    "STEP_UP_FOR_RETRY": lambda event: RetryData(event.error, event.delay),
    "ASSET_MATERIALIZATION": lambda event: MaterializationData(AssetMaterialization(*_asset(event))),
    "ASSET_OBSERVATION": lambda event: ObservationData(AssetObservation(*_asset(event))),
    "STEP_EXPECTATION_RESULT": lambda event: ExpectationData(_expectation(event)),
}
