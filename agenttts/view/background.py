"""What takes long to work out of a study, made in a process of its own: pages show what is there already.

A long study's posterior and pictures take seconds. A page comes without them, or with those of a moment ago, and looks
again by itself. One thing is worked out at a time, and a thing again only after several times as long as it took:
whoever watches a search must not take its processor.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

_REST = 4.0
"""A thing rests so many times as long as it took."""
_NICENESS = 5
_log = logging.getLogger(__name__)


class Worked(NamedTuple):
    """What is known of a thing."""

    value: Any
    """None where it is not known yet."""
    current: bool
    """Whether it is of the study as it is now."""


@dataclass
class _Thing:
    stamp: str = ""
    value: Any = None
    took_s: float = 0.0
    done_at: float = -1e9
    under_way: bool = False


class Background:
    """Things by key, each with the stamp of the state of the study that it was worked out of."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        held, self._holding = context.Pipe(duplex=False)
        self._worker = ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(held,))
        self._things: dict[tuple[str, int], _Thing] = {}
        self._lock = threading.Lock()
        self.changes = 0
        """How many things have been worked out so far."""

    def get(self, key: tuple[str, int], stamp: str, work: Callable[..., Any], *arguments: Any) -> Worked:
        """What is known; where it is not that of this stamp, it is worked out meanwhile."""
        with self._lock:
            thing = self._things.setdefault(key, _Thing())
            rested = time.monotonic() - thing.done_at > _REST * thing.took_s
            if thing.stamp != stamp and not thing.under_way and rested:
                thing.under_way, started = True, time.monotonic()
                future = self._worker.submit(work, *arguments)
                future.add_done_callback(lambda done: self._take(thing, stamp, started, done))
            return Worked(thing.value, thing.stamp == stamp)

    def _take(self, thing: _Thing, stamp: str, started: float, done: Future[Any]) -> None:
        if done.cancelled() or self._holding.closed:
            return
        error = done.exception()
        if error is not None:  # what fails fails every time: the page says so, and goes on without
            _log.warning("a part of a page could not be worked out: %s: %s", type(error).__name__, error)
        with self._lock:
            thing.stamp, thing.value, thing.under_way = stamp, None if error else done.result(), False
            thing.done_at = time.monotonic()
            thing.took_s = thing.done_at - started
            self.changes += 1

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._holding.close()
        self._worker.shutdown(cancel_futures=True)


def _begin(held: Connection) -> None:
    """In the process: a search goes first, Ctrl-C is the server's, and it ends with the server however that ends."""
    os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        wait([held])  # closed by `close`, or with the server's process
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
