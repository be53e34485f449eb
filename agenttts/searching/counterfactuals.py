"""Counterfactual trials: what the samples of a trial say of allocations that were not tried, at no cost.

The samples that a trial drew at its last stage determine what that stage would have given with fewer of them, and with
every operator that needs no others. Each such allocation is evaluated on the trial's examples with the samples of the
trial alone, whatever else is in the pool: so a search that was killed finds the same ones again. One that needs a
sample which is not there on any example is left out whole: the examples that remain would be a biased choice.

They are evidence beside the trials (`Archive.evidence`), whose noise they share (`posterior.noise`); they take no
number and count against no limit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from agenttts.errors import ConfigError, EndpointError, LimitReached
from agenttts.execution.memory import CopiedSamples
from agenttts.execution.meter import Meter
from agenttts.execution.pool import SamplePool
from agenttts.llm.pulse import TOLD_AFTER_S
from agenttts.llm.samples import Spend
from agenttts.pipeline import Pipeline, Subtask
from agenttts.searching.running import RunningSearch
from agenttts.searching.scoring import evaluated
from agenttts.space import Allocation, SearchSpace
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import COUNTERFACTUAL, Trial

_log = logging.getLogger(__name__)
_UNDETERMINED = (LimitReached, ConfigError, EndpointError)
"""A sample is missing, or every example failed."""


@dataclass
class Counterfactuals:
    """Those of one search."""

    search: RunningSearch

    def __post_init__(self) -> None:
        self._known: dict[int, int] = {}
        """Trial -> how many examples it had seen when its samples were last looked at."""
        self._told = False

    async def update(self) -> None:
        """Look at the samples of every trial that has seen examples since."""
        if not (self.search.plan.counterfactuals and self.search.environment.replays):
            return
        for trial in self.search.archive.trials:
            seen = len(trial.evaluation.results)
            if self._known.get(trial.number) != seen and not trial.evaluation.refused:
                started = time.monotonic()
                await self._look_at(trial)
                self._known[trial.number] = seen
                self._tell(time.monotonic() - started)

    async def _look_at(self, trial: Trial) -> None:
        examples = [each.example for each in trial.evaluation.results]
        known = {each.allocation: each for each in self.search.archive.counterfactuals}
        wanted = {
            allocation: unseen
            for allocation in variants(trial.allocation, self.search.plan.space)
            if allocation.key not in self.search.archive.tried
            and (unseen := [name for name in examples if name not in _seen(known, allocation)])
        }
        if not wanted:
            return
        samples = CopiedSamples(self.search.store.samples)
        try:
            await self._scored(trial.allocation, examples, samples)
            samples.seal()
        except _UNDETERMINED as error:
            _log.debug("the samples of trial %d are not all there: %s", trial.number, error)
            return
        found = {}
        for allocation, unseen in wanted.items():
            evaluation = await self._determined(allocation, unseen, samples)
            if evaluation is not None:
                before = known.get(allocation)
                found[allocation] = self._trial(trial, allocation, evaluation, before)
        store = self.search.store
        await store.beside(store.put_counterfactuals, self.search.study, list(found.values()))
        merged = sorted({**known, **found}.values(), key=lambda each: each.allocation.key)
        self.search.archive = replace(self.search.archive, counterfactuals=tuple(merged))

    async def _determined(
        self, allocation: Allocation, examples: list[str], samples: CopiedSamples
    ) -> Evaluation | None:
        """The allocation on these examples with these samples alone; None where they do not determine it."""
        try:
            first = await self._scored(allocation, examples[:1], samples)  # most that are not determined show here
            return first.extended(await self._scored(allocation, examples[1:], samples)) if examples[1:] else first
        except _UNDETERMINED as error:
            _log.debug("%s is not determined: %s", allocation, error)
            return None

    async def _scored(self, allocation: Allocation, examples: list[str], samples: CopiedSamples) -> Evaluation:
        return await evaluated(
            self.search.environment, allocation, examples, SamplePool(samples, meter=Meter(max_tokens=0))
        )

    def _trial(self, trial: Trial, allocation: Allocation, found: Evaluation, before: Trial | None) -> Trial:
        bare = tuple(replace(result, output="") for result in found.results)
        evaluation = replace(found, results=bare, spend=Spend())
        if before is not None:
            whole = before.evaluation.extended(evaluation)
            return replace(before, evaluation=whole, cost=self.search.cost(allocation, whole))
        return Trial(
            number=0,
            allocation=allocation.in_order(self.search.study.spec.sizes),
            cost=self.search.cost(allocation, evaluation),
            evaluation=evaluation,
            searcher=COUNTERFACTUAL,
            rationale="",
            round=trial.round,
            created=trial.created,
            scored_by=trial.number,
        )

    def _tell(self, seconds: float) -> None:
        if seconds > TOLD_AFTER_S and not self._told:
            self._told = True
            _log.warning(
                "scoring a trial's samples in further ways took %.0f s of the pipeline's own functions: "
                "--no-counterfactuals leaves it out",
                seconds,
            )


def variants(allocation: Allocation, space: SearchSpace) -> list[Allocation]:
    """The allocation with other operators and fewer samples at its last stages, where they are in the space."""
    found = {
        allocation.replaced(subtask.name, pairing.name, count)
        for subtask in last_subtasks(space.pipeline)
        for pairing in subtask.pairings
        if pairing.asked == allocation[subtask.name].asked
        for count in _counts(subtask, allocation[subtask.name].samples)
        if count >= pairing.least_samples
    }
    return sorted((each for each in found - {allocation} if each in space), key=lambda each: each.key)


def last_subtasks(pipeline: Pipeline) -> list[Subtask]:
    """Those whose outputs no other reads."""
    read = {parent for subtask in pipeline.subtasks for parent in pipeline.parents(subtask.name)}
    return [subtask for subtask in pipeline.subtasks if subtask.name not in read]


def _counts(subtask: Subtask, most: int) -> Iterator[int]:
    """The subtask's numbers of samples up to this one, or this one halved again and again."""
    if subtask.sample_counts is not None:
        yield from (count for count in subtask.sample_counts if count <= most)
        return
    while most:
        yield most
        most //= 2


def _seen(known: Mapping[Allocation, Trial], allocation: Allocation) -> set[str]:
    return {result.example for result in known[allocation].evaluation.results} if allocation in known else set()
