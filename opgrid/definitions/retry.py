"""Trying a step again: a policy that is fixed when it is defined, and a request that an op makes while it runs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import inf

from opgrid.contracts.structure import Backoff, Jitter, Retry
from opgrid.errors import InvalidDefinitionError

__all__ = ["Backoff", "Jitter", "RetryPolicy"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed step is tried again, and after which delay (in seconds).

    With ``d`` the delay and ``n`` the number of the retry: LINEAR waits ``n * d``, EXPONENTIAL ``(2**n - 1) * d``. Of
    the result ``D``, FULL jitter takes a random part, and PLUS_MINUS adds or removes up to ``d``. An invocation's
    policy goes before the op's, and the op's before the job's; they are never merged.

        @op(retry_policy=RetryPolicy(max_retries=3, delay=0.2, backoff=Backoff.EXPONENTIAL))
        def fetch(): ...
    """

    max_retries: int = 1
    delay: float | None = None
    backoff: Backoff | None = None
    jitter: Jitter | None = None

    def __post_init__(self) -> None:
        retries: object = self.max_retries
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise InvalidDefinitionError(
                f"RetryPolicy(max_retries={self.max_retries!r}): it has to be a whole number from 0 on."
            )
        delay: object = self.delay
        if delay is None:
            for name, value in (("backoff", self.backoff), ("jitter", self.jitter)):
                if value is not None:
                    raise InvalidDefinitionError(
                        f"RetryPolicy({name}={value.name}) has no delay that it could change: give delay= in seconds, "
                        "too."
                    )
        elif isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay < inf:
            raise InvalidDefinitionError(
                f"RetryPolicy(delay={self.delay!r}): it has to be a number of seconds from 0 on."
            )
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise InvalidDefinitionError(
                f"RetryPolicy(backoff={self.backoff!r}): use Backoff.LINEAR or Backoff.EXPONENTIAL."
            )
        if self.jitter is not None and not isinstance(self.jitter, Jitter):
            raise InvalidDefinitionError(f"RetryPolicy(jitter={self.jitter!r}): use Jitter.FULL or Jitter.PLUS_MINUS.")

    def calculate_delay(self, attempt_num: int) -> float:
        """Seconds before retry ``attempt_num``, which counts from 1; by chance, where there is jitter."""
        return self.as_data().before(attempt_num, random.random())

    def as_data(self) -> Retry:
        return Retry(self.max_retries, self.delay, self.backoff, self.jitter)


def check_retry_policy(policy: object, what: str) -> RetryPolicy | None:
    if policy is None or isinstance(policy, RetryPolicy):
        return policy
    raise InvalidDefinitionError(f"The retry policy of {what} has to be a RetryPolicy, not {policy!r}.")
