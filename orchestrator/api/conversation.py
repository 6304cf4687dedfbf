"""What who watches may say over a WebSocket; what is none of it is refused, and is no error of the service."""

from __future__ import annotations

import json
from typing import Any, Final

from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler

from orchestrator.api.backend import Asking

_REFUSED: Final = "That is no message of graphql-transport-ws, or no text."


class Conversation(BaseGraphQLTransportWSHandler[Asking, None]):
    """One connection."""

    async def handle_message(self, message: Any) -> None:
        if _is_message(message) and is_text(message):
            await super().handle_message(message)
        else:
            await self.handle_invalid_message(_REFUSED)

    async def handle_task_exception(self, error: Exception) -> None:
        if not isinstance(error, WebSocketDisconnected):  # who went away misses nothing
            await super().handle_task_exception(error)


def is_text(given: object) -> bool:
    """Escapes of JSON can tell what no text has in it, and no database takes: halves of characters."""
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_message(message: object) -> bool:
    match message:
        case {"type": "subscribe", "id": str(), "payload": {"query": str(), **others}}:
            variables, name = others.get("variables"), others.get("operationName")
            return isinstance(variables, dict | None) and isinstance(name, str | None)
        case {"type": "complete", "id": str()}:
            return True
        case {"type": str(kind)}:
            return kind not in ("subscribe", "complete")
    return False
