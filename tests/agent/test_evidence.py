"""Curves and hypotheses: what is known is found, and what is false is dropped."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts._util.numbers import chance
from agenttts.agent.evidence import Evidence, Upgrade
from agenttts.agent.gathering import gather_evidence
from agenttts.agent.ranking import Ranking
from agenttts.environments.synthetic import FAMILIES, SyntheticEnvironment
from agenttts.posterior.curves import KNEE_GAIN, OVER_FUSING, fit_curve
from agenttts.posterior.insights import ALL_INSIGHTS, Hypothesis, kept, weighed_posterior
from agenttts.posterior.kernel import Structure
from agenttts.posterior.observations import Observations
from agenttts.posterior.surrogate import Surrogate
from agenttts.proposals.candidates import candidates
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import cost_model
from agenttts.study.trial import Archive, Trial

COUNTS = (1, 2, 3, 5, 8, 12, 20, 32, 48, 64)
SAMPLES = np.array(COUNTS, dtype=float)


def around(curve: np.ndarray, sd: float = 0.003) -> np.ndarray:
    return curve + np.random.default_rng(0).normal(0, sd, (64, len(curve)))


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("gain", [0.05, 0.4])
def test_the_knee_of_a_known_curve_is_found(rate: float, gain: float) -> None:
    curve = fit_curve(COUNTS, around(0.8 - gain * SAMPLES**-rate))
    gains = gain * (SAMPLES**-rate - (2 * SAMPLES) ** -rate)
    below = np.flatnonzero(gains < KNEE_GAIN)
    true = COUNTS.index(COUNTS[int(below[0])] if len(below) else COUNTS[-1])
    assert abs(COUNTS.index(curve.knee) - true) <= 1
    assert COUNTS[max(true - 2, 0)] <= curve.knee_high and curve.knee_low <= COUNTS[min(true + 2, len(COUNTS) - 1)]
    assert np.abs(np.array(curve.mean) - (0.8 - gain * SAMPLES**-rate)).max() < 0.01
    assert curve.falling < 0.3


def test_too_many_candidates_to_fuse_show() -> None:
    curve = fit_curve(COUNTS, around(0.8 - 0.3 / SAMPLES - 0.03 * np.log2(SAMPLES)))
    assert curve.form == OVER_FUSING and curve.falling > 0.9
    assert COUNTS[int(np.argmax(curve.mean))] in (5, 8, 12)


@given(st.lists(st.floats(0, 1), min_size=len(COUNTS), max_size=len(COUNTS)), st.floats(0.001, 0.3))
def test_whatever_the_draws_the_curve_is_one(levels: list[float], sd: float) -> None:
    curve = fit_curve(COUNTS, around(np.array(levels), sd))
    assert COUNTS[0] <= curve.knee_low <= curve.knee <= curve.knee_high <= COUNTS[-1]
    assert 0 < curve.share <= 1 and 0 <= curve.falling <= 1
    assert np.isfinite([*curve.mean, *curve.sd]).all()


def trials_on(
    family: str, seed: int, count: int, examples: int, **changes: Any
) -> tuple[SyntheticEnvironment, list[Trial]]:
    """Random trials of a problem."""
    problem = SyntheticEnvironment(replace(FAMILIES[family], **changes), seed)
    budget = problem.default_budget
    space = SearchSpace(problem.pipeline, cost_model(budget.cost_model), budget.amount)
    drawn = list(dict.fromkeys(space.sample(np.random.default_rng(seed), 2 * count)))[:count]
    trials = [
        Trial(
            number=number,
            allocation=allocation,
            cost=space.cost(allocation),
            evaluation=asyncio.run(problem.evaluate(allocation, problem.examples[:examples])),
            searcher="random",
            rationale="",
            round=0,
            created=datetime.now(UTC),
        )
        for number, allocation in enumerate(drawn, start=1)
    ]
    return problem, trials


def odds(family: str, insight: int, **changes: Any) -> float:
    """The mean log odds over some problems, without noise."""
    found = []
    for seed in range(4):
        problem, trials = trials_on(family, seed, 60, 100, noise="exact", **changes)
        hypotheses = weighed_posterior(problem.pipeline.sizes, trials, Structure())[1]
        found.append(next(each.log_odds for each in hypotheses if each.insight == insight))
    return float(np.mean(found))


def test_an_insight_that_is_false_gets_lower_odds_than_one_that_is_true() -> None:
    assert odds("two-stage", 1) > max(odds("two-stage", 1, twist="sizes"), 0) + 1
    assert odds("table", 2) > max(odds("late-saturation", 2), 0) + 1
    assert odds("table", 3) > max(odds("no-interaction", 3), 0) + 1


def test_what_the_data_speak_against_is_dropped_and_few_trials_decide_nothing() -> None:
    problem, trials = trials_on("no-size-preference", 1, 80, 100)
    hypotheses = weighed_posterior(problem.pipeline.sizes, trials, Structure())[1]
    dropped = {each.insight for each in hypotheses if each.dropped}
    structure = kept(Structure(), hypotheses)
    assert (not structure.ordered, not structure.saturating, not structure.interacting) == tuple(
        insight in dropped for insight in (1, 2, 3)
    )
    assert all(("dropped" in str(each)) == each.dropped for each in hypotheses)
    assert weighed_posterior(problem.pipeline.sizes, trials[:9], Structure())[1] == ()
    # What is switched off is not weighed.
    weighed = weighed_posterior(problem.pipeline.sizes, trials, Structure(ordered=False, formula=False))[1]
    assert [each.insight for each in weighed] == [2, 3]


@pytest.mark.parametrize(("structure", "most"), [(Structure(formula=False), 0.95), (Structure(), 1.0)])
def test_stage_metrics_are_evidence(structure: Structure, most: float) -> None:
    """Without the formula, which learns as much from scores alone, they tell more."""
    errors: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(6):
        problem, trials = trials_on("stage-metrics", seed, 30, 50)
        space = SearchSpace(problem.pipeline, cost_model("flops"), problem.default_budget.amount)
        unseen = space.sample(np.random.default_rng(seed + 50), 200)
        true = np.array([problem.true_score(allocation) for allocation in unseen])
        for used in errors:
            surrogate = Surrogate(problem.pipeline.sizes, Observations(trials if used else bare(trials)), structure)
            posterior = surrogate.predict_allocations(unseen)
            errors[used].append(float(np.sqrt(np.mean((posterior.mean - true) ** 2))))
    assert np.mean(errors[True]) < most * np.mean(errors[False])


def bare(trials: list[Trial]) -> list[Trial]:
    """The same without the stages' own scores."""
    return [
        replace(
            trial,
            evaluation=replace(
                trial.evaluation,
                results=tuple(replace(each, subtask_scores={}) for each in trial.evaluation.results),
            ),
        )
        for trial in trials
    ]


def test_a_prompt_has_for_each_stage_its_models_at_their_best() -> None:
    problem, trials = trials_on("table", 0, 30, 50)
    sizes = problem.pipeline.sizes
    space = SearchSpace(problem.pipeline, cost_model("flops"), problem.default_budget.amount)
    surrogate, hypotheses = weighed_posterior(sizes, trials, Structure())
    evidence = gather_evidence(Archive(trials=tuple(trials)), space, surrogate, hypotheses, frozenset({1, 2, 3}))
    assert evidence.lines()[0].startswith(f"Best so far within {space.scale.rate(space.budget)}: ")
    brief = evidence.brief(options=4, ways=8, related=4)
    for preference in evidence.preferences:
        (line,) = (each for each in brief if each.startswith(f"{preference.subtask}: "))
        assert all(f"{o.model} x{o.samples} {o.score:.3f}" in line for o in preference.options[:4])
        assert f"{chance(preference.chance)} sure of the first" in line
    assert not any("do not decide it" in line for line in brief)
    incumbent = {name: (choice.pairing, choice.samples) for name, choice in evidence.incumbent.items()}
    for each in evidence.interactions:  # what the best trial has anyway is not told
        as_it_is = incumbent[each.downstream] == (each.best.model, each.best.samples)
        assert not as_it_is or f"{each}." not in brief


def ranking_on(family: str, seed: int, count: int, examples: int) -> Ranking:
    """Of what is untried after random trials of a problem."""
    problem, trials = trials_on(family, seed, count, examples)
    archive, budget = Archive(trials=tuple(trials)), problem.default_budget
    space = SearchSpace(problem.pipeline, cost_model(budget.cost_model), budget.amount)
    surrogate, hypotheses = weighed_posterior(problem.pipeline.sizes, trials, Structure())
    evidence = gather_evidence(archive, space, surrogate, hypotheses, frozenset({1}))
    return Ranking(archive=archive, space=space, surrogate=surrogate, evidence=evidence, seed=0)


def test_of_many_candidates_the_one_of_the_highest_expected_improvement_is_proposed() -> None:
    ranking = ranking_on("stage-metrics", 0, 300, 10)
    pool = candidates(ranking.space, ranking.archive.rng(0))
    untried = [one for one in map(pool.allocation, range(len(pool))) if one.key not in ranking.archive.tried]
    (best,) = ranking.best(1)
    assert best.improvement >= max(each.improvement for each in ranking.expected(untried)) - 1e-9
    encoded = ranking.surrogate.encoder.allocations(untried)
    rough, full = ranking.surrogate.predict(encoded, roughly=True), ranking.surrogate.predict(encoded)
    assert rough.mean == pytest.approx(full.mean)
    assert (rough.sd > full.sd - 1e-9).all() and rough.sd.mean() > 1.01 * full.sd.mean()


def test_where_no_candidate_is_expected_to_gain_anything_some_are_proposed_all_the_same() -> None:
    ranking = ranking_on("exact", 1, 100, 10)
    proposed = ranking.best(4)
    assert len({each.allocation.key for each in proposed} - ranking.archive.tried) == 4
    assert proposed[-1].improvement == 0.0


def test_a_gain_is_not_divided_by_a_step_that_costs_next_to_nothing() -> None:
    step = Upgrade(model="m", samples=2, gain=0.04, sd=0.01, share=0.001)
    assert str(step) == "m x2 gains 0.040 ± 0.020 at next to no cost" and step.rate == pytest.approx(0.4)
    assert str(replace(step, share=0.2)) == "m x2 gains 0.020 ± 0.010 per tenth of the budget"


def test_what_is_dropped_does_not_stand_beside_what_is_favoured() -> None:
    dropped = Hypothesis(insight=2, claim="saturation", log_odds=-9.0)
    together = Hypothesis(insight=ALL_INSIGHTS, claim="formula", log_odds=9.0)
    told = Evidence(incumbent=Allocation({"a": ("m", 1)}), score=0.5, sd=0.1, budget="9 MFLOP per query",
                    hypotheses=(dropped, together))  # fmt: skip
    assert "dropped" not in " ".join(told.around()) and "favour" in " ".join(told.around())
    alone = replace(told, hypotheses=(dropped, replace(together, log_odds=-9.0)))
    assert " ".join(alone.around()).count("dropped") == 2
