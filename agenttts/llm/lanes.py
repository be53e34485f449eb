"""How many requests are under way at once: fewer where a server cannot keep up.

A server that takes one request at a time lets the others wait until their time is up. After a time-out there are half
as many at once as it answered within the time that a request may take; every answer after that widens them a little.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MAX_IN_FLIGHT = 64


class Lanes:
    """The requests of one endpoint.

    Args:
        slots: Bounds the requests of all endpoints together.
        most: Requests of this one at once.
    """

    def __init__(self, slots: asyncio.Semaphore | None = None, most: int = MAX_IN_FLIGHT) -> None:
        self._slots = slots or asyncio.Semaphore(most)
        self._most = most
        self.width = float(most)
        """How many there may be; whole ones count."""
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._answers = 0
        """Since it was last narrowed."""
        self._narrowed = 0.0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Make a request inside."""
        while self._under_way >= int(self.width):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # whose turn it was may be another's
                raise
        self._under_way += 1
        try:
            async with self._slots:
                yield
        finally:
            self._under_way -= 1
            self._wake()

    def _wake(self) -> None:
        free = int(self.width) - self._under_way
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                free -= 1

    def narrow(self, started: float) -> bool:
        """Ask for fewer at once, for a request that began then (by the monotonic clock) has timed out.

        Returns:
            Whether there are fewer: of requests that began before the last narrowing nothing is learned.
        """
        if started < self._narrowed or self.width <= 1:
            return False
        self.width = float(max(min(int(self.width), self._answers) // 2, 1))
        self._narrowed, self._answers = time.monotonic(), 0
        return True

    def widen(self) -> None:
        """Take note of an answer."""
        self._answers += 1
        if self.width < self._most:
            self.width = min(self.width + 1 / self.width, float(self._most))
            self._wake()
