"""The search loop: ask the searcher, reject or evaluate, record; until a limit is reached.

The loop keeps nothing that is not in the store: a search killed at any instant continues when the same command is run
again. Whatever a trial paid for is in the sample pool even if the trial was cut off.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agenttts._util.plugins import blamed
from agenttts.errors import BudgetTooSmall, ConfigError, LimitReached, ModelRefused
from agenttts.searching.counterfactuals import Counterfactuals
from agenttts.searching.hopeless import require_some_use
from agenttts.searching.portfolio import first_trials
from agenttts.searching.ruling_out import archive_without, failed_evaluation, is_ruled_out, ruled_out, space_without
from agenttts.searching.running import RunningSearch, all_of
from agenttts.searching.scoring import missing_in_words
from agenttts.space import Allocation, SearchSpace
from agenttts.study.trial import BASELINE, Archive, Proposal, Refusal

_log = logging.getLogger(__name__)
_MAX_EMPTY_ROUNDS = 3
_SHOWN = 100


class _NothingFits(Exception):
    """There is nothing left to propose."""


@dataclass(frozen=True)
class _ProposedRound:
    """Proposals that are evaluated side by side."""

    number: int
    """`Archive.round` when they were made."""
    budget: float
    """What they were made for."""
    proposals: list[Proposal]
    count: int
    """How many the round has, with those that an earlier run has evaluated."""


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
        try:
            await self._try_baseline()
        except LimitReached as limit:
            return str(limit)
        empty_rounds, left = 0, self._left_over()
        while len(self.search.archive.trials) < self.search.plan.limits.trials:
            try:
                self.search.meter.check()
                await self.search.ask_again()
                await self.counterfactuals.update()
                asked = left or await self._ask()
                left, proposals = None, asked.proposals
                await self._evaluate_all(asked)
                if all(proposal.examples is None for proposal in proposals):
                    await self._look_again(asked.budget, asked.count)
            except (LimitReached, _NothingFits) as limit:
                await self.search.catch_up()
                return str(limit)
            await self.search.catch_up()
            require_some_use(self.search)
            empty_rounds = 0 if proposals else empty_rounds + 1
            if empty_rounds == _MAX_EMPTY_ROUNDS or (empty_rounds and self._exhausted()):
                return f"{self.search.plan.searcher.name} has nothing new to propose"
        return f"{len(self.search.archive.trials)} trials done"

    async def _try_baseline(self) -> None:
        """Begin with what is used today, unless nothing else is to be tried."""
        baseline, most = self.search.plan.baseline, self.search.plan.limits.trials
        if baseline is None or self.search.trial(baseline) is not None or len(self.search.archive.trials) >= most - 1:
            return
        self.search.meter.check()
        why = "baseline: what the recommended allocation is compared with"
        self.search.report("evaluating")
        await self._evaluate(Proposal(baseline, why, searcher=BASELINE), self.search.archive.round)

    def _exhausted(self) -> bool:
        return len(self.search.archive.tried) >= self.search.plan.space.size

    def _left_over(self) -> _ProposedRound | None:
        """What an earlier run of this search was evaluating when it ended or was killed."""
        recorded = self.search.store.proposals(self.search.study)
        out = ruled_out(self.search.archive.trials)
        wanted = [
            each for each in recorded if not is_ruled_out(each[0].allocation, out) and self._examples_for(each[0])
        ]
        left = self.search.plan.limits.trials - len(self.search.archive.trials)
        if not wanted[:left]:
            return None
        number = wanted[0][1]
        proposals = [proposal for proposal, _ in wanted[:left]]
        done = sum(trial.round == number for trial in self.search.archive.trials)
        return _ProposedRound(number, self._spaces(number)[0].budget, proposals, len(proposals) + done)

    def _spaces(self, number: int) -> Sequence[SearchSpace]:
        """The spaces of the budgets, in the order of their turn in this round."""
        # Rounds that are in the archive, so that a resumed search proposes the same.
        before = {trial.round for trial in self.search.archive.trials if trial.round < number}
        turn, spaces = len(before) % len(self.search.plan.spaces), self.search.plan.spaces
        return (*spaces[turn:], *spaces[:turn])

    async def _ask(self) -> _ProposedRound:
        """Proposals for the budget whose turn it is, or for the next for which there are any."""
        self.search.report("proposing")
        number, too_small = self.search.archive.round, 0
        for space in self._spaces(number):
            try:
                priced = self.search.priced(space)
            except BudgetTooSmall:
                too_small += 1
                continue
            if proposals := await self._ask_within(priced):
                store = self.search.store
                await store.beside(store.put_proposals, self.search.study, proposals, round=number)
                return _ProposedRound(number, space.budget, proposals, len(proposals))
        if too_small == len(self.search.plan.spaces):
            raise _NothingFits("no allocation is within the budget at the lengths that were measured")
        return _ProposedRound(number, self.search.plan.space.budget, [], 0)

    async def _ask_within(self, space: SearchSpace) -> list[Proposal]:
        """Proposals that may be evaluated; the others are recorded as rejected."""
        count = min(self.search.plan.parallel, self.search.plan.limits.trials - len(self.search.archive.trials))
        accepted: dict[str, Proposal] = {}
        out = ruled_out(self.search.archive.trials)
        space, seen = space_without(space, out), archive_without(self.search.archive, out)
        for proposal in await self._proposed(seen, space, count):
            reasons = self._faults(proposal, accepted, space)
            if reasons:
                await self._reject(proposal, reasons)
            elif len(accepted) < count:
                accepted[proposal.allocation.key] = proposal
        return list(accepted.values())

    async def _proposed(self, seen: Archive, space: SearchSpace, count: int) -> Sequence[Proposal]:
        """The first trials from experience; then what the searcher gives, where it is what it should be."""
        if first := first_trials(seen, space):
            return first[:count]
        searcher = self.search.plan.searcher
        async with self.search.journaled():
            with blamed(f"the searcher {searcher.name!r}", searcher):
                given: object = await searcher.propose(seen, space, count)
        if isinstance(given, Sequence) and all(_is_proposal(each) for each in given):
            return given
        raise ConfigError(
            f"the searcher {searcher.name!r} proposed {given!r:.100} instead of a list of Proposal objects with an "
            "Allocation each"
        )

    def _faults(self, proposal: Proposal, accepted: Mapping[str, Proposal], space: SearchSpace) -> list[str]:
        if proposal.allocation.key in accepted or not self._examples_for(proposal):
            return ["it has been proposed before"]
        return space.faults(proposal.allocation)

    async def _reject(self, proposal: Proposal, reasons: list[str]) -> None:
        _log.warning(
            "%s proposed %s, rejected: %s", self.search.plan.searcher.name, proposal.allocation, "; ".join(reasons)
        )
        refusal = Refusal(
            allocation=proposal.allocation,
            reasons=tuple(reasons),
            searcher=self.search.plan.searcher.name,
            round=self.search.archive.round,
        )
        await self.search.store.beside(self.search.store.add_refusal, self.search.study, refusal)
        self.search.archive = replace(self.search.archive, refusals=(*self.search.archive.refusals, refusal))

    async def _evaluate_all(self, asked: _ProposedRound) -> None:
        """Evaluate side by side; each is recorded as it finishes, whatever becomes of the others."""
        if asked.proposals:
            self.search.report("evaluating")
        await all_of(self._evaluate(proposal, asked.number) for proposal in asked.proposals)

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
        async with self.search.recording:
            trial = await self.search.store.beside(
                self.search.store.add_trial,
                self.search.study,
                proposal,
                evaluation,
                cost=self.search.cost(proposal.allocation, evaluation),
                searcher=proposal.searcher or self.search.plan.searcher.name,
                round=round_,
                at_most=self.search.plan.limits.trials + self.search.archive.set_aside,
            )
            if self.search.trial(trial.allocation) is not None:  # another process's, which has been taken in already
                return
            self.search.archive = replace(self.search.archive, trials=(*self.search.archive.trials, trial))
        score, count = evaluation.score, len(evaluation.results)
        _log.info("trial %d: %.3f on %d examples, %s", trial.number, score, count, trial.allocation)
        if evaluation.missing:
            _log.warning("trial %d: %s; they are asked again", trial.number, missing_in_words(evaluation))
        self.search.report("evaluating")

    async def _look_again(self, budget: float, count: int) -> None:
        """Show more examples to the trials within a budget, at most `count`, where that is worth most."""
        if self.search.plan.racing is not None:
            rivals, total = self.search.rivals(budget), len(self.search.environment.examples)
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


def _is_proposal(given: object) -> bool:
    return isinstance(given, Proposal) and isinstance(given.allocation, Allocation)
