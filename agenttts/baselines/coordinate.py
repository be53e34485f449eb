"""Coordinate ascent: one subtask at a time, the others held at the best trial (the idea of LLMSelector)."""

from __future__ import annotations

from itertools import islice

from agenttts.baselines.random import RandomSearcher
from agenttts.protocols import Searcher
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Archive, Proposal


class CoordinateSearcher(Searcher):
    """Starts at the cheapest allocation; then tries every one-subtask step from the best trial, in an order drawn anew
    for each best; when none is left, it restarts from a random allocation.

    LLMSelector (Chen et al., 2025) picks models this way; here a step may change the samples as well.
    """

    name = "coordinate"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `protocols.Searcher.propose`."""
        steps = [a for a in self._steps(archive, space) if a.key not in archive.tried]
        chosen = dict.fromkeys(islice(steps, count))
        proposals = [Proposal(allocation, "one step from the best trial") for allocation in chosen]
        restarts = await RandomSearcher(seed=self._seed).propose(archive, space, count)
        fresh = [Proposal(each.allocation, "restart at random") for each in restarts if each.allocation not in chosen]
        return [*proposals, *fresh][:count]

    def _steps(self, archive: Archive, space: SearchSpace) -> list[Allocation]:
        best = Archive(trials=tuple(trial for trial in archive.trials if trial.allocation in space)).best
        if best is None:
            return [space.cheapest]
        steps = space.neighbours(best.allocation)
        order = Archive(trials=archive.trials[: best.number]).rng(self._seed).permutation(len(steps))
        return [steps[int(i)] for i in order]
