"""What stands before every route of a web server of ours: who may ask, and what may be sent.

A page in a browser of the same machine must not reach a server on it. Its request comes with a foreign `Origin`, or,
where the page's own name was made to lead here (DNS rebinding), with a foreign `Host`: both are rejected. Beyond
loopback there has to be a bearer token, without which every request is rejected. A server on all addresses (0.0.0.0)
is known by many: it takes every numeric address, which no rebinding can make, and the machine's own names.

A browser cannot send a bearer token by itself. Where a server is made for one, it is opened once with `?token=` in its
address, and has a cookie from then on, which no page of another origin can make the browser send.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

MOST_BODY = 2**20
"""Bytes of a request's body."""
_MOST_DISCARDED = 64 * 2**20
_BODY_S = 30.0
_DISCARD_S = 5.0
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\\\s]+)(?::\d{1,5})?")


class _RefusedRequest(Exception):
    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


class Guard:
    """An ASGI application before another.

    Args:
        app: The other.
        host: The address that it is bound to, as given.
        everywhere: Whether that stands for all addresses of the machine.
        token: The bearer token that every request needs; none when None.
        cookie: Name of the cookie by which a browser shows that it had the token; empty where none is made for.
    """

    def __init__(
        self, app: Any, *, host: str, everywhere: bool = False, token: str | None = None, cookie: str = ""
    ) -> None:
        self._app, self._token, self._everywhere, self._cookie = app, token, everywhere, cookie
        names = [host, "localhost", *([socket.gethostname(), socket.getfqdn()] if everywhere else [])]
        self._names = {name.lower().rstrip(".") for name in names if name}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request that is rejected, or hand it on with its whole body."""
        if scope["type"] != "http":
            return
        try:
            self._require_known(scope)
            if self._token is not None:
                self._require_token(scope, self._token)
            body = await _body(scope, receive)
        except _RefusedRequest as rejected:
            await _answer(rejected, send)
            return
        await self._app(scope, _replayed(body, receive), send)

    def _require_known(self, scope: Any) -> None:
        hosts, origins = list(_headers(scope, b"host")), list(_headers(scope, b"origin"))
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise _RefusedRequest(403, "this server is not asked by that Host")
        if not all(self._is_own(origin) for origin in origins):
            raise _RefusedRequest(403, "this server is not asked from pages of that Origin")

    def _require_token(self, scope: Any, token: str) -> None:
        given = [each.encode("latin-1") for each in _headers(scope, b"authorization")]
        scheme, _, sent = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() == b"bearer" and hmac.compare_digest(sent.strip(), token.encode()):
            return
        if not self._cookie:
            raise _RefusedRequest(401, "this server needs its bearer token", **{"www-authenticate": "Bearer"})
        shown = hashlib.sha256(f"{self._cookie}:{token}".encode()).hexdigest()
        if any(hmac.compare_digest(each.encode("latin-1"), shown.encode()) for each in self._cookies(scope)):
            return
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        if scope["method"] == "GET" and hmac.compare_digest(asked[-1].encode(), token.encode()):
            cookie = f"{self._cookie}={shown}; HttpOnly; SameSite=Strict; Path=/"
            raise _RefusedRequest(303, "go on", **{"set-cookie": cookie, "location": quote(scope["path"])})
        raise _RefusedRequest(401, "this server needs its token: open its address with ?token=... once")

    def _cookies(self, scope: Any) -> Iterator[str]:
        for header in _headers(scope, b"cookie"):
            for each in header.split(";"):
                name, _, value = each.strip().partition("=")
                if name == self._cookie:
                    yield value

    def _is_ours(self, host: str) -> bool:
        if (found := _HOST.fullmatch(host)) is None:
            return False
        name = found[1].strip("[]").lower().rstrip(".")
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return address.is_loopback or self._everywhere or name in self._names

    def _is_own(self, origin: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and self._is_ours(parts.netloc)


def _headers(scope: Any, name: bytes) -> Iterator[str]:
    return (value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name)


async def _body(scope: Any, receive: Any) -> bytes:
    """The whole body of a request.

    Raises:
        _RefusedRequest: On one that is too large, comes too slowly, or is not JSON by what it says.
    """
    if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
        _require_json(scope)
    body, chunks = bytearray(), _chunks(receive)
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in chunks:
                body += chunk
                if len(body) > MOST_BODY:
                    break
    except TimeoutError:
        raise _RefusedRequest(408, f"the request did not come whole in {_BODY_S:g} s") from None
    if len(body) > MOST_BODY:
        await _discard(chunks)
        raise _RefusedRequest(413, f"a request has at most {MOST_BODY:,} bytes")
    return bytes(body)


def _require_json(scope: Any) -> None:
    types = [each.partition(";")[0].strip().lower() for each in _headers(scope, b"content-type")]
    if types != ["application/json"]:
        raise _RefusedRequest(415, "a request's Content-Type has to be application/json")
    if any(each.strip().lower() not in ("", "identity") for each in _headers(scope, b"content-encoding")):
        raise _RefusedRequest(415, "a request's body has to come as it is, without a Content-Encoding")


async def _chunks(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)
        yield message.get("body", b"")


async def _discard(chunks: AsyncIterator[bytes]) -> None:
    """Read on for a while: who is still sending does not read the answer."""
    size = 0
    try:
        async with asyncio.timeout(_DISCARD_S):
            async for chunk in chunks:
                size += len(chunk)
                if size > _MOST_DISCARDED:
                    return
    except TimeoutError:
        return


async def _answer(rejected: _RefusedRequest, send: Any) -> None:
    from starlette.responses import JSONResponse

    error = {"message": rejected.message, "type": "refused", "code": rejected.status}
    response = JSONResponse({"error": error}, rejected.status, headers={**rejected.headers, "connection": "close"})
    await response({"type": "http"}, _nothing, send)


async def _nothing() -> Any:
    return {"type": "http.disconnect"}


def _replayed(body: bytes, receive: Any) -> Any:
    """What the application receives: the body at once, then whatever else comes."""
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return first.pop() if first else await receive()

    return replay
