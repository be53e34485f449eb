"""The insights as one formula: what is true of a pipeline it can say, and what is learned near it knows far away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.posterior.formula import Formula, PairingIndices
from agenttts.posterior.insights import ALL_INSIGHTS, weighed_posterior
from agenttts.posterior.kernel import Structure
from agenttts.posterior.observations import Observations
from agenttts.posterior.surrogate import Surrogate
from agenttts.space import SearchSpace
from agenttts.space.cost import cost_model
from tests.agent.test_evidence import trials_on

SIZES = [np.array([0.0, 0.4, 1.0]), np.array([0.0, 1.0])]
NOT_VARIED = [(np.zeros(len(each), dtype=int), np.zeros((len(each), 0), dtype=int)) for each in SIZES]
FORMULA = Formula(
    SIZES, [PairingIndices(np.arange(len(each)), *how) for each, how in zip(SIZES, NOT_VARIED, strict=True)]
)
MODELS = np.array([[m, n] for m in range(3) for n in range(2) for _ in range(4)])
SAMPLES = np.array([[s, t] for _ in range(6) for s, t in ((1, 1), (3, 10), (20, 4), (100, 50))], dtype=float)


@given(st.integers(0, 10_000))
def test_scores_are_chances_whatever_the_parameters(seed: int) -> None:
    parameters = np.random.default_rng(seed).normal(0, 2, (3, FORMULA.parameters))
    scores = FORMULA.scores(parameters, MODELS, SAMPLES)
    assert scores.shape == (3, len(MODELS))
    assert ((scores >= 0) & (scores <= 1)).all()


def test_around_its_parameters_it_is_as_good_as_linear() -> None:
    rng = np.random.default_rng(0)
    parameters = rng.normal(size=FORMULA.parameters)
    constant, slope = FORMULA.linear(parameters, MODELS, SAMPLES)
    moved = parameters + 1e-3 * rng.normal(size=FORMULA.parameters)
    assert constant + slope @ moved == pytest.approx(FORMULA.scores(moved[None], MODELS, SAMPLES)[0], abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_scores_that_follow_the_formula_are_found_again(seed: int) -> None:
    true = np.random.default_rng(seed).normal(size=FORMULA.parameters)
    scores = FORMULA.scores(true[None], MODELS, SAMPLES)[0]
    found = FORMULA.most_probable(MODELS, SAMPLES, scores, 1e-4 * np.eye(len(scores)))
    assert FORMULA.scores(found[None], MODELS, SAMPLES)[0] == pytest.approx(scores, abs=0.02)


def test_with_the_formula_little_is_learned_sooner_and_the_trials_favour_it() -> None:
    errors: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(4):
        problem, trials = trials_on("table", seed, 25, 40)
        budget = problem.default_budget
        space = SearchSpace(problem.pipeline, cost_model(budget.cost_model), budget.amount)
        unseen = space.sample(np.random.default_rng(seed + 50), 200)
        true = np.array([problem.true_score(allocation) for allocation in unseen])
        for formula in errors:
            surrogate = Surrogate(problem.pipeline.sizes, Observations(trials), Structure(formula=formula))
            errors[formula].append(float(np.abs(surrogate.predict_allocations(unseen).mean - true).mean()))
        weighed = weighed_posterior(problem.pipeline.sizes, trials, Structure())[1]
        assert weighed[-1].insight == ALL_INSIGHTS and not weighed[-1].dropped
    assert np.mean(errors[True]) < 0.85 * np.mean(errors[False])
