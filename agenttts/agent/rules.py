"""A planner without an LLM: the three insights as explicit statistics, and expected improvement under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agenttts.agent.candidates import Candidates, candidates, from_allocations
from agenttts.agent.planner import Plan, Refused, Thought, View
from agenttts.allocation import Allocation
from agenttts.surrogate import Encoded, Posterior, normal_cdf, normal_density
from agenttts.trial import Proposal

_REFINED = 5
_UNIFORM = 50
_CROWDING = 0.35


@dataclass(frozen=True)
class RulePlanner:
    """Guidelines from `evidence`, proposals by expected improvement over the incumbent."""

    name: str = "rules"

    async def reflect(self, view: View) -> Thought:
        """See `planner.Planner.reflect`."""
        return Thought("\n".join(view.evidence.lines()), view.evidence.as_dict())

    async def propose(self, view: View, guideline: str, count: int, refused: Sequence[Refused]) -> Plan:
        """See `planner.Planner.propose`."""
        excluded = view.archive.tried | {each.proposal.allocation.key for each in refused}
        ranked = _ranked(view, excluded, count)
        proposals = [Proposal(each.allocation, _rationale(view, each)) for each in ranked]
        evidence = [
            {"allocation": each.allocation.key, "mean": each.mean, "sd": each.sd, "improvement": each.improvement}
            for each in ranked
        ]
        return Plan(proposals, Thought("\n".join(proposal.rationale for proposal in proposals), evidence))


@dataclass(frozen=True)
class _Ranked:
    allocation: Allocation
    mean: float
    sd: float
    improvement: float
    """Expected gain over the incumbent's posterior mean."""


def _ranked(view: View, excluded: frozenset[str], count: int) -> list[_Ranked]:
    rng = view.archive.rng(view.seed)
    pool = candidates(view.space, rng)
    ladder = _top(view, pool, excluded, 4 * count + _REFINED)
    # The ladder is coarse: look around its best rungs before deciding.
    nearby = {step for each in ladder[:_REFINED] for step in view.space.neighbours(each.allocation)}
    allocations = dict.fromkeys(
        [
            *(each.allocation for each in ladder),
            *sorted(nearby, key=lambda allocation: allocation.key),
            *view.space.sample(rng, _UNIFORM),  # off the ladder and far from the best there is something too
        ]
    )
    return _top(view, from_allocations(view.space, allocations), excluded, count)


def _top(view: View, pool: Candidates, excluded: frozenset[str], count: int) -> list[_Ranked]:
    """The candidates with the highest expected improvement, spread out."""
    if not len(pool):
        return []
    encoded = view.surrogate.encoder.arrays(pool.models, pool.samples.astype(float))
    posterior = view.surrogate.predict(encoded)
    improvement = expected_improvement(posterior, view.evidence.score)
    weight = improvement.copy()
    chosen: list[_Ranked] = []
    while len(chosen) < count and weight.max() > -np.inf:
        index = int(np.argmax(weight))
        allocation = pool.allocation(index)
        if allocation.key not in excluded:
            mean, sd = float(posterior.mean[index]), float(posterior.sd[index])
            chosen.append(_Ranked(allocation, mean, sd, float(improvement[index])))
            weight = weight * (1 - _similarity(encoded, index))
        weight[index] = -np.inf
    return chosen


def expected_improvement(posterior: Posterior, incumbent: float) -> NDArray[np.float64]:
    """E[max(f - incumbent, 0)] under a normal posterior."""
    z = (posterior.mean - incumbent) / posterior.sd
    result: NDArray[np.float64] = np.maximum(posterior.sd * (z * normal_cdf(z) + normal_density(z)), 0.0)
    return result


def _similarity(encoded: Encoded, index: int) -> NDArray[np.float64]:
    """1 for the candidate itself, falling with the distance in models and samples: keeps a batch from crowding."""
    other = (encoded.model != encoded.model[index]).sum(axis=1)
    steps = np.abs(encoded.samples - encoded.samples[index]).sum(axis=1)
    result: NDArray[np.float64] = np.exp(-(((other + steps) / _CROWDING) ** 2))
    return result


def _rationale(view: View, ranked: _Ranked) -> str:
    incumbent = view.evidence.incumbent
    changes = [
        f"{name} {incumbent[name]} -> {choice}"
        for name, choice in ranked.allocation.items()
        if choice != incumbent[name]
    ]
    return (
        f"expected {ranked.mean:.3f} ± {1.96 * ranked.sd:.3f} against {view.evidence.score:.3f} for the best so far "
        f"(expected improvement {ranked.improvement:.4f}): {', '.join(changes) or 'the same again'}"
    )
