"""The search loop: ask the searcher, reject or evaluate, record; until a limit is reached.

The loop keeps nothing that is not in the store: a search killed at any instant continues when the same command is run
again. Whatever a trial paid for is in the sample pool even if the trial was cut off.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from agenttts.db import Store, Study
from agenttts.errors import EndpointError, LimitReached, ModelRefused
from agenttts.execution.meter import Meter
from agenttts.execution.pool import VALIDATION, SamplePool
from agenttts.posterior.frontier import Frontier, estimates, frontier_of, within
from agenttts.posterior.insights import posterior, representative
from agenttts.posterior.surrogate import Surrogate
from agenttts.protocols import Environment
from agenttts.searching.plan import SearchPlan
from agenttts.searching.progress import Phase, Progress, SearchResult
from agenttts.searching.racing import Racing
from agenttts.searching.ruling_out import archive_without, failed_evaluation, ruled_out, space_without
from agenttts.searching.scoring import evaluated, missing_in_words, unusable_in_words
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import AgentStep, Archive, Proposal, Refusal, Trial

_log = logging.getLogger(__name__)
_MAX_EMPTY_ROUNDS = 3
_MOST_COMPLETIONS = 2
"""How often one run asks again for the examples of a trial that got no answer, before it comes to recommend."""


@dataclass(kw_only=True)
class SearchLoop:
    """The loop of one plan on one study."""

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

    def __post_init__(self) -> None:
        self.archive = self.store.archive(self.study)
        self.pool = SamplePool(self.store.samples, study_id=self.study.id, meter=self.meter)
        self.trials_before = len(self.archive.trials)
        self.plan.searcher.journal = self._journal
        self._fitted: tuple[Sequence[Trial], Surrogate] | None = None
        self._asked_again: Counter[int] = Counter()
        """Trial -> how often this run has asked again for examples that got no answer."""
        self._untold: list[str] = []
        """What the result must say beside why the search stopped."""

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

    def _journal(self, step: AgentStep) -> None:
        self.store.add_step(self.study, step)
        self.meter.add(step.spend)
        if step.guideline is not None:
            self.archive = replace(self.archive, guidelines=(*self.archive.guidelines, step.guideline))

    async def run(self) -> str:
        """Ask and evaluate until a limit; returns why it stopped."""
        self._report("starting")
        empty_rounds = 0
        while len(self.archive.trials) < self.plan.limits.trials:
            try:
                self.meter.check()
                await self._ask_again()
                space, proposals = await self._ask()
                await self._evaluate_all(proposals)
                if all(proposal.examples is None for proposal in proposals):
                    await self._look_again(space, len(proposals))
            except LimitReached as limit:
                self._catch_up()
                return str(limit)
            self._catch_up()
            empty_rounds = 0 if proposals else empty_rounds + 1
            if empty_rounds == _MAX_EMPTY_ROUNDS or (empty_rounds and self._exhausted()):
                return f"{self.plan.searcher.name} has nothing new to propose"
        return f"{len(self.archive.trials)} trials done"

    def _catch_up(self) -> None:
        """Take in what other processes that search this study have recorded and paid for meanwhile."""
        if self.store.count_trials(self.study) > len(self.archive.trials):
            self.archive, self.meter.spent = self.store.archive(self.study), self.store.spend(self.study)

    def _exhausted(self) -> bool:
        return len(self.archive.tried) >= self.plan.space.size

    async def _ask(self) -> tuple[SearchSpace, list[Proposal]]:
        """Proposals for the budget whose turn it is, or for the next for which there are any, and its space."""
        self._report("proposing")
        # Rounds that are in the archive, so that a resumed search proposes the same.
        turn = len({trial.round for trial in self.archive.trials}) % len(self.plan.spaces)
        for space in (*self.plan.spaces[turn:], *self.plan.spaces[:turn]):
            if proposals := await self._ask_within(space):
                return space, proposals
        return self.plan.space, []

    async def _ask_within(self, space: SearchSpace) -> list[Proposal]:
        """Proposals that may be evaluated; the others are recorded as rejected."""
        count = min(self.plan.parallel, self.plan.limits.trials - len(self.archive.trials))
        accepted: dict[str, Proposal] = {}
        out = ruled_out(self.archive.trials)
        space, seen = space_without(space, out), archive_without(self.archive, out)
        for proposal in await self.plan.searcher.propose(seen, space, count):
            reasons = self._faults(proposal, accepted, space)
            if reasons:
                self._reject(proposal, reasons)
            elif len(accepted) < count:
                accepted[proposal.allocation.key] = proposal
        return list(accepted.values())

    def _faults(self, proposal: Proposal, accepted: Mapping[str, Proposal], space: SearchSpace) -> list[str]:
        if proposal.allocation.key in accepted or not self._examples_for(proposal):
            return ["it has been proposed before"]
        return space.faults(proposal.allocation)

    def _reject(self, proposal: Proposal, reasons: list[str]) -> None:
        _log.warning("%s proposed %s, rejected: %s", self.plan.searcher.name, proposal.allocation, "; ".join(reasons))
        refusal = Refusal(
            allocation=proposal.allocation,
            reasons=tuple(reasons),
            searcher=self.plan.searcher.name,
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
            return await self._extend(tried, self._examples_for(proposal))
        examples = self._examples_for(proposal)
        try:
            evaluation = await self._scored(proposal.allocation, examples)
        except ModelRefused as refusal:
            _log.warning("%s: it is ruled out for this study", refusal)
            evaluation = failed_evaluation(examples, refusal)
        trial = self.store.add_trial(
            self.study,
            proposal,
            evaluation,
            cost=self.plan.space.cost(proposal.allocation),
            searcher=proposal.searcher or self.plan.searcher.name,
            round=round_,
            at_most=self.plan.limits.trials,
        )
        if self._trial(trial.allocation) is not None:  # another process's, which has been taken in already
            return
        self.archive = replace(self.archive, trials=(*self.archive.trials, trial))
        score, count = evaluation.score, len(evaluation.results)
        _log.info("trial %d: %.3f on %d examples, %s", trial.number, score, count, trial.allocation)
        if evaluation.missing:
            _log.warning("trial %d: %s; they are asked again", trial.number, missing_in_words(evaluation))
        self._report("evaluating")

    async def _scored(self, allocation: Allocation, examples: Sequence[str]) -> Evaluation:
        return await evaluated(self.environment, allocation, examples, self.pool)

    async def _ask_again(self) -> None:
        """Ask for the examples of trials that got no answer, some times in a run."""
        left = [
            trial
            for trial in self.archive.trials
            if trial.evaluation.missing and self._asked_again[trial.number] < _MOST_COMPLETIONS
        ]
        for trial in left:
            self._asked_again[trial.number] += 1
        await _all(self._try_to_extend(trial, self._missing(trial)) for trial in left)

    def _missing(self, trial: Trial) -> list[str]:
        return [name for name in self.order if name in trial.evaluation.missing]

    async def _try_to_extend(self, trial: Trial, examples: Sequence[str]) -> None:
        """Evaluate a trial on further examples, which stay to be seen where they get no answer."""
        try:
            await self._extend(trial, examples)
        except EndpointError as error:
            if error.final:
                raise
            _log.warning("trial %d was shown no further examples: %s", trial.number, error)

    async def _look_again(self, space: SearchSpace, count: int) -> None:
        """Show more examples to the trials within a budget, at most `count`, where that is worth most."""
        if self.plan.racing is not None:
            answered = [trial for trial in self.archive.trials if not trial.evaluation.refused]
            rivals, total = within(answered, space.budget), len(self.environment.examples)
            worthy = self.plan.racing.worth_another(rivals, self.plan.space.pipeline.sizes, total, count)
            await _all(self._try_to_extend(trial, self._remaining(trial, self.plan.racing)) for trial in worthy)

    def _examples_for(self, proposal: Proposal) -> list[str]:
        """The examples that a proposal is to see; none where it asks for nothing new."""
        tried = self._trial(proposal.allocation)
        if proposal.examples is None:
            return [] if tried is not None else self._remaining(None, self.plan.racing)
        first = set(self.order[: proposal.examples])
        return [name for name in self._remaining(tried, None) if name in first]

    def _trial(self, allocation: Allocation) -> Trial | None:
        return next((trial for trial in self.archive.trials if trial.allocation == allocation), None)

    def _remaining(self, trial: Trial | None, racing: Racing | None) -> list[str]:
        """What a trial (None: a new one) is to see next: all that is left, or a look at it where trials race."""
        seen = {result.example for result in trial.evaluation.results} if trial is not None else set()
        left = [name for name in self.order if name not in seen]
        return left if racing is None else left[: racing.look]

    async def _extend(self, trial: Trial, examples: Sequence[str]) -> None:
        """Evaluate a trial on further examples."""
        evaluation = await self._scored(trial.allocation, examples)
        extended = self.store.extend_trial(self.study, trial, evaluation)
        trials = tuple(extended if each.number == trial.number else each for each in self.archive.trials)
        self.archive = replace(self.archive, trials=trials)
        self._report("evaluating")

    async def finish(self, stopped: str) -> SearchResult:
        """Recommend, and check the recommendation."""
        if not self.archive.trials:
            raise LimitReached(f"the search ended before its first trial was complete: {stopped}")
        stuck = await self._complete()
        chosen, found = self._recommended(stuck)
        best, checks = chosen[0], await self._validate_all(chosen)
        _log.info("study %s recommends trial %d: %s", self.study.name, best.number, best.allocation)
        for (subtask, model), why in ruled_out(self.archive.trials).items():
            self._say(f"model {model!r} was ruled out for subtask {subtask!r} ({why})")
        for sentence in unusable_in_words(self.archive.trials):
            self._say(sentence)
        return SearchResult(
            study=self.study,
            archive=self.archive,
            best=best,
            expected=estimates(self._surrogate, [best])[best.number].expected,
            validation=checks.get(best.allocation.key),
            frontier=found.checked(checks) if found else None,
            spend=self.store.spend(self.study),
            own=self.store.own_spend(self.study),
            seconds=time.monotonic() - self.started,
            stopped="; ".join([stopped, *self._untold]),
        )

    @property
    def _surrogate(self) -> Surrogate:
        """The posterior after the archive's trials, fitted once for them."""
        if self._fitted is None or self._fitted[0] is not self.archive.trials:
            self._fitted = self.archive.trials, posterior(self.plan.space.pipeline.sizes, self.archive.trials)
        return self._fitted[1]

    def _recommended(self, stuck: Collection[int]) -> tuple[list[Trial], Frontier | None]:
        """The recommended trials: of every budget where there are several, the largest's first; with their frontier.

        Args:
            stuck: Numbers of the trials that cannot be completed, and are therefore not recommended.

        Raises:
            EndpointError: When no trial can be completed.
        """
        answered = [trial for trial in self.archive.trials if not trial.evaluation.refused]
        trials = tuple(trial for trial in answered if trial.number not in stuck)
        if not answered:
            raise EndpointError(next(iter(ruled_out(self.archive.trials).values())))
        if not trials:
            last = self.archive.trials[-1]
            raise EndpointError(
                f"no trial could be completed, so none is recommended: trial {last.number} has "
                f"{len(last.evaluation.results)} results, {missing_in_words(last.evaluation)}; run again to go on"
            )
        budgets = self.study.spec.budgets
        if budgets:
            found = frontier_of(self._surrogate, trials, budgets)
            return [point.trial for point in reversed(found.points)], found
        if self.plan.choose is not None:
            return [self.plan.choose(self.plan.space.pipeline.sizes, trials)], None
        return [self._surrogate.best(representative(trials))], None

    async def _complete(self) -> set[int]:
        """Show the recommended trials what they have not seen; that may change which ones they are.

        Returns:
            The numbers of those whose examples got no answer, and which are therefore not recommended.
        """
        stuck: set[int] = set()
        try:
            await self._ask_again()
            while unseen := {t.number: t for t in self._recommended(stuck)[0] if self._remaining(t, None)}:
                await _all(self._try_to_extend(trial, self._remaining(trial, None)) for trial in unseen.values())
                stuck |= {number for number in unseen if self._left(number)}
        except LimitReached as limit:
            self._say(f"what is recommended was not seen on all of the examples searched: {limit}")
        if incomplete := [trial for trial in self.archive.trials if trial.evaluation.missing]:
            numbers = ", ".join(str(trial.number) for trial in incomplete)
            self._say(
                f"of trial {numbers}, which is therefore not recommended, "
                f"{missing_in_words(*(trial.evaluation for trial in incomplete))}: run again to ask for them"
            )
        return stuck | {trial.number for trial in incomplete}

    def _left(self, number: int) -> list[str]:
        """What a trial has not seen."""
        return self._remaining(next(trial for trial in self.archive.trials if trial.number == number), None)

    def _say(self, sentence: str) -> None:
        """What whoever reads the result must know."""
        _log.warning("%s", sentence)
        self._untold.append(sentence)

    async def _validate_all(self, trials: Sequence[Trial]) -> dict[str, Evaluation]:
        """The checks of these trials' allocations, each made once, by key; those that a limit stopped are missing."""
        if not self.held_out:
            return {}
        self._report("validating")
        distinct = {trial.allocation.key: trial for trial in trials}
        checks = {key: await self._validate(trial) for key, trial in distinct.items()}
        return {key: check for key, check in checks.items() if check is not None}

    async def _validate(self, best: Trial) -> Evaluation | None:
        """The check of an allocation; what an earlier run has of it is not asked for again.

        Returns:
            None where it is not whole.
        """
        known = self.store.validation(self.study, best.allocation, partly=True)
        fresh = self.pool.fresh(VALIDATION)
        seen = {result.example for result in known.results} if known is not None else set()
        if not seen <= set(self.held_out):  # those of other held-out examples
            known, seen = None, set()
        left = [name for name in self.held_out if name not in seen]
        if not left:
            return known
        try:
            further = await evaluated(self.environment, best.allocation, left, fresh)
        except LimitReached as limit:
            self._say(f"the winner was not checked on held-out examples: {limit}")
            return None
        except EndpointError as error:
            if error.final:
                raise
            self._say(f"the winner was not checked on {len(left)} held-out examples: {error}; run again to check it")
            return None
        whole = further if known is None else known.extended(further)
        self.store.add_validation(self.study, best.allocation, whole)
        if whole.missing:
            self._say(f"the check on held-out examples is not whole, since {missing_in_words(whole)}: run again")
            return None
        return whole

    def _report(self, phase: Phase) -> None:
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


async def _all(evaluations: Iterable[Awaitable[None]]) -> None:
    """Wait for all of them; a failure must not cut off a request that another has paid for, and is raised only then."""
    for outcome in await asyncio.gather(*evaluations, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
