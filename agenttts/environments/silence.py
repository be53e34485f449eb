"""Saying that the pipeline's own functions are waited for: a metric that asks a dead server would be in silence.

Endpoints tell of themselves (`llm.pulse`). Where none is asked for long, and no example comes back, a function of the
user's is at work. It may block the event loop, so a thread of its own looks, once a second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agenttts.llm.pulse import TOLD_AFTER_S

_TOLD_AGAIN_S = 60.0
_TICK_S = 1.0
_log = logging.getLogger(__name__)


@contextmanager
def told_of_silence(is_asking: Callable[[], bool]) -> Iterator[set[str]]:
    """Look after an evaluation, and say when only the user's functions have been at work for long.

    Args:
        is_asking: Whether any endpoint is being waited for.

    Yields:
        Where the examples that have begun are to be put in, and taken out once they are done.
    """
    under_way: set[str] = set()
    ended = threading.Event()
    thread = threading.Thread(target=_look, args=(is_asking, under_way, ended), name="agenttts-silence", daemon=True)
    thread.start()
    try:
        yield under_way
    finally:
        ended.set()


def _look(is_asking: Callable[[], bool], under_way: set[str], ended: threading.Event) -> None:
    seen, since, told = set[str](), time.monotonic(), 0.0
    while not ended.wait(_TICK_S):
        now, names = time.monotonic(), under_way.copy()
        if is_asking() or names != seen:
            seen, since, told = names, now, 0.0
        elif names and now - since >= max(told + _TOLD_AGAIN_S * bool(told), TOLD_AFTER_S):
            told = now - since
            others = f" and {len(names) - 1} others" if len(names) > 1 else ""
            _log.warning(
                "no example has come back for %.0f s and no model is being asked: a function of the pipeline's own (a "
                "metric, a parser, a program) is at work on example %r%s",
                told,
                min(names),
                others,
            )
