from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from opgrid.broker import embedded
from opgrid.broker.connection import connect
from opgrid.broker.embedded import EmbeddedRedis, NoRedisServer, RedisDidNotStart


def test_starts_on_a_private_socket_and_leaves_nothing_behind() -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as client:
        assert client.ping()
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
        assert set(client.config_get("port").values()) <= {"0", b"0"}
        assert len(os.fsencode(server.socket)) <= 107
    assert not server.folder.exists()
    assert server.process.poll() is not None
    server.stop()


def test_keeps_its_data_where_it_is_told_to(tmp_path: Path) -> None:
    for expected in (None, b"1"):
        with EmbeddedRedis.start(data=tmp_path) as server, connect(server.url) as client:
            assert client.get("a") == expected
            client.set("a", "1")


def test_the_wheels_of_this_platform_have_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with EmbeddedRedis.start() as server, connect(server.url) as client:
        assert client.ping() and "site-packages" in server.command[0]


def test_names_the_way_out_where_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        NoRedisServer,
        match=r"no installed package has one.*apt install redis-server.*brew install redis.*OPGRID_BROKER_URL",
    ):
        EmbeddedRedis.start()


def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_server", lambda: "/bin/false")
    with pytest.raises(RedisDidNotStart, match="/bin/false"):
        EmbeddedRedis.start()


def test_a_url_that_is_set_is_used_as_it_is() -> None:
    with embedded.ensured("redis://somewhere/3") as url:
        assert url == "redis://somewhere/3"
