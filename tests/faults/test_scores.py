"""A score that is none is named where it is made, and no complaint of the database is tried for ever.

| a plug-in environment gives | must be |
|---|---|
| NaN, infinity, -0.1, 1.5, 10**400, None, texts, lists, arrays, complex | ConfigError that names it and the example |
| the same as the score of a subtask | the same |
| numpy's numbers, True, 1 + 1e-12 | a float in [0, 1] |
| an example twice, one too many, one too few, nothing, no Evaluation | ConfigError |
| results, spend, usage or missing of another type; an example with a result that is missing too | ConfigError |
| an output, an error or a reason of 10 MB | 64 KiB of it |
| a spend or usage of NaN, infinity or below 0 | ConfigError |
| a row that the database rejects | StoreError, at once |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import agenttts as at
from agenttts.db import Store
from agenttts.errors import AgentTTSError, ConfigError, StoreError
from agenttts.execution.pool import SamplePool
from agenttts.llm.samples import Spend
from agenttts.pipeline import Pipeline
from agenttts.protocols import Environment
from agenttts.searching import Limits
from agenttts.space import Allocation, SearchSpace
from agenttts.study import Evaluation, ExampleResult, Proposal, SubtaskUsage

untyped: Any = at
"""What a user without a type checker may write."""
Make = Callable[[Sequence[str]], Any]


class PlugIn(Environment):
    """Gives what a test wants."""

    def __init__(self, pipeline: Pipeline, make: Make) -> None:
        self.name, self.pipeline, self.examples, self.make = "plug-in", pipeline, ("a", "b"), make

    async def evaluate(
        self, allocation: Allocation, examples: Sequence[str] | None = None, *, pool: SamplePool | None = None
    ) -> Evaluation:
        made: Evaluation = self.make(self.examples if examples is None else examples)
        return made


def scores(score: Any, **more: Any) -> Make:
    return lambda names: Evaluation(results=tuple(ExampleResult(example=n, score=score, **more) for n in names))


def results(*names: str) -> Make:
    return lambda _: Evaluation(results=tuple(ExampleResult(example=name, score=0.5) for name in names))


def with_(**fields: Any) -> Evaluation:
    """One result of two, and other fields as they should not be."""
    return Evaluation(results=(ExampleResult(example="a", score=0.5),), **fields)


async def searched(make: Make, space: SearchSpace, store: Store) -> at.SearchResult:
    return await at.search(
        PlugIn(space.pipeline, make),
        at.searcher("random", seed=0),
        space,
        store,
        study_name="one",
        limits=Limits(trials=2),
    )


NO_SCORE = [
    float("nan"),
    float("inf"),
    -0.1,
    1.5,
    10**400,
    10**5000,
    None,
    "0.5",
    [0.5],
    0.5j,
    np.array([0.5]),
    np.float32("nan"),
    np.complex64(1),
]


@pytest.mark.parametrize("score", NO_SCORE, ids=lambda score: type(score).__name__)
async def test_no_score_is_named(score: Any, toy_space: SearchSpace, store: Store) -> None:
    with pytest.raises(ConfigError, match="environment 'plug-in': the score of example 'a' is .*a number in"):
        await searched(scores(score), toy_space, store)
    with pytest.raises(ConfigError, match="environment 'plug-in': the score of example 'a' in 'find' is"):
        await searched(scores(0.5, subtask_scores={"find": score}), toy_space, store)
    assert store.archive(store.study("one")).trials == ()


@pytest.mark.parametrize("score", [np.float32(0.5), np.int64(1), True, 1 + 1e-12, -1e-12, 0], ids=repr)
async def test_every_number_is_one(score: Any, toy_space: SearchSpace, store: Store) -> None:
    result = await searched(scores(score), toy_space, store)
    assert type(result.best.evaluation.results[0].score) is float and 0 <= result.best.evaluation.score <= 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (results("a"), "example 'b' has no result"),
        (results("a", "b", "c"), "example 'c' was not asked for"),
        (results("a", "b", "b"), "two results of example 'b'"),
        (results(), "example 'a' has no result"),
        (lambda names: None, "gave None instead of an Evaluation"),
        (lambda names: Evaluation(results=(), missing=dict.fromkeys(names, "dead")), "every example failed with"),
        (lambda names: ExampleResult(example=1, score=0), "has the example 1: it must be a text"),  # type: ignore[arg-type]
        (scores(0.5, error=7), "has the error 7"),
        (
            lambda names: untyped.Evaluation(results=({"example": "a"},)),
            "results of an evaluation must be a list of Exam",
        ),
        (lambda names: untyped.Evaluation(results=5), "results of an evaluation must be a list of Exam"),
        (lambda names: with_(spend=3), "an evaluation: spend must be a Spend, not 3"),
        (lambda names: with_(usage={"find": None}), "an evaluation: usage must be a mapping of SubtaskUsage"),
        (lambda names: with_(usage=[]), "an evaluation: usage must be a mapping of SubtaskUsage"),
        (lambda names: with_(missing={"b": 5}), "an evaluation: missing must be a mapping of example ids to reasons"),
        (lambda names: with_(missing=["b"]), "an evaluation: missing must be a mapping of example ids to reasons"),
        (lambda names: with_(missing={"a": "dead"}), "example 'a' of the evaluation has a result and is missing"),
    ],
)
async def test_results_are_of_the_examples_asked_for(
    make: Make, message: str, toy_space: SearchSpace, store: Store
) -> None:
    with pytest.raises(AgentTTSError, match=message):
        await searched(make, toy_space, store)


@pytest.mark.parametrize("kind", [list, iter])
async def test_any_list_of_results_will_do(kind: Any, toy_space: SearchSpace, store: Store) -> None:
    def make(names: Sequence[str]) -> Evaluation:
        return Evaluation(results=kind([ExampleResult(example=name, score=0.5) for name in names]))

    result = await searched(make, toy_space, store)
    assert result.best.evaluation == store.archive(result.study).trials[result.best.number - 1].evaluation


async def test_long_texts_are_kept_in_part(toy_space: SearchSpace, store: Store) -> None:
    long = "x" * 10**7
    result = await searched(scores(0, output=long, error=long), toy_space, store)
    for each in result.best.evaluation.results:
        assert len(each.output) == len(each.error or "") == 64 * 1024
        assert each.output.endswith(" [cut off: 10,000,000 characters]")
    assert len(with_(missing={"b": long}).missing["b"]) == 64 * 1024


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1, "3", None], ids=repr)
@pytest.mark.parametrize("of", ["spend", "usage"])
async def test_amounts_are_numbers_from_0_up(amount: Any, of: str, toy_space: SearchSpace, store: Store) -> None:
    wrong: dict[str, Any] = (
        {"spend": Spend(usd=amount)} if of == "spend" else {"usage": {"find": SubtaskUsage(prompt_tokens=amount)}}
    )

    def make(names: Sequence[str]) -> Evaluation:
        return Evaluation(results=tuple(ExampleResult(example=name, score=0.5) for name in names), **wrong)

    with pytest.raises(ConfigError, match=f"environment 'plug-in': the {of} .*must be a number from 0 up"):
        await searched(make, toy_space, store)


async def test_what_the_database_rejects_is_said_at_once(toy_space: SearchSpace, any_store: Store) -> None:
    await searched(results("a", "b"), toy_space, any_store)
    study = any_store.study("one")
    evaluation = results("a", "b")(())
    with pytest.raises(StoreError, match="refused: .*cost"):
        any_store.add_trial(
            study,
            Proposal(toy_space.cheapest),
            evaluation,
            cost=None,  # type: ignore[arg-type]
            searcher="random",
            round=0,
        )
