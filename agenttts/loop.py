"""The search loop, `agenttts.search`: ask the searcher, refuse or evaluate, record; until a limit is reached.

The loop keeps nothing that is not in the store: a search killed at any instant goes on where it was when the same
command is run again. Whatever a trial bought is in the sample pool even if the trial was cut off.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from agenttts.allocation import Allocation, SearchSpace
from agenttts.db import Store, Study
from agenttts.environments.pool import VALIDATION, Meter, Pooled
from agenttts.environments.prefix_cache import CacheUse, PrefixCached
from agenttts.errors import ConfigError, LimitReached
from agenttts.frontier import Frontier, frontier, require_budgets, within
from agenttts.posterior import recommend
from agenttts.prices import price_list, price_rows
from agenttts.racing import Racing
from agenttts.surrogate import Sizes
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

Recommend = Callable[[Sizes, Sequence[Trial]], Trial]
"""Chooses the trial to recommend among all of a study; `posterior.recommend` is one."""

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
    told: float
    """`time.monotonic()` at this report."""
    trials_before: int
    """Trials that the study had before this run."""
    held_out: int
    """Examples on which the winner is to be checked at the end; with several budgets, at most so many for them all."""
    phase: str
    """"starting" (nothing has been asked or bought), "proposing", "evaluating" or "validating"."""

    @property
    def spent(self) -> Spend:
        """What the study has bought and reused up to now."""
        return self.meter.spent

    @property
    def seconds_left(self) -> float | None:
        """To the end of the held-out check, by this run's pace per trial and example; None before its first trial."""
        new = self.archive.trials[self.trials_before :]
        if not new:
            return None
        trials = 0 if self.phase == "validating" else max(self.limits.trials - len(self.archive.trials), 0)
        examples = sum(len(trial.evaluation.results) for trial in new)
        left = (self.told - self.started) * (trials / len(new) + self.held_out / examples)
        return max(left - (time.monotonic() - self.told), 0.0)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """How a search ended."""

    study: Study
    archive: Archive
    best: Trial
    """The recommended trial, by posterior mean over all trials (`posterior.recommend`) unless told otherwise, seen on
    all examples."""
    validation: Evaluation | None
    """The recommended allocation on held-out examples with fresh samples; None without held-out examples."""
    spend: Spend
    """Everything the study bought and reused, in earlier runs too."""
    seconds: float
    """Wall-clock seconds of this run, parallel trials not counted twice."""
    stopped: str
    """Why it stopped."""
    frontier: Frontier | None = None
    """What each budget buys, where the search had several; `best` is what the largest buys."""
    prefix_caches: Mapping[str, CacheUse] = field(default_factory=dict)
    """Model -> what its server found of its prompts in its prefix cache while the study was searched; only of servers
    that tell (vLLM's)."""


async def search(
    environment: Environment,
    searcher: Searcher,
    space: SearchSpace,
    store: Store | str,
    *,
    study_name: str,
    seed: int = 0,
    budgets: Sequence[float] = (),
    limits: Limits | None = None,
    parallel: int = 1,
    racing: Racing | None = None,
    choose: Recommend = recommend,
    validate: bool = True,
    details: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Search the space, resuming the study of this name where it stands.

    Args:
        environment: Scores allocations.
        searcher: Decides what to try.
        space: Which allocations fit the budget.
        store: Where everything is recorded. A path or URL is opened when all else has been checked, so that a refused
            search leaves no file, and closed at the end.
        study_name: Names the study; one that exists is resumed.
        seed: Part of the study's identity (the searcher has been given it).
        budgets: Several budgets to serve with one study, ascending up to that of the space: the searcher is asked for
            each in turn, and every trial is evidence for all.
        limits: When to stop.
        parallel: Proposals asked for and evaluated at once.
        racing: Shows a trial more examples only where that may change which is best; None shows all to each.
        choose: Chooses the recommended trial, where there is one budget.
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
    require_budgets(budgets, space.budget)
    spaces = tuple(space.within(budget) for budget in budgets[:-1])
    if limits.max_usd is not None:
        _require_prices(environment)
    async with AsyncExitStack() as stack:
        for each in (searcher, environment):
            if isinstance(each, AbstractAsyncContextManager):
                await stack.enter_async_context(each)
        opened = stack.enter_context(closing(Store(store))) if isinstance(store, str) else store
        spec = study_spec(environment, searcher, space, seed, budgets)
        kept = {
            "recorded": recorded(environment),
            "prices": price_rows(price_list(space)),
            "endpoints": getattr(environment, "endpoints", {}),
        }
        study = opened.start(study_name, spec, {**(details or {}), **kept})
        run = _Run(
            environment=environment,
            searcher=searcher,
            space=space,
            spaces=(*spaces, space),
            store=opened,
            study=study,
            limits=limits,
            meter=Meter(limits.max_tokens, limits.max_usd, opened.spend(study)),
            parallel=parallel,
            racing=racing,
            choose=choose,
            validate=validate,
            on_progress=on_progress,
        )
        run.connect()
        before = await _prefix_caches(environment)
        result = await run.finish(await run.loop())
        after = await _prefix_caches(environment)
        used = {name: use.since(before.get(name, CacheUse())) for name, use in after.items()}
        sums = opened.add_cache_use(study, {name: use for name, use in used.items() if use.looked_up})
        return replace(result, prefix_caches={name: CacheUse(*each) for name, each in sums.items()})


async def _prefix_caches(environment: Environment) -> Mapping[str, CacheUse]:
    return await environment.prefix_caches() if isinstance(environment, PrefixCached) else {}


def recorded(environment: Environment) -> str:
    """What an environment calls samples that no model gives (its attribute `recorded`); empty where models run."""
    return str(getattr(environment, "recorded", ""))


def bought(label: str) -> str:
    """What became of tokens, in a word, for an environment with this label (`recorded`)."""
    if label.startswith("simulated"):
        return "simulated"
    return "replayed" if label else "bought"


def study_spec(
    environment: Environment, searcher: Searcher, space: SearchSpace, seed: int, budgets: Sequence[float] = ()
) -> StudySpec:
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
        budgets=tuple(map(float, budgets)),
    )


@dataclass(kw_only=True)
class _Run:
    """One run of the loop on one study."""

    environment: Environment
    searcher: Searcher
    space: SearchSpace
    spaces: tuple[SearchSpace, ...]
    """One for each budget, ascending; the last is `space`."""
    store: Store
    study: Study
    limits: Limits
    meter: Meter
    parallel: int
    racing: Racing | None
    choose: Recommend
    validate: bool
    on_progress: Callable[[Progress], None] | None
    archive: Archive = field(init=False)
    trials_before: int = field(init=False)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.archive = self.store.archive(self.study)
        self.trials_before = len(self.archive.trials)

    @cached_property
    def order(self) -> list[str]:
        """The examples in the study's order, in which every trial sees them."""
        return [
            str(name) for name in np.random.default_rng(self.study.spec.seed).permutation(self.environment.examples)
        ]

    @property
    def held_out(self) -> Sequence[str]:
        """The examples that the winner is checked on."""
        return self.environment.held_out if self.validate else ()

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
        self._report("starting")
        empty_rounds = 0
        while len(self.archive.trials) < self.limits.trials:
            try:
                self.meter.check()
                space, proposals = await self._ask()
                await self._evaluate_all(proposals)
                if all(proposal.examples is None for proposal in proposals):
                    await self._look_again(space, len(proposals))
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

    async def _ask(self) -> tuple[SearchSpace, list[Proposal]]:
        """Proposals for the budget whose turn it is, or for the next for which there are any, and its space."""
        self._report("proposing")
        # Rounds that are in the archive, so that a resumed search takes the same way.
        turn = len({trial.round for trial in self.archive.trials}) % len(self.spaces)
        for space in (*self.spaces[turn:], *self.spaces[:turn]):
            if proposals := await self._ask_within(space):
                return space, proposals
        return self.space, []

    async def _ask_within(self, space: SearchSpace) -> list[Proposal]:
        """Proposals that may be evaluated; the others are recorded as refused."""
        count = min(self.parallel, self.limits.trials - len(self.archive.trials))
        accepted: dict[str, Proposal] = {}
        for proposal in await self.searcher.propose(self.archive, space, count):
            reasons = self._faults(proposal, accepted, space)
            if reasons:
                self._refuse(proposal, reasons)
            elif len(accepted) < count:
                accepted[proposal.allocation.key] = proposal
        return list(accepted.values())

    def _faults(self, proposal: Proposal, accepted: Mapping[str, Proposal], space: SearchSpace) -> list[str]:
        if proposal.allocation.key in accepted or not self._wanted(proposal):
            return ["it has been proposed before"]
        return space.faults(proposal.allocation)

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
        await _all(self._evaluate(proposal, round_) for proposal in proposals)

    async def _evaluate(self, proposal: Proposal, round_: int) -> None:
        tried = self._trial(proposal.allocation)
        if tried is not None:
            return await self._show(tried, self._wanted(proposal))
        evaluation = await self.environment.evaluate(proposal.allocation, self._wanted(proposal))
        trial = self.store.add_trial(
            self.study,
            proposal,
            evaluation,
            cost=self.space.cost(proposal.allocation),
            searcher=proposal.searcher or self.searcher.name,
            round=round_,
        )
        self.archive = replace(self.archive, trials=(*self.archive.trials, trial))
        score, count = evaluation.score, len(evaluation.results)
        _log.info("trial %d: %.3f on %d examples, %s", trial.number, score, count, trial.allocation)
        self._report("evaluating")

    async def _look_again(self, space: SearchSpace, count: int) -> None:
        """Show more examples to the trials within a budget, at most `count`, where that is worth most."""
        if self.racing is not None:
            rivals, total = within(self.archive.trials, space.budget), len(self.environment.examples)
            worthy = self.racing.worth_another(rivals, self.space.pipeline.sizes, total, count)
            await _all(self._show(trial, self._unseen(trial, self.racing)) for trial in worthy)

    def _wanted(self, proposal: Proposal) -> list[str]:
        """The examples that a proposal is to see; none where it asks for nothing new."""
        tried = self._trial(proposal.allocation)
        if proposal.examples is None:
            return [] if tried is not None else self._unseen(None, self.racing)
        first = set(self.order[: proposal.examples])
        return [name for name in self._unseen(tried, None) if name in first]

    def _trial(self, allocation: Allocation) -> Trial | None:
        return next((trial for trial in self.archive.trials if trial.allocation == allocation), None)

    def _unseen(self, trial: Trial | None, racing: Racing | None) -> list[str]:
        """What a trial (None: a new one) is to see next: all that is left, or a look at it where trials race."""
        seen = {result.example for result in trial.evaluation.results} if trial is not None else set()
        left = [name for name in self.order if name not in seen]
        return left if racing is None else left[: racing.look]

    async def _show(self, trial: Trial, examples: Sequence[str]) -> None:
        """Evaluate a trial on further examples."""
        evaluation = await self.environment.evaluate(trial.allocation, examples)
        extended = self.store.extend_trial(self.study, trial, evaluation)
        trials = tuple(extended if each.number == trial.number else each for each in self.archive.trials)
        self.archive = replace(self.archive, trials=trials)
        self._report("evaluating")

    async def finish(self, stopped: str) -> SearchResult:
        """Recommend, and check the recommendation."""
        if not self.archive.trials:
            raise LimitReached(f"the search ended before its first trial was complete: {stopped}")
        await self._complete()
        chosen, found = self._recommended()
        best, checks = chosen[0], await self._validate_all(chosen)
        _log.info("study %s recommends trial %d: %s", self.study.name, best.number, best.allocation)
        return SearchResult(
            study=self.study,
            archive=self.archive,
            best=best,
            validation=checks.get(best.allocation.key),
            frontier=found.checked(checks) if found else None,
            spend=self.store.spend(self.study),
            seconds=time.monotonic() - self.started,
            stopped=stopped,
        )

    def _recommended(self) -> tuple[list[Trial], Frontier | None]:
        """The recommended trials: of every budget where there are several, the largest's first; with their frontier."""
        sizes, budgets = self.space.pipeline.sizes, self.study.spec.budgets
        if not budgets:
            return [self.choose(sizes, self.archive.trials)], None
        found = frontier(sizes, self.archive.trials, budgets)
        return [point.trial for point in reversed(found.points)], found

    async def _complete(self) -> None:
        """Show the recommended trials what they have not seen; that may change which ones they are."""
        try:
            while unseen := {t.number: t for t in self._recommended()[0] if self._unseen(t, None)}:
                await _all(self._show(trial, self._unseen(trial, None)) for trial in unseen.values())
        except LimitReached as limit:
            _log.warning("what is recommended was not seen on all of the examples searched: %s", limit)

    async def _validate_all(self, trials: Sequence[Trial]) -> dict[str, Evaluation]:
        """The checks of these trials' allocations, each made once, by key; those that a limit stopped are missing."""
        if not self.held_out:
            return {}
        self._report("validating")
        distinct = {trial.allocation.key: trial for trial in trials}
        checks = {key: await self._validate(trial) for key, trial in distinct.items()}
        return {key: check for key, check in checks.items() if check is not None}

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
        _log.debug("study %s: %s, %d trials", self.study.name, phase, len(self.archive.trials))
        if self.on_progress is not None:
            self.on_progress(
                Progress(
                    study=self.study,
                    archive=self.archive,
                    meter=self.meter,
                    limits=self.limits,
                    started=self.started,
                    told=time.monotonic(),
                    trials_before=self.trials_before,
                    held_out=len(self.held_out) * len(self.spaces),
                    phase=phase,
                )
            )


async def _all(evaluations: Iterable[Awaitable[None]]) -> None:
    """Wait for all of them; a failure must not cut off what another is buying, and is raised only then."""
    for outcome in await asyncio.gather(*evaluations, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _require_prices(environment: Environment) -> None:
    embedder = getattr(environment, "embedder", None)
    for model in (*environment.pipeline.models, *([embedder] if embedder else [])):
        if model.usd_per_million_prompt_tokens is None or model.usd_per_million_completion_tokens is None:
            raise ConfigError(
                f"a limit in USD needs the prices of model {model.name!r}: declare usd_per_million_prompt_tokens and "
                "usd_per_million_completion_tokens on the Model"
            )
