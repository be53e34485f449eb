"""Feasible allocations worth predicting: every combination of models and operators, sample counts on a geometric
ladder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agenttts.pipeline import Subtask
from agenttts.posterior.curves import LADDER
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.combinations import Options, restrict

_LIMIT = 3000
_PARTIAL_LIMIT = 200_000


@dataclass(frozen=True)
class Candidates:
    """Allocations as arrays of shape (candidates, subtasks)."""

    space: SearchSpace
    pairings: NDArray[np.int64]
    """Indices of model and operator in `Subtask.pairings`."""
    samples: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pairings)

    def allocation(self, index: int) -> Allocation:
        """The candidate at this position."""
        subtasks = self.space.pipeline.subtasks
        return Allocation(
            {
                subtask.name: Choice.of(subtask.pairings[pairing].name, int(samples))
                for subtask, pairing, samples in zip(subtasks, self.pairings[index], self.samples[index], strict=True)
            }
        )


def candidates(space: SearchSpace, rng: np.random.Generator, limit: int = _LIMIT) -> Candidates:
    """Feasible allocations on the ladder: all of them, or a random `limit` of them where there are more.

    Where not every combination can be tried, of those that can.
    """
    if space.listed is not None:
        return from_allocations(space, [space.listed[i] for i in _thin(len(space.listed), limit, rng)])
    options = [_on_ladder(each) for each in space.options]
    least = [float(each.costs.min()) for each in options]
    chosen, costs = np.zeros((1, 0), dtype=np.int64), np.zeros(1)
    for level, each in enumerate(options):
        totals = costs[:, None] + each.costs[None, :]
        rows, columns = np.nonzero(totals + sum(least[level + 1 :]) <= space.limit)
        kept = _thin(len(rows), _PARTIAL_LIMIT, rng)
        chosen = np.concatenate([chosen[rows[kept]], columns[kept, None]], axis=1)
        costs = totals[rows[kept], columns[kept]]
    chosen = chosen[_thin(len(chosen), limit, rng)]
    pairings = np.stack([each.pairings[chosen[:, i]] for i, each in enumerate(options)], axis=1)
    samples = np.stack([each.samples[chosen[:, i]] for i, each in enumerate(options)], axis=1)
    return Candidates(space, pairings, samples)


def from_allocations(space: SearchSpace, allocations: Iterable[Allocation]) -> Candidates:
    """Candidates of given allocations."""
    rows = list(allocations)
    names = [subtask.name for subtask in space.pipeline.subtasks]
    index = [{each.name: i for i, each in enumerate(s.pairings)} for s in space.pipeline.subtasks]
    pairings = [[index[i][row[name].pairing] for i, name in enumerate(names)] for row in rows]
    samples = [[row[name].samples for name in names] for row in rows]
    shape = (len(rows), len(names))
    return Candidates(space, np.reshape(pairings, shape).astype(np.int64), np.reshape(samples, shape).astype(np.int64))


def rungs(subtask: Subtask) -> Sequence[int]:
    """Sample counts worth predicting: all that the subtask takes where they are listed, or else the ladder."""
    return subtask.sample_counts or LADDER


def _on_ladder(options: Options) -> Options:
    least = np.array([pairing.least_samples for pairing in options.subtask.pairings])[options.pairings]
    return restrict(options, np.isin(options.samples, rungs(options.subtask)) | (options.samples == least))


def _thin(count: int, limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if count <= limit:
        return np.arange(count)
    return np.sort(rng.choice(count, size=limit, replace=False))
