"""Asking an endpoint over HTTP, so that every wait is bounded and every answer is one.

A request has a total time-out that includes reading the answer, and an answer at most 8 MiB. Whatever is no answer to
the question (a fault of the server, a connection that breaks, a page of HTML, JSON of another kind) is asked for
again, after a pause that grows; a server's Retry-After is honoured up to `LONGEST_PAUSE_S`. A refused key is final
until the endpoint has answered once; after that it is a fault like others. An account that is used up is final. A
request that is declined (400) is put once more to an endpoint that has answered others: a proxy may have declined it.

An error that comes with status 200 counts by its code. An endpoint whose requests time out is asked for fewer at once.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from agenttts._util.strict_json import bounded_int
from agenttts._util.text import scrubbed
from agenttts.errors import EndpointError
from agenttts.llm.complaints import Complaint, read_complaint
from agenttts.llm.connection import in_words
from agenttts.llm.endpoint import (
    KEY,
    MOST_SHOWN,
    Address,
    endpoint_url,
    http_transport,
    joined,
    lasting_secrets,
    sent_secrets,
    shown_url,
)
from agenttts.llm.events import answer_of, are_events
from agenttts.llm.lanes import Lanes
from agenttts.llm.pulse import GIVE_UP_AFTER_S, Pulse

T = TypeVar("T")
MOST_BYTES = 8 * 2**20
"""Of one answer."""
LONGEST_PAUSE_S = 30.0
_MOST_BYTES_OF_AN_ERROR = 64 * 2**10
_FIRST_PAUSE_S, _LONGEST_BACK_OFF_S = 0.5, 8.0
_NOT_OF_A_FIELD = (401, 402, 403, 407, 408, 413, 425, 429)
_FAULTS_OF_A_FIELD = (500, 501)
"""Gateways say by these, too, that they do not take a field."""


_OUT_OF_MONEY = "; its account is used up: fill it up and run again to go on (what has been paid for is kept)"
_HINT = "; more time is had with --timeout, fewer requests at once with --max-in-flight, more attempts with --retries"


class NotAnAnswer(ValueError):
    """What a server sent does not answer the question; the message says in words what it is."""


class ErrorAnswer(NotAnAnswer):
    """An error that came with status 200.

    Args:
        body: What was sent, as JSON has been read.
    """

    def __init__(self, body: Any) -> None:
        self.complaint = read_complaint(body)
        super().__init__(self.complaint.text)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long an endpoint is waited for."""

    timeout_s: float
    """Seconds that one request may take in all."""
    max_retries: int
    """Retries of a request that got no answer."""
    give_up_after_s: float = GIVE_UP_AFTER_S
    """Seconds without any answer after which an endpoint is given up."""
    max_timed_out: int = 2
    """Retries of a request whose time is up: each may take minutes."""
    hint: str = _HINT
    """What may help where the time is up."""


@dataclass
class Asker:
    """One endpoint, with its connections.

    Raises:
        ConfigError: When a key or a header's value is needed and not set.
    """

    address: Address
    who: str
    """Who is asked first, as errors of its key name it."""
    patience: Patience
    lanes: Lanes = field(default_factory=Lanes)

    def __post_init__(self) -> None:
        self.url = self.address.url
        """Where it is asked: with /v1, where the address lacks it and the server has it."""
        self._headers = self.address.sent(self.who)
        self._key = self.address.key(self.who)
        self._never_kept = [each.encode() for each in lasting_secrets(self.address.url, self._key)]
        self._http = http_transport(self.url, timeout_s=self.patience.timeout_s)
        self._parsed: dict[str, Any] = {}
        """URL -> as the transport reads it: to read one takes it a tenth of the CPU time of a request."""
        self.shown = shown_url(self.url)
        self.pulse = Pulse(self.shown, self.patience.give_up_after_s)

    async def close(self) -> None:
        """Close every connection."""
        self.pulse.close()
        await self._http.aclose()

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
                self.pulse.reason = str(error)
            failed += 1
            async with self.pulse.waited_for(who):
                await asyncio.sleep(pause)

    def _retries(self, error: EndpointError) -> int:
        """How often a request that failed like this is worth another try."""
        most = self.patience.max_retries
        if error.lasting or (error.status is not None and error.status < 500 and not self._may_pass(error.status)):
            return 0
        if error.timed_out:
            return min(most, self.patience.max_timed_out)
        return most if error.unavailable else min(most, 1)

    def _may_pass(self, status: int) -> bool:
        """Whether a status below 500 may be another one in a moment."""
        return status < 300 or status in (408, 409, 425, 429) or self.pulse.alive

    async def once(
        self,
        who: str,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[Any], T],
        heard: Callable[[bytes], object] | None = None,
    ) -> T:
        """What one request is answered.

        Args:
            who: Who is asked, as errors name it.
            path: After the endpoint's URL; or a URL of its server's, for what is no part of the API.
            body: The request.
            read: Reads the answer's JSON; raises NotAnAnswer (or KeyError, TypeError, AttributeError) where it is none.
            heard: Is given each part of the answer as it comes.

        Raises:
            EndpointError: When no answer comes, or another than was asked for.
        """
        where, seconds = f"{who} at {self.shown}", self.patience.timeout_s
        async with self.lanes.one(), self.pulse.waited_for(who):
            started = time.monotonic()
            try:
                url = path if "://" in path else joined(self.url, path)
                content = await self._within(where, seconds, "POST", url, body, heard)
            except EndpointError as error:
                if error.timed_out:
                    self.lanes.narrow(started)
                raise
        answer = _json(where, content)
        try:
            found = read(answer)
        except ErrorAnswer as error:
            raise self._declined(where, error.complaint.status or 200, error.complaint, body) from error
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            reason = f": {self._quoted(str(error))}" if isinstance(error, NotAnAnswer) else ""
            raise EndpointError(f"{where} answered without a completion{reason}", status=200) from error
        self.pulse.answered()
        self.lanes.widen()
        return found

    async def fetch(self, who: str, url: str, *, timeout_s: float, body: Mapping[str, Any] | None = None) -> bytes:
        """What the endpoint's server has at a URL, for a question that is not retried and that nobody waits for.

        Raises:
            EndpointError: When it does not come.
        """
        where = f"{who} at {self.shown}"
        return await self._within(where, timeout_s, "GET" if body is None else "POST", url, body, hint="")

    async def _within(
        self,
        where: str,
        seconds: float,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        heard: Callable[[bytes], object] | None = None,
        *,
        hint: str | None = None,
    ) -> bytes:
        """An exchange that takes no longer, its faults in words."""
        with in_words(where, url):
            try:
                async with asyncio.timeout(seconds):
                    return await self._exchange(where, method, url, body, heard)
            except TimeoutError as error:
                hint = self.patience.hint if hint is None else hint
                raise EndpointError(f"{where} did not answer within {seconds:g} s{hint}", timed_out=True) from error

    async def _exchange(
        self,
        where: str,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        heard: Callable[[bytes], object] | None,
    ) -> bytes:
        """Send, and read the answer's body."""
        sent = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        if (parsed := self._parsed.get(url)) is None:
            parsed = self._parsed[url] = self._http.build_request(method, url).url
        async with self._http.stream(method, parsed, content=sent, headers=self._headers) as response:
            if response.status_code < 300:
                return self._unechoed(await _read(where, response, MOST_BYTES, heard))
            if not EndpointError("", status=response.status_code).unavailable:
                self.pulse.heard()
            complaint = read_complaint(await _beginning(response))
            raise self._declined(where, response.status_code, complaint, body or {}, response.headers)

    def _declined(
        self,
        where: str,
        status: int,
        complaint: Complaint,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> EndpointError:
        """The error of a request that was answered by a complaint."""
        headers = headers or {}
        request = self.scrubbed(headers.get("x-request-id", ""))[:100]
        named = f" (request {request})" if request else ""
        spent = complaint.out_of_money(status)
        hint = _OUT_OF_MONEY if spent else self._hint(status, headers)
        return EndpointError(
            f"{where} answered {status}: {self._quoted(complaint.text)}{named}{hint}",
            status=status,
            lasting=spent,
            retry_after_s=_retry_after_s(headers),
            refused=complaint.refused(body) if _may_be_of_a_field(status) and not spent else "",
        )

    def _hint(self, status: int, headers: Mapping[str, str]) -> str:
        """How to get round it, where that is known."""
        if 300 <= status < 400:
            target = self.scrubbed(headers.get("location", "elsewhere"))[:200]
            return f"; it redirects to {shown_url(target)}: give the base URL that it means"
        if status == 407:
            return (
                "; the proxy of HTTP_PROXY or HTTPS_PROXY wants a user and a password: http://USER:PASSWORD@HOST:PORT"
            )
        if status in (401, 403) and self._key is None and self.address.key_env is None and not self.address.headers:
            owner = shown_url(endpoint_url(None))
            return f"; no key was sent ({KEY} is for {owner}): name the variable that holds one with api_key_env"
        if status in (404, 405) and not self.pulse.alive and not self.url.partition("?")[0].endswith("/v1"):
            return "; a base URL usually ends in /v1"
        return ""

    def _quoted(self, text: str) -> str:
        """The first line of what a server says, without any secret that it was sent."""
        lines = self.scrubbed(text).strip().splitlines()
        return (lines[0] if lines else "no reason given")[:300]

    def _unechoed(self, content: bytes) -> bytes:
        """An answer without the key or the password that was sent, which would be kept as a part of it."""
        for secret in self._never_kept:
            if secret in content:
                content = content.replace(secret, b"***")
        return content

    def scrubbed(self, text: str) -> str:
        """What a server wrote, without any secret that it was sent."""
        values = [self._headers[header] for header, _ in self.address.headers]
        return scrubbed(
            text[:MOST_SHOWN], sent_secrets(self.address.url, self._key or "", os.environ.get(KEY, "").strip(), *values)
        )


def _may_be_of_a_field(status: int) -> bool:
    return status in _FAULTS_OF_A_FIELD or (400 <= status < 500 and status not in _NOT_OF_A_FIELD)


async def _read(where: str, response: Any, most: int, heard: Callable[[bytes], object] | None) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        if heard is not None:
            heard(part)
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
        if are_events(content):
            return answer_of(content.decode("utf-8", "replace"))
        return json.loads(content.decode("utf-8-sig", "replace"), parse_int=bounded_int)
    except (ValueError, RecursionError) as error:
        raise EndpointError(f"{where} answered something that is not JSON", status=200) from error


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
