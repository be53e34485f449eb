"""The samples of a pool in a dictionary: for deployed answers, dry runs and tests, where nothing is to be kept."""

from __future__ import annotations

import time
from collections.abc import Sequence

from agenttts.llm.samples import (
    AwaitedSamples,
    Held,
    ImmediateSamples,
    Sample,
    SampleStore,
    SharedSamples,
    Spend,
    StoredPrompt,
)


class MemorySamples:
    """A `SampleStore` of this process, gone with it."""

    def __init__(self) -> None:
        self._prompt_tokens: dict[str, int] = {}
        self._samples: dict[str, dict[int, Sample]] = {}
        self._claims: dict[str, tuple[str, float]] = {}
        """Key -> who may pay for its samples, and until when."""

    def read(self, key: str, limit: int) -> Held:
        """See `SampleStore.read`."""
        kept = self._samples.get(key, {})
        missing = [position for position in range(limit) if position not in kept]
        whole = missing[0] if missing else limit
        return Held(self._prompt_tokens.get(key, 0), [kept[position] for position in range(whole)], missing)

    def keep(self, key: str, held: Held) -> None:
        """Give from now on what there is elsewhere of a key."""
        self._prompt_tokens[key] = held.prompt_tokens
        self._samples[key] = dict(enumerate(held.samples))

    def claim(self, key: str, owner: str, seconds: float, limit: int = 0) -> Held | None:
        """See `SampleStore.claim`."""
        now = time.monotonic()
        holder, until = self._claims.get(key, (owner, now))
        if holder != owner and until > now:
            return None
        self._claims[key] = owner, now + seconds
        return self.read(key, limit)

    def release(self, key: str, owner: str) -> None:
        """See `SampleStore.release`."""
        if key in self._claims and self._claims[key][0] == owner:
            del self._claims[key]

    def add(
        self, prompt: StoredPrompt, start: int, samples: Sequence[Sample], *, spend: Spend, study_id: int | None
    ) -> None:
        """See `SampleStore.add`; there is no study to charge."""
        self._prompt_tokens.setdefault(prompt.key, prompt.prompt_tokens)
        kept = self._samples.setdefault(prompt.key, {})
        for position, sample in enumerate(samples, start):
            kept.setdefault(position, sample)


class CopiedSamples(ImmediateSamples):
    """A copy of what is read of another store's samples, until it is sealed: then it gives no others.

    Args:
        source: Where they are read; nothing is written there.
    """

    def __init__(self, source: SampleStore) -> None:
        self._copy = MemorySamples()
        super().__init__(self._copy)
        self._source: AwaitedSamples | None = awaited(source)

    def seal(self) -> None:
        """Give only what has been read up to now."""
        self._source = None

    async def read(self, key: str, limit: int) -> Held:
        held = self._copy.read(key, limit)
        if held.missing and self._source is not None:
            held = await self._source.read(key, limit)
            self._copy.keep(key, held)
        return held


def awaited(samples: SampleStore | AwaitedSamples) -> AwaitedSamples:
    """Samples as a pool asks for them."""
    if isinstance(samples, AwaitedSamples):
        return samples
    return samples.beside if isinstance(samples, SharedSamples) else ImmediateSamples(samples)
