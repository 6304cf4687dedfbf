"""Whether a failed attempt gets a retry, and after how long. Pure: jitter is a hash of run, step and attempt."""

from __future__ import annotations

import hashlib

from opgrid.contracts.events import StepFailed
from opgrid.contracts.structure import Retry
from opgrid.ids import RunId, StepKey


def granted(policy: Retry | None, failure: StepFailed, retry_number: int, share: float) -> float | None:
    """Seconds until the next attempt, or None for none. ``retry_number`` were granted before; ``share`` is in [0, 1).

    What the step asks for with its failure comes before its policy.
    """
    if not failure.allow_retries:
        return None
    if failure.retry is not None:
        return (failure.retry.seconds_to_wait or 0.0) if retry_number < failure.retry.max_retries else None
    if policy is None or retry_number >= policy.max_retries:
        return None
    return policy.before(retry_number + 1, share)


def share_of(run: RunId, step: StepKey, attempt: int) -> float:
    """An even spread over [0, 1) that is the same at every replay."""
    digest = hashlib.blake2b(f"{run}/{step}/{attempt}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56
