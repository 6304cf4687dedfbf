"""The middle of a step: the op's own function, called the way its signature asks for."""

from __future__ import annotations

from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType
from typing import TYPE_CHECKING, Any, Final

from opgrid.definitions.events import Failure, RetryRequested
from opgrid.errors import ExecutionStepExecutionError
from opgrid.steps.forks import end_copies

if TYPE_CHECKING:
    from opgrid.steps.attempt import Attempt

_ASYNC: Final = (CoroutineType, AsyncGeneratorType)


def call_op(attempt: Attempt, inputs: dict[str, Any]) -> Any:
    """What the function returned: a value, or a generator of what it yields. Async bodies run on the process's
    event loop.
    """
    signature = attempt.node.signature
    named = {name: inputs[name] for name in signature.inputs if name in inputs}
    for parameter, key in signature.resources.items():
        named[parameter] = attempt.opened[key]
    if signature.config is not None:
        named[signature.config] = attempt.config
    try:
        context = None if signature.context is None else attempt.context
        result = signature.call(attempt.node.op.compute_fn, context, named)
        if isinstance(result, _ASYNC):
            from opgrid.steps import event_loop

            return event_loop.run(result) if isinstance(result, CoroutineType) else event_loop.iterate(result)
        return result
    except (Failure, RetryRequested):
        raise
    except Exception as error:
        raise _raised(attempt) from error
    finally:
        end_copies(attempt)


def yielded_by(attempt: Attempt, body: Iterator[Any]) -> Iterator[Any]:
    """The items of an op that yields, with what it raises told apart from what happens while its outputs are stored."""
    while True:
        try:
            item = next(body)
        except StopIteration:
            return
        except (Failure, RetryRequested):
            raise
        except Exception as error:
            raise _raised(attempt) from error
        finally:
            end_copies(attempt)
        yield item


def _raised(attempt: Attempt) -> ExecutionStepExecutionError:
    return ExecutionStepExecutionError(f"Op {attempt.named_op} raised in step {attempt.task.step!r}.")
