"""How many steps of a run may be out at once: in all, and by tag. Pure; the loop asks before it submits."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from opgrid.contracts.tasks import StepTask
from opgrid.errors import InvalidConfigError
from opgrid.ids import StepKey


class TagLimit(NamedTuple):
    """At most ``limit`` steps with the tag. ``value`` None: any value; ``per_value``: each value has its own count."""

    key: str
    limit: int
    value: str | None = None
    per_value: bool = False

    def tag_of(self, tags: Mapping[str, str]) -> str | None:
        """With which tag a step that has these counts, as far as it matters. None: it does not count."""
        value = tags.get(self.key)
        if value is None or self.value not in (None, value):
            return None
        return f"{self.key}={value}" if self.per_value or self.value is not None else self.key


#: What a step counts against: a limit, and with which tag.
_Claim = tuple[int, str]
#: Steps that count against the same things wait in one line.
_Claims = tuple[_Claim, ...]


class Admission:
    def __init__(self, max_concurrent: int | None = None, tags: Sequence[TagLimit] = ()) -> None:
        self._caps = [max_concurrent, *(limit.limit for limit in tags)]
        self._tags = tags
        self._used: Counter[_Claim] = Counter()
        self._out: dict[tuple[StepKey, int], _Claims] = {}
        self._lines: dict[_Claims, list[tuple[int, int, StepTask]]] = {}
        self._order = 0

    def admit(self, tasks: Iterable[StepTask], tags: Mapping[StepKey, Mapping[str, str]]) -> list[StepTask]:
        """Those that may go now; the others wait here. ``tags`` by step."""
        for task in tasks:
            self._order += 1
            line = self._lines.setdefault(self._claims(tags.get(task.step, {})), [])
            heapq.heappush(line, (-task.priority, self._order, task))
        return self._free()

    def hold(self, step: StepKey, attempt: int, tags: Mapping[str, str]) -> None:
        """An attempt that is out already, since before this process drove its run."""
        claims = self._out[step, attempt] = self._claims(tags)
        self._used.update(claims)

    def done(self, step: StepKey, attempt: int) -> list[StepTask]:
        """The attempt is out no more: those that may go instead. Repeated ones change nothing. One that waits here
        waits no more: another process had sent it before this one drove its run.
        """
        claims = self._out.pop((step, attempt), None)
        if claims is None:
            self.withdraw(step, attempt)
            return []
        self._used.subtract(claims)
        return self._free()

    def withdraw(self, step: StepKey, attempt: int) -> bool:
        """True when the attempt was waiting here: it will not go."""
        for line in self._lines.values():
            for place, (_, _, task) in enumerate(line):
                if task.step == step and task.attempt == attempt:
                    line[place] = line[-1]
                    line.pop()
                    heapq.heapify(line)
                    return True
        return False

    def held(self) -> dict[str, tuple[StepKey, int]]:
        """By tag: a step that waits because as many as may be are out with it, and how many these are."""
        found: dict[str, tuple[StepKey, int]] = {}
        for claims, line in self._lines.items():
            for place, tag in claims[1:] if line else ():
                most = self._tags[place - 1].limit
                if self._used[place, tag] >= most:
                    found.setdefault(tag, (line[0][2].step, most))
        return found

    def _claims(self, tags: Mapping[str, str]) -> _Claims:
        claims: list[_Claim] = [(0, "")]
        for place, limit in enumerate(self._tags, 1):
            tag = limit.tag_of(tags)
            if tag is not None:
                claims.append((place, tag))
        return tuple(claims)

    def _free(self) -> list[StepTask]:
        going: list[StepTask] = []
        while True:
            open_lines = [(line[0], claims) for claims, line in self._lines.items() if line and self._fits(claims)]
            if not open_lines:
                return going
            _, claims = min(open_lines, key=lambda entry: entry[0][:2])
            task = heapq.heappop(self._lines[claims])[2]
            self._used.update(claims)
            self._out[task.step, task.attempt] = claims
            going.append(task)

    def _fits(self, claims: _Claims) -> bool:
        return all((cap := self._caps[claim[0]]) is None or self._used[claim] < cap for claim in claims)


def from_config(config: Mapping[str, Any]) -> Admission | None:
    """What ``tag_concurrency_limits`` of an executor's config asks for; None: nothing."""
    limits = limits_of(config)
    return Admission(None, limits) if limits else None


def limits_of(config: Mapping[str, Any]) -> list[TagLimit]:
    """Raises InvalidConfigError."""
    return [_tag_limit(entry) for entry in config.get("tag_concurrency_limits") or []]


def _tag_limit(entry: Any) -> TagLimit:
    try:
        value = entry.get("value")
        per_value = isinstance(value, dict) and bool(value["applyLimitPerUniqueValue"])
        return TagLimit(entry["key"], int(entry["limit"]), value if isinstance(value, str) else None, per_value)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InvalidConfigError(
            f"{entry!r} in tag_concurrency_limits is not understood: it needs `key` and `limit`, and may have `value`: "
            "a text, or {applyLimitPerUniqueValue: true}."
        ) from None
