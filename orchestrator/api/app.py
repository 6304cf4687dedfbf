"""The ASGI application: GraphQL, pages, health, and the guard before them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.graphql import OperationType

from opgrid.errors import DatabaseUnreachable
from opgrid.trouble import Trouble
from orchestrator.api.access import Access
from orchestrator.api.backend import Asking, Backend
from orchestrator.api.conversation import Conversation, is_text
from orchestrator.api.graphql.schema import schema, text
from orchestrator.api.health import metrics
from orchestrator.api.pages import page_routes
from orchestrator.api.security import COOKIE, Guard
from orchestrator.services.export import exported

_LONGEST: Final = 4 * 2**20  #: bytes of a request
_LONGEST_LOGIN: Final = 4096  #: of one that everybody may make
_COMES_WITHIN: Final = 60.0  #: seconds that all of a request may take to come
_PATIENCE: Final = 75.0  #: seconds that an answer may take; user code may be asked
_AT_ONCE: Final = 32  #: questions that are answered at a time; most of those that take long wait for user code
_ALL: Final = [OperationType.QUERY, OperationType.MUTATION]

_log = logging.getLogger("opgrid.web")


def make_app(backend: Backend, access: Access, hosts: Iterable[str] = (), prefix: str = "") -> Starlette:
    """``prefix`` is the path under which a proxy serves it, such as ``/opgrid``; ``hosts`` are further names of it."""
    prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
    threads, no_database = ThreadPoolExecutor(_AT_ONCE, "opgrid-query"), Trouble(_log)
    routes: list[BaseRoute] = [
        Route("/graphql", _Queries(backend, no_database, threads), methods=["POST"]),
        WebSocketRoute("/graphql", _Live(backend)),
        Route("/schema.graphql", _schema),
        Route("/healthz", _healthz),
        Route("/readyz", _Ready(backend, no_database)),
        Route("/metrics", _Metrics(backend, no_database)),
        Route("/login", _Login(access), methods=["POST"]),
        Route("/logout", _logout, methods=["POST"]),
        Route("/download_debug/{run_id}", _Download(backend, no_database)),
        *page_routes(prefix),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        backend.heart.close()
        threads.shutdown(wait=False, cancel_futures=True)

    return Starlette(
        routes=[Mount(prefix, routes=routes)] if prefix else routes,
        middleware=[
            Middleware(Guard, access=access, hosts=tuple(hosts), prefix=prefix),
            Middleware(GZipMiddleware, minimum_size=4000, compresslevel=3),
        ],
        lifespan=lifespan,
    )


def _problem(message: str, status: int = 400) -> Response:
    return JSONResponse({"errors": [{"message": message}]}, status)


class _Unread(Exception):
    """A request whose body is not read to its end."""

    def __init__(self, response: Response) -> None:
        self.response = response


async def _body(request: Request, longest: int = _LONGEST) -> bytes:
    """Raises _Unread, and ClientDisconnect."""
    body = bytearray()
    try:
        async with asyncio.timeout(_COMES_WITHIN):
            async for part in request.stream():
                body += part
                if len(body) > longest:
                    raise _Unread(_problem("The request is too long.", 413))
    except TimeoutError:
        raise _Unread(_problem("The request took too long to come.", 408)) from None
    return bytes(body)


async def _answered(scope: Any, receive: Any, send: Any, answer: Callable[[Request], Awaitable[Response]]) -> None:
    try:
        response = await answer(Request(scope, receive))
    except _Unread as unread:
        response = unread.response
    except ClientDisconnect:
        return  # nobody is there to be answered
    await response(scope, receive, send)


class _Endpoint:
    def __init__(self, backend: Backend, no_database: Trouble) -> None:
        self._backend = backend
        self._no_database = no_database  #: of all of them; they are called by the event loop alone

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await _answered(scope, receive, send, self._answer)

    async def _answer(self, request: Request) -> Response:
        try:
            response = await self.answer(request)
            if response.status_code == 200:
                self._no_database.is_not_seen("The database is there")
            return response
        except DatabaseUnreachable as error:
            self._no_database.is_there(str(error))
            return _problem(str(error), 503)

    async def answer(self, request: Request) -> Response:
        raise NotImplementedError


class _Queries(_Endpoint):
    """Queries and mutations. Each is answered in a thread: the database and user code are waited for there. The threads
    do nothing else: while all of them wait, the service is no less ready, and tells what changes.
    """

    def __init__(self, backend: Backend, no_database: Trouble, threads: ThreadPoolExecutor) -> None:
        super().__init__(backend, no_database)
        self._threads = threads

    async def answer(self, request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("application/json"):
            return _problem("Send application/json.", 415)
        body = await _body(request)
        try:
            asked = json.loads(body)
            query, variables = asked["query"], asked.get("variables")
            name = asked.get("operationName")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _problem("Send a JSON object with a query.")
        if not isinstance(query, str) or not isinstance(variables, dict | None) or not isinstance(name, str | None):
            return _problem("query has to be a text, variables an object, operationName a text.")
        if b"\\ud" in body.lower() and not is_text(asked):
            return _problem("There are halves of characters in it: surrogates without the other one of their pair.")
        asking = Asking(self._backend, request.scope["viewer"])
        work = asyncio.get_running_loop().run_in_executor(self._threads, _execute, asking, query, variables, name)
        try:
            found = await asyncio.wait_for(work, _PATIENCE)
        except TimeoutError:
            return _problem("It took too long.", 504)
        except MissingQueryError:
            return _problem("query is empty.")
        except CannotGetOperationTypeError as error:
            return _problem(error.as_http_error_reason())
        except InvalidOperationTypeError:
            return _problem("Subscriptions are answered over a WebSocket, in graphql-transport-ws.")
        return Response(found, media_type="application/json")


def _execute(asking: Asking, query: str, variables: dict[str, Any] | None, name: str | None) -> bytes:
    result = schema.execute_sync(query, variables, asking, operation_name=name, allowed_operation_types=_ALL)
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        for error in result.errors:
            if isinstance(error.original_error, DatabaseUnreachable):
                raise error.original_error
        answer["errors"] = [error.formatted for error in result.errors]
    return msgspec.json.encode(answer)


class _Live(GraphQL[Asking, None]):
    """Subscriptions, over graphql-transport-ws."""

    graphql_transport_ws_handler_class = Conversation

    def __init__(self, backend: Backend) -> None:
        super().__init__(
            schema,
            graphql_ide=None,
            allow_queries_via_get=False,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=timedelta(seconds=10),
            max_subscriptions_per_connection=20,
        )
        self._backend = backend

    async def get_context(self, request: Request | WebSocket, response: Any) -> Asking:
        return Asking(self._backend, request.scope["viewer"])

    def decode_json(self, data: str | bytes) -> object:
        try:
            return super().decode_json(data)
        except RecursionError as error:
            raise json.JSONDecodeError("too deep", "", 0) from error


class _Ready(_Endpoint):
    async def answer(self, request: Request) -> Response:
        try:
            await asyncio.to_thread(self._backend.store.pulse)
        except DatabaseUnreachable as error:
            self._no_database.is_there(str(error))
            return PlainTextResponse("the database is away\n", 503)
        return PlainTextResponse("ok\n")


class _Metrics(_Endpoint):
    async def answer(self, request: Request) -> Response:
        duties = (*self._backend.duties, "queue")
        body = await asyncio.to_thread(metrics, self._backend.store, duties)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")


class _Download(_Endpoint):
    async def answer(self, request: Request) -> Response:
        run_id = request.path_params["run_id"]
        record = await asyncio.to_thread(self._backend.store.run, run_id)
        if record is None:
            return _problem(f"There is no run {run_id!r}.", 404)
        body = await asyncio.to_thread(exported, self._backend.store, record)
        named = {"content-disposition": f'attachment; filename="{record.run_id}.opgrid"'}
        return Response(body, media_type="application/octet-stream", headers=named)


class _Login:
    def __init__(self, access: Access) -> None:
        self._access = access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await _answered(scope, receive, send, self._answer)

    async def _answer(self, request: Request) -> Response:
        body = await _body(request, _LONGEST_LOGIN)
        try:
            token = json.loads(body)["token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return _problem("Send a JSON object with a token.")
        if not isinstance(token, str) or not token.isascii() or self._access.viewer(token) is None:
            await asyncio.sleep(0.5)
            return _problem("Nobody has this token.", 401)
        response = JSONResponse({})
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
        return response


def _schema(request: Request) -> Response:
    return PlainTextResponse(text())


def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n")


def _logout(request: Request) -> Response:
    response = JSONResponse({})
    response.delete_cookie(COOKIE)
    return response
