"""What coordinators and workers ask of Redis about the steps of runs: claims, leases, ends, messages."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Any, Final, NamedTuple, TypedDict, Unpack

import msgspec

from opgrid.broker.calls import Asked, Calls
from opgrid.broker.connection import connect, reaching
from opgrid.broker.deployment import claim_of
from opgrid.broker.keys import PRIORITY_STEPS, Keys, lease_field
from opgrid.broker.scripts import (
    BEAT,
    CANCEL,
    EXCHANGE,
    EXPIRE,
    PUBLISH,
    REFUSE,
    RELEASE,
    REPORT,
    TAKE,
    TRIM,
    Script,
    Value,
)
from opgrid.io.kept import batches
from opgrid.io.pending import Store, add_to, store_commands

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
    values_ttl: int  #: those that were to go sooner do
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
            said = PUBLISH(self.calls, keys, args)
        if isinstance(said, bytes):  # of all the same
            return [_WORDS[said]] * sum(len(members) for _, _, members in outgoing)
        return [_WORDS[word] for word in said]

    def beat(self, beats: Sequence[Beat]) -> list[Said]:
        """OK, CANCEL or STALE for each. A lease that Redis has lost is made again, one that was given back is not."""
        args: list[Value] = []
        for at, claim, number, owner in beats:
            args += [self.keys.run(at.run_id), self.keys.leases(at.stream), at.step, at.field, at.attempt, claim]
            args.append(f"{number} {owner}")
        return self._all_said(BEAT, [], args)

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
        asked = EXCHANGE.begin(self.calls, keys, args, before)
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
        _, answer = REPORT.begin(self.calls, keys, [at.field, claim, events])

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

    def trim(self, stream: str, before: str, database: str = "") -> None:
        """Forget the entries before that one; of a stream of shards only while it is read for this database."""
        with reaching(self.url):
            if database:
                TRIM(self.calls, [self.keys.events(stream), self.keys.database], [before, claim_of(database)])
            else:
                self.client.xtrim(self.keys.events(stream), minid=before, approximate=False)

    def expire(self, at: Attempt, lease: bytes | str, events: bytes) -> Said:
        """End an attempt whose lease still reads ``lease`` (empty: there is none)."""
        return self._said(EXPIRE, self._keys(at), [at.step, at.attempt, at.field, lease, events])

    def cancel(self, run_id: str, stream: str, marks: Sequence[tuple[str, int, bytes]]) -> list[Said]:
        """(step, attempt, StepCanceled): CANCELED where nobody works on it; RUNNING: its worker is told; DONE."""
        args: list[Value] = []
        for step, attempt, event in marks:
            args += [step, attempt, lease_field(run_id, step), event]
        keys = [self.keys.run(run_id), self.keys.leases(stream), self.keys.events(stream)]
        return self._all_said(CANCEL, keys, args)

    def refuse(
        self, at: Attempt, patience: int, queue: str, message: bytes, note: bytes, failure: bytes, by: str
    ) -> Said:
        """BACK in the queue for a worker with other code; FAILED after ``patience`` seconds; STALE."""
        args: list[Value] = [at.step, at.attempt, at.field, patience]
        args += [queue, message, note, failure, by]
        return self._said(REFUSE, self._keys(at), args)

    def take(self, queue: str, others: Iterable[str], sign: bytes) -> bytes | None:
        """The message of a queue whose turn it is, where it says ``sign`` and nothing as urgent waits in one of the
        ``others``. An answer that is lost is a message that is lost.
        """
        names = dict.fromkeys([queue, *others])
        keys = [key for name in names for key in self.keys.queue_lists(name)]
        with reaching(self.url):
            found = TAKE(self.calls, keys, [len(PRIORITY_STEPS), sign])
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
            left = RELEASE(self.calls, keys, [*args, *(lease_field(run_id, step) for step in steps)])
        return bool(left == b"0")

    def _keys(self, at: Attempt) -> list[str]:
        return [self.keys.run(at.run_id), self.keys.leases(at.stream), self.keys.events(at.stream)]

    def _said(self, script: Script, keys: Sequence[str], args: Sequence[Value]) -> Said:
        with reaching(self.url):
            return _WORDS[script(self.calls, keys, args)]

    def _all_said(self, script: Script, keys: Sequence[str], args: Sequence[Value]) -> list[Said]:
        with reaching(self.url):
            return [_WORDS[word] for word in script(self.calls, keys, args)]
