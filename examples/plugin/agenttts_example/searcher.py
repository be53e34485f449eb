"""A search method: climb from the best trial to an untried neighbour."""

from collections.abc import Sequence

import agenttts as at


class HillClimb(at.Searcher):
    """Proposes allocations one step away from the best trial, in random order."""

    name = "hillclimb"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    async def propose(self, archive: at.Archive, space: at.SearchSpace, count: int) -> list[at.Proposal]:
        best = archive.best
        start = space.cheapest if best is None else best.allocation
        rng = archive.rng(self._seed)  # of the seed and the archive alone: a resumed search goes the same way
        steps = [start, *space.neighbours(start)]
        rng.shuffle(steps)
        # Where every neighbour has been tried, begin anew elsewhere.
        anew: Sequence[at.Allocation] = space.sample(rng, 200)
        untried = [each for each in dict.fromkeys([*steps, *anew]) if each not in archive.tried]
        return [at.Proposal(each, f"near {start}") for each in untried[:count]]
