"""Remote control of a worker: what Celery would say is done, and is not, is refused with the way that there is."""

from __future__ import annotations

from typing import Any, Final

from celery.worker import control as celery_control
from celery.worker import state

_celerys: Final[Any] = celery_control  #: not all of it has types

_BY_STEP: Final = "Messages of steps go from process to process without asking Celery: this changes nothing. "
_NO_RATE: Final = _BY_STEP + "To have fewer at once, put their ops into a pool: @op(pool=NAME)."
_NO_TIME: Final = _BY_STEP + "The time that a step may take is said where it is defined, by the tag opgrid/timeout."
_NO_REVOKING: Final = "Steps belong to their run, and run all the same. To end them: opgrid run cancel RUN_ID"
_ONE_AT_LEAST: Final = (
    "A worker keeps one process at least. To have it take no more messages: cancel_consumer QUEUE; to end it: shutdown."
)
_NO_NEW_POOL: Final = "To start this worker anew, with the code that is there now, send it a SIGHUP."


def install() -> None:
    """In a worker's process."""
    for name, command in _OURS.items():
        _celerys.Panel.data[name] = command


def _rate_limit(state: Any, task_name: str = "", rate_limit: object = None, **_: object) -> Any:
    return _celerys.nok(_NO_RATE)


def _time_limit(state: Any, task_name: str = "", **_: object) -> Any:
    return _celerys.nok(_NO_TIME)


def _restart(state: Any, **_: object) -> Any:
    return _celerys.nok(_NO_NEW_POOL)


def _revoke(its: Any, task_id: Any, terminate: bool = False, signal: str | None = None, **more: Any) -> Any:
    """One that is under way may be terminated: its process ends."""
    if terminate:
        return _celerys.revoke(its, task_id, True, signal, **more)
    state.revoked.update(_celerys.maybe_list(task_id) or [])
    return _celerys.nok(_NO_REVOKING)


def _shrink(its: Any, n: int = 1, **_: object) -> Any:
    if its.consumer.pool.num_processes - n < 1:
        return _celerys.nok(_ONE_AT_LEAST)
    return _celerys.pool_shrink(its, n)


def _autoscale(its: Any, max: int | None = None, min: int | None = None, **_: object) -> Any:
    scale = its.consumer.controller.autoscaler
    if scale is None:
        return _celerys.nok("This worker was not started with --autoscale MAX,MIN.")
    most = scale.max_concurrency if max is None else max
    least = scale.min_concurrency if min is None else min
    if not 1 <= least <= most:
        return _celerys.nok(f"{most} processes at most and {least} at least: that cannot be.")
    answer = _celerys.autoscale(its, max, min)
    its.consumer.controller.max_concurrency = most  # so many messages it takes
    return answer


_OURS: Final = {
    "rate_limit": _rate_limit,
    "time_limit": _time_limit,
    "revoke": _revoke,
    "pool_restart": _restart,
    "pool_shrink": _shrink,
    "autoscale": _autoscale,
}
