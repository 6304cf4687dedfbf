"""Names of shards: what leases, streams and the log know them by."""

from __future__ import annotations

import zlib
from typing import Final

SHARDS: Final = 4


def shard_of(run_id: str) -> str:
    """Where a launched run belongs, for ever."""
    return f"shard-{zlib.crc32(run_id.encode()) % SHARDS}"


def all_shards() -> list[str]:
    return [f"shard-{number}" for number in range(SHARDS)]
