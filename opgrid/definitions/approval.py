"""A step that somebody has to approve before anything behind it runs."""

from __future__ import annotations

from collections.abc import Mapping

from opgrid.contracts.structure import APPROVAL_TAG, APPROVAL_TIMEOUT_TAG
from opgrid.definitions.op import OpDefinition, op
from opgrid.definitions.ports import In, Nothing, Out
from opgrid.errors import InvalidDefinitionError

__all__ = ["approval_op"]


def approval_op(
    name: str,
    question: str,
    *,
    timeout: float | None = None,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> OpDefinition:
    """An op that succeeds once somebody has approved it, with ``opgrid run approve``, on the run page, or by the API,
    and fails when it is rejected, or not answered within ``timeout`` seconds. No worker waits with it.

        ship = approval_op("ship", "Ship the release?", timeout=86400)

        @job
        def release():
            publish(start=ship(start=build()))

    Its input ``start`` and its output ``result`` only order. The tag ``opgrid/approval`` does the same for any op.
    Raises InvalidDefinitionError.
    """
    if not question.strip():
        raise InvalidDefinitionError(f"Approval {name!r} needs a question for whoever is to answer it.")
    if timeout is not None and not timeout > 0:
        raise InvalidDefinitionError(f"Approval {name!r}: the timeout must be seconds above 0, not {timeout!r}.")
    wait = {} if timeout is None else {APPROVAL_TIMEOUT_TAG: f"{timeout:.15g}"}

    @op(
        name=name,
        description=description or question,
        ins={"start": In(Nothing)},
        out=Out(Nothing),
        tags={**(tags or {}), APPROVAL_TAG: question, **wait},
    )
    def approved() -> None:
        """It was."""

    return approved
