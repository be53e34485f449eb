"""Declaring pipelines: what is refused, and what changes a fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import agenttts
from agenttts.errors import ConfigError
from agenttts.pipeline import Example, Model, Pipeline, Sampling, StepRun, Subtask, SubtaskRun
from agenttts.pipeline.aggregators import MajorityVote

M = Model("m", 1e9)
untyped: Any = agenttts


def zero(output: Any, example: Any) -> float:
    return 0.0


def one(output: Any, example: Any) -> float:
    return 1.0


async def stage(run: SubtaskRun) -> str:
    return ""


async def program(example: Example, steps: Mapping[str, StepRun]) -> str:
    return ""


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Model("", 1e9), "model name ''"),
        (lambda: Model("a b", 1e9), "model name 'a b'"),
        (lambda: Model("m", 0), "model 'm': parameters must be a positive number or None, not 0"),
        (lambda: Model("m", float("nan")), "parameters must be a positive number or None, not nan"),
        (lambda: Subtask("my stage", (M,), "x"), "subtask 'my stage' must be named"),
        (lambda: Subtask("s", (), "x"), "subtask 's' has no candidate model"),
        (lambda: Subtask("s", (M, Model("m", 2e9)), "x"), "lists the model 'm' twice"),
        (lambda: Pipeline("p", (Subtask("s", (M,)),), zero), "subtask 's' needs a prompt or a run coroutine"),
        (lambda: Subtask("s", (M,), "x", run=stage), "has both a prompt and a run coroutine"),
        (
            lambda: Pipeline("p", (Subtask("s", (M,), "x"),), zero, run=program),
            "leave the prompt and the run coroutine",
        ),
        (lambda: Pipeline("p", (Subtask("s", (M,)),), zero, run=zero), "run must be an async function"),  # type: ignore[arg-type]
        (lambda: Subtask("s", (M,), run=zero), "must be an async function"),  # type: ignore[arg-type]
        (lambda: Subtask("s", (M,), "x", prompt_tokens=0), "prompt_tokens must be a positive number, not 0"),
        (lambda: Subtask("s", (M,), "x", completion_tokens=-1), "completion_tokens must be a positive number, not -1"),
        (lambda: Subtask("s", (M,), "x", max_samples=0), "max_samples must be a whole number >= 1 or None, not 0"),
        (lambda: Subtask("s", (M,), "x", sample_counts=()), "subtask 's': sample_counts is empty"),
        (lambda: Subtask("s", (M,), "x", sample_counts=(1, 0)), "must be a list of whole numbers >= 1, not 0"),
        (lambda: Subtask("s", (M,), "x", sample_counts=(True,)), "must be a list of whole numbers >= 1, not True"),
        (lambda: Subtask("s", (M,), "x", sample_counts=(1, 101)), "sample_counts go up to 101, over max_samples=100"),
        (lambda: Model("m\0", 1e9), "a model's name must be text without NUL or half a surrogate pair, not 'm\\x00'"),
        (lambda: Model("m\ud800", 1e9), "must be text without NUL or half a surrogate pair, not 'm\\ud800'"),
        (lambda: Model("m", 1e9, served_name="x\udfff"), "model 'm': served_name must be text without NUL or half"),
        (lambda: Model("m", 1e9, revision="\0"), "model 'm': revision must be text without NUL or half"),
        (lambda: Subtask("s\0", (M,), "x"), "subtask 's\\x00' must be named with letters"),
        (lambda: Subtask("s\ud800", (M,), "x"), "subtask 's\\ud800' must be named with letters"),
        (
            lambda: Subtask("s", (M,), "x", operators=[MajorityVote("v\0")]),
            "subtask 's': an operator's name must be text without NUL or half a surrogate pair, not 'v\\x00'",
        ),
        (lambda: Pipeline("p\0", (Subtask("s", (M,), "x"),), zero), "a pipeline's name must be text without NUL"),
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


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: untyped.Model(7, 1e9), "a model's name must be text without NUL or half a surrogate pair, not 7"),
        (lambda: untyped.Model("m", "8e9"), "model 'm': parameters must be a positive number or None, not '8e9'"),
        (lambda: untyped.Model("m", True), "parameters must be a positive number or None, not True"),
        (lambda: untyped.Model("m", 1e9, base_url=8000), "base_url must be text or None, not 8000"),
        (lambda: untyped.Model("m", 1e9, layers=2.5), "layers must be a whole number >= 1 or None, not 2.5"),
        (lambda: untyped.Model("m", 1e9, usd_per_million_prompt_tokens="2"), "must be a number >= 0 or None, not '2'"),
        (lambda: untyped.Sampling(temperature="hot"), "sampling: temperature must be a number >= 0 or None, not 'hot'"),
        (lambda: untyped.Sampling(max_tokens=0), "max_tokens must be a whole number >= 1 or None, not 0"),
        (lambda: untyped.Sampling(stop="END"), "stop must be a list of text, not 'END'"),
        (lambda: untyped.Sampling(extra=["top_k"]), "extra must be a mapping, not ['top_k']"),
        (lambda: untyped.Subtask(None, (M,), "x"), "a subtask's name must be text, not None"),
        (
            lambda: untyped.Subtask("s", M, "x"),
            "subtask 's': models must be a list of Model objects, not Model(name='m'",
        ),
        (lambda: untyped.Subtask("s", ("m",), "x"), "models must be a list of Model objects, not 'm'"),
        (lambda: untyped.Subtask("s", (Model,), "x"), "models must be a list of Model objects, not <class"),
        (
            lambda: untyped.Subtask("s", (M,), 3),
            "prompt must be a Jinja template or a function that is not async",
        ),
        (lambda: untyped.Subtask("s", (M,), "x", system=3), "system must be text or None, not 3"),
        (
            lambda: untyped.Subtask("s", (M,), "x", parser="json"),
            "parser must be a function that is not async",
        ),
        (
            lambda: untyped.Subtask("s", (M,), "x", aggregator="vote"),
            "aggregator must be an aggregator such as MajorityVote()",
        ),
        (lambda: untyped.Subtask("s", (M,), "x", aggregator=MajorityVote), "aggregator must be an aggregator such as"),
        (lambda: untyped.Subtask("s", (M,), "x", metric=0.5), "metric must be a function or None, not 0.5"),
        (lambda: untyped.Subtask("s", (M,), "x", sample_counts=3), "sample_counts must be a list of whole numbers"),
        (lambda: untyped.Subtask("s", (M,), "x", sample_counts="12"), "sample_counts must be a list of whole numbers"),
        (lambda: untyped.Subtask("s", (M,), "x", after="t"), "after must be a list of names of subtasks, not 't'"),
        (
            lambda: untyped.Subtask("s", (M,), "x", prompt_tokens="7"),
            "prompt_tokens must be a positive number, not '7'",
        ),
        (
            lambda: untyped.Subtask("s", (M,), "x", max_samples="9"),
            "max_samples must be a whole number >= 1 or None, not '9'",
        ),
        (lambda: untyped.Subtask("s", (M,), "x", sampling=0.9), "sampling must be a Sampling, not 0.9"),
        (
            lambda: untyped.Pipeline(3, (Subtask("s", (M,), "x"),), zero),
            "a pipeline's name must be text without NUL or half a surrogate pair, not 3",
        ),
        (
            lambda: untyped.Pipeline("p", Subtask("s", (M,), "x"), zero),
            "must be a list of Subtask objects, not Subtask(name=",
        ),
        (
            lambda: untyped.Pipeline("p", ("s",), zero),
            "pipeline 'p': subtasks must be a list of Subtask objects, not 's'",
        ),
        (lambda: untyped.Pipeline("p", None, zero), "subtasks must be a list of Subtask objects, not None"),
        (
            lambda: untyped.Pipeline("p", (Subtask("s", (M,), "x"),), "f1"),
            "pipeline 'p': metric must be a function, not 'f1'",
        ),
    ],
)
def test_a_value_of_another_type_is_one_sentence(build: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_any_iterable_will_do_for_a_list() -> None:
    subtasks = (untyped.Subtask(name, [M], "x", after=iter(())) for name in "ab")
    pipeline = untyped.Pipeline("p", subtasks, zero)
    assert [subtask.models for subtask in pipeline.subtasks] == [(M,), (M,)]


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
