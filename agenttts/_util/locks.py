"""A lock for objects that live longer than one event loop."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary


class LoopLock:
    """One `asyncio.Lock` for each event loop it is used in: a lock itself belongs to the first.

    lock = LoopLock()
    async with lock.here: ...
    """

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @property
    def here(self) -> asyncio.Lock:
        """That of the running loop."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
