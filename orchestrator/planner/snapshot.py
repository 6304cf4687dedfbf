"""A job as it was when a run was launched: all that planning needs, so that it needs no user code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import msgspec

from opgrid.contracts.config import ExecutorChoice, ResolvedConfig
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.structure import JobStructure
from opgrid.contracts.wire import content_hash


class JobSnapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    structure: JobStructure
    config: ResolvedConfig = ResolvedConfig()
    executor: ExecutorChoice = ExecutorChoice("in_process")
    tags: dict[str, str] = {}  #: of the run
    inputs: tuple[str, ...] = ()  #: top-level inputs whose values the caller holds, next to those in ``config.inputs``

    def to_json(self) -> bytes:
        return _encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Raises msgspec.ValidationError for what is no snapshot."""
        return json_decoder(cls).decode(data)

    @property
    def hash(self) -> str:
        return content_hash(self)


class Structured(Protocol):
    """What :func:`take` needs of a job definition."""

    @property
    def structure(self) -> JobStructure: ...


class Resolved(Protocol):
    """What :func:`take` needs of a resolution of run config."""

    @property
    def config(self) -> ResolvedConfig: ...

    @property
    def executor(self) -> ExecutorChoice: ...


def take(
    job: Structured, resolution: Resolved, tags: Mapping[str, str] | None = None, inputs: Sequence[str] = ()
) -> JobSnapshot:
    """``tags`` are the run's, already merged with the job's own."""
    return JobSnapshot(job.structure, resolution.config, resolution.executor, dict(tags or {}), tuple(inputs))


_encode = msgspec.json.Encoder(order="deterministic").encode
