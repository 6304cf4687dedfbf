"""opgrid: op jobs as Python functions, run in process, on local processes or on a Celery fleet.

Users import everything from here. Importing this costs next to nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opgrid.contracts.events import (
        EventType,
    )
    from opgrid.contracts.status import (
        RunStatus,
    )
    from opgrid.definitions.composition import (
        PendingInvocation,
    )
    from opgrid.definitions.definitions import (
        Definitions,
        repository,
    )
    from opgrid.definitions.events import (
        AssetKey,
        AssetMaterialization,
        AssetObservation,
        DynamicOutput,
        ExpectationResult,
        Failure,
        Output,
        RetryRequested,
        TypeCheck,
    )
    from opgrid.definitions.executor import (
        ExecutorDefinition,
        celery_executor,
        executor,
        in_process_executor,
        multi_or_in_process_executor,
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
    from opgrid.definitions.metadata import (
        MetadataValue,
        TableColumn,
        TableRecord,
        TableSchema,
    )
    from opgrid.definitions.op import (
        OpDefinition,
        op,
    )
    from opgrid.definitions.ports import (
        DynamicOut,
        GraphIn,
        GraphOut,
        In,
        Nothing,
        Out,
    )
    from opgrid.definitions.retry import (
        Backoff,
        Jitter,
        RetryPolicy,
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
    from opgrid.io.context import (
        InputContext,
        OutputContext,
    )
    from opgrid.io.manager import (
        InputManager,
        IOManager,
    )
    from opgrid.io.memory import (
        InMemoryIOManager,
    )
    from opgrid.steps.context import (
        HookContext,
        OpExecutionContext,
    )
    from opgrid.steps.logs import (
        get_logger,
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
    "TableRecord",
    "TableSchema",
    "RetryPolicy",
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
    # resources, loggers and IO managers
    "IOManager",
    "InputManager",
    "InputContext",
    "OutputContext",
    "InMemoryIOManager",
    # running
    "HookContext",
    "OpExecutionContext",
    "get_logger",
    "ExecutorDefinition",
    "celery_executor",
    "executor",
    "in_process_executor",
    "multi_or_in_process_executor",
    "multiprocess_executor",
    "RunStatus",
    "EventType",
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
    "opgrid.definitions.events": (
        "Output",
        "DynamicOutput",
        "Failure",
        "RetryRequested",
        "AssetKey",
        "AssetMaterialization",
        "AssetObservation",
        "ExpectationResult",
        "TypeCheck",
    ),
    "opgrid.definitions.metadata": (
        "MetadataValue",
        "TableColumn",
        "TableRecord",
        "TableSchema",
    ),
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
    "opgrid.io.manager": (
        "IOManager",
        "InputManager",
    ),
    "opgrid.io.context": (
        "InputContext",
        "OutputContext",
    ),
    "opgrid.io.memory": ("InMemoryIOManager",),
    "opgrid.steps.context": (
        "HookContext",
        "OpExecutionContext",
    ),
    "opgrid.steps.logs": ("get_logger",),
    "opgrid.definitions.executor": (
        "ExecutorDefinition",
        "celery_executor",
        "executor",
        "in_process_executor",
        "multi_or_in_process_executor",
        "multiprocess_executor",
    ),
    "opgrid.contracts.status": ("RunStatus",),
    "opgrid.contracts.events": ("EventType",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'opgrid' has no attribute {name!r}")
    found = getattr(importlib.import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
