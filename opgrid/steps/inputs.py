"""The first stage of a step: its inputs, loaded from wherever the plan says, and checked against their types."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, assert_never

from opgrid.contracts.events import LoadedInput, StepInput
from opgrid.contracts.metadata import metadata_to_json
from opgrid.contracts.tasks import (
    FromConfig,
    FromDefault,
    FromInputManager,
    FromJobInput,
    Gathered,
    OutputRef,
    Source,
    Stored,
)
from opgrid.errors import ExecutionLoadInputError, InvariantViolationError, OpGridError, OutputGone, PayloadDamaged
from opgrid.ids import node_of
from opgrid.io.kept import batches
from opgrid.io.manager import ReadsAhead
from opgrid.steps.attempt import Attempt
from opgrid.steps.reading import manager, read, read_without_upstream, reading
from opgrid.steps.scope import Read
from opgrid.steps.type_checks import check

#: Values that are read at once.
_TOGETHER: Final = 1000


class InputsGone(OpGridError):
    """Outputs of other steps that this one needs are not there any more."""

    def __init__(self, refs: Sequence[OutputRef], reason: str) -> None:
        super().__init__(reason)
        self.refs = tuple(refs)


def load_inputs(attempt: Attempt) -> dict[str, Any]:
    """Raises InputsGone with all of them: who has to make them again learns it at once."""
    gone: list[OutputRef] = []
    reason = ""
    loaded: dict[str, Any] = {}
    for each in attempt.task.inputs:
        name = each.name
        try:
            source = each.source  # as nearly always that of another step: it goes past all else that it may be
            value = _stored(attempt, name, source.ref) if type(source) is Stored else _load(attempt, name, source)
            loaded[name] = _checked(attempt, name, value)
        except InputsGone as error:
            gone += error.refs
            reason = reason or str(error)
    if gone:
        raise InputsGone(gone, reason)
    return loaded


def _load(attempt: Attempt, name: str, source: Source) -> Any:
    match source:
        case Stored(ref):
            return _stored(attempt, name, ref)
        case Gathered(items):
            return _gathered(attempt, name, items)
        case FromDefault():
            return attempt.node.ins[name].default_value
        case FromConfig():
            return _from_config(attempt, name, attempt.node.config.inputs.get(name))
        case FromJobInput(job_input):
            return _job_input(attempt, name, job_input)
        case FromInputManager():
            return _from_manager(attempt, name)
        case other:
            assert_never(other)


def _gathered(attempt: Attempt, name: str, refs: Sequence[OutputRef]) -> list[Any]:
    values: list[Any] = []
    gone: list[OutputRef] = []
    reason = ""
    for batch in batches(refs, _TOGETHER):
        ways = list(_ways(attempt, name, batch))
        at_hand = _read_ahead(attempt, batch, ways)
        for place, (ref, how) in enumerate(zip(batch, ways, strict=True)):
            if how is None:
                values.append(None)
                continue
            if place in at_hand:
                values.append(at_hand[place])
                _tell_loaded(attempt, name, ref, how, {})
                continue
            try:
                values.append(_loaded(attempt, name, ref, how))
            except InputsGone as error:
                gone += error.refs
                reason = reason or str(error)
    if gone:
        raise InputsGone(gone, reason)
    return values


def _ways(attempt: Attempt, name: str, refs: Iterable[OutputRef]) -> Iterator[Read | None]:
    """How each is read; None where there is nothing to read."""
    how, last = None, None
    for ref in refs:
        if ref.manifest is None:
            yield None
            continue
        source = node_of(ref.step), ref.output
        if source != last:  # those of a fan-out are read alike
            how, last = reading(attempt, name, ref), source
        yield how


def _read_ahead(attempt: Attempt, refs: Sequence[OutputRef], ways: Sequence[Read | None]) -> dict[int, Any]:
    """All at once where their manager is quicker so; the values that it has then, by their places. Raises nothing: the
    others are still to be loaded.
    """
    by_manager: dict[str, list[int]] = {}
    for place, how in enumerate(ways):
        if how is not None:
            by_manager.setdefault(how.manager, []).append(place)
    at_hand: dict[int, Any] = {}
    for key, places in by_manager.items():
        with suppress(Exception):
            loader = manager(attempt, key)
            if isinstance(loader, ReadsAhead):
                found = loader.read_ahead(attempt.scope.io, [refs[place] for place in places])
                at_hand.update((places[number], value) for number, value in found.items())
    return at_hand


def _job_input(attempt: Attempt, name: str, job_input: str) -> Any:
    """What the caller passed, else what the run config says, else what the job brings along."""
    local = attempt.scope.local
    if local is not None and job_input in local.input_values:
        return local.input_values[job_input]
    configured = attempt.brief.config.inputs
    if job_input not in configured and job_input in attempt.scope.job.input_values:
        return attempt.scope.job.input_values[job_input]
    return _from_config(attempt, name, configured.get(job_input))


def _stored(attempt: Attempt, name: str, ref: OutputRef) -> Any:
    if ref.manifest is None:
        return None  # its type said that there is nothing to store
    return _loaded(attempt, name, ref, reading(attempt, name, ref))


def _loaded(attempt: Attempt, name: str, ref: OutputRef, how: Read) -> Any:
    key = how.manager
    loader = manager(attempt, key)
    try:
        value, metadata = read(attempt, how, ref, loader)
    except (OutputGone, PayloadDamaged) as error:
        raise InputsGone([ref], str(error)) from error
    except Exception as error:
        raise ExecutionLoadInputError(
            f"Input {name!r} of step {attempt.whose} could not be loaded by {key!r} "
            f"(output {ref.output!r} of step {ref.step!r})."
        ) from error
    _tell_loaded(attempt, name, ref, how, metadata)
    return value


def _tell_loaded(attempt: Attempt, name: str, ref: OutputRef, how: Read, metadata: dict[str, Any]) -> None:
    task = attempt.task
    attempt.sink.emit(
        LoadedInput(
            run_id=task.run_id,
            at=time.time(),
            step=task.step,
            attempt=task.attempt,
            input=name,
            manager=how.manager,
            upstream_step=ref.step,
            upstream_output=ref.output,
            metadata=metadata_to_json(metadata) if metadata else {},
        )
    )


def _from_manager(attempt: Attempt, name: str) -> Any:
    key = attempt.node.ins[name].input_manager_key
    if key is None:
        raise InvariantViolationError(f"Input {name!r} of step {attempt.whose} has no input manager.")
    try:
        value, metadata = read_without_upstream(attempt, name, key)
    except Exception as error:
        raise ExecutionLoadInputError(
            f"Input {name!r} of step {attempt.whose} could not be loaded by {key!r}."
        ) from error
    task = attempt.task
    attempt.sink.emit(
        LoadedInput(
            run_id=task.run_id,
            at=time.time(),
            step=task.step,
            attempt=task.attempt,
            input=name,
            manager=key,
            metadata=metadata_to_json(metadata),
        )
    )
    return value


def _from_config(attempt: Attempt, name: str, value: Any) -> Any:
    loader = attempt.node.ins[name].type.loader
    if loader is None:
        return value
    try:
        return loader(attempt.context, value)
    except Exception as error:
        raise ExecutionLoadInputError(
            f"Input {name!r} of step {attempt.whose} could not be loaded from the run config."
        ) from error


def _checked(attempt: Attempt, name: str, value: Any) -> Any:
    type = attempt.node.checked_ins.get(name)
    if type is None:
        return value
    task = attempt.task
    report, wrong = check(type, attempt, value, "input", name)
    attempt.sink.emit(
        StepInput(
            run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, input=name, type_check=report
        )
    )
    if wrong is not None:
        raise wrong
    return value
