"""Synthetic problems: the truth that is promised, draws that stay, and a search that finds the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from agenttts import Limits, SearchSpace, Store, cost_model, search, searcher
from agenttts.environments.synthetic import (
    FAMILIES,
    UNITS,
    Family,
    SyntheticEnvironment,
    feasible,
    stage_of,
    true_scores,
)
from agenttts.protocols import Environment
from agenttts.searching.racing import Racing

# The highest score within the budget of the problem with seed 1.
OPTIMA = {
    "table": 0.38729597522060905,
    "four-stage": 0.35218395388845064,
    "no-size-preference": 0.6942483415484352,
    "late-saturation": 0.4769990715973525,
    "no-interaction": 0.777053278502399,
}


def problem(family: Family, seed: int = 1) -> tuple[SyntheticEnvironment, SearchSpace]:
    environment = SyntheticEnvironment(family, seed)
    budget = environment.default_budget
    return environment, SearchSpace(environment.pipeline, cost_model(budget.cost_model), budget.amount)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
async def test_scores_are_draws_of_the_truth(family: Family) -> None:
    environment, space = problem(family)
    assert isinstance(environment, Environment)
    rng = np.random.default_rng(0)
    for allocation in space.sample(rng, 5):
        truth = environment.true_score(allocation)
        evaluation = await environment.evaluate(allocation)
        assert 0 <= truth <= environment.optimum(space) + 1e-12
        assert abs(evaluation.score - truth) < 5 * np.sqrt(truth * (1 - truth) / family.examples) + 1e-9
        part = await environment.evaluate(allocation, environment.examples[3:7])
        assert part.results == evaluation.results[3:7], "a score is drawn once"


@pytest.mark.parametrize("name", ["table", "no-interaction", "no-size-preference"])
def test_the_optimum_is_the_best_of_all(name: str) -> None:
    environment, space = problem(FAMILIES[name])
    best = max(environment.true_score(allocation) for allocation in space.enumerate())
    assert environment.optimum(space) == pytest.approx(best)


def test_the_budget_lets_the_promised_share_in() -> None:
    environment, space = problem(FAMILIES["table"])
    assert space.size == pytest.approx(0.35 * 12**3, rel=0.01)


def test_problems_differ_by_seed_and_family_and_stay_the_same_otherwise() -> None:
    first, again = SyntheticEnvironment(FAMILIES["table"], 1), SyntheticEnvironment(FAMILIES["table"], 1)
    others = [SyntheticEnvironment(FAMILIES["table"], 2), SyntheticEnvironment(FAMILIES["tight"], 1)]
    assert first.fingerprint == again.fingerprint
    assert first.default_budget == again.default_budget
    assert len({first.fingerprint, *(each.fingerprint for each in others)}) == 3


@pytest.mark.parametrize(("name", "best"), OPTIMA.items())
def test_problems_stay_those_that_results_are_kept_of(name: str, best: float) -> None:
    environment, space = problem(FAMILIES[name])
    assert environment.optimum(space) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", ["table", "no-size-preference", "late-saturation", "no-interaction"])
def test_many_problems_at_once_score_as_each_alone(name: str) -> None:
    family, rng = FAMILIES[name], np.random.default_rng(0)
    models, samples = feasible(problem(family)[1])
    shape = (family.stages, 3, family.models)
    units, deviations = rng.random((family.stages, 3, len(UNITS))), rng.standard_normal(shape)
    orders = rng.random(shape).argsort(axis=-1)
    made = zip(units, deviations, orders, strict=True)
    together = [stage_of(family, unit[:, None], deviation, order) for unit, deviation, order in made]
    scores = true_scores(family, together, models, samples)
    assert scores.shape == (3, len(models)) and scores.std(axis=1).min() > 0.01
    for i in range(3):
        made = zip(units[:, i], deviations[:, i], orders[:, i], strict=True)
        alone = [stage_of(family, *drawn) for drawn in made]
        assert true_scores(family, alone, models, samples) == pytest.approx(scores[i], abs=1e-12)


@pytest.mark.slow
async def test_without_noise_the_agent_finds_the_optimum() -> None:
    environment, space = problem(FAMILIES["exact"], 3)
    result = await search(
        environment,
        searcher("agent", llm="none"),
        space,
        Store(),
        study_name="s",
        limits=Limits(trials=45),
        racing=Racing(),
    )
    assert environment.optimum(space) - environment.true_score(result.best.allocation) < 0.005
