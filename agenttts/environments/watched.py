"""One example through every model of a pipeline, with all that was asked and said."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from agenttts.environments.scored import ExampleOutcome, ScoredRun
from agenttts.environments.silence import told_of_silence
from agenttts.errors import EndpointError
from agenttts.execution.pool import Draw, SamplePool
from agenttts.pipeline import Message, Model, Sampling, Subtask
from agenttts.space.allocation import Allocation, Choice

if TYPE_CHECKING:
    from agenttts.environments.live import LiveEnvironment


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One draw of samples: who was asked what, and what was said."""

    subtask: str
    model: str
    messages: Sequence[Message]
    replies: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One example under one allocation."""

    allocation: Allocation
    asked: Sequence[Exchange]
    outputs: dict[str, Any]
    """Subtask -> its output, where it came that far."""
    outcome: ExampleOutcome | None
    """None where a server was gone."""
    error: str
    """Why it failed; empty where it did not."""
    seconds: float


@dataclass
class WatchedRun(ScoredRun):
    """One example through the pipeline, with all that was asked and said on the way."""

    asked: list[Exchange] = field(default_factory=list)

    async def draw(
        self,
        subtask: Subtask,
        messages: Sequence[Message],
        sampling: Sampling,
        samples: int | None,
        *,
        model: Model | None = None,
        own: bool,
    ) -> Draw:
        drawn = await super().draw(subtask, messages, sampling, samples, model=model, own=own)
        name = self.allocation[subtask.name].model if model is None else model.name
        said = [sample.said for sample in drawn.samples]
        self.asked.append(Exchange(subtask=subtask.name, model=name, messages=messages, replies=said))
        return drawn


async def watch_models(environment: LiveEnvironment, example: str) -> list[Watched]:
    """The example once through each model: each run takes the next model of every subtask, and its last one after that.

    Args:
        environment: Entered.
        example: Id of one of its examples.

    Raises:
        ConfigError: When there is no such example, or the pipeline cannot be run.
    """
    stages = environment.pipeline.subtasks
    pool = SamplePool()
    found = []
    for models in zip_longest(*(subtask.models for subtask in stages)):
        chosen = {
            s.name: Choice((model or s.models[-1]).name, s.least_samples)
            for s, model in zip(stages, models, strict=True)
        }
        found.append(await watch(environment, Allocation(chosen), example, pool))
    return found


async def watch(environment: LiveEnvironment, allocation: Allocation, example: str, pool: SamplePool) -> Watched:
    """One example under an allocation."""
    run = environment.watched_run(allocation, example, pool)
    started, outcome, error = time.perf_counter(), None, ""
    try:
        with told_of_silence(environment.is_asking) as under_way:
            under_way.add(example)
            outcome = await run.outcome()
        error = outcome.result.error or ""
    except EndpointError as failure:
        error = str(failure)
    seconds = time.perf_counter() - started
    return Watched(
        allocation=allocation,
        asked=run.asked,
        outputs=run.outputs,
        outcome=outcome,
        error=error,
        seconds=seconds,
    )
