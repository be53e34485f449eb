"""Evolutionary search: the best trials are crossed and mutated."""

from __future__ import annotations

import numpy as np

from agenttts.baselines.random import RandomSearcher
from agenttts.protocols import Searcher
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Archive, Proposal

_FOUNDERS = 6
_PARENTS = 5
_ATTEMPTS = 60
_CROSSOVER_CHANCE = 0.8
_MUTATION_CHANCE = 0.5


class EvolutionSearcher(Searcher):
    """A (mu + lambda) evolution: parents are the five best trials; the first six are drawn at random.

    A child takes each subtask's choice from one of two parents (with the paper's code's chances, crossover 0.8 and
    mutation 0.5), then may take a step to a neighbour. What does not fit the budget or was tried is bred again.
    """

    name = "evolution"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `protocols.Searcher.propose`."""
        founders = await RandomSearcher(seed=self._seed).propose(archive, space, count)
        if len(archive.trials) < _FOUNDERS:
            return founders
        rng = archive.rng(self._seed)
        ranked = sorted(archive.trials, key=lambda trial: -trial.evaluation.score)
        parents = [trial.allocation for trial in ranked if trial.allocation in space][:_PARENTS]
        children: dict[Allocation, Proposal] = {}
        for _ in range(_ATTEMPTS * count if parents else 0):
            if len(children) == count:
                break
            child = _breed(parents, space, rng)
            if child.key not in archive.tried and child in space:
                children.setdefault(child, Proposal(child, "bred from the best trials"))
        fresh = [proposal for proposal in founders if proposal.allocation not in children]
        return [*children.values(), *fresh][:count]


def _breed(parents: list[Allocation], space: SearchSpace, rng: np.random.Generator) -> Allocation:
    one, other = (parents[int(i)] for i in rng.integers(len(parents), size=2))
    child = one
    if rng.random() < _CROSSOVER_CHANCE:
        child = Allocation({name: (one if rng.random() < 0.5 else other)[name] for name in one})
    if rng.random() < _MUTATION_CHANCE or child in parents:
        neighbours = space.neighbours(child)
        child = neighbours[int(rng.integers(len(neighbours)))] if neighbours else child
    return child
