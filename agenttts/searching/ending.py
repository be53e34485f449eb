"""The end of a search: which trial is recommended, on all examples, and its check on held-out ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from agenttts.errors import EndpointError, LimitReached
from agenttts.execution.pool import VALIDATION
from agenttts.posterior.frontier import Frontier, cheapest_as_good, estimates, frontier_of, gain_of, passed_over
from agenttts.posterior.insights import affordable, posterior, representative
from agenttts.posterior.surrogate import Surrogate
from agenttts.searching.counterfactuals import Counterfactuals
from agenttts.searching.hopeless import require_some_use
from agenttts.searching.progress import SearchResult
from agenttts.searching.ruling_out import ruled_out
from agenttts.searching.running import RunningSearch, all_of
from agenttts.searching.scoring import evaluated, missing_in_words, unusable_in_words
from agenttts.space.limit import limit
from agenttts.study.evaluation import Evaluation
from agenttts.study.lengths import declared_lengths, misdeclared_in_words, over_budget_in_words
from agenttts.study.trial import Trial

_log = logging.getLogger(__name__)


@dataclass
class SearchEnding:
    """The end of one search."""

    search: RunningSearch
    counterfactuals: Counterfactuals
    _fitted: tuple[Sequence[Trial], Surrogate] | None = field(default=None, init=False)
    _untold: list[str] = field(default_factory=list, init=False)
    """What the result must say beside why the search stopped."""

    async def finish(self, stopped: str) -> SearchResult:
        """Recommend, and check the recommendation."""
        if not self.search.archive.trials:
            raise LimitReached(f"the search ended before its first trial was complete: {stopped}")
        require_some_use(self.search, least=1)
        stuck = await self._complete()
        chosen, found = self._recommended(stuck)
        best, baseline = chosen[0], self.search.archive.baseline
        checks = await self._validate_all([*chosen, *([baseline] if baseline else [])])
        base_check = checks.get(baseline.allocation.key) if baseline else None
        check = checks.get(best.allocation.key)
        _log.info("study %s recommends trial %d: %s", self.search.study.name, best.number, best.allocation)
        for (subtask, model), why in ruled_out(self.search.archive.trials).items():
            self._say(f"model {model!r} was ruled out for subtask {subtask!r} ({why})")
        if aside := self.search.archive.set_aside:
            self._say(f"{aside} trials of models that were taken out are kept, and count again once these are back")
        self._say_costs(best)
        explanation = await self._explained(best)
        for sentence in unusable_in_words(self.search.archive.trials):
            self._say(sentence)
        return SearchResult(
            study=self.search.study,
            archive=self.search.archive,
            best=best,
            expected=estimates(self._surrogate, [best])[best.number].expected,
            validation=check,
            baseline=baseline,
            baseline_check=base_check,
            gain=gain_of(baseline, best, base_check, check) if baseline else None,
            cheapest=cheapest_as_good(self._surrogate, self._answered, best),
            passed_over=passed_over(self._surrogate, affordable(self._answered, self.search.plan.space.budget), best),
            frontier=found.checked(checks) if found else None,
            spend=self.search.store.spend(self.search.study),
            own=self.search.store.own_spend(self.search.study),
            seconds=time.monotonic() - self.search.started,
            stopped="; ".join([stopped, *self._untold]),
            misdeclared=self._misdeclared(),
            explanation=explanation,
        )

    @property
    def _surrogate(self) -> Surrogate:
        """The posterior after the archive's trials, fitted once for them."""
        if self._fitted is None or self._fitted[0] is not self.search.archive.trials:
            self._fitted = (
                self.search.archive.trials,
                posterior(
                    self.search.plan.space.pipeline.sizes,
                    self.search.archive.evidence,
                    self.search.archive.experience,
                ),
            )
        return self._fitted[1]

    @property
    def _answered(self) -> list[Trial]:
        return [trial for trial in self.search.archive.trials if not trial.evaluation.refused]

    def _recommended(self, stuck: Collection[int]) -> tuple[list[Trial], Frontier | None]:
        """The recommended trials: of every budget where there are several, the largest's first; with their frontier.

        Args:
            stuck: Numbers of the trials that cannot be completed, and are therefore not recommended.

        Raises:
            EndpointError: When no trial can be completed.
        """
        answered = self._answered
        trials = tuple(trial for trial in answered if trial.number not in stuck)
        if not answered:
            raise EndpointError(next(iter(ruled_out(self.search.archive.trials).values())))
        if not trials:
            last = self.search.archive.trials[-1]
            raise EndpointError(
                f"no trial could be completed, so none is recommended: trial {last.number} has "
                f"{len(last.evaluation.results)} results, {missing_in_words(last.evaluation)}; run again to go on"
            )
        spec = self.search.study.spec
        if spec.budgets and any(trial.cost <= limit(spec.budget) for trial in trials):
            found = frontier_of(self._surrogate, trials, spec.budgets)
            return [point.trial for point in reversed(found.points)], found
        fitting = affordable(trials, spec.budget)
        if self.search.plan.choose is not None:
            return [self.search.plan.choose(self.search.plan.space.pipeline.sizes, fitting)], None
        return [self._surrogate.best(affordable(representative(trials), spec.budget))], None

    def _misdeclared(self) -> tuple[str, ...]:
        declared = declared_lengths(self.search.plan.space.pipeline) if self.search.measures else {}
        return tuple(misdeclared_in_words(declared, self.search.archive.trials))

    def _say_costs(self, best: Trial) -> None:
        """Tell which trials turned out to be over the budget."""
        trials, space = self.search.archive.trials, self.search.plan.space
        for sentence in over_budget_in_words(trials, space.budget, space.cost_model.unit):
            self._say(sentence)
        if best.cost > limit(space.budget):
            self._say("no trial is within the budget: what is recommended is the one that costs least")

    async def _complete(self) -> set[int]:
        """Show the recommended trials what they have not seen; that may change which ones they are.

        Returns:
            The numbers of those whose examples got no answer, and which are therefore not recommended.
        """
        stuck: set[int] = set()
        try:
            await self.search.ask_again()
            while unseen := {t.number: t for t in self._recommended(stuck)[0] if self.search.remaining(t, None)}:
                await all_of(
                    self.search.try_to_extend(trial, self.search.remaining(trial, None)) for trial in unseen.values()
                )
                await self.counterfactuals.update()
                stuck |= {number for number in unseen if self._left(number)}
        except LimitReached as limit:
            self._say(f"what is recommended was not seen on all of the examples searched: {limit}")
        if incomplete := [trial for trial in self.search.archive.trials if trial.evaluation.missing]:
            numbers = ", ".join(str(trial.number) for trial in incomplete)
            self._say(
                f"of trial {numbers}, which is therefore not recommended, "
                f"{missing_in_words(*(trial.evaluation for trial in incomplete))}: run again to ask for them"
            )
        return stuck | {trial.number for trial in incomplete}

    async def _explained(self, best: Trial) -> str:
        """Why the trial is recommended, in the words of a method that explains; not paid for twice."""
        searcher = self.search.plan.searcher
        if not searcher.explains:
            return ""
        try:
            if not self._explanation(best):
                self.search.meter.check()
                async with self.search.journaled():
                    await searcher.explain(self.search.archive, self.search.plan.space, best)
        except LimitReached as limit:
            if not self._explanation(best):
                self._say(f"the planner was not asked to explain what is recommended: {limit}")
        return self._explanation(best)

    def _explanation(self, best: Trial) -> str:
        """What has been said of the trial after as many trials as there are."""
        said = [step for step in self.search.store.steps(self.search.study) if step.round == self.search.archive.round]
        return next((step.text for step in reversed(said) if step.explains(best)), "")

    def _left(self, number: int) -> list[str]:
        """What a trial has not seen."""
        return self.search.remaining(
            next(trial for trial in self.search.archive.trials if trial.number == number), None
        )

    def _say(self, sentence: str) -> None:
        """What whoever reads the result must know."""
        _log.warning("%s", sentence)
        self._untold.append(sentence)

    async def _validate_all(self, trials: Sequence[Trial]) -> dict[str, Evaluation]:
        """The checks of these trials' allocations, each made once, by key; those that a limit stopped are missing."""
        if not self.search.held_out:
            return {}
        self.search.report("validating")
        distinct = {trial.allocation.key: trial for trial in trials}
        checks = {key: await self._validate(trial) for key, trial in distinct.items()}
        return {key: check for key, check in checks.items() if check is not None}

    async def _validate(self, best: Trial) -> Evaluation | None:
        """The check of an allocation; what an earlier run has of it is not asked for again.

        Returns:
            None where it is not whole.
        """
        known = self.search.store.validation(self.search.study, best.allocation, partly=True)
        fresh = self.search.pool.fresh(VALIDATION)
        seen = {result.example for result in known.results} if known is not None else set()
        if not seen <= set(self.search.held_out):  # those of other held-out examples
            known, seen = None, set()
        left = [name for name in self.search.held_out if name not in seen]
        if not left:
            return known
        try:
            further = await evaluated(self.search.environment, best.allocation, left, fresh)
        except LimitReached as limit:
            self._say(f"the winner was not checked on held-out examples: {limit}")
            return None
        except EndpointError as error:
            if error.final:
                raise
            self._say(f"the winner was not checked on {len(left)} held-out examples: {error}; run again to check it")
            return None
        whole = further if known is None else known.extended(further)
        store = self.search.store
        await store.beside(store.add_validation, self.search.study, best.allocation, whole)
        if whole.missing:
            self._say(f"the check on held-out examples is not whole, since {missing_in_words(whole)}: run again")
            return None
        return whole
