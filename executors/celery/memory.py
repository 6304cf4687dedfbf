"""Whether Redis has room for what steps will store there: without it, none are sent."""

from __future__ import annotations

import time
from typing import Any, Final

from opgrid.broker.address import BrokerAddress
from opgrid.broker.connection import evicts, reaching
from opgrid.broker.protocol import Protocol
from opgrid.errors import BrokerUnfit

#: Of the memory that Redis may use, the share above which no steps are sent.
FULL: Final = 0.8
_WEIGH_EVERY: Final = 0.5  #: seconds


class Memory:
    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._next_weighing = 0.0  #: monotonic

    def is_due(self, now: float) -> bool:
        """It was found to be well some time ago."""
        return now >= self._next_weighing

    def found_well(self, now: float) -> None:
        """It is not asked again for a while."""
        self._next_weighing = now + _WEIGH_EVERY

    def mind(self) -> None:
        """Raises BrokerUnfit while Redis is nearly full: what runs has to find room for its outputs; and while it would
        throw away what is in it, which whoever changed its settings has to change back. Else BrokerUnreachable.
        """
        now = time.monotonic()
        if not self.is_due(now):
            return
        url = self._protocol.url
        with reaching(url):
            memory: Any = self._protocol.client.info("memory")
        if evicts(memory):
            raise BrokerUnfit(BrokerAddress.parse(url).shown, f"it {evicts(memory)}. Set it to noeviction")
        most, used = memory.get("maxmemory", 0), memory.get("used_memory", 0)
        if most and used >= FULL * most:
            full = f"its memory is nearly full, {used / most:.0%} of {most:,} bytes. They go on below {FULL:.0%}"
            raise BrokerUnfit(BrokerAddress.parse(url).shown, full)
        self.found_well(now)
