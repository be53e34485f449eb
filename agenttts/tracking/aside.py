"""Telling a tracker beside the search: it may fail, hang or raise what it likes, and that ends and delays no search.

What is told is the whole study each time, so what could not be told is told with the next. The end is waited for, for a
minute.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from abc import ABC, abstractmethod

from agenttts._util.text import bounded, one_line, without_keys
from agenttts.llm.pulse import TOLD_AFTER_S
from agenttts.searching.progress import Progress, SearchResult

_GIVEN_UP_AFTER_S = 60.0
"""Until a search that has ended does not wait for it any more."""
_MOST_SHOWN = 300

_log = logging.getLogger(__name__)


class ToldAside(ABC):
    """A tracker that is told in a thread of its own."""

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[Progress | SearchResult] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._untold: Progress | None = None
        """What could not be told."""
        self._since: float | None = None
        """When it began to be told what it is being told."""
        self._complained = False

    @abstractmethod
    def tell(self, progress: Progress) -> None:
        """Tell the trials that are new or better known; it may take long, and raise anything."""

    @abstractmethod
    def end(self, result: SearchResult) -> None:
        """Tell what is recommended, and end the run."""

    def __call__(self, progress: Progress) -> None:
        """See `Tracker`."""
        if (since := self._since) is not None and (seconds := time.monotonic() - since) > TOLD_AFTER_S:
            self._complain(f"has taken nothing for {seconds:.0f} s; the search does not wait for it")
        self._put(progress)

    def finish(self, result: SearchResult) -> None:
        """See `Tracker`."""
        self._put(result)
        if not self._ended.wait(TOLD_AFTER_S):
            _log.warning("waiting until %s has taken the end of the search", type(self).__name__)
            if not self._ended.wait(_GIVEN_UP_AFTER_S - TOLD_AFTER_S):
                _log.warning("%s has not taken the end of the search, and is left alone", type(self).__name__)

    def _put(self, news: Progress | SearchResult) -> None:
        self._news.put(news)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="agenttts-tracker", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while not self._ended.is_set():
            news = self._news.get()
            self._since = time.monotonic()
            try:
                self._pass_on(news)
            except BaseException as error:  # a client may raise what it likes
                said = one_line(bounded(without_keys(str(error)), _MOST_SHOWN))
                self._complain(f"could not be told, and the search goes on: {type(error).__name__}: {said}")
            self._since = None
            if isinstance(news, SearchResult):
                self._ended.set()

    def _pass_on(self, news: Progress | SearchResult) -> None:
        if isinstance(news, Progress):
            self._untold = news
        if self._untold is not None:
            self.tell(self._untold)
            self._untold = None
        if isinstance(news, SearchResult):
            self.end(news)

    def _complain(self, what: str) -> None:
        """Say it once."""
        if not self._complained:
            self._complained = True
            _log.warning("%s %s", type(self).__name__, what)
