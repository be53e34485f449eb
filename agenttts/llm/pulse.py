"""When an endpoint last answered: long waits are told, and an endpoint that stays silent is given up, once for all.

Silence counts only while somebody waits for the endpoint, and ends with the first usable answer. Who waits longer than
`give_up_after_s` of it gets an error, together with everybody else who waits for the same endpoint. One whose answer is
coming bit by bit is told of, and not given up: that takes as long without a bit.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agenttts.errors import EndpointError

GIVE_UP_AFTER_S = 600.0
TOLD_AFTER_S = 10.0
"""Seconds without an answer until a line says what is waited for."""
_TOLD_AGAIN_S = 60.0
_TICK_S = 0.5

_log = logging.getLogger(__name__)


class Pulse:
    """How long one endpoint has been silent.

    Args:
        where: The endpoint, as it is shown.
        give_up_after_s: Seconds of silence after which it is given up.
    """

    def __init__(self, where: str, give_up_after_s: float = GIVE_UP_AFTER_S) -> None:
        self._where, self.give_up_after_s = where, give_up_after_s
        self._waiting: dict[asyncio.Timeout, str] = {}
        """Who waits, and for whom."""
        self._before_s, self._since = 0.0, 0.0
        """Silence of earlier waits, and when this one began."""
        self._stirred = -math.inf
        """When a part of an answer last came."""
        self._next_told_s, self._told = TOLD_AFTER_S, -_TOLD_AGAIN_S
        self._watcher: asyncio.Task[None] | None = None
        self.alive = False
        """Whether it has ever answered what was asked."""
        self.reason = ""
        """Why a request is being made again, the last one that is."""

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody waits for it."""
        return bool(self._waiting)

    @property
    def silence_s(self) -> float:
        """Seconds that it has been waited for in vain."""
        return self._before_s + (time.monotonic() - self._since if self._waiting else 0.0)

    @property
    def _left_s(self) -> float:
        """Seconds until it is given up."""
        return self.give_up_after_s - min(self.silence_s, time.monotonic() - self._stirred)

    @property
    def notice(self) -> str:
        """What is waited for, in words; empty while nothing is, or not for long."""
        if not self._waiting or self.silence_s < TOLD_AFTER_S:
            return ""
        count = len(self._waiting)
        requests = "1 request is" if count == 1 else f"{count} requests are"
        last = f" (the last one failed: {self.reason})" if self.reason else ""
        return (
            f"waiting for {next(iter(self._waiting.values()))} at {self._where}: no answer for {self.silence_s:.0f} s, "
            f"{requests} under way{last}"
        ) + (f"; given up after {self.give_up_after_s:g} s" if self.give_up_after_s < math.inf else "")

    def answered(self) -> None:
        """Take note of what was asked for."""
        self.alive, self.reason = True, ""
        self.heard()

    def heard(self) -> None:
        """End the silence."""
        self._before_s, self._since = 0.0, time.monotonic()
        self._next_told_s = TOLD_AFTER_S

    def stirred(self) -> None:
        """Take note of a part of an answer."""
        self._stirred = time.monotonic()

    @asynccontextmanager
    async def waited_for(self, who: str) -> AsyncIterator[None]:
        """Wait for the endpoint inside.

        Raises:
            EndpointError: When it has been silent for too long.
        """
        if self._left_s <= 0:
            raise self._given_up(who)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._enter(scope, who)
                try:
                    yield
                finally:
                    self._leave(scope)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise self._given_up(who) from error

    def _enter(self, scope: asyncio.Timeout, who: str) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting[scope] = who
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())

    def _leave(self, scope: asyncio.Timeout) -> None:
        silence = self.silence_s
        del self._waiting[scope]
        if not self._waiting:
            self._before_s = silence

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self) -> None:
        """Tell and give up, as long as anybody waits."""
        try:
            while self._waiting:
                await asyncio.sleep(min(_TICK_S, max(self._left_s, 0.01)))
                self._tell()
                if self._waiting and self._left_s <= 0:
                    for scope in self._waiting:
                        scope.reschedule(asyncio.get_running_loop().time())
                    return
        finally:
            self._watcher = None

    def _tell(self) -> None:
        now = time.monotonic()
        # An endpoint that takes its time with every answer is not told of with every answer.
        if self.silence_s < self._next_told_s or now - self._told < _TOLD_AGAIN_S or not self.notice:
            return
        self._told, self._next_told_s = now, self.silence_s + _TOLD_AGAIN_S
        _log.warning("%s", self.notice)

    def _given_up(self, who: str) -> EndpointError:
        return EndpointError(
            f"{who} at {self._where} has answered nothing for {self.give_up_after_s:g} s and was given up"
            f"{f' (the last request failed: {self.reason})' if self.reason else ''}: look after its server and run "
            "again, or wait longer with --give-up-after",
            lasting=True,
        )
