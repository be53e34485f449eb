"""The uncertainty of mean scores: less with more examples, shared where examples are, none where scores are exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import agenttts as at
from agenttts.posterior.frontier import estimates
from agenttts.posterior.insights import posterior, recommend
from agenttts.posterior.noise import noise_covariance
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Trial
from tests.agent.test_evidence import trials_on
from tests.baselines.test_searchers import PIPELINE, SPACE, archive_of

SIZES = PIPELINE.sizes


def trials_of(*scores: NDArray[np.float64]) -> list[Trial]:
    """One trial for each row of scores; all see the examples in the same order."""
    results = [tuple(ExampleResult(example=str(i), score=float(s)) for i, s in enumerate(row)) for row in scores]
    (trial,) = archive_of(SPACE.cheapest).trials
    return [replace(trial, evaluation=Evaluation(results=each)) for each in results]


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=30), min_size=1, max_size=6))
def test_it_is_a_covariance_whatever_the_scores(scores: list[list[float]]) -> None:
    covariance = noise_covariance(trials_of(*(np.array(row) for row in scores)))
    assert covariance.shape == (len(scores), len(scores))
    assert np.array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_a_coins_variance_falls_with_the_examples() -> None:
    rng = np.random.default_rng(0)
    few, many = (noise_covariance(trials_of(*(rng.random((10, n)) < 0.7).astype(float))) for n in (50, 200))
    assert np.allclose(np.diag(few), 0.21 / 50, rtol=0.3)
    assert np.allclose(np.diag(many), 0.21 / 200, rtol=0.3)


def test_other_options_have_samples_of_their_own() -> None:
    rng = np.random.default_rng(0)
    luck = rng.random((2, 200))
    scores = [(each < least).astype(float) for each, least in ((luck[0], 0.5), (luck[0], 0.55), (luck[1], 0.5))]
    answers = [at.Choice("small", 8), at.Choice("small", 4), at.Choice("small", 8, options="passages=20")]
    trials = [
        replace(trial, allocation=at.Allocation({"answer": answer}), scored_by=scored_by)
        for trial, answer, scored_by in zip(trials_of(*scores), answers, (None, 1, None), strict=True)
    ]
    covariance = noise_covariance(trials)
    assert covariance[0, 1] > 0.7 * covariance[0, 0] and covariance[0, 2] < 0.2 * covariance[0, 0]


def test_trials_that_share_hard_examples_are_unlucky_together() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    alike = noise_covariance(trials_of(*((hard + 0.1 * rng.normal(size=(4, 200))) < 0.5).astype(float)))
    apart = noise_covariance(trials_of(*(rng.random((4, 200)) < 0.5).astype(float)))
    assert alike[0, 1] / alike[0, 0] > 0.5 > 0.2 > apart[0, 1] / apart[0, 0]


def test_of_exact_scores_the_best_is_recommended_however_close_the_next() -> None:
    for seed in range(4):
        problem, trials = trials_on("table", seed, 40, 30, noise="exact")
        best = max(trials, key=lambda trial: problem.true_score(trial.allocation))
        assert recommend(problem.pipeline.sizes, trials) == best


def test_equal_scores_are_not_taken_for_exact_while_they_are_few_or_a_coin_could_give_them() -> None:
    few = noise_covariance(trials_of(*np.full((2, 20), 0.4)))
    right = noise_covariance(trials_of(*np.ones((4, 40))))
    wrong = noise_covariance(trials_of(*np.zeros((4, 40))))
    exact = noise_covariance(trials_of(*np.full((4, 40), 0.4)))
    assert min(few[0, 0], right[0, 0], wrong[0, 0]) > 1e-5 > 1e-6 > exact[0, 0]


def test_where_nearly_all_is_right_the_interval_still_doubts() -> None:
    rng, held, chance = np.random.default_rng(0), 0, 0.995
    everything = list(SPACE.enumerate())
    for _ in range(20):
        tried = [everything[i] for i in rng.choice(len(everything), 6, replace=False)]
        trials = [
            replace(trial, evaluation=scored.evaluation)
            for trial, scored in zip(
                archive_of(*tried).trials, trials_of(*(rng.random((6, 50)) < chance).astype(float)), strict=True
            )
        ]
        best = recommend(SIZES, trials)
        low, high = estimates(posterior(SIZES, trials), trials)[best.number].expected.interval
        held += low <= chance <= high
    assert held >= 17
