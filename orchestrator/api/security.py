"""What every request passes before anything looks at it: host, origin, token; and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.access import Access, Viewer

#: Browsers send it with what our own pages ask, and other sites cannot.
HEADER: Final = "x-opgrid"
COOKIE: Final = "opgrid_token"
_LOCAL: Final = ("localhost", "127.0.0.1", "[::1]")
#: Paths that tell nothing about anybody's work.
_PUBLIC: Final = frozenset({"/healthz", "/readyz", "/login"})
_CSP: Final = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_ALWAYS: Final = {
    "content-security-policy": _CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """ASGI middleware. Who asks is in ``scope["viewer"]`` behind it; pages themselves may be seen by all."""

    def __init__(self, app: ASGIApp, access: Access, hosts: Iterable[str], prefix: str = "") -> None:
        self._app = app
        self._access = access
        self._hosts = {*_LOCAL, *(host.lower() for host in hosts)}
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self._refuse(scope)
        if refused is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await refused(scope, receive, _with_headers(send))

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if "*" not in self._hosts and _name(host) not in self._hosts:
            return _refusal(421, f"This service is not known as {host!r}. Add the name to web.allowed_hosts.")
        asks = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        origin = headers.get("origin")
        if asks and origin is not None and origin.partition("://")[2].lower() != host.lower():
            return _refusal(403, "Requests from other sites are not taken.")
        by_browser = origin is not None or "cookie" in headers
        if asks and by_browser and scope["type"] == "http" and HEADER not in headers:
            return _refusal(403, f"Requests of browsers need the header {HEADER}.")
        viewer = self._viewer(scope, headers)
        scope["viewer"] = viewer
        if viewer is None and self._is_closed(scope, asks):
            return _refusal(401, "This needs a token: Authorization: Bearer TOKEN.")
        return None

    def _viewer(self, scope: Scope, headers: Headers) -> Viewer | None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._access.viewer(token.strip())
        return self._access.viewer(HTTPConnection(scope).cookies.get(COOKIE))

    def _is_closed(self, scope: Scope, asks: bool) -> bool:
        path: str = scope["path"].removeprefix(self._prefix)
        if path in _PUBLIC:
            return False
        return asks or path in ("/graphql", "/metrics") or path.startswith("/download")


def _name(host: str) -> str:
    """Without the port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"errors": [{"message": message}]}, status)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _ALWAYS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
