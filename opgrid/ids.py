"""The names that things go by: runs, steps and the places of nodes in a job."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import NewType

RunId = NewType("RunId", str)
#: A step of a run: the path of its node and, under a dynamic fan-out, its mapping keys: ``g.inc_2``, ``clean[k1,k2]``.
StepKey = NewType("StepKey", str)
#: The place of a node in its job: ``inc``, ``g.inc_2``.
NodePath = NewType("NodePath", str)

_RUN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}")
_STEP = re.compile(r"^(?P<node>[^\[\]]+)(?:\[(?P<keys>[^\[\]]+)\])?$")


def new_run_id() -> RunId:
    return RunId(str(uuid.uuid4()))


def is_run_id(given: str) -> bool:
    """Whether a run may be named so: addresses of pages, names of files and arguments of commands hold it as it is."""
    return _RUN.fullmatch(given) is not None


def step_key(node: str, mapping_keys: Sequence[str] = ()) -> StepKey:
    return StepKey(f"{node}[{','.join(mapping_keys)}]" if mapping_keys else node)


def split_step_key(key: str) -> tuple[NodePath, tuple[str, ...]]:
    """``clean[k1,k2]`` -> (``clean``, (``k1``, ``k2``)). Raises ValueError for what is no step key."""
    found = _STEP.match(key)
    if found is None:
        raise ValueError(f"{key!r} is not a step key")
    keys = found["keys"]
    return NodePath(found["node"]), tuple(keys.split(",")) if keys else ()


def node_of(step: StepKey) -> NodePath:
    """The place of the node behind a step that exists: as ``split_step_key``, in a tenth of the time."""
    return NodePath(step.partition("[")[0])
