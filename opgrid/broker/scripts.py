"""What changes a step's state in Redis: atomic scripts, each safe to run twice with the same arguments.

A run's hash holds a *fence* for each step: ``3`` while attempt 3 may be claimed and finished, ``3 x <claim>`` once
it has ended, and by whose word; ``3 ~`` while no message was sent for it alone: it travels with one that it waits for,
or waits at who took over, who does not know whether a worker has it. A fence never goes back. A *lease* says who works
on an attempt and counts its beats; the claim that was given back last is noted beside the fences (``b:``), for a beat
that was on its way then; so is who began to run hooks on their own (``h:``). What is longer than any of these
(``wide``) has Redis look for the fields of a large run by their names, not one after the other; so have blanks behind
one of many leases.
Everything a script reports goes to the stream of the run's coordinator in the same instant.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Any, Final, NamedTuple, TypedDict, Unpack

import msgspec
from redis.exceptions import NoScriptError

from opgrid.broker.calls import Asked, Calls, Command
from opgrid.broker.connection import connect, reaching
from opgrid.broker.keys import PRIORITY_MARK, PRIORITY_STEPS, Keys, lease_field
from opgrid.io.kept import batches
from opgrid.io.pending import Store, add_to, store_commands

#: Shared by the scripts: a fence apart into attempt and the claim that ended it (nil while open); fields of a hash that
#: are read or changed in one go, a thousand a time, for a call costs more than what it does.
_FENCE: Final = """
local function parsed(text)
  if not text then return nil, nil end
  local open = tonumber(text)
  if open then return open, nil, false end
  local attempt, by = string.match(text, '^(%d+) x (.*)$')
  if attempt then return tonumber(attempt), by, false end
  return tonumber(string.match(text, '^%d+')), nil, string.sub(text, -1) == '~'
end
local function fence(run, step)
  return parsed(redis.call('HGET', run, 'f:' .. step))
end
-- The claim that holds a lease, and the lease; with an attempt, one of an earlier attempt is none: a Redis that was
-- rolled back may still have it.
local function held(text, attempt)
  if not text then return nil, nil end
  local at, claim = string.match(text, '^(%d+) (%S+)')
  if attempt and tonumber(at) < attempt then return nil, nil end
  return claim, text
end
local function holder(leases, field, attempt)
  return held(redis.call('HGET', leases, field), attempt)
end
local function all(command, key, list)
  local found = {}
  if #list > 0 and #list <= 1000 then return redis.call(command, key, unpack(list)) end
  for first = 1, #list, 1000 do
    local answer = redis.call(command, key, unpack(list, first, math.min(first + 999, #list)))
    if command == 'HMGET' then
      for at, text in ipairs(answer) do found[first + at - 1] = text end
    end
  end
  return found
end
"""

#: A message goes by hand to the process that waits for more of its run since last, for what it made is at hand there,
#: where nothing waits in the queue; if one step is out with it, that is claimed for the process.
_PUBLISH: Final = (
    f"""
local again, said, names, given = ARGV[1] == '1', {{}}, {{}}, cmsgpack.unpack(ARGV[7])
local over = redis.call('HGET', KEYS[1], 'end')
if over and over ~= '' and over == ARGV[6] then return 'stale' end
local function hand(list)
  local queue = string.match(list, '^(.-){PRIORITY_MARK}') or list
  local hands = ARGV[5] .. queue
  if ARGV[5] == '' or redis.call('EXISTS', hands) == 0 then return nil end
  local lists = {{queue}}
  for step = 1, {PRIORITY_STEPS[-1]} do lists[#lists + 1] = queue .. '{PRIORITY_MARK}' .. step end
  if redis.call('EXISTS', unpack(lists)) > 0 then return nil end
  while true do
    local found = redis.call('RPOP', hands)
    if not found then return nil end
    local claim = redis.call('GET', found .. ':open')
    if claim then
      redis.call('DEL', found .. ':open')
      return found, claim
    end
  end
end
local function claimed(step, attempt, claim)
  local mark, who, owner = redis.call('HGET', KEYS[1], 'c:' .. step), string.match(claim, '^(%S+) (.*)$')
  if not who or (mark and tonumber(mark) >= tonumber(attempt)) then return false end
  redis.call('HSET', KEYS[2], ARGV[2] .. '/' .. step, attempt .. ' ' .. who .. ' 0 ' .. owner)
  return true
end
"""
    + """
if ARGV[4] ~= '' then
  local info = redis.pcall('INFO', 'memory')
  if type(info) ~= 'string' then return {'full'} end
  local used, most = string.match(info, 'used_memory:(%d+)'), string.match(info, 'maxmemory:(%d+)')
  local policy = string.match(info, 'maxmemory_policy:(%S+)') or 'noeviction'
  local room = not most or tonumber(most) == 0 or tonumber(used) < tonumber(ARGV[4]) * tonumber(most)
  if policy ~= 'noeviction' or not room then return {'full'} end
end
for n = 3, #KEYS do redis.call('SET', KEYS[n], ARGV[5 + 2 * #given + n], 'EX', ARGV[3]) end
for _, members in ipairs(given) do
  for n = 1, #members, 2 do names[#names + 1] = 'f:' .. members[n] end
end
local known, changed, going = {}, {}, {}
for n, text in ipairs(all('HMGET', KEYS[1], names)) do known[names[n]] = text end
local like = true
for number, members in ipairs(given) do
  local queue, message, push = ARGV[6 + 2 * number], ARGV[7 + 2 * number], false
  for i = 1, #members, 2 do
    local name, step, attempt, fence = names[#said + 1], members[i], members[i + 1], nil
    local at, by, aboard = parsed(known[name])
    local held = at == attempt and holder(KEYS[2], ARGV[2] .. '/' .. step, attempt)
    if queue == '~' then
      if not at or at < attempt then fence = attempt .. ' ~' end
      said[#said + 1] = 'known'
    elseif at and (at > attempt or (at == attempt and by)) then
      said[#said + 1] = 'stale'
    elseif held or (at == attempt and not again and (message == '' or not aboard)) then
      if aboard then fence = tostring(attempt) end
      said[#said + 1] = 'known'
    else
      fence, push = tostring(attempt), true
      said[#said + 1] = 'sent'
    end
    if fence then
      known[name] = fence
      changed[#changed + 1] = name
      changed[#changed + 1] = fence
    end
    like = like and said[#said] == said[1]
  end
  if push and message ~= '' then going[#going + 1] = {queue, message, #members == 2 and members[1], members[2]} end
end
if #names > 32 then redis.call('HSET', KEYS[1], 'wide', string.rep('-', 65)) end
all('HSET', KEYS[1], changed)
for _, each in ipairs(going) do
  local found, claim = hand(each[1])
  local is_claimed = found and each[3] and claimed(each[3], each[4], claim)
  redis.call('LPUSH', found or each[1], (is_claimed and '!' or '') .. each[2])
  if found then redis.call('EXPIRE', found, 60) end
end
if over then redis.call('HDEL', KEYS[1], 'end') end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return like and said[1] or said
"""
)

_BEAT: Final = """
local said = {}
for i = 1, #ARGV, 7 do
  local run, leases, step, field = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local attempt, claim, rest = tonumber(ARGV[i + 4]), ARGV[i + 5], ARGV[i + 6]
  local at, by = fence(run, step)
  local who = holder(leases, field, attempt)
  local back = not who and redis.call('HGET', run, 'b:' .. step) == claim
  if back or (at and (at ~= attempt or by)) or (who and who ~= claim) or redis.call('HEXISTS', run, 'end') == 1 then
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

#: What has ended is told, all of it or nothing; then leases are given back; then further attempts are claimed.
_EXCHANGE: Final = """
local owner, prefix, events, notice = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local given = cmsgpack.unpack(ARGV[5])
local ended, back, wanted = given[1], given[2], given[3]
local said, fine, i = {}, true, 4
if ended > 0 then
  local at_of, names, fields = {}, {}, {}
  for n = 1, ended do
    at_of[n], names[n], fields[n] = i, 'f:' .. given[i], prefix .. given[i]
    i = i + 4 + given[i + 3]
  end
  local fences, leases = all('HMGET', KEYS[1], names), all('HMGET', KEYS[2], fields)
  local good, over, free = true, {}, {}
  for n, k in ipairs(at_of) do
    local attempt, claim, outputs = given[k + 1], given[k + 2], given[k + 3]
    local at, by = parsed(fences[n])
    local word = 'ok'
    if not at then
      word = redis.call('HEXISTS', KEYS[1], 'end') == 1 and 'stale' or 'unknown'
    elseif at ~= attempt or by ~= claim then
      local who = held(leases[n], attempt)
      if at ~= attempt or by or (who and who ~= claim) then word = 'stale' end
      if word == 'ok' and outputs > 0 and redis.call('EXISTS', unpack(given, k + 4, k + 3 + outputs)) < outputs then
        word = 'missing'
      end
      over[#over + 1] = names[n]
      over[#over + 1] = given[k + 1] .. ' x ' .. claim
      free[#free + 1] = fields[n]
    end
    good = good and word == 'ok'
    said[n] = word
  end
  fine = good
  if good and #free > 0 then
    redis.call('XADD', KEYS[3], '*', 'd', events)
    all('HDEL', KEYS[2], free)
    all('HSET', KEYS[1], over)
  end
end
for _ = 1, back do
  if holder(KEYS[2], prefix .. given[i]) == given[i + 1] then
    redis.call('HDEL', KEYS[2], prefix .. given[i])
    redis.call('HSET', KEYS[1], 'b:' .. given[i], given[i + 1])
  end
  i = i + 2
end
if notice ~= '' then redis.call('XADD', KEYS[3], '*', 'r', notice) end
if wanted > 0 then
  local names, fields = {}, {}
  for n = 1, wanted do
    local step = given[i + 4 * n - 4]
    names[2 * n - 1], names[2 * n], fields[n] = 'f:' .. step, 'c:' .. step, prefix .. step
  end
  local known, leases, taken, got = all('HMGET', KEYS[1], names), all('HMGET', KEYS[2], fields), {}, {}
  for n = 1, wanted do
    local field, attempt, claim = fields[n], given[i + 1], given[i + 2]
    local at, by = parsed(known[2 * n - 1])
    local mark = known[2 * n]
    local who, lease = held(leases[n], attempt)
    local word = 'ok'
    if not at then word = 'gone'
    elseif at ~= attempt then word = 'stale'
    elseif by then word = 'done'
    elseif mark and tonumber(mark) >= attempt and who ~= claim then word = 'canceled'
    elseif (who ~= claim and lease) or taken[field] then word = 'taken'
    elseif who ~= claim then
      taken[field] = true
      got[#got + 1] = field
      got[#got + 1] = attempt .. ' ' .. claim .. ' 0 ' .. owner
      if given[i + 3] > 0 then redis.call('XADD', KEYS[3], '*', 'd', ARGV[5 + given[i + 3]]) end
    end
    said[#said + 1] = word
    fine = fine and word == 'ok'
    i = i + 4
  end
  if #got > 32 then got[2] = got[2] .. string.rep(' ', 64) end
  all('HSET', KEYS[2], got)
end
return fine and 'ok' or said
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
redis.call('HSET', KEYS[1], 'end', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[1])
for i = 5, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
local left, index = '0', KEYS[3]
if index then
  local page = redis.call('SSCAN', index, 0, 'COUNT', 500)
  left = page[1]
  for _, key in ipairs(page[2]) do redis.call('EXPIRE', key, ARGV[2]) end
  redis.call('EXPIRE', index, ARGV[2])
end
if KEYS[4] then redis.call('EXPIRE', KEYS[4], ARGV[3]) end
return left
"""

_TAKE: Final = """
local steps, others = tonumber(ARGV[1]), #KEYS / ARGV[1]
for at = 1, steps do
  local message = redis.call('LINDEX', KEYS[at], -1)
  if message and not string.find(message, ARGV[2], 1, true) then return false end
  for other = 1, others - 1 do
    if redis.call('EXISTS', KEYS[other * steps + at]) == 1 then return false end
  end
  if message then return redis.call('RPOP', KEYS[at]) end
end
return false
"""

#: Before a message in a hand whose step is claimed.
_CLAIMED: Final = b"!"
#: Processes that wait for one run, at most: what is there besides has gone.
_HANDS: Final = 256
_HANDS_TTL: Final = 60  #: seconds
#: Seconds that a process waits longer than it says.
_HAND_CLOSES: Final = 0.002
#: Outputs of one step that the script is told of.
_MANY: Final = 1000
#: ``Outgoing.queue`` of a step that a worker may have and that is still to be sent on its own.
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
    UNKNOWN = "unknown"  #: Redis has lost what it knew about this run, or was told of all that is out, and not of this
    BACK = "back"
    FAILED = "failed"
    FULL = "full"  #: Redis has no room for what would follow


_WORDS: Final = {word.value.encode(): word for word in Said}
#: What an exchange answers where it says OK to everything.
_FINE: Final = Said.OK.value.encode()

_packed = msgspec.msgpack.Encoder().encode


def generation_of(key: bytes | None, server: Any) -> bytes:
    """Of the data and of the server: one that was started again may have lost the last of what it was told."""
    return (key or b"") + b" " + str(server.get("run_id", "")).encode()


def _mark(created: float) -> str:
    """Of a run that was released; "" for one of which that is not known."""
    return str(created) if created else ""


class Script:
    """EVALSHA, and EVAL where Redis does not know the script yet or any more."""

    def __init__(self, source: str) -> None:
        self.source = _FENCE + source
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, calls: Calls, keys: Sequence[str], args: Iterable[Value], before: Sequence[Command] = ()) -> Any:
        """``before``: what is asked in the same round trip. The answers to that come first then, in a list."""
        called = self._called(keys, args)
        return self._said(calls, called, calls.ask(*before, ["EVALSHA", self.sha, *called]))

    def begin(
        self, calls: Calls, keys: Sequence[str], args: Iterable[Value], before: Sequence[Command] = ()
    ) -> tuple[Asked, Callable[[], Any]]:
        """What is on its way, and what waits for the answer."""
        called = self._called(keys, args)
        asked = calls.begin(*before, ["EVALSHA", self.sha, *called])
        return asked, lambda: self._said(calls, called, asked.answers())

    def _called(self, keys: Sequence[str], args: Iterable[Value]) -> list[Value]:
        return [len(keys), *keys, *args]

    def _said(self, calls: Calls, called: Sequence[Value], answers: Sequence[Any]) -> Any:
        *before, said = answers
        for answer in before:
            if isinstance(answer, Exception):
                raise answer
        if isinstance(said, NoScriptError):
            (said,) = calls.ask(["EVAL", self.source, *called])
        if isinstance(said, Exception):
            raise said
        return [*before, said] if before else said


_publish, _exchange, _beat, _report = Script(_PUBLISH), Script(_EXCHANGE), Script(_BEAT), Script(_REPORT)
_expire, _cancel = Script(_EXPIRE), Script(_CANCEL)
_refuse, _release, _take = Script(_REFUSE), Script(_RELEASE), Script(_TAKE)


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
    """A message and the attempts in it."""

    queue: str  #: key of the list
    message: bytes  #: empty: only fences are set
    members: Sequence[tuple[str, int]]  #: step, attempt


class Handed(NamedTuple):
    """A message that came by hand."""

    message: bytes
    is_claimed: bool  #: the first step in it is, behind which only such may come that wait for it


class Living(NamedTuple):
    """What of a run lives on when it is released, and for how many seconds."""

    values: str  #: key of the set of the keys of its values
    values_ttl: int
    brief: str = ""  #: hash
    brief_ttl: int = 0


class Wanted(NamedTuple):
    """An attempt to be claimed: OK, or why not: GONE, STALE, DONE, CANCELED, TAKEN."""

    at: Attempt
    claim: str
    started: bytes = b""  #: events that tell that it begins now; empty: they come later


class Finished(NamedTuple):
    """An attempt that has ended."""

    at: Attempt
    claim: str
    outputs: Sequence[str] = ()  #: keys that have to exist


class Told(TypedDict, total=False):
    """What an exchange is about; done in this order."""

    stored: Sequence[Store]  #: values to be written
    fetch: Sequence[str]  #: keys of values to read meanwhile
    queues: Iterable[str]  #: of which is asked whether something waits there
    finished: Sequence[Finished]  #: what has ended: reported with ``events``, all of it or nothing
    events: bytes
    returned: Sequence[tuple[str, str]]  #: leases (step, claim) to be given back: the coordinator gets ``notice``
    notice: bytes
    wanted: Sequence[Wanted]  #: to be claimed


class Exchanged(NamedTuple):
    finished: list[Said]  #: OK for all, or why not for some: nothing was changed then
    claimed: list[Said]
    fetched: dict[str, bytes]  #: those of the keys that were there
    waits: bool | None = None  #: whether something does, in one of the queues that were asked about


class Exchanging:
    """An exchange that is on its way. One of ``result`` and ``drop`` is to be called, once."""

    __slots__ = ("_answer", "_asked", "_before", "_claimed", "_fetch", "_finished", "_looks", "_url")

    def __init__(
        self,
        url: str,
        asked: Asked,
        answer: Callable[[], Any],
        before: int,
        fetch: Sequence[str],
        looks: bool,
        finished: int,
        claimed: int,
    ) -> None:
        self._url, self._asked, self._answer = url, asked, answer
        self._before, self._fetch, self._looks = before, fetch, looks
        self._finished, self._claimed = finished, claimed

    def result(self) -> Exchanged:
        """Waits for it. Raises BrokerUnreachable, whether or not it was done."""
        with reaching(self._url):
            answer = self._answer()
        values: Sequence[bytes | None] = ()
        waits = None
        if self._before:
            *others, answer = answer
            if self._looks:
                waits = bool(others.pop())
            if self._fetch:
                values = others[-1]
        if answer == _FINE:
            said = [Said.OK] * (self._finished + self._claimed)
        else:
            said = [_WORDS[word] for word in answer]
        found = {key: value for key, value in zip(self._fetch, values, strict=True) if value is not None}
        return Exchanged(said[: self._finished], said[self._finished :], found, waits)

    def drop(self) -> None:
        """Nobody wants to know what comes of it."""
        self._asked.drop()


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
        self.calls = Calls(self.client)

    def close(self) -> None:
        self.client.close()

    def publish(
        self,
        run_id: str,
        stream: str,
        outgoing: Sequence[Outgoing],
        again: bool = False,
        stored: Mapping[str, bytes] | None = None,
        full: float | None = None,
        hands: str = "",
        created: float = 0.0,
    ) -> list[Said]:
        """Set fences and push messages: SENT, KNOWN or STALE for each member. ``again``: the known too, unless
        claimed. A message of which no member is SENT is not pushed. ``stored``: by key, what messages name, which is
        written first. ``full``: where so much of its memory is in use, as a share, or it evicts keys, or cannot say,
        nothing is changed, and the answer is FULL alone. ``hands``: what the keys begin with of who waits for more of
        the run, at each queue. ``created``: of a run that was released by who named the same time, everything is STALE.
        """
        stored = stored or {}
        keys = [self.keys.run(run_id), self.keys.leases(stream), *stored]
        args: list[Value] = [int(again), run_id, RUN_TTL, "" if full is None else str(full), hands, _mark(created)]
        args.append(_packed([list(chain.from_iterable(members)) for _, _, members in outgoing]))
        for queue, message, _ in outgoing:
            args += (queue, message)
        args += stored.values()
        with reaching(self.url):
            said = _publish(self.calls, keys, args)
        if isinstance(said, bytes):  # of all the same
            return [_WORDS[said]] * sum(len(members) for _, _, members in outgoing)
        return [_WORDS[word] for word in said]

    def beat(self, beats: Sequence[Beat]) -> list[Said]:
        """OK, CANCEL or STALE for each. A lease that Redis has lost is made again, one that was given back is not."""
        args: list[Value] = []
        for at, claim, number, owner in beats:
            args += [self.keys.run(at.run_id), self.keys.leases(at.stream), at.step, at.field, at.attempt, claim]
            args.append(f"{number} {owner}")
        return self._all_said(_beat, [], args)

    def finish(self, at: Attempt, claim: str, events: bytes, outputs: Sequence[str] = ()) -> Said:
        """OK: the attempt has ended with these events. STALE, MISSING, UNKNOWN: nothing was changed."""
        finished = [Finished(at, claim, outputs)]
        return self.exchange(at.run_id, at.stream, "", finished=finished, events=events).finished[0]

    def exchange(self, run_id: str, stream: str, owner: str, **told: Unpack[Told]) -> Exchanged:
        """Everything that a worker has to say about attempts of one run, in one round trip."""
        return self.begin_exchange(run_id, stream, owner, **told).result()

    def begin_exchange(self, run_id: str, stream: str, owner: str, **told: Unpack[Told]) -> Exchanging:
        """The same, for who has something else to do meanwhile."""
        finished, returned, wanted = told.get("finished", ()), told.get("returned", ()), told.get("wanted", ())
        stored, fetch = told.get("stored", ()), told.get("fetch", ())
        keys = [self.keys.run(run_id), self.keys.leases(stream), self.keys.events(stream)]
        given: list[Value] = [len(finished), len(returned), len(wanted)]
        if any(len(each.outputs) > _MANY for each in finished):
            with reaching(self.url):
                finished = self._with_few_outputs(stored, finished)
            stored = ()
        for at, claim, outputs in finished:
            given += (at.step, at.attempt, claim, len(outputs), *outputs)
        for pair in returned:
            given += pair
        starts: list[bytes] = []
        for at, claim, started in wanted:
            if started:
                starts.append(started)
            given += (at.step, at.attempt, claim, len(starts) if started else 0)
        args: list[Value] = [owner, lease_field(run_id, ""), told.get("events", b""), told.get("notice", b"")]
        args += [_packed(given), *starts]
        before = store_commands(stored)
        if fetch:
            before.append(["MGET", *fetch])
        lists = [name for queue in told.get("queues", ()) for name in self.keys.queue_lists(queue)]
        if lists:
            before.append(["EXISTS", *lists])
        asked = _exchange.begin(self.calls, keys, args, before)
        return Exchanging(self.url, *asked, len(before), fetch, bool(lists), len(finished), len(wanted))

    def _with_few_outputs(self, stored: Sequence[Store], finished: Sequence[Finished]) -> list[Finished]:
        """Whether the outputs of a step with very many are there is asked before: Lua compares each argument with all
        others that look alike. The script is given one that is missing, if there is any.
        """
        pipe: Any = self.client.pipeline(transaction=False)
        add_to(pipe, stored)
        pipe.execute()
        found = []
        for each in finished:
            if len(each.outputs) > _MANY:
                pieces = list(batches(each.outputs, _MANY))
                for piece in pieces:
                    pipe.exists(*piece)
                missing = [piece for piece, count in zip(pieces, pipe.execute(), strict=True) if count < len(piece)]
                gone = next((key for piece in missing for key in piece if not self.client.exists(key)), None)
                each = each._replace(outputs=[] if gone is None else [gone])
            found.append(each)
        return found

    def begin_report(self, at: Attempt, claim: str, events: bytes) -> Callable[[], Said]:
        """Append observations while the lease is ours. The answer is for who has done something else meanwhile: what is
        returned is to be called, once.
        """
        keys = [self.keys.leases(at.stream), self.keys.events(at.stream)]
        _, answer = _report.begin(self.calls, keys, [at.field, claim, events])

        def said() -> Said:
            with reaching(self.url):
                return _WORDS[answer()]

        return said

    def begins_hooks(self, run_id: str, step: str, attempt: int) -> bool:
        """Whether nobody else has begun to run the hooks of an ended attempt, and its run goes on."""
        key = self.keys.run(run_id)
        with reaching(self.url):
            if self.client.hexists(key, "end"):
                return False
            pipe: Any = self.client.pipeline()
            pipe.hsetnx(key, f"h:{step}:{attempt}", 1)
            pipe.expire(key, RUN_TTL)
            is_first, _ = pipe.execute()
        return bool(is_first)

    def generation(self) -> bytes:
        """Of Redis: another one where it has lost its data, or was started again and may have lost some."""
        with reaching(self.url):
            self.client.set(self.keys.generation, uuid.uuid4().hex, nx=True)
            key: Any = self.client.get(self.keys.generation)
            return generation_of(key, self.client.info("server"))

    def all_is_told(self, stream: str, generation: bytes) -> None:
        """That Redis knows of every attempt that this coordinator has out: of what it does not know, it never will."""
        with reaching(self.url):
            self.client.set(self.keys.told(stream), generation)

    def told_all(self, stream: str) -> bytes:
        """The generation of this Redis, where ``all_is_told`` was said to it; else nothing."""
        with reaching(self.url):
            pipe: Any = self.client.pipeline()
            pipe.mget(self.keys.told(stream), self.keys.generation)
            pipe.info("server")
            (told, key), server = pipe.execute()
        generation = generation_of(key, server)
        return generation if told == generation else b""

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

    def refuse(
        self, at: Attempt, patience: int, queue: str, message: bytes, note: bytes, failure: bytes, by: str
    ) -> Said:
        """BACK in the queue for a worker with other code; FAILED after ``patience`` seconds; STALE."""
        args: list[Value] = [at.step, at.attempt, at.field, patience]
        args += [queue, message, note, failure, by]
        return self._said(_refuse, self._keys(at), args)

    def take(self, queue: str, others: Iterable[str], sign: bytes) -> bytes | None:
        """The message of a queue whose turn it is, where it says ``sign`` and nothing as urgent waits in one of the
        ``others``. An answer that is lost is a message that is lost.
        """
        names = dict.fromkeys([queue, *others])
        keys = [key for name in names for key in self.keys.queue_lists(name)]
        with reaching(self.url):
            found = _take(self.calls, keys, [len(PRIORITY_STEPS), sign])
        return found if isinstance(found, bytes) else None

    def wait_at_hand(self, brief: str, queue: str, name: str, seconds: float, claim: str, owner: str) -> Handed | None:
        """The message with steps of that run that is sent within that time, where nothing waits in the queue then; a
        step that alone is out with it is claimed with ``claim``. ``name``: used once, ever. It is not asked again where
        the connection breaks: with it, or with the answer, a message may be lost.
        """
        hands, hand = self.keys.hands(brief, self.keys.queue(queue, 0)), self.keys.hand(name)
        with reaching(self.url):
            *others, found = self.calls.ask_once(
                ["SET", f"{hand}:open", f"{claim} {owner}", "PX", round(seconds * 1000)],
                ["RPUSH", hands, hand],
                ["LTRIM", hands, -_HANDS, -1],
                ["EXPIRE", hands, _HANDS_TTL],
                ["BLPOP", hand, str(seconds + _HAND_CLOSES)],  # who found it open has put something there by then
            )
            for answer in (*others, found):
                if isinstance(answer, Exception):
                    raise answer
        if not found:
            return None
        message: bytes = found[1]
        return Handed(message.removeprefix(_CLAIMED), message.startswith(_CLAIMED))

    def release(
        self,
        run_id: str,
        stream: str,
        steps: Iterable[str] = (),
        living: Living | None = None,
        created: float = 0.0,
    ) -> bool:
        """Forget a run; what still works on it is told that it is stale. Where it has more values than one call can
        give a time to live, the answer is False, and the caller has to. ``created``: see :meth:`publish`; another run
        of the same id may be published as ever.
        """
        keys = [self.keys.run(run_id), self.keys.leases(stream)]
        args: list[Value] = [TOMBSTONE_TTL, 0, 0, _mark(created)]
        if living is not None:
            keys += [living.values, *([self.keys.brief(living.brief)] if living.brief else ())]
            args[1:3] = [living.values_ttl, living.brief_ttl]
        with reaching(self.url):
            left = _release(self.calls, keys, [*args, *(lease_field(run_id, step) for step in steps)])
        return bool(left == b"0")

    def _keys(self, at: Attempt) -> list[str]:
        return [self.keys.run(at.run_id), self.keys.leases(at.stream), self.keys.events(at.stream)]

    def _said(self, script: Script, keys: Sequence[str], args: Sequence[Value]) -> Said:
        with reaching(self.url):
            return _WORDS[script(self.calls, keys, args)]

    def _all_said(self, script: Script, keys: Sequence[str], args: Sequence[Value]) -> list[Said]:
        with reaching(self.url):
            return [_WORDS[word] for word in script(self.calls, keys, args)]
