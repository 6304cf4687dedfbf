"""The web in a thread: who started it hears of its end."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette

from orchestrator.cli.web import Serving, listening


@asynccontextmanager
async def fails(app: Starlette) -> AsyncIterator[None]:
    raise OSError("on purpose")
    yield


@pytest.mark.parametrize("is_broken", [False, True])
def test_an_end_that_nobody_asked_for_is_told_as_one(is_broken: bool) -> None:
    ended = threading.Event()
    app = Starlette(lifespan=fails if is_broken else None)
    with listening("127.0.0.1", 0) as bound:
        serving = Serving(app, bound, ended.set)
        if not is_broken:
            assert not serving.has_failed
            serving.stop()
        assert ended.wait(60)
        assert serving.has_failed is is_broken
        serving.stop()
