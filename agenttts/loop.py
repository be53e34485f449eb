"""The search loop, `agenttts.search`: ask the searcher, refuse or evaluate, record; until a limit is reached.

The loop keeps nothing that is not in the store: a search killed at any instant goes on where it was when the same
command is run again. Whatever a trial bought is in the sample pool even if the trial was cut off.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from agenttts.allocation import SearchSpace
from agenttts.db import Store, Study
from agenttts.environments.pool import VALIDATION, Meter, Pooled
from agenttts.errors import ConfigError, LimitReached
from agenttts.racing import Racing
from agenttts.surrogate import recommend
from agenttts.trial import (
    AgentStep,
    Archive,
    Environment,
    Evaluation,
    Itemised,
    JournaledSearcher,
    Proposal,
    Refusal,
    Searcher,
    Spend,
    StudySpec,
    Trial,
)

_log = logging.getLogger(__name__)
_MAX_EMPTY_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a search stops.

    Raises:
        ConfigError: On a limit that allows nothing.
    """

    trials: int = 30
    """Trials in the study, those of earlier runs included."""
    max_tokens: int | None = None
    """Tokens that the study may buy in all, the agent's own included."""
    max_usd: float | None = None
    """US dollars that the study may spend in all, by the models' declared prices."""

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"trials must be at least 1, not {self.trials}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if self.max_usd is not None and not self.max_usd > 0:
            raise ConfigError(f"max_usd must be positive, not {self.max_usd}")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a search tells while it runs."""

    study: Study
    archive: Archive
    meter: Meter
    """Counts on while trials run."""
    limits: Limits
    started: float
    """`time.monotonic()` at the start of this run."""
    trials_before: int
    """Trials that the study had before this run."""
    phase: str
    """"proposing", "evaluating" or "validating"."""

    @property
    def spent(self) -> Spend:
        """What the study has bought and reused up to now."""
        return self.meter.spent

    @property
    def seconds_left(self) -> float | None:
        """Estimated from this run's pace; None before its first trial."""
        done = len(self.archive.trials) - self.trials_before
        if done < 1:
            return None
        pace = (time.monotonic() - self.started) / done
        return pace * max(self.limits.trials - len(self.archive.trials), 0)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """How a search ended."""

    study: Study
    archive: Archive
    best: Trial
    """The recommended trial, by posterior mean over all trials (`surrogate.recommend`)."""
    validation: Evaluation | None
    """The recommended allocation on held-out examples with fresh samples; None without held-out examples."""
    spend: Spend
    """Everything the study bought and reused."""
    stopped: str
    """Why it stopped."""


async def search(
    environment: Environment,
    searcher: Searcher,
    space: SearchSpace,
    store: Store,
    *,
    study_name: str,
    seed: int = 0,
    limits: Limits | None = None,
    parallel: int = 1,
    racing: Racing | None = None,
    validate: bool = True,
    details: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Search the space, resuming the study of this name where it stands.

    Args:
        environment: Scores allocations.
        searcher: Decides what to try.
        space: Which allocations fit the budget.
        store: Where everything is recorded.
        study_name: Names the study; one that exists is resumed.
        seed: Part of the study's identity (the searcher has been given it).
        limits: When to stop.
        parallel: Proposals asked for and evaluated at once.
        racing: Stops a trial early that is surely worse than the best; None shows every trial every example.
        validate: Whether to check the winner on held-out examples at the end.
        details: What a reader needs to repeat the search, kept with the study.
        on_progress: Called whenever something has happened.

    Raises:
        ConfigError: On bad input or a study that exists with other settings, before anything is bought.
        EndpointError: When servers stop answering; what was bought and recorded stays.
    """
    limits = limits or Limits()
    if parallel < 1:
        raise ConfigError(f"parallel must be at least 1, not {parallel}")
    if limits.max_usd is not None:
        _require_prices(environment)
    async with AsyncExitStack() as stack:
        if isinstance(environment, AbstractAsyncContextManager):
            await stack.enter_async_context(environment)
        study = store.start(study_name, study_spec(environment, searcher, space, seed), details)
        meter = Meter(limits.max_tokens, limits.max_usd, store.spend(study))
        run = _Run(environment, searcher, space, store, study, limits, meter, parallel, racing, on_progress)
        run.connect()
        stopped = await run.loop()
        return await run.finish(stopped, validate=validate)


def study_spec(environment: Environment, searcher: Searcher, space: SearchSpace, seed: int) -> StudySpec:
    """What identifies the study that a search would start or resume."""
    return StudySpec(
        environment=environment.name,
        pipeline=space.pipeline.name,
        sizes=space.pipeline.sizes,
        fingerprint=environment.fingerprint,
        cost_model=space.cost_model.name,
        budget=space.budget,
        pricing=space.pricing,
        method=searcher.name,
        seed=seed,
        examples=len(environment.examples),
        fingerprints=dict(environment.fingerprints) if isinstance(environment, Itemised) else {},
    )


class _Run:
    """One run of the loop on one study."""

    def __init__(
        self,
        environment: Environment,
        searcher: Searcher,
        space: SearchSpace,
        store: Store,
        study: Study,
        limits: Limits,
        meter: Meter,
        parallel: int,
        racing: Racing | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.environment, self.searcher, self.space = environment, searcher, space
        self.store, self.study, self.limits, self.meter = store, study, limits, meter
        self.parallel, self.racing, self.on_progress = parallel, racing, on_progress
        self.archive = store.archive(study)
        self.started, self.trials_before = time.monotonic(), len(self.archive.trials)

    def connect(self) -> None:
        """Give the environment the study's sample pool and the searcher its journal."""
        if isinstance(self.environment, Pooled):
            self.environment.pool = self.environment.pool.joined(self.store, self.study.id, self.meter)
        if isinstance(self.searcher, JournaledSearcher):
            self.searcher.journal = self._journal

    def _journal(self, step: AgentStep) -> None:
        self.store.add_step(self.study, step)
        self.meter.add(step.spend)
        if step.guideline is not None:
            self.archive = replace(self.archive, guidelines=(*self.archive.guidelines, step.guideline))

    async def loop(self) -> str:
        """Ask and evaluate until a limit; returns why it stopped."""
        empty_rounds = 0
        while len(self.archive.trials) < self.limits.trials:
            try:
                self.meter.check()
                proposals = await self._ask()
                await self._evaluate_all(proposals)
            except LimitReached as limit:
                return str(limit)
            self._catch_up()
            empty_rounds = 0 if proposals else empty_rounds + 1
            if empty_rounds == _MAX_EMPTY_ROUNDS or (empty_rounds and self._exhausted()):
                return f"{self.searcher.name} has nothing new to propose"
        return f"{len(self.archive.trials)} trials done"

    def _catch_up(self) -> None:
        """Take in what other processes that search this study have recorded and bought meanwhile."""
        if self.store.count_trials(self.study) > len(self.archive.trials):
            self.archive, self.meter.spent = self.store.archive(self.study), self.store.spend(self.study)

    def _exhausted(self) -> bool:
        return len(self.archive.tried) >= self.space.size

    async def _ask(self) -> list[Proposal]:
        """Proposals that may be evaluated; the others are recorded as refused."""
        self._report("proposing")
        count = min(self.parallel, self.limits.trials - len(self.archive.trials))
        accepted: dict[str, Proposal] = {}
        for proposal in await self.searcher.propose(self.archive, self.space, count):
            reasons = self._faults(proposal, accepted)
            if reasons:
                self._refuse(proposal, reasons)
            elif len(accepted) < count:
                accepted[proposal.allocation.key] = proposal
        return list(accepted.values())

    def _faults(self, proposal: Proposal, accepted: Mapping[str, Proposal]) -> list[str]:
        if proposal.allocation.key in self.archive.tried or proposal.allocation.key in accepted:
            return ["it has been proposed before"]
        return self.space.faults(proposal.allocation)

    def _refuse(self, proposal: Proposal, reasons: list[str]) -> None:
        _log.warning("%s proposed %s, refused: %s", self.searcher.name, proposal.allocation, "; ".join(reasons))
        refusal = Refusal(
            allocation=proposal.allocation,
            reasons=tuple(reasons),
            searcher=self.searcher.name,
            round=len(self.archive.trials),
        )
        self.store.add_refusal(self.study, refusal)
        self.archive = replace(self.archive, refusals=(*self.archive.refusals, refusal))

    async def _evaluate_all(self, proposals: list[Proposal]) -> None:
        """Evaluate side by side; each is recorded as it finishes, whatever becomes of the others."""
        if proposals:
            self._report("evaluating")
        round_ = len(self.archive.trials)
        outcomes = await asyncio.gather(*(self._evaluate(p, round_) for p in proposals), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _evaluate(self, proposal: Proposal, round_: int) -> None:
        evaluation = await self._race(proposal)
        trial = self.store.add_trial(
            self.study,
            proposal,
            evaluation,
            cost=self.space.cost(proposal.allocation),
            searcher=self.searcher.name,
            round=round_,
        )
        self.archive = replace(self.archive, trials=(*self.archive.trials, trial))
        self._report("evaluating")

    async def _race(self, proposal: Proposal) -> Evaluation:
        """Evaluate on all examples, or on as many as it takes to see that it is surely worse."""
        if self.racing is None:
            return await self.environment.evaluate(proposal.allocation)
        first, *rest = self.racing.parts(self.environment.examples, self.study.spec.seed)
        evaluation = await self.environment.evaluate(proposal.allocation, first)
        for part in rest:
            if self.racing.surely_worse(evaluation, self.archive, len(rest)):
                break
            evaluation += await self.environment.evaluate(proposal.allocation, part)
        return evaluation

    async def finish(self, stopped: str, *, validate: bool) -> SearchResult:
        """Recommend, and check the recommendation."""
        if not self.archive.trials:
            raise LimitReached(f"the search ended before its first trial was complete: {stopped}")
        best = recommend(self.space.pipeline.sizes, self.archive.trials)
        validation = None
        if validate and self.environment.held_out:
            self._report("validating")
            validation = await self._validate(best)
        return SearchResult(
            study=self.study,
            archive=self.archive,
            best=best,
            validation=validation,
            spend=self.store.spend(self.study),
            stopped=stopped,
        )

    async def _validate(self, best: Trial) -> Evaluation | None:
        known = self.store.validation(self.study, best.allocation)
        if known is not None and [r.example for r in known.results] == list(self.environment.held_out):
            return known
        searched = self.environment.pool if isinstance(self.environment, Pooled) else None
        if searched is not None and isinstance(self.environment, Pooled):
            self.environment.pool = searched.fresh(VALIDATION)
        try:
            evaluation = await self.environment.evaluate(best.allocation, self.environment.held_out)
        except LimitReached as limit:
            _log.warning("the winner was not checked on held-out examples: %s", limit)
            return None
        finally:
            if searched is not None and isinstance(self.environment, Pooled):
                self.environment.pool = searched
        self.store.add_validation(self.study, best.allocation, evaluation)
        return evaluation

    def _report(self, phase: str) -> None:
        if self.on_progress is not None:
            self.on_progress(
                Progress(
                    study=self.study,
                    archive=self.archive,
                    meter=self.meter,
                    limits=self.limits,
                    started=self.started,
                    trials_before=self.trials_before,
                    phase=phase,
                )
            )


def _require_prices(environment: Environment) -> None:
    for model in environment.pipeline.models:
        if model.usd_per_million_prompt_tokens is None or model.usd_per_million_completion_tokens is None:
            raise ConfigError(
                f"a limit in USD needs the prices of model {model.name!r}: declare usd_per_million_prompt_tokens and "
                "usd_per_million_completion_tokens on the Model"
            )
