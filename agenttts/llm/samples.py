"""Samples, what they took, and the contract of whatever keeps them (`SampleStore`): plain values, no SQL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import add, attrgetter, sub
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from agenttts.pipeline.operator import TokenLogprobs

Ended = Literal["", "refused", "cut", "empty", "unfinished", "called"]
"""Why a completion holds nothing to parse: the model refused (or a content filter did), its tokens were used up before
it said anything, or it said nothing. An unfinished one has text, but its tokens were used up before its end: it counts
where no whole one can be used. One that called tools has them in its text (`pipeline.tools`)."""


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What was really paid for, and what the sample pool saved."""

    requests: int = 0
    """That were answered."""
    prompt_tokens: int = 0
    """Paid for, a prompt once per request."""
    completion_tokens: int = 0
    """Paid for."""
    reused_prompt_tokens: int = 0
    """Prompt tokens of draws that the pool answered, as a fresh request would have counted them."""
    reused_completion_tokens: int = 0
    """Taken from the sample pool instead."""
    cached_prompt_tokens: int = 0
    """Of the prompt tokens, those that the provider had in its cache, as it told: most have another price for them."""
    reasoning_tokens: int = 0
    """Of the completion tokens, those of reasoning, as the provider told."""
    estimated_tokens: int = 0
    """Of all tokens, those of which the provider told no count that can be: counted by the length of the texts."""
    usd: float = 0.0
    """By the models' declared prices; models without prices add nothing."""
    seconds: float = 0.0
    """Wall-clock seconds."""

    def __add__(self, other: Spend) -> Spend:
        values = map(add, _amounts(self), _amounts(other))
        return Spend(**dict(zip(_AMOUNTS, values, strict=True)))

    def __sub__(self, part: Spend) -> Spend:
        """What is left of it without a part of it."""
        return Spend(**dict(zip(_AMOUNTS, map(sub, _amounts(self), _amounts(part)), strict=True)))

    @property
    def tokens(self) -> int:
        """Tokens paid for, prompt and completion."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def reused_tokens(self) -> int:
        """Tokens that the sample pool saved."""
        return self.reused_prompt_tokens + self.reused_completion_tokens


_AMOUNTS = tuple(each.name for each in fields(Spend))
_amounts = attrgetter(*_AMOUNTS)
"""Read once, and quickly: every draw is added up several times."""


@dataclass(frozen=True)
class Sample:
    """One completion that was paid for."""

    text: str
    """What the model answered."""
    completion_tokens: int
    """That were charged, with those of reasoning."""
    ended: Ended = ""
    """Why there is nothing, or not all, to parse; empty where the whole text is there."""
    logprobs: tuple[TokenLogprobs, ...] = ()
    """Of its tokens, where they were asked for and told."""

    @property
    def said(self) -> str:
        """What there is to parse; empty for nothing."""
        return self.text if self.ended in ("", "unfinished", "called") else ""


@dataclass(frozen=True)
class StoredPrompt:
    """What a key stands for, kept readable."""

    key: str
    model: str
    namespace: str
    messages: Sequence[Mapping[str, Any]]
    sampling: Mapping[str, Any]
    prompt_tokens: int


class Held(NamedTuple):
    """What the pool has of a key, of a number of samples that is asked for."""

    prompt_tokens: int
    """0 when the key is new."""
    samples: list[Sample]
    """The first ones, up to a gap."""
    missing: list[int]
    """Positions that hold no sample: a failed request may have left a gap."""


@dataclass(frozen=True)
class Completions:
    """Answers of one request."""

    samples: tuple[Sample, ...]
    """At least one."""
    prompt_tokens: int
    """Of the request."""
    cached_prompt_tokens: int = 0
    """Those that the server charged as cached."""
    reasoning_tokens: int = 0
    """Those of the completions that were reasoning."""
    estimated_tokens: int = 0
    """As in `Spend`."""


class SampleStore(Protocol):
    """Keeps the samples of a pool: those of one key are an ordered list.

    The database is one (`db.SampleTable`), a dictionary another (`execution.memory.MemorySamples`).
    """

    def read(self, key: str, limit: int) -> Held:
        """What there is of the first `limit` samples of a key."""
        ...

    def claim(self, key: str, owner: str, seconds: float, limit: int = 0) -> Held | None:
        """Take or renew the right to pay for samples of a key; None while another has it. Expired claims are free.

        Returns:
            What there is of the first `limit` samples, now that nobody else adds to them.
        """
        ...

    def release(self, key: str, owner: str) -> None:
        """Give a claim back."""
        ...

    def add(
        self, prompt: StoredPrompt, start: int, samples: Sequence[Sample], *, spend: Spend, study_id: int | None
    ) -> Spend | None:
        """Keep samples from position `start` on, and charge the study with what they took.

        Returns:
            What the study has paid for in all by now, whoever searches it; None where no study is charged.
        """
        ...


class AwaitedSamples(ABC):
    """A `SampleStore` as a pool asks it: what may take its time is awaited."""

    @abstractmethod
    async def read(self, key: str, limit: int) -> Held:
        """See `SampleStore.read`."""

    @abstractmethod
    async def take(self, key: str, owner: str, seconds: float, limit: int) -> Held | None:
        """What there is of the first `limit` samples of a key, where some are missing with the right to pay for them.

        Who is cancelled meanwhile may have been given the right.

        Returns:
            None where some are missing and another has the right.
        """

    @abstractmethod
    async def renew(self, keys: Collection[str], owner: str, seconds: float) -> None:
        """Keep the rights to all keys that an owner has for longer."""

    @abstractmethod
    def release(self, key: str, owner: str) -> None:
        """Give a claim back, after all that was asked for its key before; nobody waits for it."""

    @abstractmethod
    async def add(
        self, prompt: StoredPrompt, start: int, samples: Sequence[Sample], *, spend: Spend, study_id: int | None
    ) -> Spend | None:
        """See `SampleStore.add`; they are kept also where who waits for it is cancelled."""


@runtime_checkable
class SharedSamples(Protocol):
    """A `SampleStore` that takes its time, as a database does."""

    @property
    def beside(self) -> AwaitedSamples:
        """The same, without holding up the event loop."""
        ...


class ImmediateSamples(AwaitedSamples):
    """A store that answers at once.

    Args:
        store: Which.
    """

    def __init__(self, store: SampleStore) -> None:
        self._store = store

    async def read(self, key: str, limit: int) -> Held:
        return self._store.read(key, limit)

    async def take(self, key: str, owner: str, seconds: float, limit: int) -> Held | None:
        held = await self.read(key, limit)
        return self._store.claim(key, owner, seconds, limit) if held.missing else held

    async def renew(self, keys: Collection[str], owner: str, seconds: float) -> None:
        for key in keys:
            self._store.claim(key, owner, seconds)

    def release(self, key: str, owner: str) -> None:
        self._store.release(key, owner)

    async def add(
        self, prompt: StoredPrompt, start: int, samples: Sequence[Sample], *, spend: Spend, study_id: int | None
    ) -> Spend | None:
        return self._store.add(prompt, start, samples, spend=spend, study_id=study_id)
