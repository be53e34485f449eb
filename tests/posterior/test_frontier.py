"""The frontier: one search for several budgets, and what each of them buys."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.pipeline import Pipeline
from agenttts.posterior.frontier import frontier
from agenttts.posterior.insights import recommend
from agenttts.proposals.initial import PORTFOLIO
from agenttts.protocols import Searcher
from agenttts.report import recommendation, study_frontier
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits, SearchResult
from agenttts.searching.racing import Racing
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost
from agenttts.study.trial import Archive, Proposal
from agenttts.testing import ScriptedClient
from tests.baselines.test_searchers import PIPELINE, SPACE, archive_of
from tests.conftest import toy_reply

BUDGETS = (90.0, 200.0, 320.0)


@dataclass
class Asked(Searcher):
    """Random draws, with a note of the budget of each call."""

    name: str = "random"
    budgets: list[float] = field(default_factory=list)

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        self.budgets.append(space.budget)
        return await searcher("random").propose(archive, space, count)


@dataclass
class InOrder(Searcher):
    """Proposes one allocation after the other, under any budget that it fits."""

    allocations: list[Allocation]
    name: str = "in-order"

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        following = self.allocations[len(archive.trials)]
        return [Proposal(following)] if following in space else []


async def run(
    environment: LiveEnvironment,
    store: Store,
    *,
    method: Searcher | None = None,
    trials: int = 9,
    parallel: int = 1,
    budgets: tuple[float, ...] = BUDGETS,
    racing: Racing | None = None,
) -> SearchResult:
    space = SearchSpace(environment.pipeline, FlopsCost(), 320)
    return await search(
        environment, method or searcher("random"), space, store, study_name="study", budgets=budgets,
        limits=Limits(trials=trials), parallel=parallel, racing=racing,
    )  # fmt: skip


@settings(max_examples=8)
@given(st.integers(1, 15), st.integers(0, 999))
def test_every_budget_gets_what_fits_and_dearer_is_better(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = list(dict.fromkeys(SPACE.sample(rng, count)))
    trials = archive_of(*drawn, rng=rng).trials
    costs = sorted(trial.cost for trial in trials)
    budgets = sorted({SPACE.cost(SPACE.cheapest), *rng.uniform(costs[0], SPACE.budget, 3), SPACE.budget})
    found = frontier(PIPELINE.sizes, trials, budgets)
    assert found.unreached == tuple(budget for budget in budgets if budget < costs[0] * (1 - 1e-9))
    assert [point.budget for point in found.points] == budgets[len(found.unreached) :]
    assert all(point.trial.cost <= point.budget * (1 + 1e-9) for point in found.points)
    assert found.points[-1].trial == recommend(PIPELINE.sizes, trials)
    # All trials saw every example here, so the recommended ones are Pareto-optimal, up to ties.
    means = [estimate.expected.score for estimate in found.pareto]
    assert means == sorted(set(means))
    assert [e.trial.cost for e in found.pareto] == sorted({e.trial.cost for e in found.pareto})
    for point in found.points:
        best = max(e.expected.score for e in found.pareto if e.trial.cost <= point.budget * (1 + 1e-9))
        assert point.expected.score == pytest.approx(best, abs=5e-4)
        low, high = point.expected.interval
        assert 0 <= low <= high <= 1


@pytest.mark.parametrize("parallel", [1, 2])
async def test_each_budget_is_asked_for_in_turn(toy_environment: LiveEnvironment, store: Store, parallel: int) -> None:
    asked = Asked()
    result = await run(toy_environment, store, method=asked, trials=6 * parallel, parallel=parallel)
    assert asked.budgets == [*BUDGETS, *BUDGETS]
    fits = zip(result.archive.trials, np.repeat(asked.budgets, parallel), strict=True)
    assert all(trial.cost <= budget for trial, budget in fits)


@pytest.mark.parametrize("method", ["random", "agent"])
async def test_a_search_of_several_budgets_takes_the_same_way_in_pieces(
    toy_environment: LiveEnvironment, store: Store, method: str
) -> None:
    whole = await run(toy_environment, Store(), method=searcher(method, llm="none"))
    for trials in (1, 5, 9):
        pieces = await run(toy_environment, store, method=searcher(method, llm="none"), trials=trials)
    assert [t.allocation for t in pieces.archive.trials] == [t.allocation for t in whole.archive.trials]
    assert pieces.frontier is not None and whole.frontier is not None
    assert [p.trial.allocation for p in pieces.frontier.points] == [p.trial.allocation for p in whole.frontier.points]


async def test_the_initial_trials_are_shared_by_the_budgets(toy_environment: LiveEnvironment, store: Store) -> None:
    result = await run(toy_environment, store, method=searcher("agent", llm="none"))
    initial = [trial.number for trial in result.archive.trials if trial.rationale.startswith("initial trial")]
    assert initial == list(range(1, len(initial) + 1)) and len(initial) <= PORTFOLIO


async def test_a_budget_with_nothing_left_leaves_its_turn_to_the_next(
    toy_environment: LiveEnvironment, store: Store
) -> None:
    smallest = SearchSpace(toy_environment.pipeline, FlopsCost(), 90)
    result = await run(toy_environment, store, trials=10_000)
    assert smallest.size < SearchSpace(toy_environment.pipeline, FlopsCost(), 320).size == len(result.archive.trials)


async def test_winners_are_checked_once_and_what_a_budget_gains_is_paired(
    toy_environment: LiveEnvironment, store: Store
) -> None:
    result = await run(toy_environment, store, trials=30)
    assert result.frontier is not None
    points = result.frontier.points
    assert [point.budget for point in points] == list(BUDGETS) and points[-1].trial == result.best
    assert points[-1].check == result.validation and points[-1].gain is None
    assert points[-1].expected.score == pytest.approx(result.expected.score)
    with sqlite3.connect(store.location) as connection:
        (checks,) = connection.execute("SELECT COUNT(*) FROM validations").fetchone()
    assert checks == len({point.trial.allocation for point in points}) > 1
    assert any(point.gain for point in points)
    for point, following in zip(points, points[1:], strict=False):
        assert point.check is not None and following.check is not None
        if point.gain is not None:
            assert point.gain.held_out and point.gain.examples == 5
            assert point.gain.value == pytest.approx(following.check.score - point.check.score)
            assert -1 <= point.gain.interval.low < point.gain.value < point.gain.interval.high <= 1
    assert study_frontier(store, result.study) == result.frontier


@pytest.mark.parametrize(("budgets", "stopped"), [((90.0, 320.0), False), ((), True)])
async def test_a_cheap_trial_races_only_against_what_its_budgets_allow(
    toy_pipeline: Pipeline, store: Store, budgets: tuple[float, ...], stopped: bool
) -> None:
    rows = [{"id": f"e{i}", "question": f"{i}?", "gold": "yes"} for i in range(100)]
    environment = LiveEnvironment(toy_pipeline, rows, client=ScriptedClient(toy_reply))
    cheap = Allocation({"find": ("small", 1), "answer": ("small", 2)})
    order = InOrder([Allocation({"find": ("small", 1), "answer": ("large", 1)}), cheap])
    result = await run(environment, store, method=order, trials=2, budgets=budgets, racing=Racing())
    dear, last = result.archive.trials
    assert last.allocation == cheap and last.evaluation.score < dear.evaluation.score
    assert len(dear.evaluation.results) == 100 and (len(last.evaluation.results) < 100) == stopped


async def test_a_study_of_one_budget_answers_for_smaller_ones(toy_environment: LiveEnvironment, store: Store) -> None:
    result = await run(toy_environment, store, trials=20, budgets=())
    assert result.frontier is None
    (point,) = study_frontier(store, result.study).points
    assert (point.budget, point.trial, point.check) == (320, result.best, result.validation)
    kept = recommendation(store, result.study, 200)
    assert kept["cost"]["per_query"] <= kept["cost"]["budget"] == 200 and kept["held_out"] is None
    with pytest.raises(ConfigError, match="was searched up to 320 MFLOP, which says nothing of 400 MFLOP"):
        recommendation(store, result.study, 400)
    with pytest.raises(ConfigError, match="no trial of study 'study' fits 1 MFLOP: its cheapest costs"):
        recommendation(store, result.study, 1)


async def test_a_budget_that_no_trial_fits_yet_is_named(toy_environment: LiveEnvironment, store: Store) -> None:
    result = await run(toy_environment, store, trials=1, budgets=())
    cost = result.best.cost
    found = study_frontier(store, result.study, [cost - 1, cost])
    assert found.unreached == (cost - 1,) and [point.budget for point in found.points] == [cost]


async def test_other_budgets_are_another_study(toy_environment: LiveEnvironment, store: Store) -> None:
    await run(toy_environment, store, trials=1)
    with pytest.raises(ConfigError, match=r"budgets is \(200.0, 320.0\), was \(90.0, 200.0, 320.0\)"):
        await run(toy_environment, store, trials=1, budgets=(200.0, 320.0))


async def test_a_study_from_before_there_were_budgets_goes_on(toy_environment: LiveEnvironment, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "old.db"))
    await run(toy_environment, store, trials=1, budgets=())
    store.close()
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.execute("UPDATE studies SET spec = json_remove(spec, '$.budgets')")
    reopened = Store(str(tmp_path / "old.db"))
    result = await run(toy_environment, reopened, trials=2, budgets=())
    assert len(result.archive.trials) == 2 and len(study_frontier(reopened, result.study).points) == 1
    reopened.close()


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ((200.0, 90.0, 320.0), "budgets must ascend, each one once, but 90 follows 200"),
        ((90.0, 90.0, 320.0), "budgets must ascend, each one once, but 90 follows 90"),
        ((90.0, 200.0), "the last of the budgets, 200, must be that of the space, 320"),
        ((1.0, 320.0), "budget 1 MFLOP is below the cheapest allocation: pipeline 'toy' needs at least"),
    ],
)
async def test_budgets_that_make_no_sense_are_refused(
    toy_environment: LiveEnvironment, store: Store, budgets: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        await run(toy_environment, store, budgets=budgets)
    assert store.studies() == []
