"""Steps on their way through a ride, and the messages that they came in."""

from __future__ import annotations

from dataclasses import dataclass, field

from opgrid.broker.protocol import Attempt
from opgrid.contracts.tasks import StepTask
from opgrid.ids import StepKey
from worker.leases import Claim


@dataclass(slots=True, eq=False)
class Message:
    task_id: str = ""  #: Celery's, of one that was taken along
    said: list[str] = field(default_factory=list)  #: what became of its steps

    def __str__(self) -> str:
        """In words, for Flower."""
        counts: dict[str, int] = {}
        for word in self.said:
            counts[word] = counts.get(word, 0) + 1
        return ", ".join(word if count == 1 else f"{word} x{count}" for word, count in counts.items())


@dataclass(slots=True, eq=False)
class Item:
    """One step of the message."""

    task: StepTask
    at: Attempt
    chain: int  #: what those before it in its chain have made is at hand
    after: tuple[StepKey, ...]  #: that must have succeeded before it
    kind: tuple[str, str]  #: others of which take as long: of its job and op
    message: Message  #: that it came in
    claim: str = ""
    lease: Claim | None = None  #: what is written down of it, once Redis is asked for it
    came_claimed: bool = False  #: by who sent it
    told: bool = False  #: its start was told when it was claimed
    expected: float | None = None  #: seconds, as was known when it was claimed
