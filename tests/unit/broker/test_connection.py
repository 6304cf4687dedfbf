from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from opgrid.broker.address import BrokerAddress, hide_password
from opgrid.broker.calls import Calls
from opgrid.broker.connection import check, connect, reaching
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.scripts import Script
from opgrid.errors import BrokerRefuses, BrokerUnreachable, SettingsError
from tests.waiting import eventually


@pytest.mark.parametrize(
    ("url", "for_redis", "for_celery"),
    [
        ("redis://host", "redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:se%40cret@host:7000/3", "redis://:se%40cret@host:7000/3", "redis://:se%40cret@host:7000/3"),
        ("rediss://me:pw@host/1?ssl_cert_reqs=required",) + ("rediss://me:pw@host:6379/1?ssl_cert_reqs=required",) * 2,
        ("rediss://host/1?ssl_cert_reqs=CERT_NONE",) + ("rediss://host:6379/1?ssl_cert_reqs=none",) * 2,
        ("redis+socket:///a/b.sock?virtual_host=4", "unix:///a/b.sock?db=4", "redis+socket:///a/b.sock?virtual_host=4"),
        ("unix:///a/b.sock?db=4", "unix:///a/b.sock?db=4", "redis+socket:///a/b.sock?virtual_host=4"),
        ("unix:///a/b.sock", "unix:///a/b.sock?db=0", "redis+socket:///a/b.sock?virtual_host=0"),
    ],
)
def test_every_form_of_address_fits_redis_and_celery(url: str, for_redis: str, for_celery: str) -> None:
    address = BrokerAddress.parse(url)
    assert (address.client_url, address.celery_url) == (for_redis, for_celery)
    assert BrokerAddress.parse(address.client_url) == BrokerAddress.parse(address.celery_url) == address


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("redis+socket:///tmp/redis.sock", True),
        ("redis://localhost", True),
        ("redis://me:pw@127.0.0.1:6380/2", True),
        ("rediss://[::1]:6379", True),
        ("redis://redis:6379/0", False),
        ("redis://10.127.0.1", False),
        ("redis://localhost.example.com", False),
    ],
)
def test_whether_a_server_is_on_this_machine(url: str, here: bool) -> None:
    assert BrokerAddress.parse(url).is_here == here


@pytest.mark.parametrize("url", ["amqp://host", "redis://host:port/0", "redis://host/zero", "nonsense"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="redis://host:6379/0"):
        BrokerAddress.parse(url)


@pytest.mark.parametrize("mark", ["/", "?", "#"])
def test_a_password_that_is_not_escaped_is_not_shown_in_the_error(mark: str) -> None:
    with pytest.raises(SettingsError, match="%2F") as refused:
        BrokerAddress.parse(f"redis://:one{mark}two@host:6379/0")
    assert "one" not in str(refused.value) and "two" not in str(refused.value)
    assert BrokerAddress.parse("redis://host/1?password=a@b").password == "a@b"


def test_passwords_are_not_shown() -> None:
    assert hide_password("redis://me:pw@host/1") == "redis://me:***@host/1"
    assert hide_password("redis://host/1") == "redis://host/1"
    assert hide_password("amqp://host?ssl=1&password=pw&x=2") == "amqp://host?ssl=1&password=***&x=2"
    for url in ("redis://me:pw@host:6379/1", "redis://host/1?password=pw&username=me"):
        address = BrokerAddress.parse(url)
        assert address.client_url == "redis://me:pw@host:6379/1" and address.shown == "redis://me:***@host:6379/1"


def test_nobody_there_is_an_error_of_ours_within_seconds() -> None:
    url = "unix:///nowhere/redis.sock"
    began = time.monotonic()
    with connect(url) as client, pytest.raises(BrokerUnreachable, match="OPGRID_BROKER_URL"), reaching(url):
        client.ping()
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("wk-opgrid@host", "wk-opgrid@host"),
        ("my run", "my%20run"),
        ("größe\n", "gr%C3%B6%C3%9Fe%0A"),
    ],
)
def test_any_name_will_do(name: str, shown: str) -> None:
    with EmbeddedRedis.start() as server, connect(server.url, name) as client:
        assert client.client_getname() == shown


def test_an_evicting_server_is_refused() -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as client:
        check(client, server.url)
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(SettingsError, match=r"allkeys-lru.*noeviction"):
            check(client, server.url)


@contextlib.contextmanager
def that_follows_another(server: EmbeddedRedis, client: redis.Redis) -> Iterator[None]:
    client.replicaof("127.0.0.1", "1")
    yield
    client.replicaof("NO", "ONE")


@contextlib.contextmanager
def that_cannot_save(server: EmbeddedRedis, client: redis.Redis) -> Iterator[None]:
    (server.folder / "dump.rdb").mkdir()
    client.config_set("save", "3600 1")
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    yield
    client.config_set("stop-writes-on-bgsave-error", "no")


@contextlib.contextmanager
def that_lacks_replicas(server: EmbeddedRedis, client: redis.Redis) -> Iterator[None]:
    client.config_set("min-replicas-to-write", 1)
    yield
    client.config_set("min-replicas-to-write", 0)


@contextlib.contextmanager
def that_runs_a_script(server: EmbeddedRedis, client: redis.Redis) -> Iterator[None]:
    client.config_set("lua-time-limit", 1)
    with ThreadPoolExecutor() as pool, connect(server.url) as busy:
        running = pool.submit(busy.eval, "while true do end", 0)
        eventually(lambda: is_busy(client))
        yield
        client.script_kill()
        assert running.exception() is not None


def is_busy(client: redis.Redis) -> bool:
    try:
        return not client.ping()
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")


@pytest.mark.parametrize("which", [that_follows_another, that_cannot_save, that_lacks_replicas, that_runs_a_script])
def test_a_server_that_writes_nothing_for_a_while_counts_as_away(which: Any) -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as client:
        calls, script = Calls(client), Script("return redis.call('SET', KEYS[1], ARGV[1])")
        script(calls, ["k"], ["v"])

        def in_a_pipeline() -> None:
            pipe: Any = client.pipeline(transaction=False)
            pipe.set("k", "v")
            pipe.execute()

        asked = [lambda: client.set("k", "v"), in_a_pipeline]
        if which is not that_lacks_replicas:  # scripts write there all the same, before Redis 7
            asked.append(lambda: script(calls, ["k"], ["v"]))
        with which(server, client):
            for ask in asked:
                with pytest.raises(BrokerUnreachable, match=r"MISCONF|NOREPLICAS|BUSY|read only"), reaching(server.url):
                    ask()
        assert script(calls, ["k"], ["v"]) == b"OK"


@pytest.mark.parametrize("rights", ["resetkeys", "-get"])
def test_a_user_whose_rights_were_taken_is_waited_for(rights: str) -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as administrator:
        administrator.acl_setuser("ann", enabled=True, nopass=True, keys=["opgrid:*"], categories=["+@all"])
        url = server.url.replace("://", "://ann:any@")
        with connect(url) as client:
            script = Script("return redis.call('GET', KEYS[1])")
            calls = Calls(client)
            script(calls, ["opgrid:k"], [])
            administrator.execute_command("ACL SETUSER", "ann", rights)
            for ask in (lambda: client.get("opgrid:k"), lambda: script(calls, ["opgrid:k"], [])):
                with pytest.raises(BrokerRefuses, match=r"ann:\*\*\*@.*does not let our user"), reaching(url):
                    ask()


def test_what_a_server_will_never_do_is_no_reason_to_wait(redis_url: str) -> None:
    with connect(redis_url) as client, reaching(redis_url):
        client.set("k", "BUSY ")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            client.lpush("k", "v")
        with pytest.raises(redis.ResponseError, match="no such thing"):
            client.eval("return redis.error_reply('no such thing')", 0)


def test_a_database_that_the_server_does_not_have_is_refused() -> None:
    said = r"virtual_host=1 cannot be used: DB index is out of range\."
    with EmbeddedRedis.start(databases=1) as server, connect(server.url_of(1)) as client:
        url = server.url_of(1)
        with pytest.raises(SettingsError, match=said):
            check(client, url)


def test_a_user_who_may_not_ask_the_server_is_refused() -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as administrator:
        administrator.acl_setuser("ann", enabled=True, nopass=True, commands=["+client"])
        url = server.url.replace("://", "://ann:any@")
        with connect(url) as client, pytest.raises(SettingsError, match=r"ann:\*\*\*@.* cannot be used: .*permission"):
            check(client, url)
