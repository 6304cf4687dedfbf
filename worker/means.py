"""What the rides of one pool child share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from opgrid.broker.keys import Keys
from opgrid.broker.messages import CeleryMessages
from opgrid.broker.pace import Pace
from opgrid.broker.protocol import Protocol
from opgrid.io.keys import KeyRing
from opgrid.io.pending import Pending
from worker.along import Along
from worker.cancellation import Stoppable
from worker.leases import Slot
from worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Means:
    """What the rides of one pool child use, one after the other."""

    settings: WorkerSettings
    keys: Keys
    protocol: Protocol
    messages: CeleryMessages
    ring: KeyRing
    slot: Slot
    stoppable: Stoppable
    pending: Pending
    owner: str
    look_now: Callable[[], None]  #: has ``look_after`` called at once, by another thread
    pace: Pace = field(default_factory=Pace)
    along: Along | None = None  #: None: nothing is taken along
