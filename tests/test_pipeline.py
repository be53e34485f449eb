"""Declaring pipelines: what is refused, and what changes a fingerprint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline, Sampling, Subtask, SubtaskRun

M = Model("m", 1e9)


def zero(output: Any, example: Any) -> float:
    return 0.0


def one(output: Any, example: Any) -> float:
    return 1.0


async def stage(run: SubtaskRun) -> str:
    return ""


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Model("", 1e9), "model name ''"),
        (lambda: Model("a b", 1e9), "model name 'a b'"),
        (lambda: Model("m", 0), "positive parameter count, not 0"),
        (lambda: Model("m", float("nan")), "positive parameter count, not nan"),
        (lambda: Subtask("my stage", (M,), "x"), "subtask 'my stage' must be named"),
        (lambda: Subtask("s", (), "x"), "subtask 's' has no candidate model"),
        (lambda: Subtask("s", (M, Model("m", 2e9)), "x"), "lists the model 'm' twice"),
        (lambda: Subtask("s", (M,)), "either a prompt or a run coroutine"),
        (lambda: Subtask("s", (M,), "x", run=stage), "either a prompt or a run coroutine"),
        (lambda: Subtask("s", (M,), run=zero), "must be an async function"),  # type: ignore[arg-type]
        (lambda: Subtask("s", (M,), "x", prompt_tokens=0), "prompt_tokens must be positive, not 0"),
        (lambda: Subtask("s", (M,), "x", completion_tokens=-1), "completion_tokens must be positive, not -1"),
        (lambda: Subtask("s", (M,), "x", max_samples=0), "max_samples must be at least 1, not 0"),
        (lambda: Subtask("s", (M,), "x", sample_counts=()), "subtask 's': sample_counts is empty"),
        (lambda: Subtask("s", (M,), "x", sample_counts=(1, 0)), "sample_counts must be whole numbers >= 1, not 0"),
        (lambda: Subtask("s", (M,), "x", sample_counts=(True,)), "sample_counts must be whole numbers >= 1, not True"),
        (lambda: Subtask("s", (M,), "x", sample_counts=(1, 101)), "sample_counts go up to 101, over max_samples=100"),
        (lambda: Pipeline("p", (), zero), "pipeline 'p' has no subtasks"),
        (lambda: Pipeline("p", (Subtask("s", (M,), "x"), Subtask("s", (M,), "x")), zero), "the subtask 's' twice"),
        (lambda: Pipeline("p", (Subtask("s", (M,), "x", after=("t",)),), zero), "has no subtask 't'; it has s"),
        (
            lambda: Pipeline("p", (Subtask("s", (M,), "x", after=("t",)), Subtask("t", (M,), "x")), zero),
            "the `after` of s, t form a cycle",
        ),
    ],
)
def test_mistakes_are_one_sentence(build: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_subtasks_form_a_chain_unless_they_say_otherwise() -> None:
    tested = Pipeline(
        "p",
        (
            Subtask("last", (M,), "x", after=("left", "right")),
            Subtask("left", (M,), "x", after=()),
            Subtask("right", (M,), "x"),
        ),
        zero,
    )
    assert tested.parents("right") == ("left",)
    assert [subtask.name for subtask in tested.order] == ["left", "right", "last"]


def test_an_unknown_model_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="subtask 's' has no model 'n'; it has m"):
        Subtask("s", (M,), "x").model("n")


def test_a_fingerprint_follows_what_decides_scores_and_nothing_else() -> None:
    base = Pipeline("p", (Subtask("s", (M,), "x"),), zero)
    (subtask,) = base.subtasks
    assert base.fingerprint == Pipeline("p", (Subtask("s", (M,), "x"),), zero).fingerprint
    for change in (
        replace(base, metric=one),
        replace(base, subtasks=(replace(subtask, prompt="y"),)),
        replace(base, subtasks=(replace(subtask, sampling=Sampling(temperature=0.1)),)),
        replace(base, subtasks=(replace(subtask, models=(replace(M, revision="2"),)),)),
    ):
        assert change.fingerprint != base.fingerprint
    for change in (
        replace(base, subtasks=(replace(subtask, models=(replace(M, base_url="http://elsewhere/v1"),)),)),
        base.with_lengths({"s": (7.0, 8.0)}),
    ):
        assert change.fingerprint == base.fingerprint


def test_a_fingerprint_sees_what_a_closure_holds() -> None:
    def scorer(gold: float) -> Any:
        return lambda output, example: gold

    subtasks = (Subtask("s", (M,), "x"),)
    assert Pipeline("p", subtasks, scorer(0.0)).fingerprint != Pipeline("p", subtasks, scorer(1.0)).fingerprint
