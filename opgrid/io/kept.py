"""Where what belongs to a run is kept, for those who remove it: they need not be able to read it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from opgrid.broker.keys import Keys
from opgrid.errors import SettingsError

if TYPE_CHECKING:
    import redis

_LONGEST_NAME: Final = 200
_EXPIRE_ALL: Final = "for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[1]) end"


# ---- in folders ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def path_part(text: str) -> str:
    """One part of a path, whatever the text: no separators, no ``..``, no name that file systems refuse for its
    length.
    """
    if text.isidentifier() and len(text) < _LONGEST_NAME:
        return text
    encoded = quote(text, safe="")
    if not encoded.strip("."):
        encoded = encoded.replace(".", "%2E") or "%-"  # which quoting gives nothing
    if len(encoded) > _LONGEST_NAME:
        encoded = encoded[: _LONGEST_NAME - 33] + "-" + hashlib.sha256(text.encode()).hexdigest()[:32]
    return encoded


def no_url(named: str) -> str:
    """Raises SettingsError for a URL, which would become a folder below the working directory of each process."""
    if "://" in str(named):
        raise SettingsError(
            f"{named!r} is a URL, and this IO manager keeps values in folders. For an object store, derive one from "
            "UPathIOManager, with a UPath of universal_pathlib as its base_path."
        )
    return named


def storage_of(base: Path, run_id: str) -> Path:
    """The folder with the values of a run, below that of all of them."""
    return base / path_part(run_id)


def log_of(home: Path, run_id: str) -> Path:
    """What the process that drove a run has written."""
    return home / "logs" / f"{path_part(run_id)}.log"


# ---- in Redis --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def index_of(run_id: str) -> str:
    return f"{_deployment()}:io:{quote(run_id, safe='')}"


def expire_run(client: redis.Redis, run_id: str, seconds: int) -> int:
    """From now on the values of a run live so long and no longer; how many keys there are."""
    index = index_of(run_id)
    count = 0
    for keys in batches(client.sscan_iter(index, count=500), 500):
        client.eval(_EXPIRE_ALL, len(keys), *keys, seconds)
        count += len(keys)
    client.expire(index, seconds)
    return count


def delete_run(client: redis.Redis, run_id: str) -> int:
    """Remove the values of a run now; how many keys there were."""
    index = index_of(run_id)
    count = 0
    for keys in batches(client.sscan_iter(index, count=500), 500):
        client.unlink(*keys)
        count += len(keys)
    client.unlink(index)
    return count


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@lru_cache(maxsize=1)
def _deployment() -> str:
    return Keys.load().deployment
