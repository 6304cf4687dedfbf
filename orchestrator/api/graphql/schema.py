"""The schema as a whole, and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import strawberry
from graphql import GraphQLError
from strawberry.extensions import AddValidationRules, MaskErrors, MaxTokensLimiter
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionContext
from strawberry.types.graphql import OperationType

from opgrid.errors import DatabaseUnreachable, UnknownCursor, ValueRefused
from orchestrator.api.graphql import errors
from orchestrator.api.graphql.automation import AutomationMutations, AutomationQueries
from orchestrator.api.graphql.backfills import BackfillMutations, BackfillQueries
from orchestrator.api.graphql.events import EVENT_TYPES
from orchestrator.api.graphql.instance import InstanceMutations, InstanceQueries
from orchestrator.api.graphql.launching import RunMutations
from orchestrator.api.graphql.legacy import LegacyMutations, LegacyQueries, LegacySubscriptions
from orchestrator.api.graphql.limits import Limits
from orchestrator.api.graphql.live import LiveSubscriptions
from orchestrator.api.graphql.run_queries import RunQueries
from orchestrator.api.graphql.runs import UnknownPipeline
from orchestrator.api.graphql.scalars import CONFIG
from orchestrator.api.graphql.workspace import WorkspaceMutations, WorkspaceQueries

#: The schema as it is published; ``make docs`` writes it.
FILE: Final = Path(__file__).parents[1] / "schema.graphql"
TOKENS: Final = 4000
_TOLD: Final = (
    CannotGetOperationTypeError,
    InvalidOperationTypeError,
    DatabaseUnreachable,
    UnknownCursor,
    ValueRefused,
)


@strawberry.type
class Query(RunQueries, WorkspaceQueries, AutomationQueries, BackfillQueries, InstanceQueries, LegacyQueries):
    pass


@strawberry.type
class Mutation(
    RunMutations, WorkspaceMutations, AutomationMutations, BackfillMutations, InstanceMutations, LegacyMutations
):
    pass


@strawberry.type
class Subscription(LiveSubscriptions, LegacySubscriptions):
    pass


def _is_hidden(error: GraphQLError) -> bool:
    """What resolvers raise is ours to know; what is wrong with a query or its variables is told, and that the database
    is away, or does not take a value, and that a list cannot go on.
    """
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause is not None and not isinstance(cause, _TOLD)


_OTHERS: Final[list[Any]] = [
    errors.FieldNotDefinedConfigError,
    errors.FieldsNotDefinedConfigError,
    errors.MissingFieldConfigError,
    errors.MissingFieldsConfigError,
    errors.RuntimeMismatchConfigError,
    errors.SelectorTypeConfigError,
    *EVENT_TYPES.values(),
    UnknownPipeline,
]


class _Schema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """What is wrong with a question is told to whoever asks; the log is for what is wrong with the service. That
        its database is away is not said for each question: the application says how long it lasts.
        """
        super().process_errors([error for error in errors if _is_hidden(error)], execution_context)

    async def stream(self, *args: Any, **more: Any) -> Any:
        """What comes over a WebSocket is answered in the event loop, where others wait for what a query asks."""
        return await super().stream(*args, **{**more, "allowed_operation_types": [OperationType.SUBSCRIPTION]})


schema: Final = _Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=_OTHERS,
    config=CONFIG,
    extensions=[
        lambda: AddValidationRules([Limits]),
        lambda: MaxTokensLimiter(max_token_count=TOKENS),
        lambda: MaskErrors(
            should_mask_error=_is_hidden, error_message="The server could not answer this; see its log."
        ),
    ],
)


def text() -> str:
    """The schema in GraphQL's language."""
    return schema.as_str() + "\n"
