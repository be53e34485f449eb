"""Budgets of every size and sign: counting, listing, drawing and checking agree, and what is no budget is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.pipeline.operators import Load
from agenttts.posterior.frontier import within
from agenttts.searching.methods import searcher
from agenttts.searching.plan import SearchPlan
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.cost import CostModel, FlopsCost, PaperCost, UsdCost
from agenttts.space.limit import limit
from agenttts.study.trial import Archive
from agenttts.testing import ScriptedClient
from agenttts.testing._problem import archive_of
from tests.baselines.test_searchers import designed
from tests.faults.commands import run


class Priced(CostModel):
    """What a table of prices says: a fixed part and one for each sample."""

    name = "priced"
    unit = "coins"

    def price(self, model: Model, load: Load) -> Any:
        fixed, each = PRICES[model.name]
        size = model.parameters or 0.0
        return fixed * size + np.multiply(load.choices, each * size)


PRICES = {"a": (0.1, 0.2), "b": (-2.0, 1 / 3), "c": (0.3, 0.1), "d": (1.0, 0.0), "e": (-0.7, 0.7), "f": (0.0, 1.0)}


def pipeline(*stages: Sequence[str], scale: float = 1.0, most: int | None = 5) -> Pipeline:
    subtasks = tuple(
        Subtask(f"s{i}", tuple(Model(name, scale) for name in names), "x", max_samples=most)
        for i, names in enumerate(stages)
    )
    return Pipeline("test", subtasks, metric=lambda output, example: 0.0)


def every(tested: Pipeline) -> list[Allocation]:
    options = [[Choice(m.name, n) for m in s.models for n in range(1, 6)] for s in tested.subtasks]
    names = [s.name for s in tested.subtasks]
    return [Allocation(dict(zip(names, choices, strict=True))) for choices in product(*options)]


def require_agreement(space: SearchSpace, everything: Sequence[Allocation]) -> set[Allocation]:
    """All ways to ask what is feasible say the same; returns that."""
    feasible = {each for each in everything if space.faults(each) == []}
    listed = list(space.enumerate())
    assert space.size == len(listed) == len(feasible) and set(listed) == feasible
    trials: Any = [SimpleNamespace(allocation=each, cost=space.cost(each)) for each in everything]
    assert {trial.allocation for trial in within(trials, space.budget).trials} == feasible
    assert set(space.sample(np.random.default_rng(0), 40)) <= feasible
    assert space.cheapest in feasible and set(designed(space)) <= feasible
    for name in space.cheapest:
        most = space.most_samples(space.cheapest, name)
        assert space.cheapest.replaced(name, space.cheapest[name].model, most) in feasible
    return feasible


stages = st.lists(st.sets(st.sampled_from("abcdef"), min_size=1, max_size=3).map(sorted), min_size=1, max_size=3)


@settings(max_examples=30)
@given(stages, st.integers(-12, 12), st.data())
def test_a_budget_that_is_a_cost_holds_exactly_what_costs_no_more(
    names: list[list[str]], power: int, data: st.DataObject
) -> None:
    tested = pipeline(*names, scale=10.0**power)
    everything, scale = every(tested), 10.0**power
    chosen = data.draw(st.sampled_from(everything))
    costs = {each: SearchSpace(tested, Priced(), 1e6 * scale).cost(each) / scale for each in everything}
    budget = sum(
        float(Priced().cost(s, s.model(chosen[s.name].model), chosen[s.name].samples)) for s in tested.subtasks
    )
    feasible = require_agreement(SearchSpace(tested, Priced(), budget), everything)
    # Prices are thirtieths: what is not equal but for rounding is 1/30 apart.
    assert feasible == {each for each in everything if costs[each] <= costs[chosen] + 1e-3}


@settings(max_examples=30)
@given(stages, st.integers(-12, 12), st.floats(-3, 8))
@example([["a", "e"]], 1, 2.225073858507203e-309)
def test_any_budget_holds_what_costs_no_more(names: list[list[str]], power: int, share: float) -> None:
    tested = pipeline(*names, scale=10.0**power)
    try:
        space = SearchSpace(tested, Priced(), share * 10.0**power)
    except ConfigError as error:
        assume("is below the cheapest allocation" not in str(error))
        raise
    require_agreement(space, every(tested))


@pytest.mark.parametrize("usd", [1e-12, 1e-7, 1.0, 1e9])
def test_a_budget_of_a_ten_millionth_of_a_dollar_is_one(usd: float) -> None:
    models = tuple(
        Model(name, 1e9, usd_per_million_prompt_tokens=each * usd, usd_per_million_completion_tokens=4 * each * usd)
        for name, each in (("small", 1.0), ("large", 7.0))
    )
    tested = Pipeline("p", (Subtask("s", models, "x", max_samples=100),), metric=lambda output, example: 0.0)
    cost = float(UsdCost().cost(tested.subtasks[0], models[1], 3))
    space = SearchSpace(tested, UsdCost(), cost)
    assert space.size == len(list(space.enumerate())) > 3 and Allocation({"s": ("large", 3)}) in space
    assert Allocation({"s": ("large", 4)}) not in space


def test_large_spaces_are_counted_in_every_unit_alike() -> None:
    def size(factor: float) -> int:
        models = tuple(
            Model(
                name, 1e9, usd_per_million_prompt_tokens=each * factor, usd_per_million_completion_tokens=each * factor
            )
            for name, each in (("small", 0.11), ("middle", 0.53), ("large", 1.7))
        )
        subtasks = tuple(Subtask(f"s{i}", models, "x", prompt_tokens=300 + 7 * i) for i in range(5))
        return SearchSpace(Pipeline("p", subtasks, metric=lambda output, example: 0.0), UsdCost(), 0.01 * factor).size

    sizes = {size(2.0**power) for power in (-40, -7, 0, 9, 40)}
    assert len(sizes) == 1 and sizes.pop() > 10**6


def test_a_budget_of_nothing_holds_what_costs_nothing() -> None:
    free = Model("free", 1e9, usd_per_million_prompt_tokens=0, usd_per_million_completion_tokens=0)
    paid = replace(free, name="paid", usd_per_million_completion_tokens=1.0)
    tested = Pipeline("p", (Subtask("s", (free, paid), "x", max_samples=7),), metric=lambda output, example: 0.0)
    space = SearchSpace(tested, UsdCost(), 0)
    assert space.size == 7 and {each["s"].model for each in space.enumerate()} == {"free"}
    assert len(space.sample(np.random.default_rng(0), 9)) == 9
    with pytest.raises(ConfigError, match=r"subtask 's': give the subtask max_samples"):
        unbounded = replace(tested, subtasks=(replace(tested.subtasks[0], max_samples=None),))
        SearchSpace(unbounded, UsdCost(), 1.0)


@pytest.mark.parametrize("name", ["agent", "random", "tpe", "grid", "evolution", "coordinate", "halving"])
@pytest.mark.parametrize("budget", [-0.1, 0.0, 1e-6])
async def test_every_method_works_below_and_at_zero(name: str, budget: float) -> None:
    tested = Pipeline(
        "p",
        tuple(
            Subtask(f"s{i}", (Model("s", 1e9), Model("l", 2e9)), "x", prompt_tokens=64, completion_tokens=64)
            for i in range(2)
        ),
        metric=lambda output, example: 0.0,
    )
    space = SearchSpace(tested, PaperCost(), budget)
    archives = [Archive(), archive_of(dict.fromkeys([space.cheapest, *designed(space)]), space)]
    for archive in archives:
        proposed = await searcher(name, seed=1, llm="none").propose(archive, space, 3)
        assert all(each.allocation in space for each in proposed)
        assert proposed or space.size <= len(archive.trials) or name == "halving"


@pytest.mark.parametrize(
    "budget", [None, "7", True, float("nan"), float("inf"), -float("inf"), [7], 10**400, 1j, Decimal("sNaN")],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_budget_is_named(budget: Any) -> None:
    with pytest.raises(ConfigError, match="the budget must be a finite number, not "):
        SearchSpace(pipeline("a"), Priced(), budget)


@pytest.mark.parametrize("budget", [7, 7.0, Decimal(7), np.float32(7), np.int64(7), 1e300])
def test_a_number_of_any_library_is_a_budget(budget: Any) -> None:
    assert SearchSpace(pipeline("a"), Priced(), budget).size == 5


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ((), "only is empty: list at least one key"),
        ([""], "'' is not the key of an allocation"),
        (["nonsense"], "'nonsense' is not the key of an allocation"),
        (["s0=a*1"], r"only lists 's0=a\*1', but subtask 's1' is missing"),
        (["s0=a*1;s1=b*1;s2=b*1"], "there is no subtask 's2'"),
        (["s0=z*1;s1=b*1"], "subtask 's0' has no model 'z'"),
        (["s0=a*9;s1=b*1"], "takes at most 5 samples, not 9"),
        ("s0=a*1", "only must be a list of keys of allocations"),
        ([7], "only must be a list of keys of allocations"),
        (["s0=a*5;s1=b*5"], "budget -1 coins is below the cheapest allocation: pipeline 'test' needs at least"),
    ],
)
def test_a_list_of_allocations_that_does_not_fit_is_named(only: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchSpace(replace(pipeline("a", "b"), only=only), Priced(), -1)


def test_one_name_is_one_model() -> None:
    first = Subtask("first", (Model("m", 1e9),), "x")
    second = Subtask("second", (Model("m", 7e9),), "x")
    with pytest.raises(
        ConfigError, match="model 'm' has parameters=1000000000.0 in subtask 'first' and 7000000000.0 in"
    ):
        Pipeline("p", (first, second), metric=lambda output, example: 0.0)


def test_a_space_of_another_pipeline_is_named(store: Any) -> None:
    rows = [{"id": "1", "gold": "x"}]
    mine, other = pipeline("a"), pipeline("b")
    live = LiveEnvironment(mine, rows, client=ScriptedClient(lambda model, messages, position: "x"))
    with pytest.raises(ConfigError, match="the space is of pipeline 'test' with s0: b, but the environment runs"):
        SearchPlan(live, searcher("random"), SearchSpace(other, FlopsCost(), 1e9), store, study_name="s")


def test_the_limit_is_relative() -> None:
    for budget in (1e-12, 1e-7, 1.0, 1e12, -1e-7, -1e12):
        assert 0 < limit(budget) - budget < 2e-9 * abs(budget)
    assert limit(0.0) == 0


@pytest.mark.parametrize(
    "budgets", ["300:900:1000000", "300:900:" + "9" * 30, "300:900:" + "9" * 5000, "1:2:1e3", ",".join("1" * 1001)]
)
def test_more_budgets_than_anybody_asks_for_are_one_sentence(budgets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run(f"search minihop-recorded --method random --trials 1 --budgets {budgets}", monkeypatch)
    assert ended.code == 2 and "1,000 at most" in ended.err and ended.err.count("\n") == 1 and len(ended.err) < 400


@pytest.mark.parametrize("levels", ["9" * 5000, "1," + "9" * 30])
def test_levels_that_no_allocation_has_are_one_sentence(levels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run(f"record minihop-recorded -o table.csv --levels {levels}", monkeypatch)
    assert ended.code == 2 and "--levels must be whole numbers" in ended.err and len(ended.err) < 400
