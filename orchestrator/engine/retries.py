"""Whether a failed attempt gets a retry, and after how long. Pure: jitter is a hash of run, step and attempt."""

from __future__ import annotations

import hashlib

from opgrid.contracts.events import StepFailed
from opgrid.contracts.structure import Backoff, Jitter, Retry
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
    return delay(policy, retry_number + 1, share)


def delay(policy: Retry, number: int, share: float) -> float:
    """Seconds before retry ``number``, which counts from 1."""
    if policy.delay is None:
        return 0.0
    if policy.backoff is Backoff.EXPONENTIAL:
        base = (2.0 ** min(number, 64) - 1) * policy.delay
    elif policy.backoff is Backoff.LINEAR:
        base = number * policy.delay
    else:
        base = policy.delay
    if policy.jitter is Jitter.FULL:
        return share * base
    if policy.jitter is Jitter.PLUS_MINUS:
        return max(0.0, base + (2 * share - 1) * policy.delay)
    return base


def share_of(run: RunId, step: StepKey, attempt: int) -> float:
    """An even spread over [0, 1) that is the same at every replay."""
    digest = hashlib.blake2b(f"{run}/{step}/{attempt}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56
