"""Racing: one order of examples, a controlled error rate, looks where they are worth most, and what that saves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.pipeline import Pipeline
from agenttts.posterior.surrogate import Posterior
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits, SearchResult
from agenttts.searching.racing import Racing, knowledge_gradient
from agenttts.space import SearchSpace
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Archive
from agenttts.testing import ScriptedClient
from tests.baselines.test_searchers import SPACE, archive_of
from tests.conftest import toy_reply

NAMES = [str(i) for i in range(100)]


def evaluation(scores: np.ndarray[tuple[int], np.dtype[np.bool_]], names: list[str]) -> Evaluation:
    return Evaluation(
        results=tuple(ExampleResult(example=n, score=float(s)) for n, s in zip(names, scores, strict=True))
    )


def dropped(difference: float, seed: int) -> bool:
    """Whether a trial with this true difference to the leader is found surely worse at some look."""
    rng, racing = np.random.default_rng(seed), Racing()
    leader, mine = evaluation(rng.random(100) < 0.7, NAMES), rng.random(100) < 0.7 + difference
    looks = range(racing.look, 100, racing.look)
    return any(racing.surely_worse(evaluation(mine[:seen], NAMES[:seen]), leader, len(looks)) for seen in looks)


def test_an_equal_trial_is_dropped_in_at_most_one_of_twenty() -> None:
    assert np.mean([dropped(0.0, seed) for seed in range(1500)]) < 0.06


def test_a_much_worse_trial_is_dropped() -> None:
    assert np.mean([dropped(-0.45, seed) for seed in range(300)]) > 0.9


def racing_archive(*chances: float, seen: int = 20) -> Archive:
    """Trials of distinct allocations that were right on these shares of the examples they saw."""
    allocations = SPACE.on_levels([1])[: len(chances)]
    trials = archive_of(*allocations).trials
    scores = [np.arange(seen) < round(chance * seen) for chance in chances]
    return Archive(
        trials=tuple(replace(t, evaluation=evaluation(s, NAMES[:seen])) for t, s in zip(trials, scores, strict=True))
    )


def test_another_look_goes_to_those_that_may_be_the_best() -> None:
    archive = racing_archive(0.8, 0.75, 0.1)
    worthy = Racing().worth_another(archive, SPACE.pipeline.sizes, 100, 2)
    assert {trial.number for trial in worthy} == {1, 2}


def test_nothing_is_looked_at_again_when_all_has_been_seen() -> None:
    assert Racing().worth_another(racing_archive(0.8, 0.75, 0.1, seen=100), SPACE.pipeline.sizes, 100, 2) == []


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.lists(st.floats(0.001, 0.3), min_size=8, max_size=8))
def test_a_look_is_worth_something_and_at_most_what_knowing_all_would_be(means: list[float], sds: list[float]) -> None:
    posterior = Posterior(np.array(means), np.array(sds[: len(means)]))
    worth = knowledge_gradient(posterior, 20)
    assert (worth >= 0).all()
    assert (worth <= posterior.sd * 0.4 + 1e-12).all()
    assert (knowledge_gradient(posterior, 40) >= worth - 1e-12).all()


async def race(pipeline: Pipeline, store: Store, trials: int = 12) -> SearchResult:
    rows = [{"id": f"e{i}", "question": f"{i}?", "gold": "yes"} for i in range(100)]
    environment = LiveEnvironment(pipeline, rows, client=ScriptedClient(toy_reply))
    return await search(
        environment,
        searcher("random"),
        SearchSpace(pipeline, SPACE.cost_model, 320),
        store,
        study_name="s",
        limits=Limits(trials=trials),
        racing=Racing(),
    )


async def test_a_race_saves_examples_and_recommends_a_complete_trial(toy_pipeline: Pipeline, store: Store) -> None:
    result = await race(toy_pipeline, store)
    seen = [[r.example for r in trial.evaluation.results] for trial in result.archive.trials]
    assert len(result.best.evaluation.results) == 100
    assert sum(map(len, seen)) < 1200
    longest = max(seen, key=len)
    assert all(longest[: len(each)] == each for each in seen), "trials see the examples in one order"


async def test_a_race_is_the_same_again_and_kept_whole(toy_pipeline: Pipeline, store: Store) -> None:
    result, again = await race(toy_pipeline, store), await race(toy_pipeline, Store())
    assert [t.evaluation.results for t in again.archive.trials] == [t.evaluation.results for t in result.archive.trials]
    assert store.archive(result.study) == result.archive


async def test_a_race_goes_on_where_it_was(toy_pipeline: Pipeline, store: Store) -> None:
    before = await race(toy_pipeline, store, trials=4)
    after = await race(toy_pipeline, store, trials=8)
    for early, late in zip(before.archive.trials, after.archive.trials, strict=False):
        assert late.evaluation.results[: len(early.evaluation.results)] == early.evaluation.results


def test_a_look_needs_enough_examples_for_a_test() -> None:
    with pytest.raises(ConfigError, match="looks of at least 5 examples, not 3"):
        Racing(look=3)
