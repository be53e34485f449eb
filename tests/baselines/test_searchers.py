"""What every searcher owes the loop, and what is particular to each."""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.proposals.initial import initial_design
from agenttts.protocols import Searcher
from agenttts.searching.methods import method, method_names, searcher
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Archive, Trial
from agenttts.testing import SearcherSuite

HAS_GP = all(importlib.util.find_spec(package) for package in ("torch", "scipy"))
METHODS = [
    pytest.param(name, marks=pytest.mark.skipif(name == "gp" and not HAS_GP, reason="needs agenttts[gp]"))
    for name in method_names()
    if not method(name).needs_llm  # see test_llm.py
]

MODELS = tuple(Model(name, size) for name, size in (("s", 1e6), ("m", 4e6), ("l", 16e6)))
PIPELINE = Pipeline(
    "p",
    (
        Subtask("a", MODELS, "x", prompt_tokens=50, completion_tokens=20, max_samples=16),
        Subtask("b", MODELS, "x", prompt_tokens=30, completion_tokens=10, max_samples=16),
    ),
    metric=lambda output, example: 0.0,
)
SPACE = SearchSpace(PIPELINE, FlopsCost(), 2500)
LISTED = SearchSpace(
    replace(PIPELINE, subtasks=(replace(PIPELINE.subtasks[0], sample_counts=(2, 5, 9, 16)), PIPELINE.subtasks[1])),
    FlopsCost(),
    2500,
)
"""The first subtask takes only some numbers of samples."""


def truth(allocation: Allocation) -> float:
    """Larger models and more samples help, with saturation; the stages multiply."""
    quality = {"s": 0.3, "m": 0.6, "l": 0.8}
    parts = [1 - (1 - quality[c.model]) * (0.5 + 0.5 / c.samples) for c in allocation.values()]
    return parts[0] * parts[1]


def archive_of(*tried: Allocation, space: SearchSpace = SPACE, rng: np.random.Generator | None = None) -> Archive:
    """Trials on 40 examples, with scores as near the truth as they can be, or drawn from it."""
    trials = []
    for number, allocation in enumerate(tried, start=1):
        luck = (np.arange(40) + 0.5) / 40 if rng is None else rng.random(40)
        scores = (luck < truth(allocation)).astype(float)
        results = tuple(ExampleResult(example=str(i), score=float(score)) for i, score in enumerate(scores))
        trials.append(
            Trial(
                number=number,
                allocation=allocation,
                cost=space.cost(allocation),
                evaluation=Evaluation(results=results),
                searcher="test",
                rationale="",
                round=number - 1,
                created=datetime.now(UTC),
            )
        )
    return Archive(trials=tuple(trials))


async def continued(method: Searcher, archive: Archive, rounds: int, count: int = 2) -> Archive:
    """The archive after some rounds of a method."""
    for _ in range(rounds):
        proposals = await method.propose(archive, SPACE, count)
        archive = archive_of(*(t.allocation for t in archive.trials), *(p.allocation for p in proposals))
    return archive


def designed(space: SearchSpace) -> list[Allocation]:
    """The agent's initial trials."""
    return [each.allocation for each in initial_design(space)]


def suite_of(name: str) -> type[SearcherSuite]:
    """The suite of a method."""

    class Suite(SearcherSuite):
        may_fall_short = name == "agent"  # its initial trials may leave a last call short

        def make(self, seed: int) -> Searcher:
            return searcher(name, seed=seed, llm="none")

    return Suite


TestAgent, TestRandom, TestGrid, TestTPE = map(suite_of, ("agent", "random", "grid", "tpe"))
TestEvolution, TestCoordinate, TestHalving = map(suite_of, ("evolution", "coordinate", "halving"))
TestGP = pytest.mark.skipif(not HAS_GP, reason="needs agenttts[gp]")(suite_of("gp"))


def test_every_method_without_an_llm_has_its_suite() -> None:
    assert len([name for name in globals() if name.startswith("Test")]) == len(METHODS)


@pytest.mark.parametrize("name", METHODS)
async def test_every_proposal_says_why(name: str) -> None:
    proposals = await searcher(name, llm="none").propose(archive_of(SPACE.cheapest), SPACE, 2)
    assert proposals and all(proposal.rationale for proposal in proposals)


@pytest.mark.parametrize("name", ["random", "grid", "tpe"])
@given(seed=st.integers(0, 9))
def test_seeds_matter_and_only_seeds(name: str, seed: int) -> None:
    def first(seed: int) -> list[Allocation]:
        proposals = asyncio.run(searcher(name, seed=seed).propose(Archive(), SPACE, 6))
        return [proposal.allocation for proposal in proposals]

    assert first(seed) == first(seed)
    assert first(seed) != first(seed + 1)


async def test_the_grid_goes_from_coarse_to_fine() -> None:
    proposals = await searcher("grid").propose(Archive(), SPACE, SPACE.size)
    assert len(proposals) == SPACE.size
    coarse = len(SPACE.on_levels([1, 4, 16]))
    samples = [{choice.samples for choice in p.allocation.values()} for p in proposals]
    assert all(each <= {1, 4, 16} for each in samples[:coarse])
    assert not all(each <= {1, 4, 16} for each in samples[coarse : coarse + 5])


@pytest.mark.parametrize("name", [p for p in METHODS if p.values[0] not in ("random", "grid", "halving")])
async def test_methods_that_learn_find_better_than_the_first_guess(name: str) -> None:
    archive = await continued(searcher(name, seed=0, llm="none"), Archive(), 14)
    best = max(truth(allocation) for allocation in SPACE.enumerate())
    found = max(truth(trial.allocation) for trial in archive.trials)
    assert found > best - 0.05


def test_an_unknown_method_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no method 'magic'; choose one of agent, random, grid, tpe, gp"):
        searcher("magic")


@pytest.mark.skipif(HAS_GP, reason="PyTorch and SciPy are installed")
def test_the_gaussian_process_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"the method 'gp' needs \w+: .*pip install .*\[gp\]"):
        searcher("gp")


def test_insights_belong_to_the_agent() -> None:
    with pytest.raises(ConfigError, match="only the method 'agent' has insights"):
        searcher("random", insights_off=frozenset({1}))
    with pytest.raises(ConfigError, match="insights are 1, 2 and 3, not 4"):
        searcher("agent", llm="none", insights_off=frozenset({4}))
