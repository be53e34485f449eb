"""What is asked of a store beside the event loop, by one thread: so nothing of one process waits for a lock of its own.

The sample pool's calls that wait at the same moment are made together. The thread takes all of them, reads and then
writes in one transaction each, and tells who waits; what is asked meanwhile waits for the next time. So a transaction
costs little where it is quick, and holds the more the slower the database is, or the more there are who ask. Who adds
samples waits until they are committed. Calls of one key are made in their order, one a transaction.

What a search records of its study (`WorkCall`) is a transaction of its own, made after all that was asked before it,
and before all that is asked after it.

What a cancelled draw has asked is not made any more, but for what was paid for: that is kept, as is what a cancelled
search has told to record. `close` waits for it, as the end of the process does.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.exc import DataError, IntegrityError

from agenttts.errors import StoreError
from agenttts.llm.samples import AwaitedSamples, Held, Sample, Spend, StoredPrompt

_MOST_AT_ONCE = 4_000
"""Calls of one transaction, which takes a dozen round trips: a far database must not bound how much is drawn."""
_GATHERED_S = 0.005
"""Between two transactions, where many ask: calls come together meanwhile."""
_TOLD_AFTER_S = 1.0
"""Until it is told that the end of a search waits for the store."""
_log = logging.getLogger(__name__)
T = TypeVar("T")


class ReadCall(NamedTuple):
    """A call of `SampleStore.read` as a value, and so on."""

    key: str
    limit: int


class TakeCall(NamedTuple):
    """A call of `AwaitedSamples.take`."""

    key: str
    owner: str
    seconds: float
    limit: int


class ClaimCall(NamedTuple):
    key: str
    owner: str
    seconds: float
    limit: int


class RenewCall(NamedTuple):
    """A call of `AwaitedSamples.renew`."""

    owner: str
    seconds: float

    @property
    def key(self) -> str:
        """None of a prompt: no two calls of one owner are made at once."""
        return self.owner


class ReleaseCall(NamedTuple):
    key: str
    owner: str


class AddCall(NamedTuple):
    prompt: StoredPrompt
    start: int
    samples: Sequence[Sample]
    spend: Spend
    study_id: int | None

    @property
    def key(self) -> str:
        """Whose samples they are."""
        return self.prompt.key


SampleCall = ReadCall | TakeCall | ClaimCall | RenewCall | ReleaseCall | AddCall
_Answer = asyncio.Future[Any]


class WorkCall(NamedTuple):
    """Any other call of a store."""

    work: Callable[[], Any]


class _WaitingCall(NamedTuple):
    """A call, and who waits for what it returns."""

    call: SampleCall | WorkCall
    answer: _Answer | None
    """None where nobody does."""

    @property
    def wanted(self) -> bool:
        """Whether it is still to be made."""
        return self.answer is None or isinstance(self.call, AddCall | WorkCall) or not self.answer.cancelled()


class StoreThread:
    """Does what is asked of one store, in the order in which it is asked.

    Args:
        together: Makes calls of different keys at once, and gives what each returns.
    """

    def __init__(self, together: Callable[[Sequence[SampleCall]], Sequence[Any]]) -> None:
        self._together = together
        self._thread: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._waiting: list[_WaitingCall] = []
        self._at_work = False
        self._told_lost = False

    def close(self) -> None:
        """Wait for all that was asked, which is told where it takes long."""
        thread, self._thread = self._thread, None
        if thread is not None:
            ended = thread.submit(lambda: None)
            if not wait([ended], _TOLD_AFTER_S).done:
                _log.warning("waiting until what was paid for is stored; an interrupt does not wait for it")
            thread.shutdown()

    def answer(self, call: SampleCall | WorkCall) -> _Answer:
        """What a call returns, to be waited for."""
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._ask(_WaitingCall(call, answer))
        return answer

    def ask(self, call: SampleCall) -> None:
        """Make a call for which nobody waits."""
        self._ask(_WaitingCall(call, None))

    def tell(self, call: WorkCall) -> Future[Any]:
        """Make a call for which somebody waits later; any thread may ask."""
        told: Future[Any] = Future()
        self._ask(_WaitingCall(WorkCall(partial(fulfil, told, call.work)), None))
        return told

    def _ask(self, asked: _WaitingCall) -> None:
        with self._lock:
            self._waiting.append(asked)
            if self._at_work:
                return
            self._at_work = True
        self._thread = self._thread or ThreadPoolExecutor(1, "agenttts-store")
        self._thread.submit(self._work)

    def _work(self) -> None:
        """Make all that waits, until nothing does."""
        while batch := self._next():
            answers = self._made([asked.call for asked in batch])
            self._tell_lost(batch, answers)
            _tell(batch, answers)
            if len(batch) > 1:  # many draws are under way: few large transactions take less time than many small ones
                time.sleep(_GATHERED_S)

    def _tell_lost(self, batch: Sequence[_WaitingCall], answers: Sequence[Any]) -> None:
        """Say once that what nobody waits for could not be done: a store that is full refuses every call."""
        lost = [found for asked, found in zip(batch, answers, strict=True) if not asked.answer and _is_error(found)]
        if lost and not self._told_lost:
            self._told_lost = True
            _log.warning("claims are free only when they expire: %s", lost[0])

    def _made(self, calls: Sequence[SampleCall | WorkCall]) -> Sequence[Any]:
        """What each call returns, or the error that it ends with."""
        try:
            if isinstance(calls[0], WorkCall):
                return [calls[0].work()]
            return self._together([call for call in calls if not isinstance(call, WorkCall)])
        except Exception as error:  # whatever it is, it is theirs who wait
            unable = isinstance(error, StoreError) and not isinstance(error.__cause__, DataError | IntegrityError)
            if unable or len(calls) == 1:
                return [error] * len(calls)
        # One of them is at fault: the others are not to be lost with it.
        return [self._made([call])[0] for call in calls]

    def _next(self) -> list[_WaitingCall]:
        """What is to be made next, in one transaction."""
        with self._lock:
            batch, self._waiting = _parted([asked for asked in self._waiting if asked.wanted])
            self._at_work = bool(batch)
        return batch


class SamplesBeside(AwaitedSamples):
    """A table of samples, asked in the thread of its store.

    Args:
        thread: Which.
    """

    def __init__(self, thread: StoreThread) -> None:
        self._thread = thread

    async def read(self, key: str, limit: int) -> Held:
        held: Held = await self._thread.answer(ReadCall(key, limit))
        return held

    async def take(self, key: str, owner: str, seconds: float, limit: int) -> Held | None:
        held: Held | None = await self._thread.answer(TakeCall(key, owner, seconds, limit))
        return held

    async def renew(self, keys: Collection[str], owner: str, seconds: float) -> None:
        await self._thread.answer(RenewCall(owner, seconds))

    def release(self, key: str, owner: str) -> None:
        self._thread.ask(ReleaseCall(key, owner))

    async def add(
        self, prompt: StoredPrompt, start: int, samples: Sequence[Sample], *, spend: Spend, study_id: int | None
    ) -> Spend | None:
        paid: Spend | None = await self._thread.answer(AddCall(prompt, start, samples, spend, study_id))
        return paid


def fulfil(told: Future[T], work: Callable[[], T]) -> None:
    """Do it, and leave in the future what comes of it."""
    try:
        told.set_result(work())
    except Exception as error:  # whatever it is, it is theirs who wait
        told.set_exception(error)


def _parted(waiting: list[_WaitingCall]) -> tuple[list[_WaitingCall], list[_WaitingCall]]:
    """Calls of different keys, those first that were asked first, or a call of another kind; and what is left."""
    batch: dict[str, _WaitingCall] = {}
    later: list[_WaitingCall] = []
    for place, asked in enumerate(waiting):
        if isinstance(asked.call, WorkCall):
            return ([*batch.values()], later + waiting[place:]) if batch else ([asked], waiting[1:])
        if len(batch) == _MOST_AT_ONCE or asked.call.key in batch:
            later.append(asked)
        else:
            batch[asked.call.key] = asked
    return [*batch.values()], later


def _tell(batch: Sequence[_WaitingCall], answers: Sequence[Any]) -> None:
    """Give everybody the answer, in the loop in which it is waited for."""
    awaited = [(asked.answer, found) for asked, found in zip(batch, answers, strict=True) if asked.answer]
    for loop, told in groupby(awaited, key=lambda each: each[0].get_loop()):
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, list(told))


def _is_error(found: Any) -> bool:
    return isinstance(found, Exception)


def _settle(told: Sequence[tuple[_Answer, Any]]) -> None:
    for answer, found in told:
        if answer.done():  # who waited was cancelled
            continue
        if _is_error(found):
            answer.set_exception(found)
        else:
            answer.set_result(found)
