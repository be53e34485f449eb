"""Grid search, coarse to fine: every combination of models, with sample counts on ever finer ladders."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agenttts.allocation import Allocation, SearchSpace
from agenttts.trial import Archive, Proposal

_RATIOS = (4.0, 2.0, 2**0.5)


class GridSearcher:
    """Works through the feasible grid points of one ladder before the next, in an order shuffled by the seed.

    The ladders have ratios 4, 2 and the square root of 2 between sample counts (1, 4, 16, ...; 1, 2, 4, ...), then
    every count. Points over the budget are not part of the grid.
    """

    name = "grid"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `trial.Searcher.propose`."""
        chosen: dict[Allocation, str] = {}
        for allocation, why in self._points(space):
            if len(chosen) == count:
                break
            if allocation.key not in archive.tried and allocation not in chosen:
                chosen[allocation] = why
        return [Proposal(allocation, why) for allocation, why in chosen.items()]

    def _points(self, space: SearchSpace) -> Iterator[tuple[Allocation, str]]:
        most = max(int(options.samples.max()) for options in space.options)
        for ratio in _RATIOS:
            points = space.on_levels(_ladder(most, ratio))
            order = np.random.default_rng(self._seed).permutation(len(points))
            yield from ((points[i], f"grid with sample counts in steps of x{ratio:.2g}") for i in order)
        yield from ((allocation, "grid of every sample count") for allocation in space.enumerate())


def _ladder(most: int, ratio: float) -> list[int]:
    """1, ratio, ratio^2, ... rounded, up to the most samples that fit."""
    steps = int(np.log(most) / np.log(ratio) + 1e-9) + 1
    return sorted({round(ratio**step) for step in range(steps)})
