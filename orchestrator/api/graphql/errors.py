"""Results that are errors: clients branch on their types."""

from __future__ import annotations

from enum import Enum
from typing import Self

import strawberry

from opgrid.contracts.events import ErrorInfo
from orchestrator.locations.messages import Problem


@strawberry.interface
class Error:
    message: str


@strawberry.type
class PythonError(Error):
    """What code raised."""

    class_name: str | None = None
    stack: list[str] = strawberry.field(default_factory=list)
    cause: PythonError | None = None

    @classmethod
    def of(cls, info: ErrorInfo) -> Self:
        cause = cls.of(info.cause) if info.cause is not None else None
        stack = info.traceback.splitlines(keepends=True)
        return cls(message=info.message, class_name=info.kind, stack=stack, cause=cause)

    @strawberry.field
    def error_chain(self) -> list[ErrorChainLink]:
        found: list[ErrorChainLink] = []
        error = self.cause
        while error is not None:
            found.append(ErrorChainLink(error=error, is_explicit_link=True))
            error = error.cause
        return found


@strawberry.type
class ErrorChainLink:
    error: PythonError
    is_explicit_link: bool


@strawberry.type
class UnauthorizedError(Error):
    pass


@strawberry.interface
class PipelineRunNotFoundError(Error):
    """Where older clients look for RunNotFoundError."""

    run_id: str


@strawberry.type
class RunNotFoundError(PipelineRunNotFoundError):
    @classmethod
    def of(cls, run_id: str) -> Self:
        return cls(message=f"There is no run {run_id!r}.", run_id=run_id)


@strawberry.type
class PipelineNotFoundError(Error):
    pipeline_name: str
    repository_location_name: str
    repository_name: str = "__repository__"


@strawberry.type
class InvalidSubsetError(Error):
    pass


@strawberry.type
class ConflictingExecutionParamsError(Error):
    pass


@strawberry.type
class PresetNotFoundError(Error):
    preset: str


@strawberry.type
class NoModeProvidedError(Error):
    pass


@strawberry.type
class InvalidStepError:
    invalid_step_key: str


@strawberry.type
class InvalidOutputError:
    step_key: str
    invalid_output_name: str


@strawberry.interface
class PipelineRunConflict(Error):
    """Where older clients look for RunConflict."""


@strawberry.type
class RunConflict(PipelineRunConflict):
    pass


@strawberry.enum
class EvaluationErrorReason(Enum):
    RUNTIME_TYPE_MISMATCH = "RUNTIME_TYPE_MISMATCH"
    MISSING_REQUIRED_FIELD = "MISSING_REQUIRED_FIELD"
    MISSING_REQUIRED_FIELDS = "MISSING_REQUIRED_FIELDS"
    FIELD_NOT_DEFINED = "FIELD_NOT_DEFINED"
    FIELDS_NOT_DEFINED = "FIELDS_NOT_DEFINED"
    SELECTOR_FIELD_ERROR = "SELECTOR_FIELD_ERROR"
    ENVIRONMENT_VARIABLE = "ENVIRONMENT_VARIABLE"


@strawberry.interface
class PipelineConfigValidationError:
    """One thing that is wrong with run config."""

    message: str
    path: list[str]
    reason: EvaluationErrorReason


@strawberry.type
class FieldNotDefinedConfigError(PipelineConfigValidationError):
    @strawberry.field
    def field_name(self) -> str:
        return self.path[-1] if self.path else ""


@strawberry.type
class FieldsNotDefinedConfigError(PipelineConfigValidationError):
    """Of Dagster's; here each field has an error of its own, with its path."""

    field_names: list[str]


@strawberry.type
class ConfigTypeField:
    name: str


@strawberry.type
class MissingFieldConfigError(PipelineConfigValidationError):
    @strawberry.field
    def field(self) -> ConfigTypeField:
        return ConfigTypeField(name=self.path[-1] if self.path else "")


@strawberry.type
class MissingFieldsConfigError(PipelineConfigValidationError):
    """Of Dagster's; here each field has an error of its own, with its path."""

    fields: list[ConfigTypeField]


@strawberry.type
class RuntimeMismatchConfigError(PipelineConfigValidationError):
    pass


@strawberry.type
class SelectorTypeConfigError(PipelineConfigValidationError):
    pass


_BY_KIND: dict[str, type[PipelineConfigValidationError]] = {
    "MISSING_REQUIRED_FIELD": MissingFieldConfigError,
    "FIELD_NOT_DEFINED": FieldNotDefinedConfigError,
    "SELECTOR_FIELD_ERROR": SelectorTypeConfigError,
}


def config_error(problem: Problem) -> PipelineConfigValidationError:
    made = _BY_KIND.get(problem.kind, RuntimeMismatchConfigError)
    path = problem.path.split(":")[1:]
    return made(message=problem.message, path=path, reason=EvaluationErrorReason(problem.kind))


@strawberry.interface
class PipelineConfigValidationInvalid:
    """Where older clients look for RunConfigValidationInvalid."""

    pipeline_name: str
    errors: list[PipelineConfigValidationError]


@strawberry.type
class RunConfigValidationInvalid(PipelineConfigValidationInvalid):
    pass


@strawberry.type
class RepositoryNotFoundError(Error):
    repository_name: str
    repository_location_name: str

    @classmethod
    def of(cls, location: str) -> Self:
        message = f"There is no code location {location!r}."
        return cls(message=message, repository_name="__repository__", repository_location_name=location)


@strawberry.type
class RepositoryLocationNotFound(Error):
    pass


@strawberry.type
class ReloadNotSupported(Error):
    pass


@strawberry.type
class ScheduleNotFoundError(Error):
    schedule_name: str


@strawberry.type
class SensorNotFoundError(Error):
    sensor_name: str


@strawberry.type
class PartitionSetNotFoundError(Error):
    partition_set_name: str


@strawberry.type
class BackfillNotFoundError(Error):
    backfill_id: str


@strawberry.type
class GraphNotFoundError(Error):
    graph_name: str
    repository_location_name: str
    repository_name: str = "__repository__"


@strawberry.type
class PipelineSnapshotNotFoundError(Error):
    snapshot_id: str


@strawberry.type
class ResourceNotFoundError(Error):
    resource_name: str
