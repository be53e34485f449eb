"""Threads in which blocking calls of a user's program wait for the models, and how they wait.

Frameworks run what is not a coroutine in the event loop's own threads, of which asyncio has a handful: six on two
cores. Once all of them wait for models, nothing else finds a thread, not even the look-up of the host name that a model
is asked at: nobody is answered, and all wait for ever. So a loop that runs such programs is given as many threads as
may wait, and some that never do. They are made when they are needed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from agenttts.errors import ConfigError

EXAMPLES_AT_ONCE = 200
"""Examples that go through a user's program at once; the others wait for their turn."""
MOST_WAITING = 1000
"""Blocking calls that may wait at once, in all examples."""
_NEVER_WAITING = 64
_NAME = "agenttts-program"
T = TypeVar("T")


class _Threads(ThreadPoolExecutor):
    """Threads that nobody waits for in the end: a blocking call of the user's may never return."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


def run_to_end(main: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, as by `asyncio.run`; an interrupt waits for no blocking call of the user's."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_Threads(thread_name_prefix=_NAME))
        return runner.run(main)


class LoopThreads:
    """What the programs of one event loop share."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.examples = asyncio.Semaphore(EXAMPLES_AT_ONCE)
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        loop.set_default_executor(_Threads(MOST_WAITING + _NEVER_WAITING, _NAME))

    def wait(self, asking: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
        """What a coroutine of the loop returns, waited for from another thread.

        Raises:
            ConfigError: When more calls wait than there are threads for.
        """
        if not self._waiting.acquire(blocking=False):
            asking.close()
            raise ConfigError(
                f"more than {MOST_WAITING:,} blocking calls of the program wait for models at once: use the "
                "framework's async calls (ainvoke, acall), or fewer branches side by side"
            )
        try:
            return asyncio.run_coroutine_threadsafe(asking, loop).result()
        finally:
            self._waiting.release()


_OF_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopThreads] = WeakKeyDictionary()


def threads_of(loop: asyncio.AbstractEventLoop) -> LoopThreads:
    """That of an event loop; called in it the first time."""
    if loop not in _OF_LOOPS:
        _OF_LOOPS[loop] = LoopThreads(loop)
    return _OF_LOOPS[loop]
