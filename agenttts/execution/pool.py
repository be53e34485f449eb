"""The sample pool: every completion ever paid for, addressed by content, reused by every trial.

A key is the hash of (namespace, served model and revision, messages, sampling parameters with the model's own fields);
the samples of a key are an ordered list. A draw of S samples returns the first S and requests only those missing, in
one request, once: coroutines of this process wait for one another, processes that share the store wait for one
another's claims. So S = 5 after S = 20 is free, an unchanged upstream output makes downstream free, and a repeated
study is free. Fresh draws, for an honest check of the winner, use another namespace.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakValueDictionary

from agenttts.errors import ConfigError, StoreError
from agenttts.execution.memory import MemorySamples, awaited
from agenttts.execution.meter import Meter
from agenttts.llm.protocols import Completer, EmbeddingClient, RewardClient
from agenttts.llm.pulse import TOLD_AFTER_S
from agenttts.llm.samples import AwaitedSamples, Completions, Held, Sample, SampleStore, Spend, StoredPrompt
from agenttts.llm.token_counts import most_completion_tokens, most_prompt_tokens, most_tokens, whole_prompt
from agenttts.pipeline import Message, Model, Sampling
from agenttts.pipeline.tariff import tariff

SEARCH = "search"
"""Namespace of the samples that a search draws on."""
VALIDATION = "validation"
"""Namespace of fresh samples, for checking a winner that the search's own samples may have flattered."""

_log = logging.getLogger(__name__)
_CLAIM_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_EMBEDDING = Sampling(temperature=0, max_tokens=1, extra={"embedding": True})
"""Sets the keys of embeddings apart from those of completions."""
_REWARD = Sampling(temperature=0, max_tokens=1, extra={"reward": True})
"""And those of rewards."""


@dataclass(frozen=True)
class Draw:
    """The samples of one draw, and what was paid for and reused."""

    key: str
    """Where the pool keeps them."""
    samples: tuple[Sample, ...]
    prompt_tokens: int
    spend: Spend


class _Order(NamedTuple):
    """Whose samples of which prompt are requested."""

    client: Completer
    key: str
    model: Model
    messages: Sequence[Message]
    sampling: Sampling


class SamplePool:
    """Draws samples: from where they are kept if they are there, else from the client.

    Args:
        samples: Keeps the samples: a store's (`Store.samples`), or a dictionary of its own when None.
        study_id: The study that is charged with what is paid for.
        namespace: Samples of different namespaces never mix.
        meter: Counts what is paid for, and stops it at a limit.
    """

    def __init__(
        self,
        samples: SampleStore | AwaitedSamples | None = None,
        *,
        study_id: int | None = None,
        namespace: str = SEARCH,
        meter: Meter | None = None,
    ) -> None:
        self.meter = meter or Meter()
        self._samples = awaited(samples or MemorySamples())
        self.study_id = study_id
        self.namespace = namespace
        self._owner = uuid.uuid4().hex
        self._claimed: set[str] = set()
        """Keys whose samples are being paid for."""
        self._renewing: asyncio.Task[None] | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def fresh(self, namespace: str) -> SamplePool:
        """The same samples, study and meter under another namespace."""
        return SamplePool(self._samples, study_id=self.study_id, namespace=namespace, meter=self.meter)

    async def draw(
        self, client: Completer, model: Model, messages: Sequence[Message], sampling: Sampling, samples: int
    ) -> Draw:
        """The first `samples` samples of a key, requesting those missing.

        Raises:
            LimitReached: When something is missing and a limit is used up.
            EndpointError: When the endpoint rejects the request or keeps failing.
        """
        key = sample_key(self.namespace, model, messages, sampling)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            held: Held | None = None
            try:
                held = await self._take(key, samples)
                if not held.missing:
                    return self._reused(key, held)
                with self._kept(key):
                    return await self._buy(_Order(client, key, model, messages, sampling), samples, held)
            finally:
                if held is None or held.missing:
                    self._samples.release(key, self._owner)

    async def embed(self, client: EmbeddingClient, model: Model, text: str) -> tuple[tuple[float, ...], Spend]:
        """The embedding of a text, requested once, and what was paid for or reused.

        Raises:
            LimitReached: When it is missing and a limit is used up.
            EndpointError: When the endpoint rejects the request or keeps failing.
        """
        drawn = await self.draw(_Embedded(client), model, [{"role": "user", "content": text}], _EMBEDDING, 1)
        return tuple(json.loads(drawn.samples[0].text)), drawn.spend

    async def reward(
        self, client: RewardClient, model: Model, messages: Sequence[Message], *, probability: bool = False
    ) -> tuple[float, Spend]:
        """The reward of a conversation, requested once, and what was paid for or reused.

        Raises:
            ConfigError: When it is to be a probability, and is none.
            LimitReached: When it is missing and a limit is used up.
            EndpointError: When the endpoint rejects the request or keeps failing.
        """
        drawn = await self.draw(_Rewarded(client, probability), model, messages, _REWARD, 1)
        return float(json.loads(drawn.samples[0].text)), drawn.spend

    async def _take(self, key: str, samples: int) -> Held:
        """What there is, where some are missing with the right to ask for them; another process may be doing so."""
        pause, started, told = _FIRST_PAUSE_SECONDS, time.monotonic(), False
        while (held := await self._samples.take(key, self._owner, _CLAIM_SECONDS, samples)) is None:
            if not told and time.monotonic() - started > TOLD_AFTER_S:
                told = True
                _log.warning("waiting for another process that is paying for the same samples")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        return held

    @contextmanager
    def _kept(self, key: str) -> Iterator[None]:
        """Keep the right to ask for samples inside; a dead process's is soon free again."""
        self._claimed.add(key)
        self._renewing = self._renewing or asyncio.create_task(self._renew())
        try:
            yield
        finally:
            self._claimed.remove(key)
            if not self._claimed:
                self._renewing.cancel()
                self._renewing = None

    async def _renew(self) -> None:
        """Renew all claims, as long as there are any."""
        while True:
            await asyncio.sleep(_CLAIM_SECONDS / 4)
            try:
                await self._samples.renew(tuple(self._claimed), self._owner, _CLAIM_SECONDS)
            except StoreError as error:
                _log.warning("another process may pay for the same samples again: %s", error)

    async def _buy(self, order: _Order, samples: int, before: Held) -> Draw:
        """Request what is missing, in as few requests as the server takes; every answer is stored as it arrives."""
        reused = sum(sample.completion_tokens for sample in before.samples)
        spend, at_once, held = Spend(reused_completion_tokens=reused), samples, before
        self.meter.add(spend)
        while held.missing:
            orders = _requests(held.missing, at_once)
            if held is before:  # how many the server gives at once shows with the first
                orders = orders[:1]
            outcomes = await asyncio.gather(
                *(self._purchase(order, start, count) for start, count in orders), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
            answered = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
            spend = sum((cost for cost, _ in answered), start=spend)
            at_once = max(len(bought.samples) for _, bought in answered)
            first = answered[0][1]
            if len(first.samples) == len(held.missing) == samples - len(before.samples):  # the usual case: one request
                return Draw(order.key, (*before.samples, *first.samples), first.prompt_tokens, spend)
            held = await self._samples.read(order.key, samples)
        return Draw(order.key, tuple(held.samples), held.prompt_tokens, spend)

    async def _purchase(self, order: _Order, start: int, samples: int) -> tuple[Spend, Completions]:
        """One request: what it cost, and what it brought."""
        key, model, messages, sampling = order.key, order.model, order.messages, order.sampling
        drawn = model.sampling(sampling)
        limit = most_tokens(drawn.max_tokens, drawn.extra)
        prompt_tokens = most_prompt_tokens(whole_prompt(messages, drawn.extra))
        completion_tokens = most_completion_tokens(limit, samples)
        prices = tariff(model)
        usd = prices.usd(prompt_tokens, completion_tokens) if prices else 0.0
        async with self.meter.reserved(prompt_tokens + completion_tokens, usd):
            bought = await order.client.complete(
                model, messages, sampling, start=start, samples=samples, seed=int(key[:8], 16)
            )
            spend = _spend_of(model, bought)
            prompt = StoredPrompt(key, model.served_name, self.namespace, messages, vars(drawn), bought.prompt_tokens)
            self.meter.add(spend)
            paid = await self._samples.add(prompt, start, bought.samples, spend=spend, study_id=self.study_id)
            if paid is not None:
                self.meter.hear(paid)
        return spend, bought

    def _reused(self, key: str, held: Held) -> Draw:
        completion_tokens = sum(sample.completion_tokens for sample in held.samples)
        spend = Spend(reused_prompt_tokens=held.prompt_tokens, reused_completion_tokens=completion_tokens)
        self.meter.add(spend)
        return Draw(key, tuple(held.samples), held.prompt_tokens, spend)


def _requests(missing: Sequence[int], at_once: int) -> list[tuple[int, int]]:
    """Positions in requests, each a first position and how many follow on it without a gap, at most so many."""
    found: list[tuple[int, int]] = []
    for position in missing:
        start, count = found[-1] if found else (position, 0)
        if position == start + count and count < at_once:
            found[-1:] = [(start, count + 1)]
        else:
            found.append((position, 1))
    return found


@dataclass(frozen=True)
class _Embedded:
    """A client for embeddings as one for completions: an embedding is kept as the one sample of its text."""

    client: EmbeddingClient

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        return await self.client.embed(model, messages[-1]["content"])


@dataclass(frozen=True)
class _Rewarded:
    """A client for rewards as one for completions."""

    client: RewardClient
    probability: bool

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        given = await self.client.reward(model, messages)
        reward = float(json.loads(given.samples[0].text))
        if self.probability and not 0 <= reward <= 1:  # before it is kept: another run may find its server set right
            raise ConfigError(
                f"reward model {model.name!r} gave {reward:g}, where only scores from 0 to 1 will do: have its server "
                "give probabilities (vLLM: request={'use_activation': True})"
            )
        return given


def sample_key(namespace: str, model: Model, messages: Sequence[Message], sampling: Sampling) -> str:
    """Content hash of everything that decides what a sample looks like."""
    content = [namespace, model.served_name, model.revision, list(messages), vars(model.sampling(sampling))]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _spend_of(model: Model, bought: Completions) -> Spend:
    # A request of several choices pays its prompt once.
    completions, cached = sum(sample.completion_tokens for sample in bought.samples), bought.cached_prompt_tokens
    prices = tariff(model)
    return Spend(
        requests=1,
        prompt_tokens=bought.prompt_tokens,
        completion_tokens=completions,
        cached_prompt_tokens=cached,
        reasoning_tokens=bought.reasoning_tokens,
        estimated_tokens=bought.estimated_tokens,
        usd=prices.usd(bought.prompt_tokens, completions, cached) if prices else 0.0,
    )
