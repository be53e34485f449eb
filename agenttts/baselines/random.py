"""Random search: uniform over the feasible allocations."""

from __future__ import annotations

from itertools import islice

from agenttts.protocols import Searcher
from agenttts.space import SearchSpace
from agenttts.study.trial import Archive, Proposal

_ATTEMPTS = 200


class RandomSearcher(Searcher):
    """Draws untried feasible allocations uniformly, without any regard to scores."""

    name = "random"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `protocols.Searcher.propose`."""
        rng = archive.rng(self._seed)
        drawn = dict.fromkeys(a for a in space.sample(rng, _ATTEMPTS * count) if a.key not in archive.tried)
        if len(drawn) < count:
            # Almost everything has been tried: walk what is left.
            untried = (a for a in space.enumerate() if a.key not in archive.tried and a not in drawn)
            drawn |= dict.fromkeys(islice(untried, count - len(drawn)))
        return [Proposal(allocation, "drawn uniformly") for allocation in islice(drawn, count)]
