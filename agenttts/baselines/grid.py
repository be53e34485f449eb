"""Grid search, coarse to fine: every combination of models, with sample counts on ever finer ladders."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agenttts.protocols import Searcher
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Archive, Proposal

_RATIOS = (4.0, 2.0, 2**0.5)


class GridSearcher(Searcher):
    """Works through the feasible grid points of one ladder before the next, in an order shuffled by the seed.

    The ladders have ratios 4, 2 and the square root of 2 between sample counts (1, 4, 16, ...; 1, 2, 4, ...), then
    every count. A subtask that takes only some numbers of samples gets the largest of them up to each step. Points over
    the budget are not part of the grid.
    """

    name = "grid"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `protocols.Searcher.propose`."""
        chosen: dict[Allocation, str] = {}
        for allocation, why in self._points(space):
            if len(chosen) == count:
                break
            if allocation.key not in archive.tried and allocation not in chosen:
                chosen[allocation] = why
        return [Proposal(allocation, why) for allocation, why in chosen.items()]

    def _points(self, space: SearchSpace) -> Iterator[tuple[Allocation, str]]:
        for ratio in _RATIOS:
            points = space.on_levels(_ladder(space, ratio))
            order = np.random.default_rng(self._seed).permutation(len(points))
            yield from ((points[i], f"grid with sample counts in steps of x{ratio:.2g}") for i in order)
        yield from ((allocation, "grid of every sample count") for allocation in space.enumerate())


def _ladder(space: SearchSpace, ratio: float) -> set[int]:
    """1, ratio, ratio^2, ... rounded, up to the most samples that fit; with each, what a subtask takes of it instead,
    where that takes only some numbers of samples.
    """
    most = max(int(options.samples.max()) for options in space.options)
    steps = int(np.log(most) / np.log(ratio) + 1e-9) + 1
    ladder = {round(ratio**step) for step in range(steps)}
    listing = [subtask for subtask in space.pipeline.subtasks if subtask.sample_counts is not None]
    return ladder | {s.samples_up_to(step) or s.least_samples for s in listing for step in ladder}
