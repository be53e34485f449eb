"""Evaluations and their intervals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.evaluation import Evaluation, ExampleResult, Spend
from agenttts.intervals import wilson_interval
from agenttts.study import StudySpec
from agenttts.trial import Archive


def evaluation(*scores: float) -> Evaluation:
    return Evaluation(results=tuple(ExampleResult(example=str(i), score=s) for i, s in enumerate(scores)))


def test_a_failed_example_counts_as_zero() -> None:
    failed = ExampleResult(example="x", score=0.0, error="timed out")
    tested = Evaluation(results=(*evaluation(1.0).results, failed))
    assert (tested.score, tested.failures) == (0.5, 1)


def test_standard_error_by_hand() -> None:
    assert evaluation(0, 1, 1, 1).standard_error == pytest.approx(0.25)
    assert math.isnan(evaluation(1).standard_error)


def test_wilson_interval_against_published_values() -> None:
    # Newcombe (1998), table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@given(st.floats(0, 1), st.integers(1, 10_000))
def test_an_interval_holds_its_mean_within_bounds(mean: float, count: int) -> None:
    low, high = wilson_interval(mean, count)
    assert 0 <= low <= mean <= high <= 1
    assert low < high


def test_spend_adds_up() -> None:
    total = Spend(requests=1, prompt_tokens=2, usd=0.5) + Spend(completion_tokens=3, reused_completion_tokens=4)
    assert (total.requests, total.tokens, total.reused_tokens, total.usd) == (1, 5, 4, 0.5)


def test_randomness_depends_on_seed_and_archive_only() -> None:
    assert Archive().rng(1).integers(10**9) == Archive().rng(1).integers(10**9)
    assert Archive().rng(1).integers(10**9) != Archive().rng(2).integers(10**9)


PARTS = {"subtask 'find'": "a", "subtask 'answer'": "b", "the metric": "c", "the examples": "d"}
SPEC = StudySpec(
    environment="toy",
    pipeline="toy",
    sizes={"find": {"small": 1e6}, "answer": {"small": 1e6}},
    fingerprint="f",
    cost_model="flops",
    budget=10.0,
    pricing="p",
    method="random",
    seed=0,
    examples=2,
    fingerprints=PARTS,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"budget": 20.0}, ["budget is 20.0, was 10.0"]),
        ({"fingerprint": "g", "fingerprints": {**PARTS, "the metric": "x"}}, ["the metric changed"]),
        (
            {"fingerprint": "g", "fingerprints": {**PARTS, "subtask 'find'": "x", "the examples": "x"}},
            ["subtask 'find', the examples changed"],
        ),
        ({"fingerprint": "g"}, ["the environment changed"]),
        ({"pricing": "q"}, ["token lengths, prices or throughputs changed, and so did what an allocation costs"]),
        (
            {"sizes": {"find": {"small": 1e6, "large": 8e6}, "check": {"small": 1e6}}},
            [
                "the models of subtask 'find' are small (1e+06 parameters) and large (8e+06 parameters), were small "
                "(1e+06 parameters), subtask 'answer' is gone, subtask 'check' is new"
            ],
        ),
    ],
)
def test_what_differs_between_two_studies_is_said_in_words(changes: dict[str, Any], words: list[str]) -> None:
    assert SPEC.differences(replace(SPEC, **changes)) == words
