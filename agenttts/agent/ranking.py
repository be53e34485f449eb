"""Untried allocations by expected improvement over the incumbent: what the rules propose and an LLM is shown."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agenttts.agent.evidence import Evidence
from agenttts.posterior.kernel import Encoded
from agenttts.posterior.surrogate import Posterior, Surrogate, normal_cdf, normal_density
from agenttts.proposals.candidates import Candidates, candidates, from_allocations
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Archive

_REFINED = 5
_UNIFORM = 50
_CROWDING = 0.35
_LOOKED_AT = 128
"""Allocations of the largest rough improvements that are predicted together."""


@dataclass(frozen=True)
class Ranked:
    """An untried allocation and the posterior of its score."""

    allocation: Allocation
    mean: float
    sd: float
    improvement: float
    """Expected gain over the incumbent."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Ranks what is untried in a space by a posterior."""

    archive: Archive
    space: SearchSpace
    surrogate: Surrogate
    evidence: Evidence
    seed: int

    def best(self, count: int, excluded: Set[str] = frozenset()) -> list[Ranked]:
        """The allocations with the highest expected improvement, spread out; the tried and excluded keys left out."""
        excluded = self.archive.tried | excluded
        rng = self.archive.rng(self.seed)
        ladder = self._top(candidates(self.space, rng), excluded, 4 * count + _REFINED)
        # The ladder is coarse: look around its best rungs, and at the predicted knees, before deciding.
        nearby = {step for each in ladder[:_REFINED] for step in self.space.neighbours(each.allocation)}
        allocations = dict.fromkeys(
            [
                *(each.allocation for each in ladder),
                *sorted(nearby, key=lambda allocation: allocation.key),
                *self._knees(),
                *self.space.sample(rng, _UNIFORM),  # off the ladder and far from the best there is something too
            ]
        )
        return self._top(from_allocations(self.space, allocations), excluded, count)

    def expected(self, allocations: Sequence[Allocation]) -> list[Ranked]:
        """The posterior of these, as they come."""
        if not allocations:
            return []
        encoded = self.surrogate.encoder.allocations(allocations)
        posterior, improvement = self.surrogate.predict(encoded), self._improvement(encoded)
        return [Ranked(each, *map(float, of)) for each, *of in zip(allocations, *posterior, improvement, strict=True)]

    def _improvement(self, encoded: Encoded, *, roughly: bool = False) -> NDArray[np.float64]:
        """Expected gain over the incumbent; roughly, it is too large, never too small.

        By the deviation of the difference: what is not known of the incumbent's neighbours is not known of it either,
        and so no reason to try them.
        """
        incumbent = self.surrogate.encoder.allocations([self.evidence.incumbent])
        return expected_improvement(self.surrogate.predict(encoded, less=incumbent, roughly=roughly))

    def _knees(self) -> list[Allocation]:
        """The incumbent with one subtask's model at its predicted knee."""
        incumbent = self.evidence.incumbent
        at_knees = [incumbent.replaced(s.subtask, s.model, s.curve.knee) for s in self.evidence.saturations]
        return [allocation for allocation in at_knees if allocation in self.space]

    def _top(self, pool: Candidates, excluded: Set[str], count: int) -> list[Ranked]:
        if not len(pool):
            return []
        encoded = self.surrogate.encoder.arrays(pool.pairings, pool.samples.astype(float))
        improvement = self._improvement(encoded, roughly=True)
        rough, apart = np.ones(len(pool), dtype=bool), np.ones(len(pool))
        chosen: list[Allocation] = []
        while len(chosen) < count and apart.any():
            weight = np.where(apart > 0, improvement * apart, -np.inf)
            index = int(np.argmax(weight))
            if rough[index]:
                # It may be best: no rough improvement is too small. What looks as good is looked at with it.
                some = np.flatnonzero(rough)
                some = some[np.argsort(-weight[some])[:_LOOKED_AT]]
                improvement[some] = self._improvement(encoded.rows(some))
                rough[some] = False
                continue
            allocation = pool.allocation(index)
            if allocation.key not in excluded:
                chosen.append(allocation)
                apart *= 1 - _similarity(encoded, index)
            apart[index] = 0.0
        return self.expected(chosen)


def expected_improvement(gain: Posterior) -> NDArray[np.float64]:
    """E[max(gain, 0)] under a normal posterior."""
    z = gain.mean / gain.sd
    result: NDArray[np.float64] = np.maximum(gain.sd * (z * normal_cdf(z) + normal_density(z)), 0.0)
    return result


def _similarity(encoded: Encoded, index: int) -> NDArray[np.float64]:
    """1 for the candidate itself, falling with the distance: keeps a batch from crowding."""
    unlike = (encoded.model != encoded.model[index]) | (encoded.ways != encoded.ways[index]).any(axis=2)
    other = unlike.sum(axis=1)
    steps = np.abs(encoded.samples - encoded.samples[index]).sum(axis=1)
    result: NDArray[np.float64] = np.exp(-(((other + steps) / _CROWDING) ** 2))
    return result
