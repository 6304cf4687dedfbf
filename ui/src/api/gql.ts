/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
import type { TypedDocumentNode as DocumentNode } from '@graphql-typed-document-node/core';
export type AssetKeyInput = {
  path: Array<string>;
};

export type BulkActionStatus =
  | 'CANCELED'
  | 'CANCELING'
  | 'COMPLETED'
  | 'COMPLETED_FAILED'
  | 'COMPLETED_SUCCESS'
  | 'FAILED'
  | 'FAILING'
  | 'REQUESTED';

export type ChangeTopic =
  | 'AUTOMATION'
  | 'BACKFILLS'
  | 'FLEET'
  | 'LOCATIONS'
  | 'RUNS'
  | 'TICKS';

export type DagsterEventType =
  | 'ASSET_MATERIALIZATION'
  | 'ASSET_OBSERVATION'
  | 'ENGINE_EVENT'
  | 'HANDLED_OUTPUT'
  | 'HOOK_COMPLETED'
  | 'HOOK_ERRORED'
  | 'HOOK_SKIPPED'
  | 'LOADED_INPUT'
  | 'LOG_MESSAGE'
  | 'PIPELINE_CANCELED'
  | 'PIPELINE_CANCELING'
  | 'PIPELINE_DEQUEUED'
  | 'PIPELINE_ENQUEUED'
  | 'PIPELINE_FAILURE'
  | 'PIPELINE_START'
  | 'PIPELINE_STARTING'
  | 'PIPELINE_SUCCESS'
  | 'RESOURCE_INIT_FAILURE'
  | 'RESOURCE_INIT_STARTED'
  | 'RESOURCE_INIT_SUCCESS'
  | 'STEP_CANCELED'
  | 'STEP_EXPECTATION_RESULT'
  | 'STEP_FAILURE'
  | 'STEP_INPUT'
  | 'STEP_LOST'
  | 'STEP_OUTPUT'
  | 'STEP_RESTARTED'
  | 'STEP_SKIPPED'
  | 'STEP_START'
  | 'STEP_SUCCESS'
  | 'STEP_UP_FOR_RETRY'
  | 'STEP_WORKER_STARTING';

export type EnvVarConsumerType =
  | 'OP'
  | 'RESOURCE';

export type EvaluationErrorReason =
  | 'ENVIRONMENT_VARIABLE'
  | 'FIELDS_NOT_DEFINED'
  | 'FIELD_NOT_DEFINED'
  | 'MISSING_REQUIRED_FIELD'
  | 'MISSING_REQUIRED_FIELDS'
  | 'RUNTIME_TYPE_MISMATCH'
  | 'SELECTOR_FIELD_ERROR';

export type EventsFilterInput = {
  /** That it has at least. */
  level?: LogLevel | null | undefined;
  stepKey?: string | null | undefined;
  /** Somewhere in it, in letters of either case. */
  text?: string | null | undefined;
  types?: Array<DagsterEventType> | null | undefined;
};

export type ExecutionMetadata = {
  parentRunId?: string | null | undefined;
  rootRunId?: string | null | undefined;
  tags?: Array<ExecutionTag> | null | undefined;
};

export type ExecutionParams = {
  executionMetadata?: ExecutionMetadata | null | undefined;
  /** Instead of the job's. */
  executor?: string | null | undefined;
  mode?: string | null | undefined;
  /** Run this partition. */
  partitionKey?: string | null | undefined;
  preset?: string | null | undefined;
  runConfigData?: unknown;
  selector: JobOrPipelineSelector;
  /** Of a re-execution: run only these steps; clauses such as `b*` are understood. */
  stepKeys?: Array<string> | null | undefined;
};

export type ExecutionTag = {
  key: string;
  value: string;
};

export type InstigationStatus =
  | 'RUNNING'
  | 'STOPPED';

export type InstigationTickStatus =
  | 'FAILURE'
  | 'SKIPPED'
  | 'STARTED'
  | 'SUCCESS';

export type JobOrPipelineSelector = {
  assetCheckSelection?: Array<AssetKeyInput> | null | undefined;
  assetSelection?: Array<AssetKeyInput> | null | undefined;
  jobName?: string | null | undefined;
  pipelineName?: string | null | undefined;
  repositoryLocationName: string;
  repositoryName?: string;
  solidSelection?: Array<string> | null | undefined;
};

export type LaunchBackfillParams = {
  allPartitions?: boolean | null | undefined;
  /** Runs at a time; 1 is one after the other. */
  atOnce?: number | null | undefined;
  description?: string | null | undefined;
  executor?: string | null | undefined;
  /** Only partitions whose last run failed. */
  failed?: boolean | null | undefined;
  forceSynchronousSubmission?: boolean | null | undefined;
  /** A partition whose last run failed goes on from there. */
  fromFailure?: boolean | null | undefined;
  /** Only partitions that never ran. */
  missing?: boolean | null | undefined;
  partitionNames?: Array<string> | null | undefined;
  rangeEnd?: string | null | undefined;
  rangeStart?: string | null | undefined;
  /** An op selection. */
  reexecutionSteps?: Array<string> | null | undefined;
  /** Instead of the config of the partition. */
  runConfigData?: unknown;
  selector: PartitionSetSelector;
  /** One run for all, or one for each stretch of partitions that follow one another. */
  singleRun?: boolean | null | undefined;
  tags?: Array<ExecutionTag> | null | undefined;
  title?: string | null | undefined;
};

export type LogLevel =
  | 'CRITICAL'
  | 'DEBUG'
  | 'ERROR'
  | 'INFO'
  | 'WARNING';

export type PartitionSetSelector = {
  /** Name of the job; `NAME_partition_set` is understood. */
  partitionSetName: string;
  repositorySelector: RepositorySelector;
};

export type PipelineSelector = {
  assetCheckSelection?: Array<AssetKeyInput> | null | undefined;
  assetSelection?: Array<AssetKeyInput> | null | undefined;
  jobName?: string | null | undefined;
  pipelineName?: string | null | undefined;
  repositoryLocationName: string;
  repositoryName?: string;
  solidSelection?: Array<string> | null | undefined;
};

export type ReexecutionParams = {
  extraTags?: Array<ExecutionTag> | null | undefined;
  parentRunId: string;
  strategy: ReexecutionStrategy;
  useParentRunTags?: boolean | null | undefined;
};

export type ReexecutionStrategy =
  | 'ALL_STEPS'
  | 'FROM_ASSET_FAILURE'
  | 'FROM_FAILURE';

export type RepositoryLocationLoadStatus =
  | 'LOADED'
  | 'LOADING';

export type RepositorySelector = {
  repositoryLocationName: string;
  repositoryName?: string;
};

export type RunStatus =
  | 'CANCELED'
  | 'CANCELING'
  | 'FAILURE'
  | 'NOT_STARTED'
  | 'QUEUED'
  | 'STARTED'
  | 'STARTING'
  | 'SUCCESS';

export type RunsFilter = {
  createdAfter?: number | null | undefined;
  createdBefore?: number | null | undefined;
  jobName?: string | null | undefined;
  mode?: string | null | undefined;
  pipelineName?: string | null | undefined;
  repositoryLocationName?: string | null | undefined;
  runIds?: Array<string | null | undefined> | null | undefined;
  snapshotId?: string | null | undefined;
  statuses?: Array<RunStatus> | null | undefined;
  tags?: Array<ExecutionTag> | null | undefined;
  updatedAfter?: number | null | undefined;
  updatedBefore?: number | null | undefined;
};

export type ScheduleSelector = {
  repositoryLocationName: string;
  repositoryName?: string;
  scheduleName: string;
};

export type SensorSelector = {
  repositoryLocationName: string;
  repositoryName?: string;
  sensorName: string;
};

export type TerminateRunPolicy =
  | 'MARK_AS_CANCELED_IMMEDIATELY'
  | 'SAFE_TERMINATE';

export type FailedFragment = { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null };

export type RunRowFragment = { runId: string, jobName: string, status: RunStatus, creationTime: number, startTime: number | null, endTime: number | null, executor: string, stepCounts: any, parentRunId: string | null, rootRunId: string | null, canTerminate: boolean, whyWaiting: string | null, tags: Array<{ key: string, value: string }>, repositoryOrigin: { repositoryLocationName: string } | null };

export type ShellQueryVariables = Exact<{ [key: string]: never; }>;


export type ShellQuery = { version: string, viewer: string, permissions: Array<{ permission: string, value: boolean, disabledReason: string | null }>, instance: { isReadOnly: boolean, flowerUrl: string | null, executors: Array<string> }, workspaceOrError:
    | { __typename: 'PythonError' }
    | { __typename: 'Workspace', locationEntries: Array<{ name: string, loadStatus: RepositoryLocationLoadStatus, locationOrLoadError:
          | { __typename: 'PythonError' }
          | { __typename: 'RepositoryLocation' }
         | null, repositories: Array<{ jobs: Array<{ name: string, isPartitioned: boolean, repositoryLocationName: string }>, schedules: Array<{ name: string }>, sensors: Array<{ name: string }> }> }> }
   };

export type RunsPageQueryVariables = Exact<{
  filter?: RunsFilter | null | undefined;
  cursor?: string | null | undefined;
  limit?: number | null | undefined;
}>;


export type RunsPageQuery = { runsOrError:
    | { __typename: 'InvalidPipelineRunsFilterError' }
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
    | { __typename: 'Runs', count: number, results: Array<{ runId: string, jobName: string, status: RunStatus, creationTime: number, startTime: number | null, endTime: number | null, executor: string, stepCounts: any, parentRunId: string | null, rootRunId: string | null, canTerminate: boolean, whyWaiting: string | null, tags: Array<{ key: string, value: string }>, repositoryOrigin: { repositoryLocationName: string } | null }> }
   };

export type JobsPageQueryVariables = Exact<{ [key: string]: never; }>;


export type JobsPageQuery = { repositoriesOrError:
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
    | { __typename: 'RepositoryConnection', nodes: Array<{ jobs: Array<{ name: string, description: string | null, isPartitioned: boolean, repositoryLocationName: string, runs: Array<{ runId: string, status: RunStatus, creationTime: number, startTime: number | null, endTime: number | null }> }> }> }
    | { __typename: 'RepositoryNotFoundError' }
   };

export type TagKeysQueryVariables = Exact<{ [key: string]: never; }>;


export type TagKeysQuery = { runTagKeysOrError:
    | { __typename: 'PythonError' }
    | { __typename: 'RunTagKeys', keys: Array<string> }
   };

export type TagValuesQueryVariables = Exact<{
  key: string;
}>;


export type TagValuesQuery = { runTagsOrError:
    | { __typename: 'PythonError' }
    | { __typename: 'RunTags', tags: Array<{ key: string, values: Array<string> }> }
   };

export type OverviewQueryVariables = Exact<{
  start: number;
  end: number;
}>;


export type OverviewQuery = { runsBetween: { truncated: boolean, runs: Array<{ runId: string, jobName: string, status: RunStatus, creationTime: number, startTime: number | null, endTime: number | null, executor: string, stepCounts: any, parentRunId: string | null, rootRunId: string | null, canTerminate: boolean, whyWaiting: string | null, tags: Array<{ key: string, value: string }>, repositoryOrigin: { repositoryLocationName: string } | null }> }, schedulesOrError:
    | { __typename: 'PythonError' }
    | { __typename: 'RepositoryNotFoundError' }
    | { __typename: 'Schedules', results: Array<{ id: string, name: string, repositoryLocationName: string, jobNames: Array<string>, futureTicks: Array<number>, scheduleState: { status: InstigationStatus } }> }
  , waitingApprovals: Array<{ runId: string, stepKey: string, question: string, since: number }> };

export type RunPageQueryVariables = Exact<{
  runId: string | number;
}>;


export type RunPageQuery = { runOrError:
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
    | { __typename: 'Run', cancelReason: string | null, whyStepsWait: Array<string>, runConfigYaml: string, plan: any, hasReExecutePermission: boolean, hasTerminatePermission: boolean, hasDeletePermission: boolean, runId: string, jobName: string, status: RunStatus, creationTime: number, startTime: number | null, endTime: number | null, executor: string, stepCounts: any, parentRunId: string | null, rootRunId: string | null, canTerminate: boolean, whyWaiting: string | null, approvals: Array<{ stepKey: string, question: string, since: number, due: number | null, approved: boolean | null, who: string, note: string }>, tags: Array<{ key: string, value: string }>, repositoryOrigin: { repositoryLocationName: string } | null }
    | { __typename: 'RunNotFoundError', message: string }
  , runGroupOrError:
    | { __typename: 'PythonError' }
    | { __typename: 'RunGroup', runs: Array<{ runId: string, status: RunStatus, creationTime: number, parentRunId: string | null }> }
    | { __typename: 'RunNotFoundError' }
   };

export type RunTimelineQueryVariables = Exact<{
  runId: string | number;
  after: number;
}>;


export type RunTimelineQuery = { runOrError:
    | { __typename: 'PythonError' }
    | { __typename: 'Run', runId: string, status: RunStatus, timeline: any }
    | { __typename: 'RunNotFoundError' }
   };

export type RunLogsQueryVariables = Exact<{
  runId: string | number;
  after?: string | null | undefined;
  limit?: number | null | undefined;
  filter?: EventsFilterInput | null | undefined;
}>;


export type RunLogsQuery = { logsForRun:
    | { __typename: 'EventConnection', cursor: string, hasMore: boolean, events: Array<
        | { __typename: 'AlertFailureEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'AlertStartEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'AlertSuccessEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'EngineEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepCanceledEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepFailureEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepInputEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepLostEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepOutputEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepRestartEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepSkippedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepStartEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepSuccessEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ExecutionStepUpForRetryEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'HandledOutputEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'HookCompletedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'HookErroredEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'HookSkippedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'LoadedInputEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'LogMessageEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'LogsCapturedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'MaterializationEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ObjectStoreOperationEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ObservationEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ResourceInitFailureEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ResourceInitStartedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'ResourceInitSuccessEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunCanceledEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunCancelingEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunDequeuedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunEnqueuedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunFailureEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunResumedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunStartEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunStartingEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunSuccessEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'RunSuspendedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'StepExpectationResultEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'StepWorkerStartedEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
        | { __typename: 'StepWorkerStartingEvent', number: number, message: string, timestamp: string, level: LogLevel, stepKey: string | null, eventType: DagsterEventType | null, attempt: number | null, details: any, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
      > }
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
    | { __typename: 'RunNotFoundError', message: string }
   };

export type JobPageQueryVariables = Exact<{
  selector: PipelineSelector;
}>;


export type JobPageQuery = { pipelineOrError:
    | { __typename: 'InvalidSubsetError' }
    | { __typename: 'Job', name: string, description: string | null, isPartitioned: boolean, executor: string | null, structureHash: string, structure: any, repositoryLocationName: string, runConfigJsonSchema: any, ownRunConfigYaml: string, scaffoldYaml: string, requiredYaml: string, tags: Array<{ key: string, value: string }>, modes: Array<{ resources: Array<{ name: string, description: string | null }> }>, schedules: Array<{ name: string, cronSchedule: string, executionTimezone: string, scheduleState: { status: InstigationStatus } }>, sensors: Array<{ name: string, sensorState: { status: InstigationStatus } }> }
    | { __typename: 'PipelineNotFoundError', message: string }
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
   };

export type CheckConfigQueryVariables = Exact<{
  params: ExecutionParams;
}>;


export type CheckConfigQuery = { executionPlanOrError:
    | { __typename: 'ExecutionPlan', stepKeys: Array<string> }
    | { __typename: 'InvalidSubsetError', message: string }
    | { __typename: 'PipelineNotFoundError', message: string }
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
    | { __typename: 'RunConfigValidationInvalid', errors: Array<
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
      > }
   };

export type PartitionsQueryVariables = Exact<{
  selector: JobOrPipelineSelector;
}>;


export type PartitionsQuery = { jobPartitionsOrError:
    | { __typename: 'JobPartitions', keys: Array<string>, states: any }
    | { __typename: 'PipelineNotFoundError', message: string }
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
   };

export type TickFragment = { id: string, status: InstigationTickStatus, timestamp: number, endTimestamp: number, runIds: Array<string>, skipReason: string | null, log: Array<string>, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null };

export type AutomationQueryVariables = Exact<{ [key: string]: never; }>;


export type AutomationQuery = { schedulesOrError:
    | { __typename: 'PythonError', message: string }
    | { __typename: 'RepositoryNotFoundError', message: string }
    | { __typename: 'Schedules', results: Array<{ id: string, name: string, repositoryLocationName: string, cronSchedule: string, executionTimezone: string, jobNames: Array<string>, description: string | null, futureTicks: Array<number>, scheduleState: { status: InstigationStatus, ticks: Array<{ id: string, status: InstigationTickStatus, timestamp: number, endTimestamp: number, runIds: Array<string>, skipReason: string | null, log: Array<string>, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }> } }> }
  , sensorsOrError:
    | { __typename: 'PythonError', message: string }
    | { __typename: 'RepositoryNotFoundError', message: string }
    | { __typename: 'Sensors', results: Array<{ id: string, name: string, repositoryLocationName: string, jobNames: Array<string>, description: string | null, minIntervalSeconds: number, runStatus: string | null, sensorState: { status: InstigationStatus, cursor: string | null, ticks: Array<{ id: string, status: InstigationTickStatus, timestamp: number, endTimestamp: number, runIds: Array<string>, skipReason: string | null, log: Array<string>, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }> } }> }
   };

export type SchedulePageQueryVariables = Exact<{
  selector: ScheduleSelector;
}>;


export type SchedulePageQuery = { scheduleOrError:
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
    | { __typename: 'Schedule', id: string, name: string, repositoryLocationName: string, cronSchedule: string, executionTimezone: string, jobNames: Array<string>, description: string | null, isPartitioned: boolean, futureTicks: Array<number>, scheduleState: { status: InstigationStatus, ticks: Array<{ id: string, status: InstigationTickStatus, timestamp: number, endTimestamp: number, runIds: Array<string>, skipReason: string | null, log: Array<string>, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }>, runs: Array<{ runId: string, jobName: string, status: RunStatus, creationTime: number, startTime: number | null, endTime: number | null, executor: string, stepCounts: any, parentRunId: string | null, rootRunId: string | null, canTerminate: boolean, whyWaiting: string | null, tags: Array<{ key: string, value: string }>, repositoryOrigin: { repositoryLocationName: string } | null }> } }
    | { __typename: 'ScheduleNotFoundError', message: string }
   };

export type SensorPageQueryVariables = Exact<{
  selector: SensorSelector;
}>;


export type SensorPageQuery = { sensorOrError:
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
    | { __typename: 'Sensor', id: string, name: string, repositoryLocationName: string, jobNames: Array<string>, description: string | null, minIntervalSeconds: number, runStatus: string | null, sensorState: { status: InstigationStatus, cursor: string | null, lastRunKey: string | null, ticks: Array<{ id: string, status: InstigationTickStatus, timestamp: number, endTimestamp: number, runIds: Array<string>, skipReason: string | null, log: Array<string>, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }>, runs: Array<{ runId: string, jobName: string, status: RunStatus, creationTime: number, startTime: number | null, endTime: number | null, executor: string, stepCounts: any, parentRunId: string | null, rootRunId: string | null, canTerminate: boolean, whyWaiting: string | null, tags: Array<{ key: string, value: string }>, repositoryOrigin: { repositoryLocationName: string } | null }> } }
    | { __typename: 'SensorNotFoundError', message: string }
   };

export type BackfillRowFragment = { id: string, status: BulkActionStatus, jobName: string, repositoryLocationName: string, numPartitions: number, title: string, timestamp: number, endTimestamp: number | null, partitionStates: any, isCancelable: boolean, isResumable: boolean, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null };

export type BackfillsQueryVariables = Exact<{
  limit?: number | null | undefined;
}>;


export type BackfillsQuery = { partitionBackfillsOrError:
    | { __typename: 'PartitionBackfills', results: Array<{ id: string, status: BulkActionStatus, jobName: string, repositoryLocationName: string, numPartitions: number, title: string, timestamp: number, endTimestamp: number | null, partitionStates: any, isCancelable: boolean, isResumable: boolean, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }> }
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
   };

export type BackfillPageQueryVariables = Exact<{
  id: string;
}>;


export type BackfillPageQuery = { partitionBackfillOrError:
    | { __typename: 'BackfillNotFoundError', message: string }
    | { __typename: 'PartitionBackfill', partitionNames: Array<string>, atOnce: number | null, id: string, status: BulkActionStatus, jobName: string, repositoryLocationName: string, numPartitions: number, title: string, timestamp: number, endTimestamp: number | null, partitionStates: any, isCancelable: boolean, isResumable: boolean, tags: Array<{ key: string, value: string }>, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null }
    | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
   };

export type WorkersQueryVariables = Exact<{ [key: string]: never; }>;


export type WorkersQuery = { fleet: { at: number, error: string | null, workers: Array<{ name: string, queues: Array<string>, concurrency: number, code: Array<string>, codeVersions: Array<string>, outdated: Array<string>, release: string, understands: boolean, children: Array<number>, running: Array<{ runId: string, stepKey: string, startTime: number | null, attempt: number }> }>, queues: Array<{ name: string, waiting: number, waitingSince: number | null, workers: number, alarm: string | null }> } | null, instance: { flowerUrl: string | null } };

export type DeploymentQueryVariables = Exact<{ [key: string]: never; }>;


export type DeploymentQuery = { instance: { settingsYaml: string, daemonHealth: { allDaemonStatuses: Array<{ daemonType: string, healthy: boolean, owner: string | null }> }, concurrencyLimits: Array<{ concurrencyKey: string, slotCount: number, hasLimit: boolean, usingDefaultLimit: boolean, claimedSlots: Array<{ runId: string, stepKey: string }> }>, runQueueConfig: { maxConcurrentRuns: number, tagConcurrencyLimitsYaml: string | null } }, audit: Array<{ id: string, timestamp: number, who: string, action: string, about: string, outcome: string }>, workspaceOrError:
    | { __typename: 'PythonError' }
    | { __typename: 'Workspace', locationEntries: Array<{ name: string, loadStatus: RepositoryLocationLoadStatus, updatedTimestamp: number | null, versionKey: string, source: string, python: string | null, envVars: Array<{ envVarName: string, envVarConsumers: Array<{ type: EnvVarConsumerType, name: string }> }>, locationOrLoadError:
          | { __typename: 'PythonError', message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null }
          | { __typename: 'RepositoryLocation', name: string }
         | null, repositories: Array<{ jobs: Array<{ name: string }>, schedules: Array<{ name: string }>, sensors: Array<{ name: string }> }> }> }
   };

export type LaunchMutationVariables = Exact<{
  params: ExecutionParams;
}>;


export type LaunchMutation = { launchRun:
    | { __typename: 'ConflictingExecutionParamsError', message: string }
    | { __typename: 'InvalidOutputError' }
    | { __typename: 'InvalidStepError' }
    | { __typename: 'InvalidSubsetError', message: string }
    | { __typename: 'LaunchRunSuccess', run: { runId: string } }
    | { __typename: 'NoModeProvidedError', message: string }
    | { __typename: 'PipelineNotFoundError', message: string }
    | { __typename: 'PresetNotFoundError', message: string }
    | { __typename: 'PythonError', message: string }
    | { __typename: 'RunConfigValidationInvalid', errors: Array<
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
      > }
    | { __typename: 'RunConflict', message: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type RelaunchMutationVariables = Exact<{
  params?: ExecutionParams | null | undefined;
  how?: ReexecutionParams | null | undefined;
}>;


export type RelaunchMutation = { launchRunReexecution:
    | { __typename: 'ConflictingExecutionParamsError', message: string }
    | { __typename: 'InvalidOutputError' }
    | { __typename: 'InvalidStepError' }
    | { __typename: 'InvalidSubsetError', message: string }
    | { __typename: 'LaunchRunSuccess', run: { runId: string } }
    | { __typename: 'NoModeProvidedError', message: string }
    | { __typename: 'PipelineNotFoundError', message: string }
    | { __typename: 'PresetNotFoundError', message: string }
    | { __typename: 'PythonError', message: string }
    | { __typename: 'RunConfigValidationInvalid', errors: Array<
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
      > }
    | { __typename: 'RunConflict', message: string }
    | { __typename: 'RunNotFoundError', message: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type TerminateMutationVariables = Exact<{
  runIds: Array<string> | string;
  policy?: TerminateRunPolicy | null | undefined;
}>;


export type TerminateMutation = { terminateRuns:
    | { __typename: 'PythonError', message: string }
    | { __typename: 'TerminateRunsResult', terminateRunResults: Array<
        | { __typename: 'PythonError', message: string }
        | { __typename: 'RunNotFoundError', message: string }
        | { __typename: 'TerminateRunFailure', message: string }
        | { __typename: 'TerminateRunSuccess' }
        | { __typename: 'UnauthorizedError', message: string }
      > }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type AnswerApprovalMutationVariables = Exact<{
  runId: string;
  stepKey: string;
  approved: boolean;
  note?: string | null | undefined;
}>;


export type AnswerApprovalMutation = { answerApproval:
    | { __typename: 'Approval' }
    | { __typename: 'PythonError', message: string }
    | { __typename: 'RunNotFoundError', message: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type DeleteRunMutationVariables = Exact<{
  runId: string;
}>;


export type DeleteRunMutation = { deleteRun:
    | { __typename: 'DeletePipelineRunSuccess' }
    | { __typename: 'PythonError', message: string }
    | { __typename: 'RunNotFoundError', message: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type BackfillMutationVariables = Exact<{
  params: LaunchBackfillParams;
}>;


export type BackfillMutation = { launchPartitionBackfill:
    | { __typename: 'InvalidSubsetError', message: string }
    | { __typename: 'LaunchBackfillSuccess', backfillId: string }
    | { __typename: 'PartitionSetNotFoundError', message: string }
    | { __typename: 'PythonError', message: string }
    | { __typename: 'RunConfigValidationInvalid', errors: Array<
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
        | { message: string, path: Array<string>, reason: EvaluationErrorReason }
      > }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type CancelBackfillMutationVariables = Exact<{
  id: string;
}>;


export type CancelBackfillMutation = { cancelPartitionBackfill:
    | { __typename: 'BackfillNotFoundError', message: string }
    | { __typename: 'CancelBackfillSuccess' }
    | { __typename: 'PythonError', message: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type ResumeBackfillMutationVariables = Exact<{
  id: string;
}>;


export type ResumeBackfillMutation = { resumePartitionBackfill:
    | { __typename: 'BackfillNotFoundError', message: string }
    | { __typename: 'PythonError', message: string }
    | { __typename: 'ResumeBackfillSuccess', backfillId: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type StartScheduleMutationVariables = Exact<{
  selector: ScheduleSelector;
}>;


export type StartScheduleMutation = { startSchedule:
    | { __typename: 'PythonError', message: string }
    | { __typename: 'ScheduleNotFoundError', message: string }
    | { __typename: 'ScheduleStateResult' }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type StopScheduleMutationVariables = Exact<{
  selector: ScheduleSelector;
}>;


export type StopScheduleMutation = { stopSchedule:
    | { __typename: 'PythonError', message: string }
    | { __typename: 'ScheduleNotFoundError', message: string }
    | { __typename: 'ScheduleStateResult' }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type StartSensorMutationVariables = Exact<{
  selector: SensorSelector;
}>;


export type StartSensorMutation = { startSensor:
    | { __typename: 'PythonError', message: string }
    | { __typename: 'Sensor' }
    | { __typename: 'SensorNotFoundError', message: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type StopSensorMutationVariables = Exact<{
  id: string;
}>;


export type StopSensorMutation = { stopSensor:
    | { __typename: 'PythonError', message: string }
    | { __typename: 'SensorNotFoundError', message: string }
    | { __typename: 'StopSensorMutationResult' }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type SetCursorMutationVariables = Exact<{
  selector: SensorSelector;
  cursor?: string | null | undefined;
}>;


export type SetCursorMutation = { setSensorCursor:
    | { __typename: 'PythonError', message: string }
    | { __typename: 'Sensor' }
    | { __typename: 'SensorNotFoundError', message: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type DryFragment = { timestamp: number, evaluationResult: { skipReason: string | null, cursor: string | null, log: Array<string>, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null, runRequests: Array<{ runKey: string | null, jobName: string, runConfigYaml: string, tags: Array<{ key: string, value: string }> }> } };

export type DryScheduleMutationVariables = Exact<{
  selector: ScheduleSelector;
  timestamp?: number | null | undefined;
}>;


export type DryScheduleMutation = { scheduleDryRun:
    | { __typename: 'DryRunInstigationTick', timestamp: number, evaluationResult: { skipReason: string | null, cursor: string | null, log: Array<string>, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null, runRequests: Array<{ runKey: string | null, jobName: string, runConfigYaml: string, tags: Array<{ key: string, value: string }> }> } }
    | { __typename: 'PythonError', message: string }
    | { __typename: 'ScheduleNotFoundError', message: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type DrySensorMutationVariables = Exact<{
  selector: SensorSelector;
  cursor?: string | null | undefined;
}>;


export type DrySensorMutation = { sensorDryRun:
    | { __typename: 'DryRunInstigationTick', timestamp: number, evaluationResult: { skipReason: string | null, cursor: string | null, log: Array<string>, error: { message: string, className: string | null, stack: Array<string>, cause: { message: string, className: string | null, stack: Array<string> } | null } | null, runRequests: Array<{ runKey: string | null, jobName: string, runConfigYaml: string, tags: Array<{ key: string, value: string }> }> } }
    | { __typename: 'PythonError', message: string }
    | { __typename: 'SensorNotFoundError', message: string }
    | { __typename: 'UnauthorizedError', message: string }
   };

export type ReloadLocationMutationVariables = Exact<{
  name: string;
}>;


export type ReloadLocationMutation = { reloadRepositoryLocation:
    | { __typename: 'PythonError', message: string }
    | { __typename: 'ReloadNotSupported', message: string }
    | { __typename: 'RepositoryLocationNotFound', message: string }
    | { __typename: 'UnauthorizedError', message: string }
    | { __typename: 'WorkspaceLocationEntry' }
   };

export type SetPoolMutationVariables = Exact<{
  key: string;
  limit: number;
}>;


export type SetPoolMutation = { setConcurrencyLimit: boolean };

export type DeletePoolMutationVariables = Exact<{
  key: string;
}>;


export type DeletePoolMutation = { deleteConcurrencyLimit: boolean };

export type FreeSlotsMutationVariables = Exact<{
  runId: string;
  stepKey?: string | null | undefined;
}>;


export type FreeSlotsMutation = { freeConcurrencySlots: boolean };

export type ChangesSubscriptionVariables = Exact<{ [key: string]: never; }>;


export type ChangesSubscription = { changes: { topics: Array<ChangeTopic>, runIds: Array<string> | null } };

export const RunRowFragmentDoc = {"kind":"Document","definitions":[{"kind":"FragmentDefinition","name":{"kind":"Name","value":"RunRow"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Run"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"creationTime"}},{"kind":"Field","name":{"kind":"Name","value":"startTime"}},{"kind":"Field","name":{"kind":"Name","value":"endTime"}},{"kind":"Field","name":{"kind":"Name","value":"executor"}},{"kind":"Field","name":{"kind":"Name","value":"stepCounts"}},{"kind":"Field","name":{"kind":"Name","value":"parentRunId"}},{"kind":"Field","name":{"kind":"Name","value":"rootRunId"}},{"kind":"Field","name":{"kind":"Name","value":"canTerminate"}},{"kind":"Field","name":{"kind":"Name","value":"whyWaiting"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}},{"kind":"Field","name":{"kind":"Name","value":"repositoryOrigin"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}}]}}]}}]} as unknown as DocumentNode<RunRowFragment, unknown>;
export const FailedFragmentDoc = {"kind":"Document","definitions":[{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<FailedFragment, unknown>;
export const TickFragmentDoc = {"kind":"Document","definitions":[{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Tick"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InstigationTick"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"endTimestamp"}},{"kind":"Field","name":{"kind":"Name","value":"runIds"}},{"kind":"Field","name":{"kind":"Name","value":"skipReason"}},{"kind":"Field","name":{"kind":"Name","value":"log"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<TickFragment, unknown>;
export const BackfillRowFragmentDoc = {"kind":"Document","definitions":[{"kind":"FragmentDefinition","name":{"kind":"Name","value":"BackfillRow"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PartitionBackfill"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"numPartitions"}},{"kind":"Field","name":{"kind":"Name","value":"title"}},{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"endTimestamp"}},{"kind":"Field","name":{"kind":"Name","value":"partitionStates"}},{"kind":"Field","name":{"kind":"Name","value":"isCancelable"}},{"kind":"Field","name":{"kind":"Name","value":"isResumable"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<BackfillRowFragment, unknown>;
export const DryFragmentDoc = {"kind":"Document","definitions":[{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Dry"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"DryRunInstigationTick"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"evaluationResult"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"skipReason"}},{"kind":"Field","name":{"kind":"Name","value":"cursor"}},{"kind":"Field","name":{"kind":"Name","value":"log"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}},{"kind":"Field","name":{"kind":"Name","value":"runRequests"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runKey"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"runConfigYaml"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<DryFragment, unknown>;
export const ShellDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Shell"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"version"}},{"kind":"Field","name":{"kind":"Name","value":"viewer"}},{"kind":"Field","name":{"kind":"Name","value":"permissions"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"permission"}},{"kind":"Field","name":{"kind":"Name","value":"value"}},{"kind":"Field","name":{"kind":"Name","value":"disabledReason"}}]}},{"kind":"Field","name":{"kind":"Name","value":"instance"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"isReadOnly"}},{"kind":"Field","name":{"kind":"Name","value":"flowerUrl"}},{"kind":"Field","name":{"kind":"Name","value":"executors"}}]}},{"kind":"Field","name":{"kind":"Name","value":"workspaceOrError"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Workspace"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"locationEntries"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"loadStatus"}},{"kind":"Field","name":{"kind":"Name","value":"locationOrLoadError"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}}]}},{"kind":"Field","name":{"kind":"Name","value":"repositories"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"jobs"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"isPartitioned"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}}]}},{"kind":"Field","name":{"kind":"Name","value":"schedules"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}}]}},{"kind":"Field","name":{"kind":"Name","value":"sensors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}}]}}]}}]}}]}}]}}]}}]} as unknown as DocumentNode<ShellQuery, ShellQueryVariables>;
export const RunsPageDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"RunsPage"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"filter"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"RunsFilter"}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"cursor"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"limit"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"Int"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runsOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"filter"},"value":{"kind":"Variable","name":{"kind":"Name","value":"filter"}}},{"kind":"Argument","name":{"kind":"Name","value":"cursor"},"value":{"kind":"Variable","name":{"kind":"Name","value":"cursor"}}},{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"Variable","name":{"kind":"Name","value":"limit"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Runs"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"count"}},{"kind":"Field","name":{"kind":"Name","value":"results"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"RunRow"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"RunRow"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Run"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"creationTime"}},{"kind":"Field","name":{"kind":"Name","value":"startTime"}},{"kind":"Field","name":{"kind":"Name","value":"endTime"}},{"kind":"Field","name":{"kind":"Name","value":"executor"}},{"kind":"Field","name":{"kind":"Name","value":"stepCounts"}},{"kind":"Field","name":{"kind":"Name","value":"parentRunId"}},{"kind":"Field","name":{"kind":"Name","value":"rootRunId"}},{"kind":"Field","name":{"kind":"Name","value":"canTerminate"}},{"kind":"Field","name":{"kind":"Name","value":"whyWaiting"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}},{"kind":"Field","name":{"kind":"Name","value":"repositoryOrigin"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<RunsPageQuery, RunsPageQueryVariables>;
export const JobsPageDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"JobsPage"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"repositoriesOrError"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RepositoryConnection"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"nodes"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"jobs"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"description"}},{"kind":"Field","name":{"kind":"Name","value":"isPartitioned"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"runs"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"12"}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"creationTime"}},{"kind":"Field","name":{"kind":"Name","value":"startTime"}},{"kind":"Field","name":{"kind":"Name","value":"endTime"}}]}}]}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<JobsPageQuery, JobsPageQueryVariables>;
export const TagKeysDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"TagKeys"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runTagKeysOrError"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RunTagKeys"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"keys"}}]}}]}}]}}]} as unknown as DocumentNode<TagKeysQuery, TagKeysQueryVariables>;
export const TagValuesDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"TagValues"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"key"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runTagsOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"tagKeys"},"value":{"kind":"ListValue","values":[{"kind":"Variable","name":{"kind":"Name","value":"key"}}]}},{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"100"}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RunTags"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"values"}}]}}]}}]}}]}}]} as unknown as DocumentNode<TagValuesQuery, TagValuesQueryVariables>;
export const OverviewDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Overview"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"start"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"Float"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"end"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"Float"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runsBetween"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"start"},"value":{"kind":"Variable","name":{"kind":"Name","value":"start"}}},{"kind":"Argument","name":{"kind":"Name","value":"end"},"value":{"kind":"Variable","name":{"kind":"Name","value":"end"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"truncated"}},{"kind":"Field","name":{"kind":"Name","value":"runs"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"RunRow"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"schedulesOrError"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Schedules"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"results"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"jobNames"}},{"kind":"Field","name":{"kind":"Name","value":"scheduleState"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"status"}}]}},{"kind":"Field","name":{"kind":"Name","value":"futureTicks"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"100"}},{"kind":"Argument","name":{"kind":"Name","value":"until"},"value":{"kind":"Variable","name":{"kind":"Name","value":"end"}}}]}]}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"waitingApprovals"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"stepKey"}},{"kind":"Field","name":{"kind":"Name","value":"question"}},{"kind":"Field","name":{"kind":"Name","value":"since"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"RunRow"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Run"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"creationTime"}},{"kind":"Field","name":{"kind":"Name","value":"startTime"}},{"kind":"Field","name":{"kind":"Name","value":"endTime"}},{"kind":"Field","name":{"kind":"Name","value":"executor"}},{"kind":"Field","name":{"kind":"Name","value":"stepCounts"}},{"kind":"Field","name":{"kind":"Name","value":"parentRunId"}},{"kind":"Field","name":{"kind":"Name","value":"rootRunId"}},{"kind":"Field","name":{"kind":"Name","value":"canTerminate"}},{"kind":"Field","name":{"kind":"Name","value":"whyWaiting"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}},{"kind":"Field","name":{"kind":"Name","value":"repositoryOrigin"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}}]}}]}}]} as unknown as DocumentNode<OverviewQuery, OverviewQueryVariables>;
export const RunPageDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"RunPage"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"runId"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ID"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"runId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"runId"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Run"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"RunRow"}},{"kind":"Field","name":{"kind":"Name","value":"cancelReason"}},{"kind":"Field","name":{"kind":"Name","value":"whyStepsWait"}},{"kind":"Field","name":{"kind":"Name","value":"runConfigYaml"}},{"kind":"Field","name":{"kind":"Name","value":"plan"}},{"kind":"Field","name":{"kind":"Name","value":"approvals"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"stepKey"}},{"kind":"Field","name":{"kind":"Name","value":"question"}},{"kind":"Field","name":{"kind":"Name","value":"since"}},{"kind":"Field","name":{"kind":"Name","value":"due"}},{"kind":"Field","name":{"kind":"Name","value":"approved"}},{"kind":"Field","name":{"kind":"Name","value":"who"}},{"kind":"Field","name":{"kind":"Name","value":"note"}}]}},{"kind":"Field","name":{"kind":"Name","value":"hasReExecutePermission"}},{"kind":"Field","name":{"kind":"Name","value":"hasTerminatePermission"}},{"kind":"Field","name":{"kind":"Name","value":"hasDeletePermission"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RunNotFoundError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"runGroupOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"runId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"runId"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RunGroup"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runs"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"creationTime"}},{"kind":"Field","name":{"kind":"Name","value":"parentRunId"}}]}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"RunRow"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Run"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"creationTime"}},{"kind":"Field","name":{"kind":"Name","value":"startTime"}},{"kind":"Field","name":{"kind":"Name","value":"endTime"}},{"kind":"Field","name":{"kind":"Name","value":"executor"}},{"kind":"Field","name":{"kind":"Name","value":"stepCounts"}},{"kind":"Field","name":{"kind":"Name","value":"parentRunId"}},{"kind":"Field","name":{"kind":"Name","value":"rootRunId"}},{"kind":"Field","name":{"kind":"Name","value":"canTerminate"}},{"kind":"Field","name":{"kind":"Name","value":"whyWaiting"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}},{"kind":"Field","name":{"kind":"Name","value":"repositoryOrigin"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<RunPageQuery, RunPageQueryVariables>;
export const RunTimelineDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"RunTimeline"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"runId"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ID"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"after"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"Int"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"runId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"runId"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Run"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"timeline"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"after"},"value":{"kind":"Variable","name":{"kind":"Name","value":"after"}}},{"kind":"Argument","name":{"kind":"Name","value":"brief"},"value":{"kind":"BooleanValue","value":true}}]}]}}]}}]}}]} as unknown as DocumentNode<RunTimelineQuery, RunTimelineQueryVariables>;
export const RunLogsDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"RunLogs"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"runId"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ID"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"after"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"limit"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"Int"}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"filter"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"EventsFilterInput"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"logsForRun"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"runId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"runId"}}},{"kind":"Argument","name":{"kind":"Name","value":"afterCursor"},"value":{"kind":"Variable","name":{"kind":"Name","value":"after"}}},{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"Variable","name":{"kind":"Name","value":"limit"}}},{"kind":"Argument","name":{"kind":"Name","value":"filter"},"value":{"kind":"Variable","name":{"kind":"Name","value":"filter"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"EventConnection"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"cursor"}},{"kind":"Field","name":{"kind":"Name","value":"hasMore"}},{"kind":"Field","name":{"kind":"Name","value":"events"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"MessageEvent"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"number"}},{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"level"}},{"kind":"Field","name":{"kind":"Name","value":"stepKey"}},{"kind":"Field","name":{"kind":"Name","value":"eventType"}},{"kind":"Field","name":{"kind":"Name","value":"attempt"}},{"kind":"Field","name":{"kind":"Name","value":"details"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RunNotFoundError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<RunLogsQuery, RunLogsQueryVariables>;
export const JobPageDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"JobPage"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"PipelineSelector"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"pipelineOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"params"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Job"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"description"}},{"kind":"Field","name":{"kind":"Name","value":"isPartitioned"}},{"kind":"Field","name":{"kind":"Name","value":"executor"}},{"kind":"Field","name":{"kind":"Name","value":"structureHash"}},{"kind":"Field","name":{"kind":"Name","value":"structure"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"runConfigJsonSchema"}},{"kind":"Field","name":{"kind":"Name","value":"ownRunConfigYaml"}},{"kind":"Field","name":{"kind":"Name","value":"scaffoldYaml"}},{"kind":"Field","alias":{"kind":"Name","value":"requiredYaml"},"name":{"kind":"Name","value":"scaffoldYaml"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"requiredOnly"},"value":{"kind":"BooleanValue","value":true}}]},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}},{"kind":"Field","name":{"kind":"Name","value":"modes"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"resources"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"description"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"schedules"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"cronSchedule"}},{"kind":"Field","name":{"kind":"Name","value":"executionTimezone"}},{"kind":"Field","name":{"kind":"Name","value":"scheduleState"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"status"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"sensors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"sensorState"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"status"}}]}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PipelineNotFoundError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<JobPageQuery, JobPageQueryVariables>;
export const CheckConfigDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"CheckConfig"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"params"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ExecutionParams"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"executionPlanOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"executionParams"},"value":{"kind":"Variable","name":{"kind":"Name","value":"params"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"ExecutionPlan"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"stepKeys"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RunConfigValidationInvalid"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"errors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"path"}},{"kind":"Field","name":{"kind":"Name","value":"reason"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InvalidSubsetError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PipelineNotFoundError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<CheckConfigQuery, CheckConfigQueryVariables>;
export const PartitionsDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Partitions"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"JobOrPipelineSelector"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"jobPartitionsOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"selector"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"JobPartitions"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"keys"}},{"kind":"Field","name":{"kind":"Name","value":"states"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PipelineNotFoundError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<PartitionsQuery, PartitionsQueryVariables>;
export const AutomationDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Automation"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"schedulesOrError"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Schedules"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"results"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"cronSchedule"}},{"kind":"Field","name":{"kind":"Name","value":"executionTimezone"}},{"kind":"Field","name":{"kind":"Name","value":"jobNames"}},{"kind":"Field","name":{"kind":"Name","value":"description"}},{"kind":"Field","name":{"kind":"Name","value":"futureTicks"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"1"}}]},{"kind":"Field","name":{"kind":"Name","value":"scheduleState"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"ticks"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"20"}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Tick"}}]}}]}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"sensorsOrError"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Sensors"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"results"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"jobNames"}},{"kind":"Field","name":{"kind":"Name","value":"description"}},{"kind":"Field","name":{"kind":"Name","value":"minIntervalSeconds"}},{"kind":"Field","name":{"kind":"Name","value":"runStatus"}},{"kind":"Field","name":{"kind":"Name","value":"sensorState"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"cursor"}},{"kind":"Field","name":{"kind":"Name","value":"ticks"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"20"}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Tick"}}]}}]}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Tick"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InstigationTick"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"endTimestamp"}},{"kind":"Field","name":{"kind":"Name","value":"runIds"}},{"kind":"Field","name":{"kind":"Name","value":"skipReason"}},{"kind":"Field","name":{"kind":"Name","value":"log"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]} as unknown as DocumentNode<AutomationQuery, AutomationQueryVariables>;
export const SchedulePageDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"SchedulePage"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ScheduleSelector"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"scheduleOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"scheduleSelector"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Schedule"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"cronSchedule"}},{"kind":"Field","name":{"kind":"Name","value":"executionTimezone"}},{"kind":"Field","name":{"kind":"Name","value":"jobNames"}},{"kind":"Field","name":{"kind":"Name","value":"description"}},{"kind":"Field","name":{"kind":"Name","value":"isPartitioned"}},{"kind":"Field","name":{"kind":"Name","value":"futureTicks"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"5"}}]},{"kind":"Field","name":{"kind":"Name","value":"scheduleState"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"ticks"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"200"}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Tick"}}]}},{"kind":"Field","name":{"kind":"Name","value":"runs"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"20"}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"RunRow"}}]}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"ScheduleNotFoundError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Tick"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InstigationTick"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"endTimestamp"}},{"kind":"Field","name":{"kind":"Name","value":"runIds"}},{"kind":"Field","name":{"kind":"Name","value":"skipReason"}},{"kind":"Field","name":{"kind":"Name","value":"log"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"RunRow"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Run"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"creationTime"}},{"kind":"Field","name":{"kind":"Name","value":"startTime"}},{"kind":"Field","name":{"kind":"Name","value":"endTime"}},{"kind":"Field","name":{"kind":"Name","value":"executor"}},{"kind":"Field","name":{"kind":"Name","value":"stepCounts"}},{"kind":"Field","name":{"kind":"Name","value":"parentRunId"}},{"kind":"Field","name":{"kind":"Name","value":"rootRunId"}},{"kind":"Field","name":{"kind":"Name","value":"canTerminate"}},{"kind":"Field","name":{"kind":"Name","value":"whyWaiting"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}},{"kind":"Field","name":{"kind":"Name","value":"repositoryOrigin"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}}]}}]}}]} as unknown as DocumentNode<SchedulePageQuery, SchedulePageQueryVariables>;
export const SensorPageDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"SensorPage"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"SensorSelector"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"sensorOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"sensorSelector"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Sensor"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"jobNames"}},{"kind":"Field","name":{"kind":"Name","value":"description"}},{"kind":"Field","name":{"kind":"Name","value":"minIntervalSeconds"}},{"kind":"Field","name":{"kind":"Name","value":"runStatus"}},{"kind":"Field","name":{"kind":"Name","value":"sensorState"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"cursor"}},{"kind":"Field","name":{"kind":"Name","value":"lastRunKey"}},{"kind":"Field","name":{"kind":"Name","value":"ticks"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"200"}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Tick"}}]}},{"kind":"Field","name":{"kind":"Name","value":"runs"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"20"}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"RunRow"}}]}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"SensorNotFoundError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Tick"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InstigationTick"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"endTimestamp"}},{"kind":"Field","name":{"kind":"Name","value":"runIds"}},{"kind":"Field","name":{"kind":"Name","value":"skipReason"}},{"kind":"Field","name":{"kind":"Name","value":"log"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"RunRow"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Run"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"creationTime"}},{"kind":"Field","name":{"kind":"Name","value":"startTime"}},{"kind":"Field","name":{"kind":"Name","value":"endTime"}},{"kind":"Field","name":{"kind":"Name","value":"executor"}},{"kind":"Field","name":{"kind":"Name","value":"stepCounts"}},{"kind":"Field","name":{"kind":"Name","value":"parentRunId"}},{"kind":"Field","name":{"kind":"Name","value":"rootRunId"}},{"kind":"Field","name":{"kind":"Name","value":"canTerminate"}},{"kind":"Field","name":{"kind":"Name","value":"whyWaiting"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}},{"kind":"Field","name":{"kind":"Name","value":"repositoryOrigin"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}}]}}]}}]} as unknown as DocumentNode<SensorPageQuery, SensorPageQueryVariables>;
export const BackfillsDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Backfills"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"limit"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"Int"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"partitionBackfillsOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"Variable","name":{"kind":"Name","value":"limit"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PartitionBackfills"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"results"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"BackfillRow"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"BackfillRow"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PartitionBackfill"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"numPartitions"}},{"kind":"Field","name":{"kind":"Name","value":"title"}},{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"endTimestamp"}},{"kind":"Field","name":{"kind":"Name","value":"partitionStates"}},{"kind":"Field","name":{"kind":"Name","value":"isCancelable"}},{"kind":"Field","name":{"kind":"Name","value":"isResumable"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]} as unknown as DocumentNode<BackfillsQuery, BackfillsQueryVariables>;
export const BackfillPageDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"BackfillPage"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"id"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"partitionBackfillOrError"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"backfillId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"id"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PartitionBackfill"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"BackfillRow"}},{"kind":"Field","name":{"kind":"Name","value":"partitionNames"}},{"kind":"Field","name":{"kind":"Name","value":"atOnce"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"BackfillNotFoundError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"BackfillRow"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PartitionBackfill"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"status"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"repositoryLocationName"}},{"kind":"Field","name":{"kind":"Name","value":"numPartitions"}},{"kind":"Field","name":{"kind":"Name","value":"title"}},{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"endTimestamp"}},{"kind":"Field","name":{"kind":"Name","value":"partitionStates"}},{"kind":"Field","name":{"kind":"Name","value":"isCancelable"}},{"kind":"Field","name":{"kind":"Name","value":"isResumable"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}}]}}]} as unknown as DocumentNode<BackfillPageQuery, BackfillPageQueryVariables>;
export const WorkersDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Workers"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"fleet"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"at"}},{"kind":"Field","name":{"kind":"Name","value":"error"}},{"kind":"Field","name":{"kind":"Name","value":"workers"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"queues"}},{"kind":"Field","name":{"kind":"Name","value":"concurrency"}},{"kind":"Field","name":{"kind":"Name","value":"code"}},{"kind":"Field","name":{"kind":"Name","value":"codeVersions"}},{"kind":"Field","name":{"kind":"Name","value":"outdated"}},{"kind":"Field","name":{"kind":"Name","value":"release"}},{"kind":"Field","name":{"kind":"Name","value":"understands"}},{"kind":"Field","name":{"kind":"Name","value":"children"}},{"kind":"Field","name":{"kind":"Name","value":"running"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"stepKey"}},{"kind":"Field","name":{"kind":"Name","value":"startTime"}},{"kind":"Field","name":{"kind":"Name","value":"attempt"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"queues"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"waiting"}},{"kind":"Field","name":{"kind":"Name","value":"waitingSince"}},{"kind":"Field","name":{"kind":"Name","value":"workers"}},{"kind":"Field","name":{"kind":"Name","value":"alarm"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"instance"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"flowerUrl"}}]}}]}}]} as unknown as DocumentNode<WorkersQuery, WorkersQueryVariables>;
export const DeploymentDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Deployment"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"instance"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"settingsYaml"}},{"kind":"Field","name":{"kind":"Name","value":"daemonHealth"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"allDaemonStatuses"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"daemonType"}},{"kind":"Field","name":{"kind":"Name","value":"healthy"}},{"kind":"Field","name":{"kind":"Name","value":"owner"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"concurrencyLimits"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"concurrencyKey"}},{"kind":"Field","name":{"kind":"Name","value":"slotCount"}},{"kind":"Field","name":{"kind":"Name","value":"hasLimit"}},{"kind":"Field","name":{"kind":"Name","value":"usingDefaultLimit"}},{"kind":"Field","name":{"kind":"Name","value":"claimedSlots"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}},{"kind":"Field","name":{"kind":"Name","value":"stepKey"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"runQueueConfig"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"maxConcurrentRuns"}},{"kind":"Field","name":{"kind":"Name","value":"tagConcurrencyLimitsYaml"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"audit"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"IntValue","value":"100"}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"who"}},{"kind":"Field","name":{"kind":"Name","value":"action"}},{"kind":"Field","name":{"kind":"Name","value":"about"}},{"kind":"Field","name":{"kind":"Name","value":"outcome"}}]}},{"kind":"Field","name":{"kind":"Name","value":"workspaceOrError"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Workspace"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"locationEntries"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"loadStatus"}},{"kind":"Field","name":{"kind":"Name","value":"updatedTimestamp"}},{"kind":"Field","name":{"kind":"Name","value":"versionKey"}},{"kind":"Field","name":{"kind":"Name","value":"source"}},{"kind":"Field","name":{"kind":"Name","value":"python"}},{"kind":"Field","name":{"kind":"Name","value":"envVars"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"envVarName"}},{"kind":"Field","name":{"kind":"Name","value":"envVarConsumers"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"type"}},{"kind":"Field","name":{"kind":"Name","value":"name"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"locationOrLoadError"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RepositoryLocation"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"repositories"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"jobs"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}}]}},{"kind":"Field","name":{"kind":"Name","value":"schedules"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}}]}},{"kind":"Field","name":{"kind":"Name","value":"sensors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}}]}}]}}]}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}}]} as unknown as DocumentNode<DeploymentQuery, DeploymentQueryVariables>;
export const LaunchDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"Launch"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"params"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ExecutionParams"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"launchRun"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"executionParams"},"value":{"kind":"Variable","name":{"kind":"Name","value":"params"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"LaunchRunSuccess"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"run"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RunConfigValidationInvalid"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"errors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"path"}},{"kind":"Field","name":{"kind":"Name","value":"reason"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<LaunchMutation, LaunchMutationVariables>;
export const RelaunchDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"Relaunch"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"params"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"ExecutionParams"}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"how"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"ReexecutionParams"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"launchRunReexecution"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"executionParams"},"value":{"kind":"Variable","name":{"kind":"Name","value":"params"}}},{"kind":"Argument","name":{"kind":"Name","value":"reexecutionParams"},"value":{"kind":"Variable","name":{"kind":"Name","value":"how"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"LaunchRunSuccess"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"run"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runId"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RunConfigValidationInvalid"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"errors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"path"}},{"kind":"Field","name":{"kind":"Name","value":"reason"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<RelaunchMutation, RelaunchMutationVariables>;
export const TerminateDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"Terminate"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"runIds"}},"type":{"kind":"NonNullType","type":{"kind":"ListType","type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"policy"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"TerminateRunPolicy"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"terminateRuns"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"runIds"},"value":{"kind":"Variable","name":{"kind":"Name","value":"runIds"}}},{"kind":"Argument","name":{"kind":"Name","value":"terminatePolicy"},"value":{"kind":"Variable","name":{"kind":"Name","value":"policy"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"TerminateRunsResult"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"terminateRunResults"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"TerminateRunFailure"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<TerminateMutation, TerminateMutationVariables>;
export const AnswerApprovalDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"AnswerApproval"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"runId"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"stepKey"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"approved"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"Boolean"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"note"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"answerApproval"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"runId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"runId"}}},{"kind":"Argument","name":{"kind":"Name","value":"stepKey"},"value":{"kind":"Variable","name":{"kind":"Name","value":"stepKey"}}},{"kind":"Argument","name":{"kind":"Name","value":"approved"},"value":{"kind":"Variable","name":{"kind":"Name","value":"approved"}}},{"kind":"Argument","name":{"kind":"Name","value":"note"},"value":{"kind":"Variable","name":{"kind":"Name","value":"note"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<AnswerApprovalMutation, AnswerApprovalMutationVariables>;
export const DeleteRunDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"DeleteRun"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"runId"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"deleteRun"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"runId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"runId"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<DeleteRunMutation, DeleteRunMutationVariables>;
export const BackfillDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"Backfill"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"params"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"LaunchBackfillParams"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"launchPartitionBackfill"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"backfillParams"},"value":{"kind":"Variable","name":{"kind":"Name","value":"params"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"LaunchBackfillSuccess"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"backfillId"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"RunConfigValidationInvalid"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"errors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"path"}},{"kind":"Field","name":{"kind":"Name","value":"reason"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<BackfillMutation, BackfillMutationVariables>;
export const CancelBackfillDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"CancelBackfill"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"id"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"cancelPartitionBackfill"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"backfillId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"id"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<CancelBackfillMutation, CancelBackfillMutationVariables>;
export const ResumeBackfillDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"ResumeBackfill"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"id"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"resumePartitionBackfill"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"backfillId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"id"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"ResumeBackfillSuccess"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"backfillId"}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<ResumeBackfillMutation, ResumeBackfillMutationVariables>;
export const StartScheduleDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"StartSchedule"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ScheduleSelector"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"startSchedule"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"scheduleSelector"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<StartScheduleMutation, StartScheduleMutationVariables>;
export const StopScheduleDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"StopSchedule"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ScheduleSelector"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"stopSchedule"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"scheduleSelector"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<StopScheduleMutation, StopScheduleMutationVariables>;
export const StartSensorDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"StartSensor"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"SensorSelector"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"startSensor"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"sensorSelector"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<StartSensorMutation, StartSensorMutationVariables>;
export const StopSensorDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"StopSensor"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"id"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"stopSensor"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"id"},"value":{"kind":"Variable","name":{"kind":"Name","value":"id"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<StopSensorMutation, StopSensorMutationVariables>;
export const SetCursorDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"SetCursor"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"SensorSelector"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"cursor"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"setSensorCursor"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"sensorSelector"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}},{"kind":"Argument","name":{"kind":"Name","value":"cursor"},"value":{"kind":"Variable","name":{"kind":"Name","value":"cursor"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<SetCursorMutation, SetCursorMutationVariables>;
export const DryScheduleDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"DrySchedule"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ScheduleSelector"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"timestamp"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"Float"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"scheduleDryRun"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"selectorData"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}},{"kind":"Argument","name":{"kind":"Name","value":"timestamp"},"value":{"kind":"Variable","name":{"kind":"Name","value":"timestamp"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"FragmentSpread","name":{"kind":"Name","value":"Dry"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Dry"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"DryRunInstigationTick"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"evaluationResult"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"skipReason"}},{"kind":"Field","name":{"kind":"Name","value":"cursor"}},{"kind":"Field","name":{"kind":"Name","value":"log"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}},{"kind":"Field","name":{"kind":"Name","value":"runRequests"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runKey"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"runConfigYaml"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}}]}}]}}]}}]} as unknown as DocumentNode<DryScheduleMutation, DryScheduleMutationVariables>;
export const DrySensorDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"DrySensor"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"selector"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"SensorSelector"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"cursor"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"sensorDryRun"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"selectorData"},"value":{"kind":"Variable","name":{"kind":"Name","value":"selector"}}},{"kind":"Argument","name":{"kind":"Name","value":"cursor"},"value":{"kind":"Variable","name":{"kind":"Name","value":"cursor"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"FragmentSpread","name":{"kind":"Name","value":"Dry"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failed"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"PythonError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}},{"kind":"Field","name":{"kind":"Name","value":"cause"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"className"}},{"kind":"Field","name":{"kind":"Name","value":"stack"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Dry"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"DryRunInstigationTick"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"timestamp"}},{"kind":"Field","name":{"kind":"Name","value":"evaluationResult"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"skipReason"}},{"kind":"Field","name":{"kind":"Name","value":"cursor"}},{"kind":"Field","name":{"kind":"Name","value":"log"}},{"kind":"Field","name":{"kind":"Name","value":"error"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failed"}}]}},{"kind":"Field","name":{"kind":"Name","value":"runRequests"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"runKey"}},{"kind":"Field","name":{"kind":"Name","value":"jobName"}},{"kind":"Field","name":{"kind":"Name","value":"runConfigYaml"}},{"kind":"Field","name":{"kind":"Name","value":"tags"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"key"}},{"kind":"Field","name":{"kind":"Name","value":"value"}}]}}]}}]}}]}}]} as unknown as DocumentNode<DrySensorMutation, DrySensorMutationVariables>;
export const ReloadLocationDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"ReloadLocation"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"name"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"reloadRepositoryLocation"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"repositoryLocationName"},"value":{"kind":"Variable","name":{"kind":"Name","value":"name"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Error"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}}]}}]} as unknown as DocumentNode<ReloadLocationMutation, ReloadLocationMutationVariables>;
export const SetPoolDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"SetPool"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"key"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"limit"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"Int"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"setConcurrencyLimit"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"concurrencyKey"},"value":{"kind":"Variable","name":{"kind":"Name","value":"key"}}},{"kind":"Argument","name":{"kind":"Name","value":"limit"},"value":{"kind":"Variable","name":{"kind":"Name","value":"limit"}}}]}]}}]} as unknown as DocumentNode<SetPoolMutation, SetPoolMutationVariables>;
export const DeletePoolDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"DeletePool"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"key"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"deleteConcurrencyLimit"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"concurrencyKey"},"value":{"kind":"Variable","name":{"kind":"Name","value":"key"}}}]}]}}]} as unknown as DocumentNode<DeletePoolMutation, DeletePoolMutationVariables>;
export const FreeSlotsDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"FreeSlots"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"runId"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"stepKey"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"freeConcurrencySlots"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"runId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"runId"}}},{"kind":"Argument","name":{"kind":"Name","value":"stepKey"},"value":{"kind":"Variable","name":{"kind":"Name","value":"stepKey"}}}]}]}}]} as unknown as DocumentNode<FreeSlotsMutation, FreeSlotsMutationVariables>;
export const ChangesDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"subscription","name":{"kind":"Name","value":"Changes"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"changes"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"topics"}},{"kind":"Field","name":{"kind":"Name","value":"runIds"}}]}}]}}]} as unknown as DocumentNode<ChangesSubscription, ChangesSubscriptionVariables>;