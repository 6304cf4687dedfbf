from __future__ import annotations

import logging
import re
import socket
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from opgrid.broker.keys import Keys
from opgrid.broker.protocol import Protocol, Said
from opgrid.io.keys import KeyRing
from opgrid.trouble import Trouble
from tests.waiting import eventually
from worker.leases import AFTER, Claim, Slot, slot_path
from worker.settings import WorkerSettings
from worker.watch import HELLO, SOCKET, Death, Watch


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


def test_what_waited_for_redis_is_said_to_be_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis+socket://{tmp_path}/none.sock?virtual_host=0"
    settings = WorkerSettings(broker_url=url, home=str(tmp_path), deployment="opgrid", name="w")
    worker, ours = socket.socketpair()
    with worker, ours, socket.socket(socket.AF_UNIX) as listener, closing(Protocol(url, Keys(), "w")) as protocol:
        watch = Watch(settings, protocol, KeyRing(b"k" * 32), tmp_path, ours, listener)
        claim, now = Claim("r", "s", "step", 1, "c", "w:1"), [0.0]
        watch.no_beat = Trouble(logging.getLogger("opgrid"), lambda: now[0])
        watch.deaths.append(Death(7, [claim], "c", 0.0, None, 0.0))
        watch._tell_deaths(0.0)
        watch._beat_for([(7, claim)], 0.0)
        now[0] += 100.0
        watch._beat_for([], 100.0)
        monkeypatch.setattr(watch.protocol, "finish", lambda *args: Said.OK)
        watch._tell_deaths(100.0)
    assert [re.split(r": The broker| after \d", message)[0] for message in caplog.messages] == [
        "The end of process 7 waits to be told",
        "No beat",
        "No steps are left to beat for",
        "StepLost: step step, attempt 1 of run r",
        "The end of process 7 is told",
    ]


def test_a_child_that_is_slow_to_say_who_it_is_holds_up_no_beat(tmp_path: Path, redis_url: str) -> None:
    settings = WorkerSettings(broker_url=redis_url, home=str(tmp_path), deployment="opgrid", name="w", lease_ttl=0.4)
    protocol = Protocol(redis_url, Keys(), "w")
    worker, ours = socket.socketpair()
    with worker, ours, socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as slow:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()
        watch = Watch(settings, protocol, KeyRing(b"k" * 32), tmp_path, ours, listener)
        process = subprocess.Popen(["sleep", "600"])
        thread = threading.Thread(target=watch.run)
        thread.start()
        try:
            eventually(lambda: watch.next_beat)
            Slot.create(slot_path(tmp_path, process.pid)).close()
            slow.connect(str(tmp_path / SOCKET))
            until = time.monotonic() + 1.5
            eventually(lambda: watch.next_beat > until)
            assert not watch.children
            slow.sendall(HELLO.pack(process.pid))
            eventually(lambda: process.pid in watch.children)
            process.kill()
            eventually(lambda: not watch.children)
        finally:
            process.kill()
            process.wait()
            worker.close()
            thread.join()
            protocol.close()


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
