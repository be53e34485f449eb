"""Evaluations and spend."""

from __future__ import annotations

import math

import pytest

from agenttts.llm.samples import Spend
from agenttts.study.evaluation import Evaluation, ExampleResult


def evaluation(*scores: float) -> Evaluation:
    return Evaluation(results=tuple(ExampleResult(example=str(i), score=s) for i, s in enumerate(scores)))


def test_a_failed_example_counts_as_zero() -> None:
    failed = ExampleResult(example="x", score=0.0, error="timed out")
    tested = Evaluation(results=(*evaluation(1.0).results, failed))
    assert (tested.score, tested.failures) == (0.5, 1)


def test_standard_error_by_hand() -> None:
    assert evaluation(0, 1, 1, 1).standard_error == pytest.approx(0.25)
    assert math.isnan(evaluation(1).standard_error)


def test_spend_adds_up() -> None:
    total = Spend(requests=1, prompt_tokens=2, usd=0.5) + Spend(completion_tokens=3, reused_completion_tokens=4)
    assert (total.requests, total.tokens, total.reused_tokens, total.usd) == (1, 5, 4, 0.5)
