from __future__ import annotations

import socket
import time
from pathlib import Path

from opgrid.broker.keys import Keys
from opgrid.broker.scripts import Protocol
from opgrid.io.keys import KeyRing
from worker.leases import AFTER, Claim
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


def test_a_death_between_two_steps_is_no_loss_of_one_that_may_not_be_out_yet() -> None:
    first, mate = Claim("r", "s", "a", 1, "c1", "w:1"), Claim("r", "s", "b", 1, "c2", "w:1", follows=True)
    assert Death(1, [first, mate], "", 0.0, None, 0.0).blamed == [first]
    assert Death(1, [first, mate], "c2", 0.0, None, 0.0).blamed == [mate]
    assert Death(1, [mate], "", 0.0, None, 0.0).blamed == []


def test_a_death_while_hooks_run_is_no_loss_of_anything() -> None:
    done, ahead = Claim("r", "s", "a", 1, "c1", "w:1"), Claim("r", "s", "b", 1, "c2", "w:1")
    death = Death(1, [done, ahead], AFTER + "c1", 0.0, None, 0.0)
    assert (death.blamed, death.left_off) == ([], [done])
    assert Death(1, [done, ahead], "c1", 0.0, None, 0.0).left_off == []
