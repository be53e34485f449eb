"""The search space: exact counts, uniform samples, reasons in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product, zip_longest

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.cost import FlopsCost, PaperCost

SIZES = {"3B": 3e9, "7B": 7e9, "8B": 8e9, "32B": 32e9, "70B": 70e9, "72B": 72e9}


def pipeline(
    *stages: tuple[str, int, int], most: int | None, counts: tuple[tuple[int, ...] | None, ...] = ()
) -> Pipeline:
    """Stages as ("3B 70B", Np, Nd); `counts` are their sample counts, every one where not given."""
    subtasks = tuple(
        Subtask(
            f"stage{i}",
            tuple(Model(name, SIZES[name]) for name in models.split()),
            "x",
            prompt_tokens=prompt,
            completion_tokens=completion,
            max_samples=most,
            sample_counts=listed,
        )
        for i, ((models, prompt, completion), listed) in enumerate(zip_longest(stages, counts))
    )
    return Pipeline("test", subtasks, metric=lambda output, example: 0.0)


CHATDEV = (("3B 70B", 1024, 1024), ("3B 70B", 1024, 512), ("3B 70B", 1024, 256))
WIKI = (("7B 32B 72B", 2048, 128), ("3B 8B 70B", 256, 64))
TASKBENCH = (("8B 70B", 1024, 64), ("8B 70B", 1024, 256), ("8B 70B", 1024, 2048))


@pytest.mark.parametrize(
    ("stages", "budget", "most", "size"),
    [
        (CHATDEV, 1768, None, 1_715_779),
        (CHATDEV, 1768, 100, 759_511),
        (WIKI, 929, 100, 27_190),
        (WIKI, 929, None, 120_026),
        (WIKI, 500, 100, 15_147),
        (WIKI, 2000, None, 669_756),
        (TASKBENCH, 2000, None, 483_318),
        (TASKBENCH, 2000, 100, 180_722),
    ],
)
def test_exact_sizes_of_the_papers_spaces(
    stages: tuple[tuple[str, int, int], ...], budget: float, most: int | None, size: int
) -> None:
    assert SearchSpace(pipeline(*stages, most=most), PaperCost(), budget).size == size


def test_the_papers_default_budget_holds_its_own_allocation() -> None:
    chatdev = pipeline(*CHATDEV, most=None)
    whole = SearchSpace(chatdev, PaperCost(), 1e6)
    exact = SearchSpace(chatdev, PaperCost(), whole.cost(whole.largest_once))
    assert exact.faults(exact.largest_once) == []


small_spaces = st.builds(
    lambda stages, share: (
        pipeline(*(stage for stage, _ in stages), most=6, counts=tuple(listed for _, listed in stages)),
        share,
    ),
    st.lists(
        st.tuples(
            st.tuples(st.sampled_from(["3B", "3B 70B", "7B 8B 32B"]), st.integers(10, 3000), st.integers(10, 900)),
            st.none() | st.sets(st.integers(1, 6), min_size=1).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ),
    st.floats(0.01, 1.2),
)


def taken(subtask: Subtask) -> Sequence[int]:
    return subtask.sample_counts or range(1, 7)


@given(small_spaces)
def test_size_and_enumeration_agree_with_brute_force(case: tuple[Pipeline, float]) -> None:
    tested, share = case
    cost = PaperCost()
    everything = [
        Allocation({s.name: choice for s, choice in zip(tested.subtasks, choices, strict=True)})
        for choices in product(*([Choice(m.name, n) for m in s.models for n in taken(s)] for s in tested.subtasks))
    ]
    prices = {
        a: sum(float(cost.cost(s, s.model(a[s.name].model), a[s.name].samples)) for s in tested.subtasks)
        for a in everything
    }
    budget = share * max(prices.values())
    assume(budget >= min(prices.values()))
    space = SearchSpace(tested, cost, budget)
    expected = {a for a, price in prices.items() if price <= budget + 1e-9 * max(1, budget)}
    listed = list(space.enumerate())
    assert set(listed) == expected
    assert len(listed) == len(expected) == space.size
    assert all((a in space) == (a in expected) for a in everything)
    assert min(prices, key=lambda a: prices[a]) in expected and prices[space.cheapest] == min(prices.values())
    assert set(space.on_levels([2, 3])) == {a for a in expected if all(c.samples in (2, 3) for c in a.values())}
    assert set(space.sample(np.random.default_rng(0), 20)) <= expected
    for allocation, subtask in product(listed[:: max(1, len(listed) // 7)], tested.subtasks):
        for model in subtask.models:
            fitting = [n for n in taken(subtask) if allocation.replaced(subtask.name, model.name, n) in expected]
            assert space.most_samples(allocation, subtask.name, model.name) == max(fitting, default=0)


@given(small_spaces)
def test_neighbours_lead_from_everywhere_to_the_next_counts(case: tuple[Pipeline, float]) -> None:
    tested, share = case
    space = SearchSpace(tested, PaperCost(), 1e9)
    (allocation,) = space.sample(np.random.default_rng(int(share * 1e6)))
    neighbours = space.neighbours(allocation)
    for subtask in tested.subtasks:
        choice, counts = allocation[subtask.name], taken(subtask)
        nearest = [*[n for n in counts if n < choice.samples][-1:], *[n for n in counts if n > choice.samples][:1]]
        same_model = [step[subtask.name].samples for step in neighbours if step[subtask.name].model == choice.model]
        assert set(nearest) <= set(same_model)
        others = {model.name for model in subtask.models} - {choice.model}
        assert all(allocation.replaced(subtask.name, other, choice.samples) in neighbours for other in others)


@given(small_spaces, st.integers(0, 2**32))
def test_neighbours_cheapest_and_samples_are_feasible(case: tuple[Pipeline, float], seed: int) -> None:
    tested, share = case
    whole = SearchSpace(tested, PaperCost(), 1e9)
    low, high = whole.cost(whole.cheapest), 5000.0
    space = SearchSpace(tested, PaperCost(), low + share * high)
    rng = np.random.default_rng(seed)
    for allocation in [space.cheapest, *space.sample(rng, 5)]:
        assert space.faults(allocation) == []
        assert all(step in space and step != allocation for step in space.neighbours(allocation))
        for name in allocation:
            most = space.most_samples(allocation, name)
            assert allocation.replaced(name, allocation[name].model, most) in space
            more = [n for n in taken(tested.subtask(name)) if n > most]
            assert all(allocation.replaced(name, allocation[name].model, n) not in space for n in [most + 1, *more])


def test_sampling_is_uniform_over_the_feasible_allocations() -> None:
    space = SearchSpace(pipeline(("3B 70B", 1024, 256), ("3B 8B", 256, 64), most=4), PaperCost(), 500)
    draws = 400 * space.size
    counts = Counter(space.sample(np.random.default_rng(0), draws))
    assert set(counts) == set(space.enumerate())
    chi_square = sum((count - 400) ** 2 / 400 for count in counts.values())
    freedom = space.size - 1
    assert abs(chi_square - freedom) < 4 * (2 * freedom) ** 0.5


def test_a_budget_below_the_cheapest_allocation_says_the_minimum() -> None:
    with pytest.raises(ConfigError, match="budget 80 unit.*at least 80.34"):
        SearchSpace(pipeline(*WIKI, most=100), PaperCost(), 80)


def test_faults_say_what_to_do() -> None:
    space = SearchSpace(pipeline(*WIKI, most=100), PaperCost(), 500)
    dear = Allocation({"stage0": ("7B", 60), "stage1": ("70B", 9)})
    (fault,) = space.faults(dear)
    assert "costs 654 unit, over the budget of 500 unit" in fault
    assert "7B in 'stage0' could have at most 27 samples" in fault
    assert "70B in 'stage1' could have at most 2 samples" in fault
    odd = Allocation({"stage0": ("9B", 1), "stage1": ("3B", 101), "stage7": ("3B", 1)})
    faults = space.faults(odd)
    assert "there is no subtask 'stage7'" in faults
    assert "subtask 'stage0' has no model '9B'; choose one of 7B, 32B, 72B" in faults
    assert "subtask 'stage1' takes at most 100 samples, not 101" in faults
    assert space.faults(Allocation({"stage0": ("7B", 1)})) == ["subtask 'stage1' is missing"]


def test_faults_and_limits_know_the_listed_sample_counts() -> None:
    listed = pipeline(*WIKI, most=100, counts=((1, 4, 16), (2,)))
    space = SearchSpace(listed, PaperCost(), 500)
    assert space.faults(Allocation({"stage0": ("7B", 5), "stage1": ("3B", 1)})) == [
        "subtask 'stage0' takes 1, 4 or 16 samples, not 5",
        "subtask 'stage1' takes 2 samples, not 1",
    ]
    (fault,) = space.faults(Allocation({"stage0": ("72B", 16), "stage1": ("3B", 2)}))
    assert "72B in 'stage0' could have" not in fault
    assert space.largest_once == Allocation({"stage0": ("72B", 1), "stage1": ("70B", 2)})
    assert listed.fingerprint == pipeline(*WIKI, most=100).fingerprint


def test_a_ladder_holds_only_its_levels() -> None:
    space = SearchSpace(pipeline(*WIKI, most=100), FlopsCost(), 2e8)
    found = space.on_levels([1, 4, 16])
    assert found and all(choice.samples in (1, 4, 16) for allocation in found for choice in allocation.values())
    assert all(allocation in space for allocation in found)
