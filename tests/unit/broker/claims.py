"""What a worker does first."""

from __future__ import annotations

from opgrid.broker.protocol import Attempt, Protocol, Said, Wanted


def claim(protocol: Protocol, at: Attempt, name: str, owner: str, started: bytes) -> Said:
    """OK, or why not: GONE, STALE, DONE, CANCELED, TAKEN."""
    return protocol.exchange(at.run_id, at.stream, owner, wanted=[Wanted(at, name, started)]).claimed[0]
