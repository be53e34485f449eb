"""The sample pool: every completion ever bought, addressed by content, reused by every trial.

A key is the hash of (namespace, served model and revision, messages, sampling parameters); the samples of a key are an
ordered list. A draw of S samples returns the first S and buys only those missing, in one request, once: coroutines
of this process wait for one another, processes that share the store wait for one another's claims. So S = 5 after
S = 20 is free, an unchanged upstream output makes downstream free, and a repeated study is free. Fresh draws, for an
honest check of the winner, use another namespace.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable
from weakref import WeakValueDictionary

from agenttts.db import Sample, Store, StoredPrompt
from agenttts.environments.client import ChatClient
from agenttts.errors import LimitReached
from agenttts.pipeline import Message, Model, Sampling
from agenttts.trial import Spend

SEARCH = "search"
"""Namespace of the samples that a search draws on."""
VALIDATION = "validation"
"""Namespace of fresh samples, for checking a winner that the search's own samples may have flattered."""

_CLAIM_SECONDS = 900.0
_POLL_SECONDS = 0.05
_MILLION = 1e6


@dataclass
class Meter:
    """What has been bought so far, and how much may be."""

    max_tokens: int | None = None
    max_usd: float | None = None
    spent: Spend = Spend()

    def check(self) -> None:
        """Refuse the next purchase when a limit is used up.

        Raises:
            LimitReached: When it is.
        """
        if self.max_tokens is not None and self.spent.tokens >= self.max_tokens:
            raise LimitReached(f"bought {self.spent.tokens:,} tokens of at most {self.max_tokens:,} (--max-tokens)")
        if self.max_usd is not None and self.spent.usd >= self.max_usd:
            raise LimitReached(f"spent {self.spent.usd:.4f} USD of at most {self.max_usd:g} (--max-usd)")

    def add(self, spend: Spend) -> None:
        """Count a purchase or a reuse."""
        self.spent += spend


@dataclass(frozen=True)
class Draw:
    """The samples of one draw, and what it bought and reused."""

    samples: tuple[Sample, ...]
    prompt_tokens: int
    spend: Spend


class SamplePool:
    """Draws samples, from the store where it has them, from the client where it has not.

    Args:
        store: Holds the samples.
        study_id: The study that purchases are charged to.
        namespace: Samples of different namespaces never mix.
        meter: Counts purchases and stops them at a limit.
    """

    def __init__(
        self,
        store: Store,
        *,
        study_id: int | None = None,
        namespace: str = SEARCH,
        meter: Meter | None = None,
    ) -> None:
        self.meter = meter or Meter()
        self._store = store
        self._study_id = study_id
        self._namespace = namespace
        self._owner = uuid.uuid4().hex
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def joined(self, store: Store, study_id: int, meter: Meter) -> SamplePool:
        """The same namespace on a study's store, charged to the study."""
        return SamplePool(store, study_id=study_id, namespace=self._namespace, meter=meter)

    def fresh(self, namespace: str) -> SamplePool:
        """The same store, study and meter under another namespace."""
        return SamplePool(self._store, study_id=self._study_id, namespace=namespace, meter=self.meter)

    async def draw(
        self, client: ChatClient, model: Model, messages: Sequence[Message], sampling: Sampling, samples: int
    ) -> Draw:
        """The first `samples` samples of a key, buying those missing.

        Raises:
            LimitReached: When something is missing and a limit is used up.
            EndpointError: When the endpoint refuses or keeps failing.
        """
        key = sample_key(self._namespace, model, messages, sampling)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            prompt_tokens, held = self._store.samples.read(key, samples)
            if len(held) >= samples:
                return self._reused(prompt_tokens, held)
            self.meter.check()
            await self._claim(key)
            try:
                # Another process may have bought them between the look and the claim.
                prompt_tokens, held = self._store.samples.read(key, samples)
                if len(held) >= samples:
                    return self._reused(prompt_tokens, held)
                return await self._buy(client, key, model, messages, sampling, samples, held)
            finally:
                self._store.samples.release(key, self._owner)

    async def _claim(self, key: str) -> None:
        """Wait for the right to buy."""
        while not self._store.samples.claim(key, self._owner, _CLAIM_SECONDS):
            await asyncio.sleep(_POLL_SECONDS)

    async def _buy(
        self,
        client: ChatClient,
        key: str,
        model: Model,
        messages: Sequence[Message],
        sampling: Sampling,
        samples: int,
        held: Sequence[Sample],
    ) -> Draw:
        missing, seed = samples - len(held), int(key[:8], 16)
        bought = await client.complete(model, messages, sampling, start=len(held), samples=missing, seed=seed)
        spend = _purchase(model, bought.requests, bought.prompt_tokens, bought.samples)
        prompt = StoredPrompt(
            key, model.served_name, self._namespace, messages, _parameters(sampling), bought.prompt_tokens
        )
        if bought.samples:
            self._store.samples.add(prompt, len(held), bought.samples, spend=spend, study_id=self._study_id)
        if bought.error is not None:
            self.meter.add(spend)
            raise bought.error
        spend += Spend(reused_completion_tokens=sum(sample.completion_tokens for sample in held))
        self.meter.add(spend)
        return Draw((*held, *bought.samples), bought.prompt_tokens, spend)

    def _reused(self, prompt_tokens: int, held: Sequence[Sample]) -> Draw:
        completion_tokens = sum(sample.completion_tokens for sample in held)
        spend = Spend(reused_prompt_tokens=prompt_tokens, reused_completion_tokens=completion_tokens)
        self.meter.add(spend)
        return Draw(tuple(held), prompt_tokens, spend)


@runtime_checkable
class Pooled(Protocol):
    """An environment that draws through a sample pool; the search loop gives it the study's."""

    pool: SamplePool


def sample_key(namespace: str, model: Model, messages: Sequence[Message], sampling: Sampling) -> str:
    """Content hash of everything that decides what a sample looks like."""
    content = [namespace, model.served_name, model.revision, list(messages), _parameters(sampling)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _parameters(sampling: Sampling) -> dict[str, object]:
    return asdict(sampling)


def _purchase(model: Model, requests: int, prompt_tokens: int, samples: Sequence[Sample]) -> Spend:
    # Each request of several choices pays its prompt once.
    prompts, completions = prompt_tokens * requests, sum(sample.completion_tokens for sample in samples)
    usd = (
        prompts * (model.usd_per_million_prompt_tokens or 0)
        + completions * (model.usd_per_million_completion_tokens or 0)
    ) / _MILLION
    return Spend(requests=requests, prompt_tokens=prompts, completion_tokens=completions, usd=usd)
