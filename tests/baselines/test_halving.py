"""Successive halving through the loop: who sees more examples, and that nothing is shown twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agenttts.db import Store
from agenttts.environments.synthetic import FAMILIES, SyntheticEnvironment
from agenttts.protocols import Searcher
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits, SearchResult
from agenttts.searching.racing import Racing
from agenttts.space import SearchSpace
from agenttts.space.cost import cost_model
from agenttts.study.trial import Archive, Proposal, Trial


async def run(store: Store, *, trials: int, parallel: int = 1, racing: Racing | None = None) -> SearchResult:
    problem = SyntheticEnvironment(replace(FAMILIES["table"], examples=90), seed=1)
    budget = problem.default_budget
    space = SearchSpace(problem.pipeline, cost_model(budget.cost_model), budget.amount)
    halving = searcher("halving", seed=2)
    limits = Limits(trials=trials)
    return await search(problem, halving, space, store, study_name="s", limits=limits, parallel=parallel, racing=racing)


def seen(result: SearchResult) -> list[int]:
    return [len(trial.evaluation.results) for trial in result.archive.trials]


def on_first(trial: Trial, count: int) -> float:
    return float(np.mean([each.score for each in trial.evaluation.results[:count]]))


@pytest.mark.parametrize("parallel", [1, 4])
async def test_a_third_of_each_rung_goes_on_and_it_is_the_best_third(parallel: int) -> None:
    result = await run(Store(), trials=40, parallel=parallel)
    counts = seen(result)
    # The recommended trials are shown everything at the end, whatever their rung.
    assert set(counts) == {10, 30, 90}
    reached = [sum(count >= rung for count in counts) for rung in (10, 30, 90)]
    assert reached[0] == 40 and 40 // 3 - parallel <= reached[1] <= 40 // 3 + 2
    stayed = [on_first(t, 10) for t, count in zip(result.archive.trials, counts, strict=True) if count == 10]
    went_on = [on_first(t, 10) for t, count in zip(result.archive.trials, counts, strict=True) if count > 10]
    assert np.mean(went_on) > np.mean(stayed) + 0.2
    for trial in result.archive.trials:
        names = [each.example for each in trial.evaluation.results]
        assert len(set(names)) == len(names)


async def test_it_goes_on_where_it_stopped_and_the_loops_own_racing_stays_out() -> None:
    whole, pieces = Store(), Store()
    once = await run(whole, trials=24)
    for trials in (5, 11, 24):
        again = await run(pieces, trials=trials, racing=Racing())
    assert [t.allocation for t in again.archive.trials][:5] == [t.allocation for t in once.archive.trials][:5]
    assert set(seen(again)) <= {10, 30, 90}


async def test_what_has_been_seen_is_not_shown_again() -> None:
    class Repeats(Searcher):
        name = "repeats"

        async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
            asked = [7, 7, 20, None][min(len(archive.refusals) + (len(archive.trials) > 0), 3)]
            return [Proposal(space.cheapest, examples=asked)]

    problem = SyntheticEnvironment(FAMILIES["table"], seed=1)
    budget = problem.default_budget
    space = SearchSpace(problem.pipeline, cost_model(budget.cost_model), budget.amount)
    result = await search(problem, Repeats(), space, Store(), study_name="s", limits=Limits(trials=2), validate=False)
    (trial,) = result.archive.trials
    assert len(result.archive.refusals) >= 2 and "proposed before" in result.archive.refusals[0].reasons[0]
    # 7, then 20, then everything, as it is what is recommended.
    assert len(trial.evaluation.results) == 100 and result.stopped == "repeats has nothing new to propose"
