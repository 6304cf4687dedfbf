"""What the config of the Celery executor says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

import msgspec

from opgrid.broker.address import BrokerAddress
from opgrid.broker.environment import DEFAULT_LEASE_TTL, lease_ttl, whole_number
from opgrid.broker.keys import DEFAULT_QUEUE
from opgrid.contracts.decoding import converted
from opgrid.contracts.executor import ExecutorSetup
from opgrid.errors import SettingsError

_DAY: Final = 86400
_Wait = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class CelerySettings(msgspec.Struct, frozen=True, kw_only=True):
    broker_url: str
    queue: str = DEFAULT_QUEUE  #: of steps that name none
    priority: int = 0  #: of steps that name none
    start_timeout: _Wait = 4.0  #: seconds that a step waits for a worker until the run says so
    lease_ttl: float = DEFAULT_LEASE_TTL  #: seconds of silence after which a worker counts as dead
    outage_grace: float = 60.0  #: seconds that a broker may be away before the run loop is told
    retention: int = _DAY  #: seconds that outputs stay after the end of their run

    @classmethod
    def of(cls, setup: ExecutorSetup, environ: Mapping[str, str] = os.environ) -> Self:
        """The config, then the environment, then defaults. Raises SettingsError."""
        config: dict[str, Any] = {name: value for name, value in setup.config.items() if value is not None}
        url = config.pop("broker", None) or setup.broker_url
        if not isinstance(url, str):
            raise SettingsError(
                "The Celery executor needs a broker: set OPGRID_BROKER_URL, for example to redis://localhost:6379/0, "
                "or `broker` in the executor's config."
            )
        known = {
            "broker_url": BrokerAddress.parse(url).celery_url,
            "lease_ttl": lease_ttl(environ),
            "retention": whole_number("OPGRID_IO_RETENTION", _DAY, environ, least=0),
        }
        known |= {name: value for name, value in config.items() if name in cls.__struct_fields__}
        try:
            return converted(known, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"The config of the Celery executor: {error}") from error

    @property
    def lease_seconds(self) -> int:
        """What late workers may still look at."""
        return max(60, round(self.lease_ttl * 4))
