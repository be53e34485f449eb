"""What every searcher promises to the search that asks it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import replace

from agenttts.protocols import Searcher
from agenttts.space import Allocation, SearchSpace
from agenttts.study.trial import Archive, Proposal
from agenttts.testing._problem import archive_of, small_space


class SearcherSuite(ABC):
    """Inherit in a test module, and say how a searcher is made; pytest finds the tests:

    class TestMine(SearcherSuite):
        def make(self, seed: int) -> Searcher:
            return MySearcher(seed=seed)
    """

    may_fall_short = False
    """Whether a call may bring fewer proposals than were asked for while there are untried allocations."""

    @abstractmethod
    def make(self, seed: int) -> Searcher:
        """A searcher that asks no LLM and no network."""

    def test_proposals_are_feasible_untried_distinct_and_as_many_as_asked(self) -> None:
        space = small_space()
        archive = archive_of([space.cheapest, space.largest_once], space)
        for count in (1, 4):
            proposals = self._propose(archive, space, count)
            keys = [proposal.allocation.key for proposal in proposals]
            assert 1 <= len(keys) <= count and (len(keys) == count or self.may_fall_short)
            assert len(set(keys)) == len(keys) and not set(keys) & archive.tried
            assert all(space.faults(proposal.allocation) == [] for proposal in proposals)

    def test_only_listed_numbers_of_samples_are_proposed(self) -> None:
        whole = small_space()
        first, second = whole.pipeline.subtasks
        listed = replace(whole.pipeline, subtasks=(replace(first, sample_counts=(2, 5, 9, 16)), second))
        space = SearchSpace(listed, whole.cost_model, whole.budget)
        tried: list[Allocation] = []
        for _ in range(6):
            proposals = self._propose(archive_of(tried, space), space, 3)
            assert proposals and all(space.faults(proposal.allocation) == [] for proposal in proposals)
            tried += [proposal.allocation for proposal in proposals]
        # A study of the same pipeline without that limit goes on under it.
        assert self._propose(archive_of([whole.cheapest, whole.largest_once], whole), space, 1)

    def test_it_is_a_pure_function_of_the_archive(self) -> None:
        space = small_space()
        archive = archive_of(dict.fromkeys(space.sample(Archive().rng(3), 12)), space)
        used = self.make(1)
        asyncio.run(used.propose(Archive(), space, 3))
        again = asyncio.run(used.propose(archive, space, 3))
        assert again == asyncio.run(self.make(1).propose(archive, space, 3))

    def test_it_continues_the_study_of_another_also_of_a_larger_budget(self) -> None:
        space, dear = small_space(), Allocation({"a": ("l", 16), "b": ("l", 16)})
        assert self._propose(archive_of([space.cheapest, dear, space.largest_once], space), space, 1)

    def test_an_exhausted_space_brings_no_proposal(self) -> None:
        space = small_space(300)
        *rest, last = space.enumerate()
        assert self._propose(archive_of([*rest, last], space), space, 2) == []
        (proposal,) = self._propose(archive_of(rest, space), space, 2)
        assert proposal.allocation == last

    def _propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        return asyncio.run(self.make(0).propose(archive, space, count))
