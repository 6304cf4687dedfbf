"""opgrid: op jobs as Python functions, run in process, on local processes or on a Celery fleet.

Users import everything from here. Importing this costs next to nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opgrid.config.env import (
        EnvVar,
    )
    from opgrid.config.files import (
        config_from_files,
        config_from_pkg_resources,
        config_from_yaml_strings,
        file_relative_path,
    )
    from opgrid.config.model import (
        Config,
        PermissiveConfig,
    )
    from opgrid.config.run import (
        RunConfig,
    )
    from opgrid.config.schema import (
        Array,
        BoolSource,
        Enum,
        EnumValue,
        Field,
        IntSource,
        Map,
        Noneable,
        Permissive,
        ScalarUnion,
        Selector,
        Shape,
        StringSource,
    )
    from opgrid.contracts.events import (
        Event,
        EventLogEntry,
        EventType,
    )
    from opgrid.contracts.facts import (
        AssetKey,
        AssetMaterialization,
        AssetObservation,
        ExpectationResult,
    )
    from opgrid.contracts.metadata import (
        MetadataValue,
        TableColumn,
        TableColumnConstraints,
        TableConstraints,
        TableRecord,
        TableSchema,
    )
    from opgrid.contracts.status import (
        RunStatus,
    )
    from opgrid.contracts.structure import (
        TriggerRule,
    )
    from opgrid.definitions.approval import approval_op
    from opgrid.definitions.asset_sensor import (
        AssetSensorDefinition,
        asset_sensor,
    )
    from opgrid.definitions.chaining import run_after
    from opgrid.definitions.composition import (
        PendingInvocation,
    )
    from opgrid.definitions.config_mapping import (
        ConfigMapping,
        config_mapping,
    )
    from opgrid.definitions.configurable import (
        ConfigurableResource,
        ConfigurableResourceFactory,
    )
    from opgrid.definitions.configured import (
        configured,
    )
    from opgrid.definitions.definitions import (
        Definitions,
        repository,
    )
    from opgrid.definitions.email_sensor import (
        make_email_on_run_failure_sensor,
    )
    from opgrid.definitions.events import (
        DynamicOutput,
        Failure,
        Output,
        RetryRequested,
        TypeCheck,
    )
    from opgrid.definitions.executor import (
        ExecutorDefinition,
        ExecutorRequirement,
        InitExecutorContext,
        celery_executor,
        executor,
        in_process_executor,
        multi_or_in_process_executor,
        multiple_process_executor_requirements,
        multiprocess_executor,
    )
    from opgrid.definitions.explicit import (
        DependencyDefinition,
        DynamicCollectDependencyDefinition,
        InputMapping,
        MappedInputPlaceholder,
        MultiDependencyDefinition,
        NodeInvocation,
        OutputMapping,
    )
    from opgrid.definitions.graph import (
        GraphDefinition,
        graph,
    )
    from opgrid.definitions.hooks import (
        HookDefinition,
        failure_hook,
        success_hook,
    )
    from opgrid.definitions.job import (
        JobDefinition,
        job,
    )
    from opgrid.definitions.load_from import (
        load_definitions_from_current_module,
        load_definitions_from_module,
        load_definitions_from_modules,
        load_definitions_from_package_module,
        load_definitions_from_package_name,
    )
    from opgrid.definitions.logger import (
        InitLoggerContext,
        LoggerDefinition,
        colored_console_logger,
        json_console_logger,
        logger,
    )
    from opgrid.definitions.names import MAX_RUNTIME_SECONDS_TAG
    from opgrid.definitions.op import (
        OpDefinition,
        op,
    )
    from opgrid.definitions.partitioned_config import (
        PartitionedConfig,
        daily_partitioned_config,
        dynamic_partitioned_config,
        hourly_partitioned_config,
        monthly_partitioned_config,
        partitioned_config,
        static_partitioned_config,
        weekly_partitioned_config,
    )
    from opgrid.definitions.partitioned_schedule import (
        build_schedule_from_partitioned_job,
    )
    from opgrid.definitions.partitions import (
        DailyPartitionsDefinition,
        DynamicPartitionsDefinition,
        HourlyPartitionsDefinition,
        MonthlyPartitionsDefinition,
        MultiPartitionKey,
        MultiPartitionsDefinition,
        Partition,
        PartitionKeyRange,
        PartitionsDefinition,
        ScheduleType,
        StaticPartitionsDefinition,
        TimeWindow,
        TimeWindowPartitionsDefinition,
        WeeklyPartitionsDefinition,
    )
    from opgrid.definitions.ports import (
        DynamicOut,
        GraphIn,
        GraphOut,
        In,
        Nothing,
        Out,
    )
    from opgrid.definitions.resource import (
        InitResourceContext,
        ResourceDefinition,
        ResourceDependency,
        ResourceParam,
        build_resources,
        make_values_resource,
        resource,
    )
    from opgrid.definitions.retry import (
        Backoff,
        Jitter,
        RetryPolicy,
    )
    from opgrid.definitions.run_config import (
        validate_run_config,
    )
    from opgrid.definitions.run_request import (
        AddDynamicPartitionsRequest,
        DeleteDynamicPartitionsRequest,
        RunRequest,
        SensorResult,
        SkipReason,
    )
    from opgrid.definitions.run_status_sensor import (
        CodeLocationSelector,
        JobSelector,
        RepositorySelector,
        RunFailureSensorContext,
        RunStatusSensorContext,
        RunStatusSensorDefinition,
        build_run_status_sensor_context,
        run_failure_sensor,
        run_status_sensor,
    )
    from opgrid.definitions.schedule import (
        DefaultScheduleStatus,
        ScheduleDefinition,
        ScheduleEvaluationContext,
        build_schedule_context,
        schedule,
    )
    from opgrid.definitions.sensor import (
        DefaultSensorStatus,
        SensorDefinition,
        SensorEvaluationContext,
        build_sensor_context,
        sensor,
    )
    from opgrid.definitions.types import (
        Any,
        Bool,
        Dict,
        Float,
        Int,
        List,
        Optional,
        PythonObjectType,
        Set,
        String,
        Tuple,
        Type,
        TypeLoader,
        check_type,
        make_python_type_usable_as_type,
        type_loader,
        usable_as_type,
    )
    from opgrid.errors import (
        ConfigMappingFunctionError,
        ExecutionHandleOutputError,
        ExecutionInterruptedError,
        ExecutionLoadInputError,
        ExecutionStepExecutionError,
        ExecutionStepNotFoundError,
        HomeNotSetError,
        HookExecutionError,
        InvalidConfigDefinitionError,
        InvalidConfigError,
        InvalidDefinitionError,
        InvalidInvocationError,
        InvalidSubsetError,
        InvariantViolationError,
        LaunchFailedError,
        LoadError,
        MaxRetriesExceededError,
        OpGridError,
        ResourceFunctionError,
        RunAlreadyExists,
        RunFailedError,
        RunNotFoundError,
        StepOutputNotFoundError,
        SubprocessError,
        TypeCheckDidNotPass,
        TypeCheckError,
        UnknownExecutor,
        UnknownJob,
        UnknownName,
        UnknownPartitionError,
        UnknownResourceError,
        UnmetExecutorRequirementsError,
        UserCodeExecutionError,
    )
    from opgrid.io.configurable import (
        ConfigurableInputManager,
        ConfigurableIOManager,
        ConfigurableIOManagerFactory,
        FilesystemIOManager,
        RedisIOManager,
    )
    from opgrid.io.context import (
        InputContext,
        OutputContext,
    )
    from opgrid.io.definitions import (
        IOManagerDefinition,
        custom_path_fs_io_manager,
        fs_io_manager,
        input_manager,
        io_manager,
        mem_io_manager,
        redis_io_manager,
    )
    from opgrid.io.manager import (
        InputManager,
        IOManager,
    )
    from opgrid.io.memory import (
        InMemoryIOManager,
    )
    from opgrid.io.paths import UPathIOManager
    from opgrid.reconstruction import (
        ReconstructableJob,
        build_reconstructable_job,
        reconstructable,
    )
    from opgrid.steps.context import (
        HookContext,
        OpExecutionContext,
    )
    from opgrid.steps.logs import (
        get_logger,
    )
    from opgrid.testing.contexts import (
        DirectOpContext,
        build_hook_context,
        build_init_logger_context,
        build_init_resource_context,
        build_input_context,
        build_op_context,
        build_output_context,
    )
    from opgrid.testing.fleet import (
        fleet_for_test,
    )
    from orchestrator.instance import (
        Instance,
        instance_for_test,
    )
    from orchestrator.services.execute import (
        execute_job,
    )
    from orchestrator.services.reexecution import (
        ReexecutionOptions,
    )
    from orchestrator.services.results import (
        ExecuteInProcessResult,
        JobExecutionResult,
    )
    from orchestrator.storage.records import (
        EventRecordsFilter,
        RunRecord,
        RunsFilter,
    )
    from orchestrator.storage.records import (
        RunRecord as Run,
    )

__all__ = [  # noqa: RUF022 (grouped)
    # ops, graphs and jobs
    "op",
    "OpDefinition",
    "graph",
    "GraphDefinition",
    "job",
    "JobDefinition",
    "In",
    "Out",
    "DynamicOut",
    "GraphIn",
    "GraphOut",
    "Nothing",
    "TriggerRule",
    "PendingInvocation",
    "DependencyDefinition",
    "DynamicCollectDependencyDefinition",
    "InputMapping",
    "MappedInputPlaceholder",
    "MultiDependencyDefinition",
    "NodeInvocation",
    "OutputMapping",
    "Definitions",
    "repository",
    "load_definitions_from_module",
    "load_definitions_from_modules",
    "load_definitions_from_current_module",
    "load_definitions_from_package_module",
    "load_definitions_from_package_name",
    # what ops give, tell and raise
    "Output",
    "DynamicOutput",
    "Failure",
    "RetryRequested",
    "AssetKey",
    "AssetMaterialization",
    "AssetObservation",
    "ExpectationResult",
    "TypeCheck",
    "MetadataValue",
    "TableColumn",
    "TableColumnConstraints",
    "TableConstraints",
    "TableRecord",
    "TableSchema",
    "RetryPolicy",
    "MAX_RUNTIME_SECONDS_TAG",
    "approval_op",
    "run_after",
    "Backoff",
    "Jitter",
    "HookDefinition",
    "failure_hook",
    "success_hook",
    # types
    "Any",
    "Bool",
    "Dict",
    "Float",
    "Int",
    "List",
    "Optional",
    "Set",
    "String",
    "Tuple",
    "Type",
    "TypeLoader",
    "PythonObjectType",
    "check_type",
    "make_python_type_usable_as_type",
    "type_loader",
    "usable_as_type",
    # config
    "Config",
    "PermissiveConfig",
    "RunConfig",
    "EnvVar",
    "Field",
    "Shape",
    "Permissive",
    "Selector",
    "Noneable",
    "Array",
    "Map",
    "Enum",
    "EnumValue",
    "ScalarUnion",
    "StringSource",
    "IntSource",
    "BoolSource",
    "config_from_files",
    "config_from_pkg_resources",
    "config_from_yaml_strings",
    "file_relative_path",
    "ConfigMapping",
    "config_mapping",
    "configured",
    "validate_run_config",
    # resources, loggers and IO managers
    "ResourceDefinition",
    "ResourceParam",
    "ResourceDependency",
    "InitResourceContext",
    "resource",
    "make_values_resource",
    "build_resources",
    "ConfigurableResource",
    "ConfigurableResourceFactory",
    "LoggerDefinition",
    "InitLoggerContext",
    "logger",
    "colored_console_logger",
    "json_console_logger",
    "IOManager",
    "InputManager",
    "IOManagerDefinition",
    "io_manager",
    "input_manager",
    "fs_io_manager",
    "custom_path_fs_io_manager",
    "mem_io_manager",
    "redis_io_manager",
    "ConfigurableIOManager",
    "ConfigurableInputManager",
    "ConfigurableIOManagerFactory",
    "FilesystemIOManager",
    "RedisIOManager",
    "InMemoryIOManager",
    "UPathIOManager",
    "InputContext",
    "OutputContext",
    # partitions, schedules and sensors
    "PartitionsDefinition",
    "StaticPartitionsDefinition",
    "TimeWindowPartitionsDefinition",
    "HourlyPartitionsDefinition",
    "DailyPartitionsDefinition",
    "WeeklyPartitionsDefinition",
    "MonthlyPartitionsDefinition",
    "DynamicPartitionsDefinition",
    "MultiPartitionsDefinition",
    "MultiPartitionKey",
    "PartitionKeyRange",
    "Partition",
    "TimeWindow",
    "ScheduleType",
    "PartitionedConfig",
    "partitioned_config",
    "static_partitioned_config",
    "dynamic_partitioned_config",
    "hourly_partitioned_config",
    "daily_partitioned_config",
    "weekly_partitioned_config",
    "monthly_partitioned_config",
    "RunRequest",
    "SkipReason",
    "AddDynamicPartitionsRequest",
    "DeleteDynamicPartitionsRequest",
    "SensorResult",
    "ScheduleDefinition",
    "ScheduleEvaluationContext",
    "DefaultScheduleStatus",
    "schedule",
    "build_schedule_context",
    "build_schedule_from_partitioned_job",
    "SensorDefinition",
    "SensorEvaluationContext",
    "DefaultSensorStatus",
    "sensor",
    "build_sensor_context",
    "RunStatusSensorDefinition",
    "RunStatusSensorContext",
    "RunFailureSensorContext",
    "run_status_sensor",
    "run_failure_sensor",
    "build_run_status_sensor_context",
    "JobSelector",
    "CodeLocationSelector",
    "RepositorySelector",
    "AssetSensorDefinition",
    "asset_sensor",
    "make_email_on_run_failure_sensor",
    # running
    "ReconstructableJob",
    "reconstructable",
    "build_reconstructable_job",
    "ExecutorDefinition",
    "ExecutorRequirement",
    "InitExecutorContext",
    "celery_executor",
    "executor",
    "in_process_executor",
    "multi_or_in_process_executor",
    "multiple_process_executor_requirements",
    "multiprocess_executor",
    "HookContext",
    "OpExecutionContext",
    "get_logger",
    "RunStatus",
    "Event",
    "EventLogEntry",
    "EventType",
    "Instance",
    "instance_for_test",
    "execute_job",
    "ReexecutionOptions",
    "JobExecutionResult",
    "ExecuteInProcessResult",
    "Run",
    "RunRecord",
    "RunsFilter",
    "EventRecordsFilter",
    # testing
    "build_op_context",
    "build_hook_context",
    "build_output_context",
    "build_input_context",
    "build_init_resource_context",
    "DirectOpContext",
    "build_init_logger_context",
    "fleet_for_test",
    # errors
    "OpGridError",
    "InvalidDefinitionError",
    "InvalidConfigDefinitionError",
    "InvalidInvocationError",
    "InvariantViolationError",
    "InvalidSubsetError",
    "InvalidConfigError",
    "ConfigMappingFunctionError",
    "UnknownPartitionError",
    "UnknownResourceError",
    "UnmetExecutorRequirementsError",
    "UnknownName",
    "UnknownJob",
    "UnknownExecutor",
    "LoadError",
    "UserCodeExecutionError",
    "ExecutionStepExecutionError",
    "ExecutionLoadInputError",
    "ExecutionHandleOutputError",
    "ResourceFunctionError",
    "HookExecutionError",
    "TypeCheckError",
    "TypeCheckDidNotPass",
    "StepOutputNotFoundError",
    "ExecutionStepNotFoundError",
    "MaxRetriesExceededError",
    "SubprocessError",
    "ExecutionInterruptedError",
    "RunNotFoundError",
    "RunAlreadyExists",
    "RunFailedError",
    "LaunchFailedError",
    "HomeNotSetError",
]

#: Where each name lives.
_HOMES: dict[str, tuple[str, ...]] = {
    "opgrid.definitions.op": (
        "op",
        "OpDefinition",
    ),
    "opgrid.definitions.graph": (
        "graph",
        "GraphDefinition",
    ),
    "opgrid.definitions.job": (
        "job",
        "JobDefinition",
    ),
    "opgrid.definitions.ports": (
        "In",
        "Out",
        "DynamicOut",
        "GraphIn",
        "GraphOut",
        "Nothing",
    ),
    "opgrid.contracts.structure": ("TriggerRule",),
    "opgrid.definitions.composition": ("PendingInvocation",),
    "opgrid.definitions.explicit": (
        "DependencyDefinition",
        "DynamicCollectDependencyDefinition",
        "InputMapping",
        "MappedInputPlaceholder",
        "MultiDependencyDefinition",
        "NodeInvocation",
        "OutputMapping",
    ),
    "opgrid.definitions.definitions": (
        "Definitions",
        "repository",
    ),
    "opgrid.definitions.load_from": (
        "load_definitions_from_module",
        "load_definitions_from_modules",
        "load_definitions_from_current_module",
        "load_definitions_from_package_module",
        "load_definitions_from_package_name",
    ),
    "opgrid.contracts.facts": (
        "AssetKey",
        "AssetMaterialization",
        "AssetObservation",
        "ExpectationResult",
    ),
    "opgrid.definitions.events": (
        "Output",
        "DynamicOutput",
        "Failure",
        "RetryRequested",
        "TypeCheck",
    ),
    "opgrid.contracts.metadata": (
        "MetadataValue",
        "TableColumn",
        "TableColumnConstraints",
        "TableConstraints",
        "TableRecord",
        "TableSchema",
    ),
    "opgrid.definitions.approval": ("approval_op",),
    "opgrid.definitions.chaining": ("run_after",),
    "opgrid.definitions.names": ("MAX_RUNTIME_SECONDS_TAG",),
    "opgrid.definitions.retry": (
        "RetryPolicy",
        "Backoff",
        "Jitter",
    ),
    "opgrid.definitions.hooks": (
        "HookDefinition",
        "failure_hook",
        "success_hook",
    ),
    "opgrid.definitions.types": (
        "Any",
        "Bool",
        "Dict",
        "Float",
        "Int",
        "List",
        "Optional",
        "Set",
        "String",
        "Tuple",
        "Type",
        "TypeLoader",
        "PythonObjectType",
        "check_type",
        "make_python_type_usable_as_type",
        "type_loader",
        "usable_as_type",
    ),
    "opgrid.config.model": (
        "Config",
        "PermissiveConfig",
    ),
    "opgrid.config.run": ("RunConfig",),
    "opgrid.config.env": ("EnvVar",),
    "opgrid.config.schema": (
        "Field",
        "Shape",
        "Permissive",
        "Selector",
        "Noneable",
        "Array",
        "Map",
        "Enum",
        "EnumValue",
        "ScalarUnion",
        "StringSource",
        "IntSource",
        "BoolSource",
    ),
    "opgrid.config.files": (
        "config_from_files",
        "config_from_pkg_resources",
        "config_from_yaml_strings",
        "file_relative_path",
    ),
    "opgrid.definitions.config_mapping": (
        "ConfigMapping",
        "config_mapping",
    ),
    "opgrid.definitions.configured": ("configured",),
    "opgrid.definitions.run_config": ("validate_run_config",),
    "opgrid.definitions.resource": (
        "ResourceDefinition",
        "ResourceParam",
        "ResourceDependency",
        "InitResourceContext",
        "resource",
        "make_values_resource",
        "build_resources",
    ),
    "opgrid.definitions.configurable": (
        "ConfigurableResource",
        "ConfigurableResourceFactory",
    ),
    "opgrid.definitions.logger": (
        "LoggerDefinition",
        "InitLoggerContext",
        "logger",
        "colored_console_logger",
        "json_console_logger",
    ),
    "opgrid.io.manager": (
        "IOManager",
        "InputManager",
    ),
    "opgrid.io.definitions": (
        "IOManagerDefinition",
        "io_manager",
        "input_manager",
        "fs_io_manager",
        "custom_path_fs_io_manager",
        "mem_io_manager",
        "redis_io_manager",
    ),
    "opgrid.io.configurable": (
        "ConfigurableIOManager",
        "ConfigurableInputManager",
        "ConfigurableIOManagerFactory",
        "FilesystemIOManager",
        "RedisIOManager",
    ),
    "opgrid.io.memory": ("InMemoryIOManager",),
    "opgrid.io.paths": ("UPathIOManager",),
    "opgrid.io.context": (
        "InputContext",
        "OutputContext",
    ),
    "opgrid.definitions.partitions": (
        "PartitionsDefinition",
        "StaticPartitionsDefinition",
        "TimeWindowPartitionsDefinition",
        "HourlyPartitionsDefinition",
        "DailyPartitionsDefinition",
        "WeeklyPartitionsDefinition",
        "MonthlyPartitionsDefinition",
        "DynamicPartitionsDefinition",
        "MultiPartitionsDefinition",
        "MultiPartitionKey",
        "PartitionKeyRange",
        "Partition",
        "TimeWindow",
        "ScheduleType",
    ),
    "opgrid.definitions.partitioned_config": (
        "PartitionedConfig",
        "partitioned_config",
        "static_partitioned_config",
        "dynamic_partitioned_config",
        "hourly_partitioned_config",
        "daily_partitioned_config",
        "weekly_partitioned_config",
        "monthly_partitioned_config",
    ),
    "opgrid.definitions.run_request": (
        "RunRequest",
        "SkipReason",
        "AddDynamicPartitionsRequest",
        "DeleteDynamicPartitionsRequest",
        "SensorResult",
    ),
    "opgrid.definitions.schedule": (
        "ScheduleDefinition",
        "ScheduleEvaluationContext",
        "DefaultScheduleStatus",
        "schedule",
        "build_schedule_context",
    ),
    "opgrid.definitions.partitioned_schedule": ("build_schedule_from_partitioned_job",),
    "opgrid.definitions.sensor": (
        "SensorDefinition",
        "SensorEvaluationContext",
        "DefaultSensorStatus",
        "sensor",
        "build_sensor_context",
    ),
    "opgrid.definitions.run_status_sensor": (
        "RunStatusSensorDefinition",
        "RunStatusSensorContext",
        "RunFailureSensorContext",
        "run_status_sensor",
        "run_failure_sensor",
        "build_run_status_sensor_context",
        "JobSelector",
        "CodeLocationSelector",
        "RepositorySelector",
    ),
    "opgrid.definitions.asset_sensor": (
        "AssetSensorDefinition",
        "asset_sensor",
    ),
    "opgrid.definitions.email_sensor": ("make_email_on_run_failure_sensor",),
    "opgrid.reconstruction": (
        "ReconstructableJob",
        "reconstructable",
        "build_reconstructable_job",
    ),
    "opgrid.definitions.executor": (
        "ExecutorDefinition",
        "ExecutorRequirement",
        "InitExecutorContext",
        "celery_executor",
        "executor",
        "in_process_executor",
        "multi_or_in_process_executor",
        "multiple_process_executor_requirements",
        "multiprocess_executor",
    ),
    "opgrid.steps.context": (
        "HookContext",
        "OpExecutionContext",
    ),
    "opgrid.steps.logs": ("get_logger",),
    "opgrid.contracts.status": ("RunStatus",),
    "opgrid.contracts.events": (
        "Event",
        "EventLogEntry",
        "EventType",
    ),
    "opgrid.testing.contexts": (
        "build_op_context",
        "build_hook_context",
        "build_output_context",
        "build_input_context",
        "build_init_resource_context",
        "DirectOpContext",
        "build_init_logger_context",
    ),
    "opgrid.testing.fleet": ("fleet_for_test",),
    "opgrid.errors": (
        "OpGridError",
        "InvalidDefinitionError",
        "InvalidConfigDefinitionError",
        "InvalidInvocationError",
        "InvariantViolationError",
        "InvalidSubsetError",
        "InvalidConfigError",
        "ConfigMappingFunctionError",
        "UnknownPartitionError",
        "UnknownResourceError",
        "UnmetExecutorRequirementsError",
        "UnknownName",
        "UnknownJob",
        "UnknownExecutor",
        "LoadError",
        "UserCodeExecutionError",
        "ExecutionStepExecutionError",
        "ExecutionLoadInputError",
        "ExecutionHandleOutputError",
        "ResourceFunctionError",
        "HookExecutionError",
        "TypeCheckError",
        "TypeCheckDidNotPass",
        "StepOutputNotFoundError",
        "ExecutionStepNotFoundError",
        "MaxRetriesExceededError",
        "SubprocessError",
        "ExecutionInterruptedError",
        "RunNotFoundError",
        "RunAlreadyExists",
        "RunFailedError",
        "LaunchFailedError",
        "HomeNotSetError",
    ),
}
#: What the orchestrator brings, by the name of its door: a worker without an orchestrator does not have it.
_DOORS = {
    "Instance": "instance",
    "instance_for_test": "instance_for_test",
    "execute_job": "execute_job",
    "ReexecutionOptions": "reexecution_options",
    "JobExecutionResult": "job_execution_result",
    "ExecuteInProcessResult": "execute_in_process_result",
    "Run": "run_record",
    "RunRecord": "run_record",
    "RunsFilter": "runs_filter",
    "EventRecordsFilter": "event_records_filter",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _HOME_OF.get(name)
    if module is not None:
        found = getattr(importlib.import_module(module), name)
    elif name in _DOORS:
        found = importlib.import_module("opgrid.doors").through(_DOORS[name])
    else:
        raise AttributeError(f"module 'opgrid' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
