"""Whose turn it is on GPUs that do not hold all models at once: the order in which a search swaps least.

Requests wait until the shift of their model is awake. The awake shift keeps its turn as long as requests come for it;
then the shift that most requests wait for is woken. The examples of an evaluation, and the trials of a batch, run side
by side, so all of them arrive at the same stage while they wait: the work of one model is done over all of them before
the next is loaded (stage-major order), without anybody planning it.

An example's next request comes a moment after its last answer: a short wait before a swap lets it come (anticipatory
scheduling, as disks do it: Iyer and Druschel, SOSP 2001).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

_LINGER_S = 0.05


class Turns:
    """Grants shifts their turns.

    Args:
        switch: Puts the awake shift to sleep and wakes this one.
        awake: The shift that is awake now.
    """

    def __init__(self, switch: Callable[[int], Awaitable[None]], awake: int) -> None:
        self._switch = switch
        self._awake: int | None = awake
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._under_way = 0
        self._busy_since = 0.0
        self._swapping: asyncio.Task[None] | None = None
        self._closed = False
        self.swaps = 0
        """How often a shift was woken."""
        self.swapping_s = 0.0
        """Seconds that took."""
        self.generating_s = 0.0
        """Seconds in which requests were under way."""

    @asynccontextmanager
    async def turn(self, shift: int) -> AsyncIterator[None]:
        """Held while a model of this shift is asked.

        Raises:
            EndpointError: When its servers cannot be woken.
        """
        if shift == self._awake and not self._closed:
            self._enter()
        else:
            await self._wait(shift)
        try:
            yield
        finally:
            self._leave()

    async def _wait(self, shift: int) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(shift, []).append(granted)
        self._consider()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self._leave()  # it was granted in the moment in which nobody wanted it any more
            elif granted in self._waiting.get(shift, ()):
                self._waiting[shift].remove(granted)
            raise

    def _enter(self) -> None:
        if not self._under_way:
            self._busy_since = time.monotonic()
        self._under_way += 1

    def _leave(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self.generating_s += time.monotonic() - self._busy_since
        self._consider()

    def _consider(self) -> None:
        if not self._under_way and self._swapping is None and any(self._waiting.values()):
            self._swapping = asyncio.create_task(self._swap())

    async def _swap(self) -> None:
        """Wake the shift that most requests wait for, unless the awake one is asked again first."""
        try:
            await asyncio.sleep(_LINGER_S)
            if self._under_way or not any(self._waiting.values()):
                return
            self._closed = True
            started = time.monotonic()
            chosen = max(sorted(self._waiting), key=lambda shift: len(self._waiting[shift]))
            try:
                if chosen != self._awake:
                    await self._switch(chosen)
                    self.swaps += 1
            except Exception as error:  # whatever it was, those who wait must hear of it
                self._awake = None
                self._refuse(error)
                return
            self.swapping_s += time.monotonic() - started
            self._awake = chosen
            self._grant(chosen)
        finally:
            self._closed = False
            self._swapping = None
            self._consider()

    def _grant(self, shift: int) -> None:
        for granted in self._waiting.pop(shift):
            if not granted.done():
                self._enter()
                granted.set_result(None)

    def _refuse(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, {}
        for granted in (each for shift in waiting.values() for each in shift):
            if not granted.done():
                granted.set_exception(error)
