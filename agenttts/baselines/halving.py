"""Successive halving: many allocations see few examples, and the best of them see more.

The asynchronous variant (ASHA; Li et al., MLSys 2020), since it is a function of the archive alone: a trial's rung is
how many examples it has seen. Whenever a trial is among the best third of those that reached its rung, it is promoted
to the next; when none is, another allocation is drawn at random and starts on the lowest.
"""

from __future__ import annotations

from agenttts.baselines.random import RandomSearcher
from agenttts.protocols import Searcher
from agenttts.space import SearchSpace
from agenttts.study.trial import Archive, Proposal, Trial

_ETA = 3
"""One in so many is promoted, to so many times the examples (ASHA's usual eta is 3 or 4)."""
_MOST_RUNGS = 3
_FEWEST_EXAMPLES = 5


class HalvingSearcher(Searcher):
    """Successive halving over random allocations; it decides itself how many examples each trial sees."""

    name = "halving"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `protocols.Searcher.propose`."""
        if not archive.examples:
            return await RandomSearcher(seed=self._seed).propose(archive, space, count)
        rungs = _rungs(archive.examples)
        feasible = [trial for trial in archive.trials if trial.allocation in space]
        promoted = _promotions(feasible, rungs)[:count]
        drawn = await RandomSearcher(seed=self._seed).propose(archive, space, count - len(promoted))
        return [*promoted, *(Proposal(each.allocation, each.rationale, examples=rungs[0]) for each in drawn)]


def _rungs(examples: int) -> list[int]:
    """How many examples the trials of each rung have seen, ascending up to all."""
    rungs = [-(-examples // _ETA**level) for level in range(_MOST_RUNGS)]
    return sorted({rung for rung in rungs if rung >= _FEWEST_EXAMPLES} or {examples})


def _promotions(trials: list[Trial], rungs: list[int]) -> list[Proposal]:
    """The trials that have earned more examples, those of the highest rung first."""
    proposals = []
    for rung, following in reversed(list(zip(rungs, rungs[1:], strict=False))):
        reached = [trial for trial in trials if len(trial.evaluation.results) >= rung]
        best = sorted(reached, key=lambda trial: (-_score(trial, rung), trial.number))[: len(reached) // _ETA]
        proposals += [
            Proposal(trial.allocation, f"among the best third on {rung} examples", examples=following)
            for trial in best
            if len(trial.evaluation.results) < following
        ]
    return proposals


def _score(trial: Trial, rung: int) -> float:
    """The mean on the first examples alone, so that trials are compared on the same ones."""
    return sum(result.score for result in trial.evaluation.results[:rung]) / rung
