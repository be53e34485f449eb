"""A search that is under way: its trials, what evaluates them, and what both parts of a search do with them.

`loop` tries allocations, `ending` recommends one and checks it; each holds the same `RunningSearch`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from agenttts.db import Store, Study
from agenttts.errors import EndpointError
from agenttts.execution.meter import Meter
from agenttts.execution.pool import SamplePool
from agenttts.posterior.frontier import within
from agenttts.protocols import Environment, Outlook
from agenttts.searching.failures import failed_examples
from agenttts.searching.plan import SearchPlan
from agenttts.searching.pricing import known_lengths, space_at, trial_cost
from agenttts.searching.progress import Phase, Progress
from agenttts.searching.racing import Racing
from agenttts.searching.scoring import evaluated
from agenttts.space import Allocation, SearchSpace
from agenttts.study.evaluation import Evaluation
from agenttts.study.lengths import ByModel
from agenttts.study.trial import AgentStep, Archive, Trial

_log = logging.getLogger(__name__)
_MOST_COMPLETIONS = 2
"""How often one run asks again for the examples of a trial that got no answer, before it comes to recommend."""


@dataclass(kw_only=True)
class RunningSearch:
    """One plan on one study. It keeps nothing that is not in the store."""

    plan: SearchPlan
    environment: Environment
    """The plan's, as it was entered."""
    store: Store
    study: Study
    meter: Meter
    archive: Archive = field(init=False)
    pool: SamplePool = field(init=False)
    trials_before: int = field(init=False)
    started: float = field(default_factory=time.monotonic)
    recording: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """Held from what a trial costs, as the archive shows, until it is in the archive: one after another."""

    def __post_init__(self) -> None:
        self.archive = self._read()
        self.pool = SamplePool(self.store.samples, study_id=self.study.id, meter=self.meter)
        self.trials_before = len(self.archive.trials)
        self.plan.searcher.journal = self._journal
        self.plan.searcher.outlook = Outlook(
            trials=self.plan.limits.trials,
            at_once=self.plan.parallel,
            look=self.plan.racing.look if self.plan.racing else None,
            endpoints=frozenset(self.environment.endpoints.values()),
            failures=partial(failed_examples, self.store, self.study, self.environment.pipeline.models),
        )
        self._told_unpriced = False
        self._told_steps: list[Future[None]] = []
        self._lengths: tuple[Sequence[Trial], ByModel] | None = None
        self._asked_again: Counter[int] = Counter()
        """Trial -> how often this run has asked again for examples that got no answer."""

    @cached_property
    def order(self) -> list[str]:
        """The examples in the study's order, in which every trial sees them."""
        return [
            str(name) for name in np.random.default_rng(self.study.spec.seed).permutation(self.environment.examples)
        ]

    @property
    def held_out(self) -> Sequence[str]:
        """The examples that the winner is checked on."""
        return self.environment.held_out if self.plan.validate else ()

    def _read(self) -> Archive:
        return replace(self.store.archive(self.study), similar=self._similar)

    @cached_property
    def _similar(self) -> tuple[Trial, ...]:
        """See `Archive.similar`: of the studies that this one began with, whatever the plan now names."""
        experience = self.study.spec.experience
        names = experience.studies if experience is not None and self.plan.searcher.learns else ()
        return tuple(trial for name in names for trial in self.store.archive(self.store.study(name)).trials)

    def _journal(self, step: AgentStep) -> None:
        """Nobody awaits it, and a method may tell a step in any thread: `journaled` waits until all are recorded."""
        self._told_steps.append(self.store.tell(self.store.add_step, self.study, step))
        self.meter.add_own(step.spend)
        if self.meter.max_usd is not None and step.spend.tokens and not step.spend.usd and not self._told_unpriced:
            self._told_unpriced = True
            _log.warning("the price of the planner's model is not known: --max-usd does not count what it takes")
        if step.guideline is not None:
            self.archive = replace(self.archive, guidelines=(*self.archive.guidelines, step.guideline))
        if step.spend.tokens:
            self.meter.check()

    @asynccontextmanager
    async def journaled(self) -> AsyncIterator[None]:
        """For asking the searcher: at its end every step that it told is recorded."""
        try:
            yield
        finally:
            told, self._told_steps = self._told_steps, []
            for each in told:
                await asyncio.shield(asyncio.wrap_future(each))  # it is recorded also where who waits is cancelled

    async def catch_up(self) -> None:
        """Take in what other processes that search this study have recorded and paid for meanwhile."""
        if await self.store.beside(self.store.count_trials, self.study) > self.archive.round:
            self.archive = await self.store.beside(self._read)
            self.meter.spent = await self.store.beside(self.store.spend, self.study)
            self.meter.own = await self.store.beside(self.store.own_spend, self.study)

    @property
    def measures(self) -> bool:
        """Whether the lengths of samples are those of models: simulated ones measure nothing."""
        return not self.environment.recorded.startswith("simulated")

    def priced(self, space: SearchSpace) -> SearchSpace:
        """A space at the lengths that the trials measured.

        Raises:
            BudgetTooSmall: When no allocation is within its budget at these.
        """
        return space_at(space, self._learned) if self.measures else space

    def cost(self, allocation: Allocation, evaluation: Evaluation) -> float:
        """What one query of an allocation costs, as its trial shows."""
        if not self.measures:
            return self.plan.space.cost(allocation)
        whole = len(evaluation.results) >= len(self.environment.examples)
        return trial_cost(self.plan.space, allocation, evaluation.usage, self._learned, whole=whole)

    @property
    def _learned(self) -> ByModel:
        """The lengths that the archive's trials teach, worked out once for them."""
        if self._lengths is None or self._lengths[0] is not self.archive.trials:
            self._lengths = self.archive.trials, known_lengths(self.plan.space, self.archive.trials)
        return self._lengths[1]

    async def scored(self, allocation: Allocation, examples: Sequence[str]) -> Evaluation:
        """The allocation on these examples; see `scoring.evaluated`."""
        return await evaluated(self.environment, allocation, examples, self.pool)

    def rivals(self, budget: float) -> Archive:
        """The trials within a budget whose models have answered, and the counterfactual ones."""
        answered = [trial for trial in self.archive.trials if not trial.evaluation.refused]
        return replace(
            within(answered, budget),
            counterfactuals=within(self.archive.counterfactuals, budget).trials,
            experience=self.archive.experience,
        )

    def trial(self, allocation: Allocation) -> Trial | None:
        """The trial of an allocation; None where it has not been tried."""
        return next((trial for trial in self.archive.trials if trial.allocation == allocation), None)

    def remaining(self, trial: Trial | None, racing: Racing | None) -> list[str]:
        """What a trial (None: a new one) is to see next: all that is left, or a look at it where trials race."""
        seen = {result.example for result in trial.evaluation.results} if trial is not None else set()
        left = [name for name in self.order if name not in seen]
        return left if racing is None else left[: racing.look]

    async def ask_again(self) -> None:
        """Ask for the examples of trials that got no answer, some times in a run."""
        left = [
            trial
            for trial in self.archive.trials
            if trial.evaluation.missing and self._asked_again[trial.number] < _MOST_COMPLETIONS
        ]
        for trial in left:
            self._asked_again[trial.number] += 1
        await all_of(self.try_to_extend(trial, self._missing(trial)) for trial in left)

    def _missing(self, trial: Trial) -> list[str]:
        return [name for name in self.order if name in trial.evaluation.missing]

    async def try_to_extend(self, trial: Trial, examples: Sequence[str]) -> None:
        """Evaluate a trial on further examples, which stay to be seen where they get no answer."""
        try:
            await self.extend(trial, examples)
        except EndpointError as error:
            if error.final:
                raise
            _log.warning("trial %d was shown no further examples: %s", trial.number, error)

    async def extend(self, trial: Trial, examples: Sequence[str]) -> None:
        """Evaluate a trial on further examples."""
        evaluation = await self.scored(trial.allocation, examples)
        async with self.recording:
            cost = partial(self.cost, trial.allocation)
            extended = await self.store.beside(self.store.extend_trial, self.study, trial, evaluation, cost=cost)
            trials = tuple(extended if each.number == trial.number else each for each in self.archive.trials)
            self.archive = replace(self.archive, trials=trials)
        self.report("evaluating")

    def report(self, phase: Phase) -> None:
        """Tell whoever follows the search how far it is."""
        _log.debug("study %s: %s, %d trials", self.study.name, phase, len(self.archive.trials))
        if self.plan.on_progress is not None:
            self.plan.on_progress(
                Progress(
                    study=self.study,
                    archive=self.archive,
                    meter=self.meter,
                    limits=self.plan.limits,
                    started=self.started,
                    told=time.monotonic(),
                    trials_before=self.trials_before,
                    held_out=len(self.held_out) * len(self.plan.spaces),
                    phase=phase,
                    waits=lambda: self.environment.waiting,
                )
            )


async def all_of(evaluations: Iterable[Awaitable[None]]) -> None:
    """Wait for all of them; a failure must not cut off a request that another has paid for, and is raised only then."""
    for outcome in await asyncio.gather(*evaluations, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
