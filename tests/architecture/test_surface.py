"""What users import, pinned: names and parameters that code written for Dagster's op jobs relies on."""

from __future__ import annotations

import inspect

import pytest

import opgrid

#: Name, and the parameters that it has at least.
SURFACE = {
    "AssetObservation": "",
    "Config": "",
    "ConfigurableIOManager": "",
    "ConfigurableIOManagerFactory": "",
    "ConfigurableResource": "",
    "DeleteDynamicPartitionsRequest": "partitions_def_name partition_keys",
    "DynamicOut": "",
    "EventType": "",
    "ExecuteInProcessResult": "",
    "ExecutorDefinition": "",
    "HookContext": "",
    "HookDefinition": "",
    "IOManager": "",
    "IOManagerDefinition": "",
    "InMemoryIOManager": "",
    "InitLoggerContext": "",
    "InitResourceContext": "",
    "InputContext": "",
    "InputManager": "",
    "Instance": "",
    "JobDefinition": "",
    "JobExecutionResult": "",
    "LoggerDefinition": "",
    "Nothing": "",
    "OpExecutionContext": "",
    "OutputContext": "",
    "PermissiveConfig": "",
    "ResourceDependency": "",
    "ResourceParam": "",
    "RunFailureSensorContext": "",
    "Run": "",
    "RunRecord": "",
    "RunStatusSensorContext": "",
    "ScheduleEvaluationContext": "",
    "SensorDefinition": (
        "name evaluation_fn job_name minimum_interval_seconds description job jobs default_status "
        "asset_selection required_resource_keys tags metadata target owners"
    ),
    "build_input_context": "",
    "build_op_context": "",
    "build_output_context": "",
    "build_sensor_context": (
        "instance cursor repository_name repository_def sensor_name resources definitions instance_ref "
        "last_sensor_start_time last_tick_completion_time last_run_key current_time"
    ),
    "check_type": "",
    "colored_console_logger": "",
    "config_from_pkg_resources": "",
    "config_from_yaml_strings": "",
    "custom_path_fs_io_manager": "",
    "fs_io_manager": "",
    "in_process_executor": "",
    "json_console_logger": "",
    "make_email_on_run_failure_sensor": (
        "email_from email_password email_to email_body_fn email_subject_fn smtp_host smtp_type smtp_port "
        "smtp_user name webserver_base_url monitored_jobs monitor_all_code_locations default_status"
    ),
    "make_python_type_usable_as_type": "",
    "mem_io_manager": "",
    "monthly_partitioned_config": (
        "start_date minute_offset hour_offset day_offset timezone fmt end_offset tags_for_partition_fn exclusions"
    ),
    "multi_or_in_process_executor": "",
    "multiprocess_executor": "",
    "run_failure_sensor": (
        "name minimum_interval_seconds description monitored_jobs job_selection monitor_all_code_locations "
        "default_status request_job request_jobs monitor_all_repositories tags metadata owners"
    ),
    "sensor": (
        "job_name name minimum_interval_seconds description job jobs default_status asset_selection "
        "required_resource_keys tags metadata target owners"
    ),
}


@pytest.mark.parametrize("name", SURFACE)
def test_a_name_is_there_with_its_parameters(name: str) -> None:
    assert name in opgrid.__all__
    wanted = SURFACE[name].split()
    if wanted:
        assert set(wanted) <= set(inspect.signature(getattr(opgrid, name)).parameters)


def _some_job() -> opgrid.JobDefinition:
    @opgrid.job
    def some() -> None: ...

    return some


def test_members_that_users_touch() -> None:
    members = {
        opgrid.JobDefinition: "name description graph tags run_tags metadata owners resource_defs executor_def "
        "hook_defs "
        "partitions_def partitioned_config run_config execute_in_process run_request_for_partition "
        "get_run_config_for_partition_key get_tags_for_partition_key validate_partition_key with_hooks "
        "with_top_level_resources with_executor_def get_subset",
        opgrid.GraphDefinition: "to_job execute_in_process alias tag with_hooks with_retry_policy configured",
        opgrid.OpExecutionContext: "op_config run_config run_id run run_tags job_name job_def op op_def instance log "
        "resources retry_number partition_key partition_keys partition_key_range partition_time_window "
        "multi_partition_key has_partition_key has_tag get_tag get_mapping_key add_output_metadata get_output_metadata "
        "log_event selected_output_names describe_op get",
        opgrid.InputContext: "name config metadata upstream_output type log resource_config resources op_def step_key "
        "run_id job_name has_partition_key partition_key get_identifier add_input_metadata",
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
        "report_run_canceled report_run_failed get_backfills get_ticks wipe "
        "delete_run get_dynamic_partitions add_dynamic_partitions delete_dynamic_partition dispose",
        opgrid.ExecuteInProcessResult: "success run_id run all_events all_node_events events_for_node output_for_node "
        "output_value is_node_success is_node_failed is_node_skipped is_node_untouched failure_data_for_node "
        "retry_attempts_for_node get_run_failure_event get_run_success_event get_step_success_events "
        "get_step_failure_events get_step_skipped_events get_failed_step_keys filter_events "
        "asset_materializations_for_node expectation_results_for_node",
        opgrid.MetadataValue: "text int float bool url path md json table table_schema timestamp notebook null job "
        "python_artifact",
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
