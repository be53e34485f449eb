"""Racing: common prefixes, a controlled error rate, and what it saves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.allocation import SearchSpace
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.loop import Limits, search
from agenttts.methods import searcher
from agenttts.pipeline import Pipeline
from agenttts.racing import Racing
from agenttts.testing import ScriptedClient
from agenttts.trial import Archive, Evaluation, ExampleResult
from tests.baselines.test_searchers import SPACE, archive_of
from tests.conftest import toy_reply

NAMES = [str(i) for i in range(100)]


def evaluation(scores: np.ndarray[tuple[int], np.dtype[np.bool_]], names: list[str]) -> Evaluation:
    return Evaluation(
        results=tuple(ExampleResult(example=n, score=float(s)) for n, s in zip(names, scores, strict=True))
    )


@given(st.integers(1, 400), st.integers(5, 60), st.integers(0, 99))
def test_parts_are_a_partition_in_one_order_per_seed(count: int, first: int, seed: int) -> None:
    names = [str(i) for i in range(count)]
    parts = Racing(first=first).parts(names, seed)
    flat = [name for part in parts for name in part]
    assert sorted(flat) == sorted(names)
    assert parts == Racing(first=first).parts(names, seed)
    assert len(parts) == 1 or len(parts[0]) == first


def stopped(difference: float, seed: int) -> bool:
    """Whether a trial with this true difference to the best is stopped at some look."""
    rng = np.random.default_rng(seed)
    best = archive_of(SPACE.cheapest)
    theirs = evaluation(rng.random(100) < 0.7, NAMES)
    archive = Archive(trials=tuple(replace(trial, evaluation=theirs) for trial in best.trials))
    mine = rng.random(100) < 0.7 + difference
    looks = Racing().parts(NAMES, 0)
    seen = 0
    for part in looks[:-1]:
        seen += len(part)
        if Racing().surely_worse(evaluation(mine[:seen], NAMES[:seen]), archive, len(looks) - 1):
            return True
    return False


def test_an_equal_trial_is_stopped_in_at_most_one_of_twenty() -> None:
    assert np.mean([stopped(0.0, seed) for seed in range(1500)]) < 0.06


def test_a_much_worse_trial_is_stopped() -> None:
    assert np.mean([stopped(-0.45, seed) for seed in range(300)]) > 0.9


async def test_a_race_saves_examples_and_recommends_a_complete_trial(toy_pipeline: Pipeline, store: Store) -> None:
    rows = [{"id": f"e{i}", "question": f"{i}?", "gold": "yes"} for i in range(100)]
    environment = LiveEnvironment(toy_pipeline, rows, client=ScriptedClient(toy_reply))
    space = SearchSpace(toy_pipeline, SPACE.cost_model, 320)
    result = await search(
        environment, searcher("random"), space, store, study_name="s", limits=Limits(trials=12), racing=Racing()
    )
    counts = [len(trial.evaluation.results) for trial in result.archive.trials]
    assert counts[0] == 100 and min(counts) < 100
    assert len(result.best.evaluation.results) == 100
    again = await search(
        environment, searcher("random"), space, Store(), study_name="s", limits=Limits(trials=12), racing=Racing()
    )
    assert [t.evaluation.results for t in again.archive.trials] == [t.evaluation.results for t in result.archive.trials]


def test_a_race_needs_enough_examples_for_a_test() -> None:
    with pytest.raises(ConfigError, match="at least 5 examples before its first look, not 3"):
        Racing(first=3)
