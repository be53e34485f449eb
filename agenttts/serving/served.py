"""Completions of servers that are ours: asked when they are awake, and again when they have come back from a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from agenttts.errors import EndpointError
from agenttts.llm.protocols import Completer
from agenttts.llm.samples import Completions
from agenttts.pipeline import Message, Model, Sampling
from agenttts.serving.base import Serving

_ATTEMPTS = 30
"""A server is given up before: then its turn raises."""
_PAUSE_S = 1.0
"""By then it is known that a server is gone."""


@dataclass(frozen=True)
class ServedCompleter:
    """A completer of completions that keeps to the turns of its servers."""

    completer: Completer
    serving: Serving

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        """See `completions.Completer.complete`."""
        for _ in range(_ATTEMPTS - 1):
            async with self.serving.turn(model.served_name):
                try:
                    return await self.completer.complete(
                        model, messages, sampling, start=start, samples=samples, seed=seed
                    )
                except EndpointError as error:
                    if not (error.unreachable or error.cut):  # else it may have crashed
                        raise
            await asyncio.sleep(_PAUSE_S)
        async with self.serving.turn(model.served_name):
            return await self.completer.complete(model, messages, sampling, start=start, samples=samples, seed=seed)
