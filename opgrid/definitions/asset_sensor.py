"""Sensors on assets: a function that is called for what ops say that they have made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import update_wrapper
from typing import Any

from opgrid.contracts.facts import AssetKey
from opgrid.definitions.run_request import Evaluation
from opgrid.definitions.sensor import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SensorFn


class AssetSensorDefinition(SensorDefinition):
    """Its cursor is the number of the last materialization that it saw. Made by :func:`asset_sensor`."""

    parameters = 1

    def __init__(self, name: str | None, asset_key: AssetKey | str | Sequence[str], **more: Any) -> None:
        super().__init__(name, **more)
        self.asset_key = AssetKey.of(asset_key)

    def evaluate_tick(self, context: SensorEvaluationContext) -> Evaluation:
        """Asks the function about the latest materialization, where that is later than the cursor; needs an
        instance.
        """
        after = int(context.cursor or 0)
        found = context.instance.get_asset_materializations(self.asset_key, after)
        if not found:
            return Evaluation(
                skip_message=f"No new materialization of {self.asset_key.to_user_string()!r}", cursor=context.cursor
            )
        number, event = found[-1]
        context.update_cursor(str(number))
        return self._evaluated(self._function(context, event), context)


def asset_sensor(
    asset_key: AssetKey | str | Sequence[str],
    *,
    job_name: str | None = None,
    name: str | None = None,
    minimum_interval_seconds: int | None = None,
    description: str | None = None,
    job: Any = None,
    jobs: Iterable[Any] | None = None,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
    required_resource_keys: Iterable[str] | None = None,
    tags: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    owners: Sequence[str] | None = None,
) -> Callable[[SensorFn], AssetSensorDefinition]:
    """Makes a sensor of a function that is called with the event of the latest AssetMaterialization that ops logged.

    @asset_sensor(AssetKey("orders"), job=report)
    def report_on_orders(context, event):
        return RunRequest(run_key=context.cursor, tags={"rows": event.asset_materialization.metadata["rows"].value})
    """

    def decorated(fn: SensorFn) -> AssetSensorDefinition:
        made = AssetSensorDefinition(
            name,
            asset_key,
            evaluation_fn=fn,
            job_name=job_name,
            minimum_interval_seconds=minimum_interval_seconds,
            description=description,
            job=job,
            jobs=jobs,
            default_status=default_status,
            required_resource_keys=required_resource_keys,
            tags=tags,
            metadata=metadata,
            owners=owners,
        )
        update_wrapper(made, fn, updated=())
        return made

    return decorated
