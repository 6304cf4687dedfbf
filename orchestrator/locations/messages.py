"""What the service and the process that holds user code say to each other, as JSON. Times are Unix seconds."""

from __future__ import annotations

import socket
import struct
from typing import Final

import msgspec

from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.events import ErrorInfo
from opgrid.contracts.tasks import CodeTarget, RunBrief
from opgrid.contracts.wire import encode_legibly

# ---- what is in a location


class JobInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    structure_hash: str
    description: str | None = None
    partitioned: bool = False
    executor: str = ""  #: that its runs take where none is given; "": the usual one


class ScheduleInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    cron: tuple[str, ...]
    zone: str
    jobs: tuple[str, ...] = ()
    description: str | None = None
    running: bool = False  #: where nobody has started or stopped it
    catches_up: bool = False  #: ticks that were missed are made up for: its runs are of partitions


class SensorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    interval: float  #: seconds between ticks, at least
    jobs: tuple[str, ...] = ()
    description: str | None = None
    running: bool = False
    run_status: str | None = None  #: it is asked about runs that came to this status


class EnvVarUse(msgspec.Struct, frozen=True):
    """Whose config takes a value from the environment. The value itself is nobody's business."""

    variable: str
    kind: str  #: ``resource`` or ``op``
    name: str


class LocationInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    jobs: tuple[JobInfo, ...] = ()
    schedules: tuple[ScheduleInfo, ...] = ()
    sensors: tuple[SensorInfo, ...] = ()
    variables: tuple[EnvVarUse, ...] = ()
    version: str = ""  #: a hash of all that, the structure of its jobs included


# ---- what it is asked


class Describe(msgspec.Struct, frozen=True, tag="describe"):
    pass


class TickSchedule(msgspec.Struct, frozen=True, tag="schedule"):
    name: str
    at: float  #: the scheduled time


class TickSensor(msgspec.Struct, frozen=True, tag="sensor", omit_defaults=True):
    name: str
    cursor: str | None = None
    last_run_key: str | None = None
    completed: float | None = None  #: the last tick
    since: float | None = None  #: that it runs


class TickRunStatus(msgspec.Struct, frozen=True, tag="run_status"):
    """About one run; nothing comes of it where the sensor does not monitor its job."""

    name: str
    run_id: str
    number: int  #: of the event in the log


class DescribeJob(msgspec.Struct, frozen=True, tag="describe_job"):
    job: str


class Prepare(msgspec.Struct, frozen=True, tag="prepare", omit_defaults=True):
    """Make a run of a job ready to be launched."""

    job: str
    run_config: dict[str, object] | None = None
    tags: dict[str, str] = {}
    partition_key: str | None = None
    executor: str | None = None
    op_selection: tuple[str, ...] = ()
    parent_run_id: str | None = None  #: of the run that this one repeats; what is not given here is that run's
    from_failure: bool = False
    step_selection: tuple[str, ...] = ()


class PartitionKeys(msgspec.Struct, frozen=True, tag="partitions"):
    job: str


Asked = Describe | DescribeJob | TickSchedule | TickSensor | TickRunStatus | Prepare | PartitionKeys

# ---- what it answers


class ReadyRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run that has passed every check."""

    brief: RunBrief
    code: CodeTarget
    plan: msgspec.Raw
    snapshot: msgspec.Raw
    run_key: str | None = None


class PartitionChange(msgspec.Struct, frozen=True):
    name: str
    keys: tuple[str, ...]
    add: bool


class Evaluated(msgspec.Struct, frozen=True, tag="evaluated", omit_defaults=True):
    runs: tuple[ReadyRun, ...] = ()
    skipped: str | None = None
    cursor: str | None = None
    partitions: tuple[PartitionChange, ...] = ()
    log: tuple[str, ...] = ()


class Described(msgspec.Struct, frozen=True, tag="described"):
    info: LocationInfo


class Keys(msgspec.Struct, frozen=True, tag="keys"):
    keys: tuple[str, ...]


class JobDetails(msgspec.Struct, frozen=True, tag="job", omit_defaults=True):
    structure: msgspec.Raw
    config_schema: msgspec.Raw  #: JSON Schema of its run config
    scaffold: dict[str, object] = {}  #: a run config with everything in it
    required: dict[str, object] = {}  #: one with what has to be given
    run_config: dict[str, object] = {}  #: that it brings along
    tags: dict[str, str] = {}
    resources: dict[str, str | None] = {}  #: descriptions by key


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with some run config."""

    kind: str
    path: str  #: ``root:ops:cop:config:s``
    message: str


class Failed(msgspec.Struct, frozen=True, tag="failed", omit_defaults=True):
    error: ErrorInfo
    log: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()  #: where it is run config that does not fit


Answer = Evaluated | Described | JobDetails | Keys | Failed

_LENGTH: Final = struct.Struct(">I")
_LONGEST: Final = 256 * 2**20
_encode = msgspec.json.Encoder().encode
_asked = json_decoder(Asked)
_answer = json_decoder(Answer)


def encode(message: Asked | Answer) -> bytes:
    """As JSON; an error is told also where there is in it what is no text."""
    return encode_legibly(message) if isinstance(message, Failed) else _encode(message)


def decode_asked(data: bytes) -> Asked:
    """Raises msgspec.ValidationError."""
    found: Asked = _asked.decode(data)
    return found


def decode_answer(data: bytes) -> Answer:
    """Raises msgspec.ValidationError."""
    found: Answer = _answer.decode(data)
    return found


def send(to: socket.socket, message: Asked | Answer) -> None:
    data = encode(message)
    to.sendall(_LENGTH.pack(len(data)) + data)


def receive_asked(of: socket.socket) -> Asked | None:
    """None when the other side has gone."""
    data = _frame(of)
    return None if data is None else _asked.decode(data)


def receive_answer(of: socket.socket) -> Answer | None:
    """None when the other side has gone. Raises TimeoutError, msgspec.ValidationError."""
    data = _frame(of)
    return None if data is None else _answer.decode(data)


def _frame(of: socket.socket) -> bytes | None:
    head = _exactly(of, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > _LONGEST:
        raise msgspec.ValidationError(f"a message of {length} bytes")
    return _exactly(of, length)


def _exactly(of: socket.socket, count: int) -> bytes | None:
    found = bytearray()
    while len(found) < count:
        try:
            part = of.recv(min(count - len(found), 2**20))
        except ConnectionError:
            return None
        if not part:
            return None
        found += part
    return bytes(found)
