"""Measuring what served models do in a second, at several numbers of requests at once.

Each run asks that many requests at the same moment and waits for all. Runs differ in how much is prompt and how much is
generated: both as long as the pipeline declares, one token only, or a short prompt; `calibration.throughput` tells the
two apart. A prompt is the words of the environment's own examples in a random order, a new one for every request, so
that no prefix cache has it, nor, where the server understands a salt (`cache_salt`: vLLM), what a chat template begins
all prompts with. A model is told not to end early where its server understands that (`ignore_eos`: vLLM, llama.cpp).
Tokens are counted as the server counts them. What a request takes beside its tokens is part of the figures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from agenttts.environments.live import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.llm.lanes import MAX_IN_FLIGHT
from agenttts.llm.protocols import Completer
from agenttts.llm.samples import Completions
from agenttts.pipeline import Model, Pipeline, Sampling, Subtask
from agenttts.space.throughput import Measurement, Throughput, throughput

BATCHES = (1, 4, 16, MAX_IN_FLIGHT)
REPEATS = 3
_LEAST_PROMPT, _LEAST_COMPLETION = 64, 16
_SHORT = 8
"""A short prompt is so many times shorter than a long one."""
_PROBE_WORDS = 32
_SEEDS = 2**31


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One model at one number of requests at once."""

    model: str
    gpus: int
    """How many GPUs its server is spread over."""
    requests_at_once: int
    runs: int
    throughput: Throughput
    """Of the server as a whole."""


class _Mixture(NamedTuple):
    """What one request of a run asks for."""

    words: int
    completion_tokens: int


async def measure(
    environment: LiveEnvironment,
    batches: Sequence[int] = BATCHES,
    *,
    repeats: int = REPEATS,
    on_measured: Callable[[Measured], None] | None = None,
) -> list[Measured]:
    """Every model of an environment's pipeline at these numbers of requests at once.

    Args:
        environment: Says who serves the models; it is entered meanwhile.
        batches: Numbers of requests at once.
        repeats: How often each mixture of prompt and completion is run; two at least tell how sure a figure is.
        on_measured: Called with each figure as soon as it is there.

    Raises:
        ConfigError: On a number of requests that the client would not send at once, an environment whose answers no
            model gives, or runs that contradict one another.
        EndpointError: When a server rejects requests or keeps failing.
    """
    if over := [batch for batch in batches if not 1 <= batch <= MAX_IN_FLIGHT]:
        raise ConfigError(f"{over[0]} requests at once cannot be measured: give 1 to {MAX_IN_FLIGHT}, as a search has")
    found = []
    async with environment as entered:
        if entered.recorded:
            raise ConfigError(
                f"environment {environment.name!r} has nothing to measure: its answers are {entered.recorded}"
            )
        for name in dict.fromkeys(model.name for model in environment.pipeline.models):
            load = await _Traffic.create(environment, name)
            for batch in batches:
                runs = await load.runs(batch, repeats)
                found.append(_fitted(name, environment.gpus(load.model), batch, runs))
                if on_measured is not None:
                    on_measured(found[-1])
    return found


def _fitted(name: str, gpus: int, batch: int, runs: Sequence[Measurement]) -> Measured:
    try:
        fitted = throughput(runs)
    except ConfigError as error:
        raise ConfigError(f"model {name!r}, {batch} at once: {error}, or more (--repeats)") from error
    return Measured(model=name, gpus=gpus, requests_at_once=batch, runs=len(runs), throughput=fitted)


@dataclass(frozen=True, kw_only=True)
class _Traffic:
    """What one model is asked."""

    completer: Completer
    model: Model
    sampling: Sampling
    mixtures: Sequence[_Mixture]
    words: Sequence[str]
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    """Not seeded: a server that was measured before has none of these prompts."""

    @classmethod
    async def create(cls, environment: LiveEnvironment, name: str) -> _Traffic:
        """At the lengths of the model's longest subtask; its first request wakes the server and shows its tokens."""
        subtask, model = _longest(environment.pipeline, name)
        rows = [environment.example(example) for example in environment.examples]
        words = " ".join(str(value) for row in rows for value in row.values()).split()
        extra = {**subtask.sampling.extra, "ignore_eos": True}
        load = cls(
            completer=environment.completer,
            model=model,
            sampling=replace(subtask.sampling, stop=(), extra=extra),
            mixtures=[],
            words=words,
        )
        probe = await load._run(1, _Mixture(_PROBE_WORDS, 1))
        lengths = subtask.lengths(model)
        words_per_token = _PROBE_WORDS / max(probe.prompt_tokens, 1)
        prompt = round(max(lengths.prompt, _LEAST_PROMPT) * words_per_token)
        completion = round(max(lengths.completion, _LEAST_COMPLETION))
        mixtures = [
            _Mixture(prompt, completion),
            # Its time is the prompt's: beside long completions that time would be lost in their noise.
            _Mixture(prompt, 1),
            _Mixture(max(prompt // _SHORT, 1), completion),
        ]
        return replace(load, mixtures=mixtures)

    async def runs(self, batch: int, repeats: int) -> list[Measurement]:
        """Every mixture in turn, again and again, after a round that does not count: servers compile what is new."""
        rounds = [[await self._run(batch, mixture) for mixture in self.mixtures] for _ in range(1 + repeats)]
        return [run for counted in rounds[1:] for run in counted]

    async def _run(self, batch: int, mixture: _Mixture) -> Measurement:
        prompts = [" ".join(self.rng.choice(self.words, size=mixture.words)) for _ in range(batch)]
        started = time.perf_counter()
        replies = await asyncio.gather(*(self._ask(prompt, mixture.completion_tokens) for prompt in prompts))
        seconds = time.perf_counter() - started
        return Measurement(
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            completion_tokens=sum(sample.completion_tokens for reply in replies for sample in reply.samples),
            seconds=seconds,
        )

    async def _ask(self, prompt: str, completion_tokens: int) -> Completions:
        seed = int(self.rng.integers(_SEEDS))
        extra = {**self.sampling.extra, "cache_salt": str(seed)}
        return await self.completer.complete(
            self.model,
            [{"role": "user", "content": prompt}],
            replace(self.sampling, max_tokens=completion_tokens, extra=extra),
            start=0,
            samples=1,
            seed=seed,
        )


def _longest(pipeline: Pipeline, name: str) -> tuple[Subtask, Model]:
    """The subtask with most tokens among those that may use this model."""
    using = [(subtask, model) for subtask in pipeline.subtasks for model in subtask.models if model.name == name]
    return max(using, key=lambda pair: sum(pair[0].lengths(pair[1])[:2]))
