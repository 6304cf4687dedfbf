from __future__ import annotations

import socket
import time
from pathlib import Path

from opgrid.broker.keys import Keys
from opgrid.broker.scripts import Protocol
from opgrid.io.keys import KeyRing
from worker.leases import Claim
from worker.settings import WorkerSettings
from worker.watch import Death, Watch


def test_a_redis_that_never_comes_back_keeps_nobody_for_ever(tmp_path: Path) -> None:
    url = f"redis+socket://{tmp_path}/none.sock?virtual_host=0"
    settings = WorkerSettings(broker_url=url, home=str(tmp_path), deployment="opgrid", name="w", redis_grace=5.0)
    worker, ours = socket.socketpair()
    with worker, ours, socket.socket(socket.AF_UNIX) as listener:
        watch = Watch(settings, Protocol(url, Keys(), "w"), KeyRing(b"k" * 32), tmp_path, ours, listener)
        claim = Claim("r", "s", "step", 1, "c", "w:1")
        watch.deaths.append(Death(1, [claim], "c", 0.0, None, 0.0))
        assert not watch._is_done()
        watch.parent_is_gone, watch.gone_at = True, time.monotonic()
        assert not watch._is_done()
        watch._tell_deaths(time.monotonic())
        assert watch.deaths  # it could not be told
        watch.gone_at -= 6.0
        assert watch._is_done()
        watch.protocol.close()
