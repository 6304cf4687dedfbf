"""What users import, pinned: names and parameters that code written for Dagster's op jobs relies on."""

from __future__ import annotations

import inspect

import pytest

import opgrid

#: Name, and the parameters that it has at least, in their order: those behind ``*`` go by name only.
SURFACE = {
    "AddDynamicPartitionsRequest": "partitions_def_name partition_keys",
    "Any": "",
    "Array": "inner_type",
    "AssetKey": "path",
    "AssetMaterialization": "asset_key description metadata partition tags",
    "AssetObservation": "asset_key description metadata partition tags",
    "Backoff": "",
    "Bool": "",
    "BoolSource": "",
    "CodeLocationSelector": "",
    "Config": "",
    "ConfigMapping": "config_fn config_schema receive_processed_config_values",
    "ConfigMappingFunctionError": "",
    "ConfigurableIOManager": "",
    "ConfigurableIOManagerFactory": "",
    "ConfigurableResource": "",
    "DailyPartitionsDefinition": "start_date end_date minute_offset hour_offset timezone fmt end_offset exclusions",
    "DefaultScheduleStatus": "",
    "DefaultSensorStatus": "",
    "Definitions": "assets schedules sensors jobs resources executor loggers asset_checks metadata component_tree",
    "DeleteDynamicPartitionsRequest": "partitions_def_name partition_keys",
    "DependencyDefinition": "node output description",
    "Dict": "",
    "DynamicOut": "type description is_required io_manager_key metadata code_version",
    "DynamicOutput": "value mapping_key output_name metadata",
    "DynamicPartitionsDefinition": "partition_fn name",
    "Enum": "name enum_values",
    "EnumValue": "config_value python_value description",
    "EnvVar": "",
    "Event": "",
    "EventLogEntry": "",
    "EventLogInvalidForRun": "run_id",
    "AssetRecordsFilter": (
        "asset_key asset_partitions after_timestamp before_timestamp after_storage_id before_storage_id storage_ids"
    ),
    "RunStatusChangeRecordsFilter": (
        "event_type after_timestamp before_timestamp after_storage_id before_storage_id storage_ids job_names"
    ),
    "EventLogRecord": "storage_id event_log_entry",
    "EventRecordsResult": "records cursor has_more",
    "EventRecordsFilter": (
        "event_type asset_key asset_partitions after_cursor before_cursor after_timestamp before_timestamp storage_ids"
    ),
    "EventType": "",
    "ExecuteInProcessResult": "",
    "ExecutionHandleOutputError": "",
    "ExecutionInterruptedError": "",
    "ExecutionLoadInputError": "",
    "ExecutionStepExecutionError": "",
    "ExecutionStepNotFoundError": "",
    "ExecutorDefinition": "",
    "ExpectationResult": "success label description metadata",
    "Failure": "description metadata allow_retries",
    "Field": "config default_value is_required description is_secret",
    "FilesystemIOManager": " * base_dir",
    "Float": "",
    "GraphDefinition": (
        "name * description node_defs dependencies input_mappings output_mappings config tags composition_fn"
    ),
    "GraphIn": "",
    "GraphOut": "description",
    "HomeNotSetError": "",
    "HookContext": "",
    "HookDefinition": "",
    "HookExecutionError": "",
    "HourlyPartitionsDefinition": "start_date end_date minute_offset timezone fmt end_offset exclusions",
    "IOManager": "",
    "IOManagerDefinition": (
        "resource_fn config_schema description required_resource_keys version input_config_schema output_config_schema"
    ),
    "In": "type description default_value metadata asset_key asset_partitions input_manager_key",
    "InMemoryIOManager": "",
    "InitLoggerContext": "",
    "InitExecutorContext": "job executor_def executor_config instance",
    "InitResourceContext": "",
    "InputContext": "",
    "InputManager": "",
    "InputMapping": "",
    "Instance": "",
    "Int": "",
    "IntSource": "",
    "InvalidConfigDefinitionError": "",
    "InvalidConfigError": "",
    "InvalidDefinitionError": "",
    "InvalidInvocationError": "",
    "InvalidSubsetError": "",
    "InvariantViolationError": "",
    "Jitter": "",
    "JobDefinition": (
        " * graph_def resource_defs executor_def logger_defs name config description partitions_def tags "
        "run_tags metadata hook_defs op_retry_policy input_values owners"
    ),
    "JobExecutionResult": "",
    "JobSelector": "location_name repository_name job_name",
    "LaunchFailedError": "",
    "List": "",
    "LoggerDefinition": "logger_fn config_schema description",
    "MAX_RUNTIME_SECONDS_TAG": "",
    "Map": "key_type inner_type key_label_name",
    "MaxRetriesExceededError": "",
    "MetadataValue": "",
    "BoolMetadataValue": "value",
    "FloatMetadataValue": "value",
    "IntMetadataValue": "value",
    "JobMetadataValue": "job_name location_name repository_name",
    "JsonMetadataValue": "data",
    "MarkdownMetadataValue": "md_str",
    "NotebookMetadataValue": "path",
    "NullMetadataValue": "",
    "PathMetadataValue": "path",
    "AssetMetadataValue": "asset_key",
    "PoolMetadataValue": "pool",
    "PythonArtifactMetadataValue": "module name",
    "RunMetadataValue": "run_id",
    "TableMetadataValue": "records schema",
    "TableSchemaMetadataValue": "schema",
    "TextMetadataValue": "text",
    "TimestampMetadataValue": "value",
    "UrlMetadataValue": "url",
    "MonthlyPartitionsDefinition": (
        "start_date end_date minute_offset hour_offset day_offset timezone fmt end_offset exclusions"
    ),
    "MultiDependencyDefinition": "dependencies",
    "MultiPartitionKey": "keys_by_dimension",
    "MultiPartitionsDefinition": "partitions_defs",
    "NodeInvocation": "name alias tags hook_defs retry_policy",
    "Noneable": "inner_type",
    "Nothing": "",
    "OpDefinition": (
        "compute_fn name ins outs description config_schema required_resource_keys tags version retry_policy "
        "code_version pool"
    ),
    "OpExecutionContext": "",
    "OpGridError": "",
    "Optional": "",
    "Out": "type description is_required io_manager_key metadata code_version",
    "Output": "value output_name metadata data_version * tags",
    "OutputContext": "",
    "OutputMapping": "graph_output_name mapped_node_name mapped_node_output_name graph_output_description type",
    "PartitionKeyRange": "start end",
    "PartitionedConfig": (
        "partitions_def run_config_for_partition_fn decorated_fn tags_for_partition_fn "
        "run_config_for_partition_key_fn tags_for_partition_key_fn"
    ),
    "Permissive": "fields description",
    "PermissiveConfig": "",
    "PythonObjectType": "python_type key name",
    "ReexecutionOptions": "parent_run_id step_selection",
    "RepositorySelector": "",
    "ResourceDefinition": "resource_fn config_schema description required_resource_keys version",
    "ResourceDependency": "",
    "ResourceFunctionError": "",
    "ResourceParam": "",
    "RetryPolicy": "max_retries delay backoff jitter",
    "RetryRequested": "max_retries seconds_to_wait",
    "Run": "",
    "RunAlreadyExists": "",
    "RunConfig": "ops resources loggers execution",
    "RunFailureSensorContext": "",
    "RunNotFoundError": "",
    "RunRecord": "",
    "RunRequest": "run_key run_config tags job_name asset_selection stale_assets_only partition_key asset_check_keys",
    "RunStatus": "",
    "RunStatusSensorContext": "",
    "RunsFilter": (
        "run_ids job_name statuses tags snapshot_id updated_after updated_before created_after created_before "
        "exclude_subruns"
    ),
    "ScalarUnion": "scalar_type non_scalar_schema",
    "ScheduleDefinition": (
        "name * cron_schedule job_name run_config run_config_fn tags tags_fn metadata should_execute "
        "environment_vars execution_timezone execution_fn description job default_status "
        "required_resource_keys target owners"
    ),
    "ScheduleEvaluationContext": "",
    "Selector": "fields description",
    "SensorDefinition": (
        "name * evaluation_fn job_name minimum_interval_seconds description job jobs default_status "
        "asset_selection required_resource_keys tags metadata target owners"
    ),
    "SensorEvaluationContext": "",
    "SensorResult": "run_requests skip_reason cursor dynamic_partitions_requests asset_events",
    "Set": "",
    "Shape": "fields description",
    "SkipReason": "skip_message",
    "StaticPartitionsDefinition": "partition_keys",
    "StepOutputNotFoundError": "",
    "String": "",
    "StringSource": "",
    "SubprocessError": "",
    "TimeWindowPartitionsDefinition": (
        "start fmt end schedule_type timezone end_offset minute_offset hour_offset day_offset cron_schedule exclusions"
    ),
    "Tuple": "",
    "Type": "type_check_fn key name is_builtin description loader required_resource_keys kind typing_type metadata",
    "TypeCheck": "success description metadata",
    "TypeCheckDidNotPass": "",
    "TypeCheckError": "",
    "UPathIOManager": "base_path",
    "UnknownPartitionError": "",
    "UnknownResourceError": "",
    "UnmetExecutorRequirementsError": "",
    "UserCodeExecutionError": "",
    "WeeklyPartitionsDefinition": (
        "start_date end_date minute_offset hour_offset day_offset timezone fmt end_offset exclusions"
    ),
    "asset_sensor": (
        "asset_key * job_name name minimum_interval_seconds description job jobs default_status "
        "required_resource_keys tags metadata"
    ),
    "build_hook_context": "resources op run_id job_name op_exception instance",
    "build_init_logger_context": "logger_config job_def",
    "build_init_resource_context": "config resources instance",
    "build_input_context": (
        "name config definition_metadata upstream_output type resource_config resources op_def partition_key "
        "metadata * instance"
    ),
    "build_op_context": (
        "resources op_config resources_config instance config partition_key partition_key_range mapping_key "
        "run_tags event_loop"
    ),
    "build_output_context": (
        "step_key name definition_metadata run_id mapping_key config type resource_config resources op_def "
        "partition_key metadata * instance version output_metadata"
    ),
    "build_reconstructable_job": (
        "reconstructor_module_name reconstructor_function_name reconstructable_args reconstructable_kwargs "
        "reconstructor_working_directory"
    ),
    "build_resources": "resources instance resource_config run log_manager event_loop",
    "build_run_status_sensor_context": (
        "sensor_name event instance run context resources partition_key * repository_def"
    ),
    "build_schedule_context": "instance scheduled_execution_time resources repository_def instance_ref",
    "build_schedule_from_partitioned_job": (
        "job description name minute_of_hour hour_of_day day_of_week day_of_month default_status tags "
        "cron_schedule execution_timezone metadata owners"
    ),
    "build_sensor_context": (
        "instance cursor repository_name repository_def sensor_name resources definitions instance_ref "
        "last_sensor_start_time"
    ),
    "check_type": "type value",
    "colored_console_logger": "",
    "config_from_files": "config_files",
    "config_from_pkg_resources": "pkg_resource_defs",
    "config_from_yaml_strings": "yaml_strings",
    "config_mapping": "config_fn * config_schema receive_processed_config_values",
    "configured": "configurable config_schema",
    "custom_path_fs_io_manager": "",
    "daily_partitioned_config": (
        "start_date minute_offset hour_offset timezone fmt end_offset tags_for_partition_fn exclusions"
    ),
    "dynamic_partitioned_config": "partition_fn tags_for_partition_fn tags_for_partition_key_fn",
    "execute_job": "job instance run_config tags raise_on_error op_selection reexecution_options",
    "ExecutorRequirement": "",
    "executor": "name config_schema requirements",
    "failure_hook": "name required_resource_keys",
    "fs_io_manager": "",
    "get_logger": "name",
    "graph": "compose_fn * name description ins out tags config",
    "hourly_partitioned_config": "start_date minute_offset timezone fmt end_offset tags_for_partition_fn exclusions",
    "in_process_executor": "",
    "input_manager": "config_schema description input_config_schema required_resource_keys version",
    "instance_for_test": "overrides set_home temp_dir",
    "io_manager": "config_schema description output_config_schema input_config_schema required_resource_keys version",
    "job": (
        "compose_fn * name description resource_defs config tags run_tags metadata logger_defs executor_def "
        "hooks op_retry_policy partitions_def input_values owners"
    ),
    "json_console_logger": "",
    "load_definitions_from_current_module": "resources loggers executor",
    "load_definitions_from_module": "module resources loggers executor",
    "load_definitions_from_modules": "modules resources loggers executor",
    "load_definitions_from_package_module": "package_module resources loggers executor",
    "load_definitions_from_package_name": "package_name resources loggers executor",
    "logger": "config_schema description",
    "make_email_on_run_failure_sensor": (
        "email_from email_password email_to email_body_fn email_subject_fn smtp_host smtp_type smtp_port "
        "smtp_user name webserver_base_url monitored_jobs job_selection monitor_all_code_locations "
        "default_status monitor_all_repositories"
    ),
    "make_python_type_usable_as_type": "python_type type",
    "make_values_resource": "",
    "mem_io_manager": "",
    "monthly_partitioned_config": (
        "start_date minute_offset hour_offset day_offset timezone fmt end_offset tags_for_partition_fn exclusions"
    ),
    "multi_or_in_process_executor": "",
    "multiple_process_executor_requirements": "",
    "multiprocess_executor": "",
    "op": (
        "compute_fn * name description ins out config_schema required_resource_keys tags version retry_policy "
        "code_version pool"
    ),
    "partitioned_config": "partitions_def tags_for_partition_key_fn",
    "reconstructable": "target",
    "repository": "definitions_fn * name description metadata default_executor_def default_logger_defs",
    "resource": "config_schema description required_resource_keys version",
    "run_failure_sensor": (
        "name minimum_interval_seconds description monitored_jobs job_selection monitor_all_code_locations "
        "default_status request_job request_jobs monitor_all_repositories tags metadata"
    ),
    "run_status_sensor": (
        "run_status name minimum_interval_seconds description monitored_jobs job_selection "
        "monitor_all_code_locations default_status request_job request_jobs monitor_all_repositories tags "
        "metadata"
    ),
    "schedule": (
        "cron_schedule * job_name name tags tags_fn metadata should_execute environment_vars "
        "execution_timezone description job default_status required_resource_keys target owners"
    ),
    "sensor": (
        "job_name * name minimum_interval_seconds description job jobs default_status asset_selection "
        "required_resource_keys tags metadata target owners"
    ),
    "static_partitioned_config": "partition_keys tags_for_partition_fn tags_for_partition_key_fn",
    "success_hook": "hook_fn * name required_resource_keys",
    "type_loader": "config_schema required_resource_keys",
    "usable_as_type": "name description loader",
    "validate_run_config": "job_def run_config",
    "weekly_partitioned_config": (
        "start_date minute_offset hour_offset day_offset timezone fmt end_offset tags_for_partition_fn exclusions"
    ),
}


@pytest.mark.parametrize("name", SURFACE)
def test_a_name_is_there_with_its_parameters(name: str) -> None:
    assert name in opgrid.__all__
    by_position, _, by_name = (each.split() for each in SURFACE[name].partition("*"))
    if not by_position and not by_name:
        return
    parameters = inspect.signature(getattr(opgrid, name)).parameters
    assert set(by_name) <= set(parameters)
    places = [each.name for each in parameters.values() if each.kind is not each.KEYWORD_ONLY]
    assert [each for each in places if each in by_position] == by_position


def _some_job() -> opgrid.JobDefinition:
    @opgrid.job
    def some() -> None: ...

    return some


def test_members_that_users_touch() -> None:
    members = {
        opgrid.JobDefinition: "name description graph tags run_tags metadata owners resource_defs executor_def loggers "
        "hook_defs run_config_schema nodes nodes_in_topological_order with_logger_defs with_metadata "
        "partitions_def partitioned_config run_config execute_in_process run_request_for_partition "
        "get_run_config_for_partition_key get_tags_for_partition_key validate_partition_key with_hooks "
        "with_top_level_resources with_executor_def get_subset",
        opgrid.GraphDefinition: "to_job execute_in_process alias tag with_hooks with_retry_policy configured copy",
        opgrid.OpExecutionContext: "op_config run_config run_id run run_tags job_name job_def op op_def op_handle "
        "node_handle pdb location_name instance log "
        "resources retry_number partition_key partition_keys partition_key_range partition_time_window "
        "multi_partition_key has_partition_key has_tag get_tag get_mapping_key add_output_metadata get_output_metadata "
        "log_event selected_output_names describe_op get",
        opgrid.InputContext: "name config metadata upstream_output type log resource_config resources op_def step_key "
        "run_id mapping_key definition_metadata log_event job_name has_partition_key partition_key get_identifier "
        "add_input_metadata",
        opgrid.OutputContext: "name config metadata type log resource_config resources op_def step_key run_id "
        "mapping_key "
        "job_name has_partition_key partition_key get_identifier get_run_scoped_output_identifier "
        "add_output_metadata log_event",
        opgrid.Definitions: "get_job_def resolve_job_def resolve_all_job_defs get_repository_def merge "
        "validate_loadable",
        opgrid.ConfigurableResource: "configure_at_launch setup_for_execution teardown_after_execution "
        "yield_for_execution create_resource get_resource_context with_resource_context "
        "process_config_and_initialize process_config_and_initialize_cm from_resource_context from_resource_context_cm",
        opgrid.ResourceDefinition: "mock_resource hardcoded_resource none_resource string_resource configured",
        opgrid.Instance: "get ephemeral local_temp from_config get_runs get_run_by_id get_run_records "
        "get_runs_count all_logs get_records_for_run get_event_records get_run_stats get_run_step_stats add_run_tags "
        "report_run_canceled report_run_failed get_backfills get_ticks wipe create_run_for_job submit_run launch_run "
        "delete_run get_dynamic_partitions add_dynamic_partitions delete_dynamic_partition dispose",
        opgrid.ExecuteInProcessResult: "success run_id run all_events all_node_events events_for_node output_for_node "
        "output_value is_node_success is_node_failed is_node_skipped is_node_untouched failure_data_for_node "
        "retry_attempts_for_node get_run_failure_event get_run_success_event get_step_success_events "
        "get_step_failure_events get_step_skipped_events get_failed_step_keys filter_events "
        "asset_materializations_for_node expectation_results_for_node",
        opgrid.Event: "job_name event_type event_type_value step_key node_name timestamp message run_id is_step_start "
        "is_step_success is_step_failure is_step_skipped is_step_up_for_retry is_step_restarted is_successful_output "
        "is_handled_output is_loaded_input is_step_materialization is_asset_observation is_expectation_result "
        "is_hook_event is_resource_init_failure is_engine_event is_run_success is_run_failure is_failure "
        "is_step_event event_specific_data step_output_data step_input_data step_success_data step_failure_data "
        "step_retry_data step_materialization_data asset_observation_data step_expectation_result_data "
        "job_failure_data asset_key asset_materialization asset_observation event user_message",
        opgrid.Run: "run_id job_name status tags run_config parent_run_id root_run_id is_finished is_success "
        "is_failure run create_timestamp update_timestamp start_time end_time",
        opgrid.SensorEvaluationContext: "cursor last_run_key last_tick_completion_time last_sensor_start_time "
        "is_first_tick_since_sensor_start update_cursor instance resources",
        opgrid.MetadataValue: "text int float bool url path md json table table_schema timestamp notebook null job "
        "run pool python_artifact asset",
    }
    for kind, names in members.items():
        have = {*dir(kind), *vars(kind).get("__slots__", ())}
        for made in (_some_job(), _some_job().execute_in_process()):
            have |= set(dir(made)) if type(made) is kind else set()
        have |= set(inspect.signature(kind.__init__).parameters)
        assert {name for name in names.split() if name not in have} == set(), kind


def test_every_public_class_and_function_says_what_it_is() -> None:
    described = {
        name: value.__dict__.get("__doc__") if isinstance(value, type) else value.__doc__
        for name, value in ((name, getattr(opgrid, name)) for name in opgrid.__all__)
    }
    assert not [name for name, text in described.items() if not text or text.startswith(f"{name}(")]
