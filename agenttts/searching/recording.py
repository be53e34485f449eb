"""Recording an environment: many allocations on every example, as a table that `RecordedEnvironment` searches.

Samples come from the store's pool under the search's own namespace, so a search of the same environment and store has
paid for part of a recording already, and a recording that was cut off goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from agenttts.db import Store
from agenttts.environments.table import RecordedOutcome, require_writable, write_table
from agenttts.errors import ConfigError, EndpointError, LimitReached
from agenttts.execution.meter import Meter
from agenttts.execution.pool import SamplePool
from agenttts.llm.samples import Spend
from agenttts.protocols import Environment
from agenttts.searching.scoring import evaluated, missing_in_words
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation
from agenttts.study.spec import bought


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """How far a recording is."""

    allocations: int
    """Allocations recorded so far."""
    of: int
    """Allocations to record."""
    spend: Spend
    """What this run has bought and reused."""
    seconds: float
    """Wall-clock seconds of this run."""
    label: str
    """What the samples are where no model gives them."""

    @property
    def seconds_left(self) -> float:
        """By the pace per allocation so far."""
        return self.seconds / self.allocations * (self.of - self.allocations)


async def record(
    environment: Environment,
    allocations: Sequence[Allocation],
    store: str,
    path: Path,
    *,
    max_tokens: int | None = None,
    on_progress: Callable[[Recorded], None] | None = None,
) -> Recorded:
    """Evaluate allocations on the searched and the held-out examples, and write the outcomes to a table.

    Examples:
        >>> from pathlib import Path
        >>> from agenttts.searching import record
        >>> done = asyncio.run(record(environment, space.on_levels([1, 2]), "runs.db", Path("table.csv")))
        >>> at.RecordedEnvironment(pipeline, "table.csv").allocations == tuple(space.on_levels([1, 2]))
        True

    Args:
        environment: Scores the allocations.
        allocations: At least one; those with most samples go first, so that the others find theirs in the pool.
        store: Path or URL of the store whose sample pool is used.
        path: The table: .csv, .csv.gz or .parquet. It is written at the end, whole.
        max_tokens: Tokens that this run may buy.
        on_progress: Called after each allocation.

    Raises:
        ConfigError: On no allocation or a file that cannot be written, before anything is bought.
        LimitReached: When the limit stops a purchase: no table is written, what was bought stays in the pool.
        EndpointError: When servers stop answering; what was bought stays in the pool.
    """
    require_writable(path)
    if not allocations:
        raise ConfigError("no allocation on these levels is within the budget: give other levels or a larger budget")
    started, meter = time.monotonic(), Meter(max_tokens)
    evaluations: dict[Allocation, Evaluation] = {}
    async with AsyncExitStack() as stack:
        environment = await stack.enter_async_context(environment)
        pool = SamplePool(stack.enter_context(closing(Store(store))).samples, meter=meter)
        for allocation in sorted(allocations, key=_samples, reverse=True):
            evaluations[allocation] = await _evaluated(environment, allocation, pool)
            told = Recorded(
                allocations=len(evaluations),
                of=len(allocations),
                spend=meter.spent,
                seconds=time.monotonic() - started,
                label=environment.recorded,
            )
            if on_progress is not None:
                on_progress(told)
    outcomes = (outcome for each in allocations for outcome in _outcomes(environment, each, evaluations[each]))
    write_table(path, environment.pipeline, outcomes)
    return told


def _samples(allocation: Allocation) -> int:
    return sum(choice.samples for choice in allocation.values())


async def _evaluated(environment: Environment, allocation: Allocation, pool: SamplePool) -> Evaluation:
    """The allocation on every example; those that get no answer are asked for once more."""
    names = [*environment.examples, *environment.held_out]
    try:
        evaluation = await evaluated(environment, allocation, names, pool)
        if evaluation.missing:
            evaluation += await evaluated(environment, allocation, list(evaluation.missing), pool)
    except (LimitReached, EndpointError) as error:
        higher = "; a higher limit goes on from there" if isinstance(error, LimitReached) else ""
        raise type(error)(f"no table was written: {error}{higher}") from error
    if evaluation.missing:
        raise EndpointError(
            f"no table was written, since {missing_in_words(evaluation)} with {allocation}: run again to go on"
        )
    order = {name: place for place, name in enumerate(names)}
    return replace(evaluation, results=tuple(sorted(evaluation.results, key=lambda result: order[result.example])))


def _outcomes(environment: Environment, allocation: Allocation, evaluation: Evaluation) -> list[RecordedOutcome]:
    held_out, simulated = set(environment.held_out), bought(environment.recorded) == "simulated"
    return [
        RecordedOutcome(
            allocation=allocation,
            example=result.example,
            score=result.score,
            held_out=result.example in held_out,
            subtask_scores=result.subtask_scores,
            simulated=simulated,
        )
        for result in evaluation.results
    ]
