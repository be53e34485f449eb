"""The search loop: ask the searcher, reject or evaluate, record; until a limit is reached.

The loop keeps nothing that is not in the store: a search killed at any instant continues when the same command is run
again. Whatever a trial paid for is in the sample pool even if the trial was cut off.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agenttts.errors import BudgetTooSmall, LimitReached, ModelRefused
from agenttts.searching.counterfactuals import Counterfactuals
from agenttts.searching.ruling_out import archive_without, failed_evaluation, ruled_out, space_without
from agenttts.searching.running import RunningSearch, all_of
from agenttts.searching.scoring import missing_in_words
from agenttts.space import SearchSpace
from agenttts.study.trial import Proposal, Refusal

_log = logging.getLogger(__name__)
_MAX_EMPTY_ROUNDS = 3


class _NothingFits(Exception):
    """There is nothing left to propose."""


@dataclass
class SearchLoop:
    """The rounds of one search."""

    search: RunningSearch
    counterfactuals: Counterfactuals

    async def run(self) -> str:
        """Ask and evaluate until a limit; returns why it stopped."""
        self.search.report("starting")
        stopped = await self._rounds()
        await self.counterfactuals.update()
        return stopped

    async def _rounds(self) -> str:
        empty_rounds = 0
        while len(self.search.archive.trials) < self.search.plan.limits.trials:
            try:
                self.search.meter.check()
                await self.search.ask_again()
                await self.counterfactuals.update()
                space, proposals = await self._ask()
                await self._evaluate_all(proposals)
                if all(proposal.examples is None for proposal in proposals):
                    await self._look_again(space, len(proposals))
            except (LimitReached, _NothingFits) as limit:
                self.search.catch_up()
                return str(limit)
            self.search.catch_up()
            empty_rounds = 0 if proposals else empty_rounds + 1
            if empty_rounds == _MAX_EMPTY_ROUNDS or (empty_rounds and self._exhausted()):
                return f"{self.search.plan.searcher.name} has nothing new to propose"
        return f"{len(self.search.archive.trials)} trials done"

    def _exhausted(self) -> bool:
        return len(self.search.archive.tried) >= self.search.plan.space.size

    async def _ask(self) -> tuple[SearchSpace, list[Proposal]]:
        """Proposals for the budget whose turn it is, or for the next for which there are any, and its space."""
        self.search.report("proposing")
        # Rounds that are in the archive, so that a resumed search proposes the same.
        turn = len({trial.round for trial in self.search.archive.trials}) % len(self.search.plan.spaces)
        too_small = 0
        for space in (*self.search.plan.spaces[turn:], *self.search.plan.spaces[:turn]):
            try:
                priced = self.search.priced(space)
            except BudgetTooSmall:
                too_small += 1
                continue
            if proposals := await self._ask_within(priced):
                return priced, proposals
        if too_small == len(self.search.plan.spaces):
            raise _NothingFits("no allocation is within the budget at the lengths that were measured")
        return self.search.plan.space, []

    async def _ask_within(self, space: SearchSpace) -> list[Proposal]:
        """Proposals that may be evaluated; the others are recorded as rejected."""
        count = min(self.search.plan.parallel, self.search.plan.limits.trials - len(self.search.archive.trials))
        accepted: dict[str, Proposal] = {}
        out = ruled_out(self.search.archive.trials)
        space, seen = space_without(space, out), archive_without(self.search.archive, out)
        for proposal in await self.search.plan.searcher.propose(seen, space, count):
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
        _log.warning(
            "%s proposed %s, rejected: %s", self.search.plan.searcher.name, proposal.allocation, "; ".join(reasons)
        )
        refusal = Refusal(
            allocation=proposal.allocation,
            reasons=tuple(reasons),
            searcher=self.search.plan.searcher.name,
            round=len(self.search.archive.trials),
        )
        self.search.store.add_refusal(self.search.study, refusal)
        self.search.archive = replace(self.search.archive, refusals=(*self.search.archive.refusals, refusal))

    async def _evaluate_all(self, proposals: list[Proposal]) -> None:
        """Evaluate side by side; each is recorded as it finishes, whatever becomes of the others."""
        if proposals:
            self.search.report("evaluating")
        round_ = len(self.search.archive.trials)
        await all_of(self._evaluate(proposal, round_) for proposal in proposals)

    async def _evaluate(self, proposal: Proposal, round_: int) -> None:
        tried = self.search.trial(proposal.allocation)
        if tried is not None:
            return await self.search.extend(tried, self._examples_for(proposal))
        examples = self._examples_for(proposal)
        try:
            evaluation = await self.search.scored(proposal.allocation, examples)
        except ModelRefused as refusal:
            _log.warning("%s: it is ruled out for this study", refusal)
            evaluation = failed_evaluation(examples, refusal)
        trial = self.search.store.add_trial(
            self.search.study,
            proposal,
            evaluation,
            cost=self.search.cost(proposal.allocation, evaluation),
            searcher=proposal.searcher or self.search.plan.searcher.name,
            round=round_,
            at_most=self.search.plan.limits.trials,
        )
        if self.search.trial(trial.allocation) is not None:  # another process's, which has been taken in already
            return
        self.search.archive = replace(self.search.archive, trials=(*self.search.archive.trials, trial))
        score, count = evaluation.score, len(evaluation.results)
        _log.info("trial %d: %.3f on %d examples, %s", trial.number, score, count, trial.allocation)
        if evaluation.missing:
            _log.warning("trial %d: %s; they are asked again", trial.number, missing_in_words(evaluation))
        self.search.report("evaluating")

    async def _look_again(self, space: SearchSpace, count: int) -> None:
        """Show more examples to the trials within a budget, at most `count`, where that is worth most."""
        if self.search.plan.racing is not None:
            rivals, total = self.search.rivals(space.budget), len(self.search.environment.examples)
            worthy = self.search.plan.racing.worth_another(rivals, self.search.plan.space.pipeline.sizes, total, count)
            await all_of(
                self.search.try_to_extend(trial, self.search.remaining(trial, self.search.plan.racing))
                for trial in worthy
            )

    def _examples_for(self, proposal: Proposal) -> list[str]:
        """The examples that a proposal is to see; none where it asks for nothing new."""
        tried = self.search.trial(proposal.allocation)
        if proposal.examples is None:
            return [] if tried is not None else self.search.remaining(None, self.search.plan.racing)
        first = set(self.search.order[: proposal.examples])
        return [name for name in self.search.remaining(tried, None) if name in first]
