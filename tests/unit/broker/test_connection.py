from __future__ import annotations

import time

import pytest

from opgrid.broker.connection import BrokerAddress, check, connect, hide_password, reaching
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.errors import BrokerUnreachable, SettingsError


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
