"""The gate in front of HTTP: no request reaches the protocol without a token that stands for someone.

In token mode there is no OAuth metadata: a client that finds some stops sending its configured header. An OAuth
resource server takes this gate's place with another `Authenticator`.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from cs_mcp.domain.identity import Principal
from cs_mcp.tools._context import verified


class Authenticator(Protocol):
    async def by_token(self, text: str) -> Principal | None: ...


class BearerGate:
    """ASGI: 401 without a valid bearer token, else the request goes on with its principal."""

    def __init__(self, app: Any, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == "/health":
            await _answer(send, 200, {"status": "ok"})
            return
        principal = await self._principal(scope)
        if principal is None:
            error = {"error": "invalid_token", "error_description": "Send 'Authorization: Bearer <token>'. "
                     "'cs-mcp token create' makes a token."}  # fmt: skip
            await _answer(send, 401, error, [(b"www-authenticate", b'Bearer realm="cs_mcp"')])
            return
        if scope["path"] == "/mcp" and scope["method"] == "GET":
            # The SDK would open a stream that never says anything: a stateless server has nothing to push.
            error = {"error": "method_not_allowed", "error_description": "Send each message with POST."}
            await _answer(send, 405, error, [(b"allow", b"POST")])
            return
        before = verified.set(principal)
        try:
            await self._app(scope, receive, send)
        finally:
            verified.reset(before)

    async def _principal(self, scope: Any) -> Principal | None:
        found = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(found) != 1:
            return None
        scheme, _, token = found[0].decode("latin-1").partition(" ")
        return await self._authenticator.by_token(token.strip()) if scheme.lower() == "bearer" else None


async def _answer(
    send: Any, status: int, body: dict[str, str], headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    raw = json.dumps(body).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": raw})
