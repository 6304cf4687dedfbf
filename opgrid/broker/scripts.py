"""What changes a step's state in Redis: atomic scripts, each safe to run twice with the same arguments.

A run's hash holds a *fence* for each step: ``3`` while attempt 3 may be claimed and finished, ``3 x <claim>`` once
it has ended, and by whose word; ``3 ~`` while no message was sent for it alone: it travels with one that it waits for,
or waits at who took over, who does not know whether a worker has it. A fence never goes back. A *lease* says who works
on an attempt and counts its beats; the claim that was given back last is noted beside the fences (``b:``), for a beat
that was on its way then; so is who began to run hooks on their own (``h:``). What is longer than any of these
(``wide``) has Redis look for the fields of a large run by their names, not one after the other; so have blanks behind
one of many leases.
Everything a script reports goes to the stream of the run's coordinator in the same instant.
A Redis whose memory is full still takes beats, cancels and ends, which are small and bring room; not what begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from redis.exceptions import NoScriptError

from opgrid.broker.calls import Asked, Calls, Command
from opgrid.broker.keys import PRIORITY_MARK, PRIORITY_STEPS

Value = str | bytes | int

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
-- What is said of attempts that are out, to a Redis that is full too: it refuses what may grow unless the script has
-- changed something before, or may have, such as a field that no hash of ours has.
local function said_to_a_full_one(run)
  if run then redis.call('HDEL', run, '') end
end
"""


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


#: A message goes by hand to the process that waits for more of its run since last, for what it made is at hand there,
#: where nothing waits in the queue; if one step is out with it, that is claimed for the process.
PUBLISH: Final = Script(
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

BEAT: Final = Script("""
said_to_a_full_one(ARGV[1])
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
""")

#: What has ended is told, all of it or nothing; then leases are given back; then further attempts are claimed.
EXCHANGE: Final = Script("""
local owner, prefix, events, notice = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local given = cmsgpack.unpack(ARGV[5])
local ended, back, wanted = given[1], given[2], given[3]
local said, fine, i = {}, true, 4
if wanted == 0 then said_to_a_full_one(KEYS[1]) end
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
""")

REPORT: Final = Script("""
if holder(KEYS[1], ARGV[1]) ~= ARGV[2] then return 'stale' end
redis.call('XADD', KEYS[2], '*', 'd', ARGV[3])
return 'ok'
""")

EXPIRE: Final = Script("""
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
""")

CANCEL: Final = Script("""
said_to_a_full_one(KEYS[1])
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
""")

REFUSE: Final = Script("""
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
""")

TRIM: Final = Script("""
local claim = redis.call('GET', KEYS[2]) or ''
if string.sub(claim, 1, #ARGV[2]) ~= ARGV[2] then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
""")

RELEASE: Final = Script("""
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'end', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[1])
for i = 5, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
local left, index = '0', KEYS[3]
if index then
  local page = redis.call('SSCAN', index, 0, 'COUNT', 500)
  left = page[1]
  for _, key in ipairs(page[2]) do
    local stays = redis.call('TTL', key)
    if stays < 0 or stays > tonumber(ARGV[2]) then redis.call('EXPIRE', key, ARGV[2]) end
  end
  redis.call('EXPIRE', index, ARGV[2])
end
if KEYS[4] then redis.call('EXPIRE', KEYS[4], ARGV[3]) end
return left
""")

TAKE: Final = Script("""
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
""")
