"""The address of a Redis database, in the forms that people write and that clients want."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from opgrid.errors import SettingsError

_FORMS: Final = "redis://host:6379/0, rediss://host:6379/0 or redis+socket:///path/to.sock?virtual_host=0"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One Redis database, in the forms that redis-py and Celery want."""

    scheme: str  #: redis, rediss or unix
    place: str  #: ``host:port``, or the path of the socket
    database: int = 0
    username: str | None = None
    password: str | None = None
    options: tuple[tuple[str, str], ...] = ()  #: other parameters of the query, TLS files for example

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Raises SettingsError."""
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        user = unquote(parts.username) if parts.username else query.pop("username", None)
        password = unquote(parts.password) if parts.password else query.pop("password", None)
        try:
            if _cut_short(parts):
                raise ValueError("/, ? and # in a name or password are written %2F, %3F and %23")
            if parts.scheme in ("unix", "redis+socket", "redis+unix", "socket"):
                database = int(query.pop("virtual_host", query.pop("db", "0")).lstrip("/") or 0)
                place = unquote(parts.path)
                scheme = "unix"
            elif parts.scheme in ("redis", "rediss"):
                database = int(parts.path.strip("/") or query.pop("db", query.pop("virtual_host", "0")))
                place = f"{parts.hostname or '127.0.0.1'}:{parts.port or 6379}"
                scheme = parts.scheme
            else:
                raise ValueError("unknown form")
        except ValueError as error:
            problem = f"{hide_password(url)!r} is no address of a broker ({error})"
            raise SettingsError(f"{problem}. It looks like {_FORMS}.") from error
        if "ssl_cert_reqs" in query:  # Celery's documentation has CERT_NONE and the like, which redis-py does not know
            query["ssl_cert_reqs"] = query["ssl_cert_reqs"].lower().removeprefix("cert_")
        return cls(scheme, place, database, user, password, tuple(sorted(query.items())))

    @property
    def client_url(self) -> str:
        """For redis-py."""
        more = "".join(f"&{name}={quote(value)}" for name, value in self.options)
        if self.scheme == "unix":
            return f"unix://{self._login}{quote(self.place)}?db={self.database}{more}"
        return f"{self.scheme}://{self._login}{self.place}/{self.database}{'?' + more[1:] if more else ''}"

    @property
    def celery_url(self) -> str:
        more = "".join(f"&{name}={quote(value)}" for name, value in self.options)
        if self.scheme == "unix":
            return f"redis+socket://{self._login}{quote(self.place)}?virtual_host={self.database}{more}"
        return f"{self.scheme}://{self._login}{self.place}/{self.database}{'?' + more[1:] if more else ''}"

    @property
    def shown(self) -> str:
        """Without the password."""
        return hide_password(self.celery_url)

    @property
    def is_here(self) -> bool:
        """On this machine, by its address: the end of a tunnel looks the same."""
        host = self.place.rpartition(":")[0]
        return self.scheme == "unix" or host in ("localhost", "::1") or host.startswith("127.")

    @property
    def _login(self) -> str:
        if self.password is None:
            return f"{quote(self.username, safe='')}@" if self.username else ""
        return f"{quote(self.username or '', safe='')}:{quote(self.password, safe='')}@"


def _cut_short(parts: SplitResult) -> bool:
    """Whether the place of the server seems to have ended within the password."""
    parameter = parts.query.partition("@")[0]
    return (
        "@" in parts.fragment
        or (parts.scheme in ("redis", "rediss") and "@" in parts.path)
        or ("@" in parts.query and "=" not in parameter)
    )


def hide_password(url: str) -> str:
    head, mark, rest = re.sub("([?&]password=)[^&]*", r"\1***", url).partition("://")
    login, at, place = rest.rpartition("@")
    if not at or ":" not in login:
        return f"{head}{mark}{rest}"
    return f"{head}{mark}{login.split(':', 1)[0]}:***@{place}"
