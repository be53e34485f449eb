"""Experience on the formula: what is carried over, how surely, and that false experience is dropped."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.posterior.experience import learned
from agenttts.posterior.formula import SLOPE, SLOPE_SD
from agenttts.posterior.insights import EXPERIENCE_NUMBER, Hypothesis, kept, weighed_posterior
from agenttts.posterior.kernel import Structure
from agenttts.posterior.lessons import OWN, SIZE, beliefs, parameter_names, spans, stretched
from agenttts.posterior.surrogate import Encoder
from agenttts.study.experience import ANY_STAGE, Experience, Lesson
from tests.agent.test_evidence import trials_on

SIZES = {"a": {"s": 1e9, "m": 3e9, "l": 24e9}, "b": {"s": 1e9, "l": 24e9, "l+vote": 24e9}}
numbers = st.floats(-3, 3)


def experience(**lessons: Lesson) -> Experience:
    return Experience(studies=("old",), lessons={ANY_STAGE: lessons})


@given(numbers, st.floats(0.05, 2), st.integers(0, 1000))
def test_with_experience_the_coordinates_are_standard_around_what_was_taught(mean: float, sd: float, seed: int) -> None:
    names = [(stage, name) for stage, row in SIZES.items() for name in parameter_names(list(row))]
    taught = np.array([name in (SIZE, "weight") for _, name in names])
    with_it = Encoder(SIZES, Structure(), {}, experience(size=Lesson(mean, sd), weight=Lesson(mean, sd))).formula
    without = Encoder(SIZES, Structure(), {}).formula
    z = np.random.default_rng(seed).uniform(-1, 1, with_it.parameters)
    same = np.where(taught, mean + sd * z, z)  # the models of both stages span what slopes are kept for
    pairings, samples = np.array([[0, 0], [1, 1], [2, 2]]), np.array([[1.0, 8.0], [4.0, 2.0], [30.0, 1.0]])
    scores = [each.scores(at[None], pairings, samples) for each, at in ((with_it, z), (without, same))]
    assert scores[0] == pytest.approx(scores[1], abs=1e-12)


@given(numbers, st.floats(0.01, 2), st.floats(1e8, 1e10), st.floats(1.5, 100))
def test_a_slope_is_the_same_per_size_whatever_models_there_are(
    mean: float, sd: float, smallest: float, times: float
) -> None:
    row = {"s": smallest, "l": smallest * times}
    found = beliefs({"a": row}, experience(size=Lesson(mean, sd)))
    place = parameter_names(list(row)).index(SIZE)
    rise = SLOPE + SLOPE_SD * found[0][place]
    assert rise / math.log(times) == pytest.approx((SLOPE + SLOPE_SD * mean) / math.log(24), abs=1e-9)
    back = stretched(Lesson(found[0][place], found[1][place]), 1 / spans(row))
    assert back == pytest.approx((mean, sd), abs=1e-9)


def test_models_of_one_size_and_what_nobody_taught_keep_the_formulas_prior() -> None:
    row = {"s": 1e9, "t": 1e9}
    mean, sd = beliefs({"a": row}, experience(size=Lesson(2.0, 0.1), weight=Lesson(1.0, 0.5)))
    known = dict(zip(parameter_names(list(row)), zip(mean, sd, strict=True), strict=True))
    assert known.pop("weight") == (1.0, 0.5)
    assert set(known.values()) == {(0.0, 1.0)}


def test_more_studies_teach_more_and_never_how_hard_a_task_is() -> None:
    studies = {}
    for seed in range(4):
        problem, trials = trials_on("table", seed, 30, 100)
        studies[f"s{seed}"] = (problem.pipeline.sizes, trials)
    one, all_of = learned({"s0": studies["s0"]}), learned(studies)
    assert all_of.studies == ("s0", "s1", "s2", "s3") and str(one) == "s0"
    for each in (one, all_of):
        assert {each.lesson("stage1", name) for name in OWN} == {None}
        assert each.lesson("stage1", "size") != each.lesson("elsewhere", "size"), "a stage's own name counts"
    sds = [[each.lesson("elsewhere", name).sd for name in ("size", "lift", "weight")] for each in (one, all_of)]  # type: ignore[union-attr]
    assert all(later < first < 1.1 for first, later in zip(*sds, strict=True))


@pytest.mark.parametrize(
    ("odds", "believed", "said"),
    [
        (4.0, True, "the trials favour it, 4 to 1"),
        (2.0, False, "the trials do not decide it, 2 to 1 for it: not believed yet"),
        (0.5, False, "the trials do not decide it, 2 to 1 against it: not believed yet"),
        (0.25, False, "the trials speak against it, 4 to 1: dropped"),
    ],
)
def test_experience_is_believed_once_the_trials_favour_it(odds: float, believed: bool, said: str) -> None:
    found = Hypothesis(insight=EXPERIENCE_NUMBER, claim="as in old", log_odds=math.log(odds))
    assert found.believed is believed and str(found) == f"Experience (as in old): {said}"
    assert kept(Structure(), [found]).experience is believed and not kept(Structure(), []).experience
    insight = replace(found, insight=1)
    assert insight.believed is not insight.dropped


def test_experience_that_the_trials_speak_against_is_dropped_and_other_experience_kept() -> None:
    problem, trials = trials_on("table", 3, 30, 100)
    sizes = problem.pipeline.sizes
    fits = learned({"itself": (sizes, trials)})
    upside_down = experience(size=Lesson(-5.0, 0.3), lift=Lesson(-3.0, 0.1))
    verdicts = {}
    for name, each in {"true": fits, "false": upside_down}.items():
        surrogate, weighed = weighed_posterior(sizes, trials, Structure(), each)
        verdicts[name] = next(one for one in weighed if one.insight == EXPERIENCE_NUMBER)
        assert surrogate.structure.experience is verdicts[name].believed
    assert not verdicts["true"].dropped and verdicts["true"].log_odds > 0
    assert verdicts["false"].dropped
    assert "Experience (scores depend on sizes and samples as in old): the trials speak" in str(verdicts["false"])
    without = weighed_posterior(sizes, trials, Structure())[0]
    dropped = weighed_posterior(sizes, trials, Structure(), upside_down)[0]
    allocations = [trial.allocation for trial in trials]
    assert dropped.predict_allocations(allocations).mean == pytest.approx(
        without.predict_allocations(allocations).mean
    ), "dropped is as if there had been none"
