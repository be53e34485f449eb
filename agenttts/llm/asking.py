"""Asking an endpoint over HTTP, so that every wait is bounded and every answer is one.

A request has a total time-out that includes reading the answer, and an answer at most 8 MiB. Whatever is no answer to
the question (a fault of the server, a connection that breaks, a page of HTML, JSON of another kind) is asked for
again, after a pause that grows; a server's Retry-After is honoured up to `LONGEST_PAUSE_S`. A refused key is final
until the endpoint has answered once; after that it is a fault like others. A request that is declined (400) is put
once more to an endpoint that has answered others: a proxy may have declined it.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from agenttts.errors import EndpointError
from agenttts.llm.endpoint import complaint, http_transport, openai_client, shown_url
from agenttts.llm.pulse import GIVE_UP_AFTER_S, Pulse

T = TypeVar("T")
MOST_BYTES = 8 * 2**20
"""Of one answer."""
LONGEST_PAUSE_S = 30.0
_MOST_BYTES_OF_AN_ERROR = 64 * 2**10
_FIRST_PAUSE_S, _LONGEST_BACK_OFF_S = 0.5, 8.0
_MOST_TIMED_OUT = 2
"""Retries of a request whose time is up: each may take minutes."""
_MOST_DIGITS = 20


class NotAnAnswer(ValueError):
    """What a server sent does not answer the question; the message says in words what it is."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long an endpoint is waited for."""

    timeout_s: float
    """Seconds that one request may take in all."""
    max_retries: int
    """Retries of a request that got no answer."""
    give_up_after_s: float = GIVE_UP_AFTER_S
    """Seconds without any answer after which an endpoint is given up."""


@dataclass
class Asker:
    """One endpoint, with its connections."""

    url: str
    key_env: str
    patience: Patience
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(64))
    """Requests under way at once; shared with other endpoints."""

    def __post_init__(self) -> None:
        seconds = self.patience.timeout_s
        self._http = http_transport(self.url, timeout_s=seconds)
        self.client = openai_client(self.url, self.key_env, self._http, timeout_s=seconds)
        self.shown = shown_url(self.url)
        self.pulse = Pulse(self.shown, self.patience.give_up_after_s)
        self._headers = {name: value for name, value in self.client.default_headers.items() if isinstance(value, str)}
        self._headers |= {"Authorization": f"Bearer {self.client.api_key}", "Content-Type": "application/json"}

    async def close(self) -> None:
        """Close every connection."""
        await self.client.close()

    async def persist(self, who: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """What an attempt returns, which is made again while that may help.

        Args:
            who: Who is asked, as errors name it.
            attempt: Asks with `once`; it is to hold nothing that others wait for after it has failed.

        Raises:
            EndpointError: When the endpoint refuses or keeps failing.
        """
        failed = 0
        while True:
            try:
                return await attempt()
            except EndpointError as error:
                if failed >= self._retries(error):
                    raise
                pause = _pause_s(failed, error.retry_after_s)
            failed += 1
            async with self.pulse.waited_for(who):
                await asyncio.sleep(pause)

    def _retries(self, error: EndpointError) -> int:
        """How often a request that failed like this is worth another try."""
        most = self.patience.max_retries
        if error.lasting or (error.status is not None and error.status < 500 and not self._may_pass(error.status)):
            return 0
        if error.timed_out:
            return min(most, _MOST_TIMED_OUT)
        return most if error.unavailable else min(most, 1)

    def _may_pass(self, status: int) -> bool:
        """Whether a status below 500 may be another one in a moment."""
        return status < 400 or status in (408, 409, 425, 429) or self.pulse.alive

    async def once(self, who: str, path: str, body: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """What one request is answered.

        Args:
            who: Who is asked, as errors name it.
            path: After the endpoint's URL.
            body: The request.
            read: Reads the answer's JSON; raises NotAnAnswer (or KeyError, TypeError, AttributeError) where it is none.

        Raises:
            EndpointError: When no answer comes, or another than was asked for.
        """
        where, seconds = f"{who} at {self.shown}", self.patience.timeout_s
        async with self.slots, self.pulse.waited_for(who):
            with _in_words(where):
                try:
                    async with asyncio.timeout(seconds):
                        content = await self._exchange(where, path, body)
                except TimeoutError as error:
                    raise EndpointError(f"{where} did not answer within {seconds:g} s", timed_out=True) from error
        answer = _json(where, content)
        try:
            found = read(answer)
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            reason = f": {self._quoted(str(error))}" if isinstance(error, NotAnAnswer) else ""
            raise EndpointError(f"{where} answered without a completion{reason}", status=200) from error
        self.pulse.answered()
        return found

    async def _exchange(self, where: str, path: str, body: Mapping[str, Any]) -> bytes:
        """Send, and read the answer's body."""
        url = self.client.base_url.copy_with(raw_path=self.client.base_url.raw_path.rstrip(b"/") + path.encode())
        sent = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        async with self._http.stream("POST", url, content=sent, headers=self._headers) as response:
            if response.status_code < 300:
                return await _read(where, response, MOST_BYTES)
            if not EndpointError("", status=response.status_code).unavailable:
                self.pulse.heard()
            text = await _beginning(response)
            reason = self._quoted(complaint(text))
            request = response.headers.get("x-request-id")
            raise EndpointError(
                f"{where} answered {response.status_code}: {reason}" + (f" (request {request})" if request else ""),
                status=response.status_code,
                retry_after_s=_retry_after_s(response.headers),
            )

    def _quoted(self, text: str) -> str:
        """The first line of what a server says, without the key."""
        key = self.client.api_key
        lines = (text.replace(key, "***") if key != "none" else text).strip().splitlines()
        return (lines[0] if lines else "no reason given")[:300]


@contextmanager
def _in_words(where: str) -> Iterator[None]:
    """Whatever the connection does wrong becomes one sentence that names the model and the endpoint."""
    try:
        yield
    except EndpointError:
        raise
    except Exception as error:
        # httpx and its successor httpx2, whichever the official client brings, name their errors alike; that of aiohttp
        # is the cause, and says more: the transport calls a connection that was cut a ConnectTimeout.
        cause = error.__cause__ or error
        names = {each.__name__ for one in (error, cause) for each in type(one).__mro__}
        if not names & {"RequestError", "InvalidURL", "OSError", "ClientError"}:
            raise
        cut = bool(names & {"ServerDisconnectedError", "ClientOSError"}) and "ClientConnectorError" not in names
        # Who takes no connection is not there; who takes one and says nothing may be busy.
        gone = bool(names & {"ConnectError", "ConnectTimeout", "UnsupportedProtocol", "InvalidURL"}) and not cut
        slow = "TimeoutException" in names and not gone and not cut
        reason = f"{where} did not answer: {type(cause).__name__}"
        raise EndpointError(reason, unreachable=gone, cut=not gone and not slow, timed_out=slow) from error


async def _read(where: str, response: Any, most: int) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > most:
            raise EndpointError(f"{where} answered more than {most // 2**20} MiB", status=200)
        parts.append(part)
    return b"".join(parts)


async def _beginning(response: Any) -> str:
    """The first part of an error's body."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > _MOST_BYTES_OF_AN_ERROR:
            break
    return b"".join(parts)[:_MOST_BYTES_OF_AN_ERROR].decode("utf-8", "replace")


def _json(where: str, content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig", "replace"), parse_int=_bounded)
    except (ValueError, RecursionError) as error:
        raise EndpointError(f"{where} answered something that is not JSON", status=200) from error


def _bounded(digits: str) -> int | float:
    """An integer; infinity for one that no count can be, rather than an error that loses the whole answer."""
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


def _pause_s(failed: int, asked_s: float | None) -> float:
    """How long to wait after a failure: as long as the server asks, within bounds, else twice as long every time."""
    if asked_s is not None:
        return min(asked_s, LONGEST_PAUSE_S)
    return min(_FIRST_PAUSE_S * 2.0**failed, _LONGEST_BACK_OFF_S) * (1 - 0.25 * random.random())


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None where it does not say so in a form that is known."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        return max(parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time(), 0.0)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
