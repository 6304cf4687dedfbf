"""What changes a step's state in Redis: atomic scripts, each safe to run twice with the same arguments.

A run's hash holds a *fence* for each step: ``3`` while attempt 3 may be claimed and finished, ``3 x <claim>`` once
it has ended, and by whose word; ``1 ~`` while the step travels with one that it waits for. A fence never goes back. A
*lease* says who works on an attempt and counts its beats.
Everything a script reports goes to the stream of the run's coordinator in the same instant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import redis
from redis.exceptions import NoScriptError

from opgrid.broker.connection import connect, reaching
from opgrid.broker.keys import Keys, lease_field

#: Shared by the scripts: a fence apart into attempt and the claim that ended it (nil while open).
_FENCE: Final = """
local function fence(run, step)
  local text = redis.call('HGET', run, 'f:' .. step)
  if not text then return nil, nil end
  local attempt, by = string.match(text, '^(%d+) x (.*)$')
  if attempt then return tonumber(attempt), by end
  return tonumber(string.match(text, '^%d+')), nil, string.sub(text, -1) == '~'
end
-- The claim that holds a lease, and the lease; with an attempt, one of an earlier attempt is none: a Redis that was
-- rolled back may still have it.
local function holder(leases, field, attempt)
  local text = redis.call('HGET', leases, field)
  if not text then return nil, nil end
  if attempt and tonumber(string.match(text, '^%d+')) < attempt then return nil, nil end
  return string.match(text, '^%d+ (%S+)'), text
end
"""

_PUBLISH: Final = """
local said = {}
for i = 4, #ARGV, 4 do
  local step, attempt, queue, message = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local at, by, aboard = fence(KEYS[1], step)
  local held = at == attempt and holder(KEYS[2], ARGV[2] .. '/' .. step, attempt)
  if queue == '~' then
    if not at then redis.call('HSET', KEYS[1], 'f:' .. step, attempt .. ' ~') end
    said[#said + 1] = 'known'
  elseif at and (at > attempt or (at == attempt and by)) then
    said[#said + 1] = 'stale'
  elseif held or (at == attempt and ARGV[1] == '0' and (message == '' or not aboard)) then
    if aboard then redis.call('HSET', KEYS[1], 'f:' .. step, attempt) end
    said[#said + 1] = 'known'
  else
    redis.call('HSET', KEYS[1], 'f:' .. step, attempt)
    if message ~= '' then redis.call('LPUSH', queue, message) end
    said[#said + 1] = 'sent'
  end
end
redis.call('HDEL', KEYS[1], 'end')
redis.call('EXPIRE', KEYS[1], ARGV[3])
return said
"""

_CLAIM: Final = """
local step, attempt, claim, field = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local at, by = fence(KEYS[1], step)
if not at then return 'gone' end
if at ~= attempt then return 'stale' end
if by then return 'done' end
local mark = redis.call('HGET', KEYS[1], 'c:' .. step)
if mark and tonumber(mark) >= attempt then return 'canceled' end
local who, lease = holder(KEYS[2], field, attempt)
if who == claim then return 'ok' end
if lease then return 'taken' end
redis.call('HSET', KEYS[2], field, attempt .. ' ' .. claim .. ' 0 ' .. ARGV[5])
redis.call('XADD', KEYS[3], '*', 'd', ARGV[6])
return 'ok'
"""

_BEAT: Final = """
local said = {}
for i = 1, #ARGV, 7 do
  local run, leases, step, field = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local attempt, claim, rest = tonumber(ARGV[i + 4]), ARGV[i + 5], ARGV[i + 6]
  local at, by = fence(run, step)
  local who = holder(leases, field, attempt)
  if (at and (at ~= attempt or by)) or (who and who ~= claim) or redis.call('HEXISTS', run, 'end') == 1 then
    if who == claim then redis.call('HDEL', leases, field) end
    said[#said + 1] = 'stale'
  else
    redis.call('HSET', leases, field, attempt .. ' ' .. claim .. ' ' .. rest)
    local mark = redis.call('HGET', run, 'c:' .. step)
    said[#said + 1] = (mark and tonumber(mark) >= attempt) and 'cancel' or 'ok'
  end
end
return said
"""

_FINISH: Final = """
local step, attempt, claim, field = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local at, by = fence(KEYS[1], step)
if not at then
  if redis.call('HEXISTS', KEYS[1], 'end') == 1 then return 'stale' end
  return 'unknown'
end
if at == attempt and by == claim then return 'ok' end
local who = holder(KEYS[2], field, attempt)
if at ~= attempt or by or (who and who ~= claim) then return 'stale' end
for i = 6, #ARGV do
  if redis.call('EXISTS', ARGV[i]) == 0 then return 'missing' end
end
redis.call('XADD', KEYS[3], '*', 'd', ARGV[5])
redis.call('HDEL', KEYS[2], field)
redis.call('HSET', KEYS[1], 'f:' .. step, attempt .. ' x ' .. claim)
return 'ok'
"""

_REPORT: Final = """
if holder(KEYS[1], ARGV[1]) ~= ARGV[2] then return 'stale' end
redis.call('XADD', KEYS[2], '*', 'd', ARGV[3])
return 'ok'
"""

_EXPIRE: Final = """
local step, attempt, field = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local at, by = fence(KEYS[1], step)
if not at then return 'unknown' end
local _, seen = holder(KEYS[2], field)
local _, lease = holder(KEYS[2], field, attempt)
if at ~= attempt or by or ((seen or '') ~= ARGV[4] and (lease or '') ~= ARGV[4]) then return 'stale' end
redis.call('XADD', KEYS[3], '*', 'd', ARGV[5])
redis.call('HDEL', KEYS[2], field)
redis.call('HSET', KEYS[1], 'f:' .. step, attempt .. ' x -')
return 'ok'
"""

_CANCEL: Final = """
local said = {}
for i = 1, #ARGV, 4 do
  local step, attempt, field = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local at, by = fence(KEYS[1], step)
  if at and (at > attempt or (at == attempt and by)) then
    said[#said + 1] = 'done'
  else
    redis.call('HSET', KEYS[1], 'c:' .. step, attempt)
    if at == attempt and holder(KEYS[2], field, attempt) then
      said[#said + 1] = 'running'
    else
      redis.call('HSET', KEYS[1], 'f:' .. step, attempt .. ' x -')
      redis.call('XADD', KEYS[3], '*', 'd', ARGV[i + 3])
      said[#said + 1] = 'canceled'
    end
  end
end
return said
"""

_REFUSE: Final = """
local step, attempt, field = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local at, by = fence(KEYS[1], step)
if at ~= attempt or by or holder(KEYS[2], field, attempt) then return 'stale' end
local now = redis.call('TIME')
local mark = 'm:' .. step .. ':' .. attempt
local first = redis.call('HSETNX', KEYS[1], mark, now[1]) == 1
if tonumber(now[1]) - tonumber(redis.call('HGET', KEYS[1], mark)) >= tonumber(ARGV[4]) then
  redis.call('XADD', KEYS[3], '*', 'd', ARGV[8])
  redis.call('HSET', KEYS[1], 'f:' .. step, attempt .. ' x -')
  return 'failed'
end
if redis.call('HSETNX', KEYS[1], 'n:' .. ARGV[9], 1) == 1 then redis.call('XADD', KEYS[3], '*', 'd', ARGV[7]) end
redis.call('LPUSH', ARGV[5], ARGV[6])
return 'back'
"""

_RELEASE: Final = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'end', 1)
redis.call('EXPIRE', KEYS[1], ARGV[1])
for i = 2, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
return 'ok'
"""

#: ``Outgoing.queue`` of a step that travels with one that it waits for.
ABOARD: Final = "~"
#: A run's fences outlive any run, but not for ever.
RUN_TTL: Final = 30 * 86400
#: How long a released run still refuses what comes late.
TOMBSTONE_TTL: Final = 86400


Value = str | bytes | int


class Said(StrEnum):
    """What a script answers."""

    OK = "ok"
    SENT = "sent"
    KNOWN = "known"  #: this attempt was published before
    STALE = "stale"  #: the attempt has ended, or there is a newer one
    GONE = "gone"  #: nobody asks for this step any more
    DONE = "done"
    TAKEN = "taken"  #: somebody else works on it
    CANCELED = "canceled"
    CANCEL = "cancel"
    RUNNING = "running"
    MISSING = "missing"  #: an output that should have been stored is not there
    UNKNOWN = "unknown"  #: Redis has lost what it knew about this run
    BACK = "back"
    FAILED = "failed"


class Script:
    """EVALSHA, and EVAL where Redis does not know the script yet or any more."""

    def __init__(self, source: str) -> None:
        self.source = _FENCE + source
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: redis.Redis, keys: Sequence[str], args: Iterable[Value]) -> Any:
        values: list[Any] = [*keys, *args]
        try:
            return client.evalsha(self.sha, len(keys), *values)
        except NoScriptError:
            return client.eval(self.source, len(keys), *values)


_publish, _claim, _beat, _finish = Script(_PUBLISH), Script(_CLAIM), Script(_BEAT), Script(_FINISH)
_report, _expire, _cancel = Script(_REPORT), Script(_EXPIRE), Script(_CANCEL)
_refuse, _release = Script(_REFUSE), Script(_RELEASE)


class Attempt(NamedTuple):
    """One attempt at one step, as Redis knows it."""

    run_id: str
    stream: str
    step: str
    attempt: int

    @property
    def field(self) -> str:
        return lease_field(self.run_id, self.step)


class Outgoing(NamedTuple):
    step: str
    attempt: int
    queue: str  #: key of the list
    message: bytes  #: empty: only the fence is set


class Beat(NamedTuple):
    attempt: Attempt
    claim: str
    number: int
    owner: str


class Protocol:
    """The scripts, with a connection and key names. For several threads, not for several processes.

    Every method may raise BrokerUnreachable, whether or not it has done its work; the same call may be made again.
    """

    def __init__(self, url: str, keys: Keys, name: str) -> None:
        self.url = url
        self.keys = keys
        self.client = connect(url, name)

    def close(self) -> None:
        self.client.close()

    def publish(self, run_id: str, stream: str, outgoing: Sequence[Outgoing], again: bool = False) -> list[Said]:
        """Set fences and push messages: SENT, KNOWN or STALE for each. ``again``: the known too, unless claimed."""
        args: list[Value] = [int(again), run_id, RUN_TTL]
        for each in outgoing:
            args += each
        return self._all_said(_publish, [self.keys.run(run_id), self.keys.leases(stream)], args)

    def claim(self, at: Attempt, claim: str, owner: str, started: bytes) -> Said:
        """OK, or why not: GONE, STALE, DONE, CANCELED, TAKEN."""
        return self._said(_claim, self._keys(at), [at.step, at.attempt, claim, at.field, owner, started])

    def beat(self, beats: Sequence[Beat]) -> list[Said]:
        """OK, CANCEL or STALE for each. A lease that Redis has lost is made again."""
        args: list[Value] = []
        for at, claim, number, owner in beats:
            args += [self.keys.run(at.run_id), self.keys.leases(at.stream), at.step, at.field, at.attempt, claim]
            args.append(f"{number} {owner}")
        return self._all_said(_beat, [], args)

    def finish(self, at: Attempt, claim: str, events: bytes, outputs: Sequence[str] = ()) -> Said:
        """OK: the attempt has ended with these events. STALE, MISSING, UNKNOWN: nothing was changed."""
        return self._said(_finish, self._keys(at), [at.step, at.attempt, claim, at.field, events, *outputs])

    def report(self, at: Attempt, claim: str, events: bytes) -> Said:
        """Append observations while the lease is ours."""
        return self._said(
            _report, [self.keys.leases(at.stream), self.keys.events(at.stream)], [at.field, claim, events]
        )

    def append(self, stream: str, events: bytes) -> None:
        """Append what needs no lease: notes, and what follows an accepted finish."""
        with reaching(self.url):
            self.client.xadd(self.keys.events(stream), {"d": events})

    def expire(self, at: Attempt, lease: bytes | str, events: bytes) -> Said:
        """End an attempt whose lease still reads ``lease`` (empty: there is none)."""
        return self._said(_expire, self._keys(at), [at.step, at.attempt, at.field, lease, events])

    def cancel(self, run_id: str, stream: str, marks: Sequence[tuple[str, int, bytes]]) -> list[Said]:
        """(step, attempt, StepCanceled): CANCELED where nobody works on it; RUNNING: its worker is told; DONE."""
        args: list[Value] = []
        for step, attempt, event in marks:
            args += [step, attempt, lease_field(run_id, step), event]
        keys = [self.keys.run(run_id), self.keys.leases(stream), self.keys.events(stream)]
        return self._all_said(_cancel, keys, args)

    def refuse(self, at: Attempt, patience: int, back: Outgoing, note: bytes, failure: bytes, by: str) -> Said:
        """BACK in the queue for a worker with other code; FAILED after ``patience`` seconds; STALE."""
        args: list[Value] = [at.step, at.attempt, at.field, patience]
        args += [back.queue, back.message, note, failure, by]
        return self._said(_refuse, self._keys(at), args)

    def release(self, run_id: str, stream: str, steps: Iterable[str] = ()) -> None:
        """Forget a run; what still works on it is told that it is stale."""
        args: list[Value] = [TOMBSTONE_TTL, *(lease_field(run_id, step) for step in steps)]
        with reaching(self.url):
            _release(self.client, [self.keys.run(run_id), self.keys.leases(stream)], args)

    def _keys(self, at: Attempt) -> list[str]:
        return [self.keys.run(at.run_id), self.keys.leases(at.stream), self.keys.events(at.stream)]

    def _said(self, script: Script, keys: Sequence[str], args: Sequence[Value]) -> Said:
        with reaching(self.url):
            return Said(script(self.client, keys, args).decode())

    def _all_said(self, script: Script, keys: Sequence[str], args: Sequence[Value]) -> list[Said]:
        with reaching(self.url):
            return [Said(word.decode()) for word in script(self.client, keys, args)]
