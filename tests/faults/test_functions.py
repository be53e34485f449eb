"""What a pipeline's own functions may do: one that fails, exits or is cancelled costs its example, and nothing else.

| a prompt, parser, operator, program or metric | must be |
|---|---|
| calls sys.exit, lets a stray cancellation through, raises what cannot be said | a failed example, and no end |
| raises what is no Exception, as func_timeout and pytest do | a failed example, and no end |
| lets a StopIteration through, as `next` does that finds nothing | a failed example, not fewer samples |
| is async where it must not be, forgets an `await`, gives a generator | named at once, or a failed example; never a 0 |
| changes, empties or relabels its example | scored by the example as it was given |
| gives values that JSON has no form of, or that cannot be shown | voted on, and scored |
| gives a verdict of 5,000 digits | a counted unparsable sample |
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import agenttts as at
from agenttts._util.web import WebServer
from agenttts.deployment.answering import DeployedPipeline
from agenttts.deployment.application import application
from agenttts.environments import LiveEnvironment
from agenttts.pipeline.ballots import winner
from agenttts.space import SearchSpace
from agenttts.space.cost import FlopsCost
from agenttts.testing import ScriptedClient
from tests.faults.test_serving import GOOD, post

M = at.Model("m", 1e6)
ROWS = [{"id": f"e{n}", "question": f"{n}?", "gold": "right"} for n in range(4)]


class Unsayable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class Unshowable:
    """A value without words."""

    def __repr__(self) -> str:
        raise ValueError("no words")


class NoException(BaseException):
    """As func_timeout's FunctionTimedOut and the outcomes of pytest."""


Row = dict[str, Any]
Do = Callable[[Row], None]
"""What a function does with its example, beside its work."""


def leave(example: Row) -> None:
    if example["question"] == "2?":
        sys.exit(0)


def be_cancelled(example: Row) -> None:
    if example["question"] == "2?":
        raise asyncio.CancelledError


def break_down(example: Row) -> None:
    if example["question"] == "2?":
        raise Unsayable


def time_out(example: Row) -> None:
    if example["question"] == "2?":
        raise NoException


def close(example: Row) -> None:
    if example["question"] == "2?":
        raise GeneratorExit


def find_nothing(example: Row) -> None:
    if example["question"] == "2?":
        next(iter(()))


def relabel(example: Row) -> None:
    example["gold"] = "wrong"


def rename(example: Row) -> None:
    example["id"] = "another"


def empty(example: Row) -> None:
    example.clear()


def stage(**parts: Any) -> at.Subtask:
    return at.Subtask("s", (M,), **{"prompt": "{{ question }}", "max_samples": 8, **parts})


def untyped(example: Any) -> Any:
    """As who has no type checker sees it."""
    return example


def in_a_prompt(do: Do) -> at.Pipeline:
    def prompt(given: at.SubtaskInput) -> list[dict[str, Any]]:
        asked = [{"role": "user", "content": given.example["question"]}]
        do(untyped(given.example))
        return asked

    return at.Pipeline("p", (stage(prompt=prompt),), at.metrics.exact_match("gold"))


def in_a_parser(do: Do) -> at.Pipeline:
    def parser(sample: str, given: at.SubtaskInput) -> str:
        do(untyped(given.example))
        return sample

    return at.Pipeline("p", (stage(parser=parser),), at.metrics.exact_match("gold"))


def in_a_metric(do: Do) -> at.Pipeline:
    def metric(output: Any, example: Any) -> float:
        do(example)
        return float(output == example["gold"])

    return at.Pipeline("p", (stage(),), metric)


def in_a_stages_metric(do: Do) -> at.Pipeline:
    def metric(output: Any, example: Any) -> float:
        do(example)
        return 1.0

    return at.Pipeline("p", (stage(metric=metric),), at.metrics.exact_match("gold"))


def in_a_program(do: Do) -> at.Pipeline:
    async def program(example: Any, steps: Any) -> Any:
        question = example["question"]
        do(example)
        return await steps["s"].ask(question)

    plain = at.Subtask("s", (M,), max_samples=8)
    return at.Pipeline("p", (plain,), at.metrics.exact_match("gold"), run=program)


async def evaluated(pipeline: at.Pipeline, samples: int = 1, reply: Any = "right") -> at.Evaluation:
    said = reply if callable(reply) else lambda model, messages, position: reply
    async with LiveEnvironment(pipeline, ROWS, client=ScriptedClient(said)) as entered:
        return await entered.evaluate(at.Allocation({"s": ("m", samples)}))


@pytest.mark.parametrize("where", [in_a_prompt, in_a_parser, in_a_metric, in_a_stages_metric, in_a_program])
@pytest.mark.parametrize(
    ("do", "said"),
    [
        (leave, r"exit\(0\)"),
        (be_cancelled, "cancelled from within"),
        (break_down, "Unsayable"),
        (time_out, "it raised NoException, which is no Exception"),
        (close, "it raised GeneratorExit, which is no Exception"),
        (find_nothing, "StopIteration"),
    ],
)
async def test_a_function_that_breaks_off_fails_its_example_alone(
    where: Callable[[Do], at.Pipeline], do: Do, said: str
) -> None:
    evaluation = await evaluated(where(do))
    failed = [each for each in evaluation.results if each.error]
    assert [each.example for each in failed] == ["e2"] and evaluation.failures == 1 and evaluation.score == 0.75
    assert re.search(said, failed[0].error or "")


async def test_a_sample_that_stops_an_iteration_takes_no_other_with_it() -> None:
    def first_number(sample: str, given: at.SubtaskInput) -> str:
        return next(word for word in sample.split() if word.isdecimal())

    votes = ["1", "none", "2", "2", "2"]
    pipeline = at.Pipeline("p", (stage(parser=first_number),), lambda output, example: float(output == "2"))
    with pytest.raises(at.ConfigError, match="failed for every example: .*StopIteration"):
        await evaluated(pipeline, 5, lambda model, messages, position: votes[position])


async def later(sample: str, given: Any = None) -> str:
    return sample


class Later:
    async def __call__(self, sample: str, given: Any = None) -> str:
        return sample


@pytest.mark.parametrize("function", [later, Later()], ids=["function", "object"])
def test_what_must_not_be_async_is_named(function: Any) -> None:
    for make in (
        lambda: stage(parser=function),
        lambda: stage(prompt=function),
        lambda: at.operators.Vote(key=function),
        lambda: at.operators.BestOf(M, key=function),
        lambda: at.operators.Verifier(M, prompt=function),
    ):
        with pytest.raises(at.ConfigError, match="must be .*function that is not async"):
            make()


def forgetful(program: Callable[[Any], Any]) -> at.Pipeline:
    async def run(example: Any, steps: Any) -> Any:
        return program(steps["s"]) if example["id"] == "e2" else await steps["s"].ask("x")

    plain = at.Subtask("s", (M,), max_samples=8)
    return at.Pipeline("p", (plain,), at.metrics.exact_match("gold"), run=run)


def only_sometimes(value: Callable[[str], Any], given: at.SubtaskInput, sample: str) -> Any:
    return value(sample) if given.example["id"] == "e2" else sample


@pytest.mark.parametrize(
    "pipeline",
    [
        forgetful(lambda step: step.ask("x")),
        forgetful(lambda step: asyncio.ensure_future(step.ask("x"))),
        at.Pipeline(
            "p",
            (stage(parser=lambda sample, given: only_sometimes(later, given, sample)),),
            at.metrics.exact_match("gold"),
        ),
        at.Pipeline(
            "p",
            (stage(parser=lambda sample, given: only_sometimes(iter, given, sample)),),
            at.metrics.exact_match("gold"),
        ),
    ],
    ids=["coroutine", "task", "parsed coroutine", "parsed iterator"],
)
async def test_what_is_no_value_fails_its_example(pipeline: at.Pipeline) -> None:
    evaluation = await evaluated(pipeline)
    assert evaluation.failures == 1 and evaluation.score == 0.75
    assert "await what is async" in next(each.error or "" for each in evaluation.results if each.error)


async def test_a_key_that_gives_coroutines_fails_the_vote() -> None:
    key: Any = lambda value: later(value)  # noqa: E731  (untyped, as who has no type checker writes it)
    keyed = stage(operators=(at.operators.Vote(key=key),))
    with pytest.raises(at.ConfigError, match="TypeError: the key of a vote gave a coroutine"):
        await evaluated(at.Pipeline("p", (keyed,), at.metrics.exact_match("gold")), samples=2)


async def test_a_search_that_is_cancelled_ends() -> None:
    begun = asyncio.Event()

    async def program(example: Any, steps: Any) -> Any:
        begun.set()
        await asyncio.sleep(60)

    pipeline = at.Pipeline("p", (at.Subtask("s", (M,), max_samples=8),), at.metrics.exact_match("gold"), run=program)
    searching = asyncio.create_task(evaluated(pipeline))
    await begun.wait()
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching


def test_a_function_that_exits_does_not_end_a_server() -> None:
    space = SearchSpace(in_a_parser(lambda example: sys.exit(3)), FlopsCost(), 1e9)
    client = ScriptedClient(lambda model, messages, position: "x")
    pipeline = DeployedPipeline(at.Allocation({"s": ("m", 1)}), space, client=client)
    with WebServer(application(pipeline), within=pipeline) as server:
        for _ in range(2):
            status, text = post(server, json.dumps(GOOD).encode())
            assert status == 500 and "failed" in text


@pytest.mark.parametrize("where", [in_a_prompt, in_a_parser, in_a_program, in_a_stages_metric])
@pytest.mark.parametrize("do", [relabel, rename, empty])
async def test_what_a_function_does_to_an_example_changes_no_score(where: Callable[[Do], at.Pipeline], do: Do) -> None:
    evaluation = await evaluated(where(do))
    assert evaluation.score == 1 and [each.example for each in evaluation.results] == [row["id"] for row in ROWS]


LONG = np.arange(5000)
OTHER = np.where(LONG == 2500, 0, LONG)


@pytest.mark.parametrize("values", [
    [{1: "a", "b": 2}, {"b": 2, 1: "a"}, {1: "b"}], [{(1, 2): 3}, {(1, 2): 3}, {(1, 2): 4}],
    [{None: 1, "x": 2}, {"x": 2, None: 1}, {}], [10**5000, 10**5000, 10**5000 + 1],
    [[{2: {1, "a"}}], [{2: {"a", 1}}], []],
    [OTHER, OTHER.copy(), LONG], [np.int64(3), 3, 4], [{"a": 10**5000}, {"a": 10**5000}, 1],
])  # fmt: skip
def test_votes_count_equal_values_of_any_kind(values: list[Any]) -> None:
    first, second, other = values
    assert winner([other, first, second]) is first


@pytest.mark.parametrize(
    "value", [10**5000, Unshowable(), {1: 2, "a": 3}, LONG], ids=lambda value: type(value).__name__
)
async def test_values_that_cannot_be_shown_are_scored(value: Any) -> None:
    first = stage(aggregator=at.aggregators.First(), parser=lambda sample, given: value)
    evaluation = await evaluated(at.Pipeline("p", (first,), lambda output, example: 1.0), samples=3)
    assert evaluation.score == 1 and evaluation.failures == 0


async def test_a_step_whose_parser_gives_arrays_replies() -> None:
    async def program(example: Any, steps: Any) -> Any:
        return await steps["s"].reply(example["question"])

    arrays = at.Subtask("s", (M,), parser=lambda sample, given: np.array([1, 2]), max_samples=8)
    evaluation = await evaluated(at.Pipeline("p", (arrays,), at.metrics.exact_match("gold"), run=program))
    assert evaluation.score == 1


@pytest.mark.parametrize("verdict", ["9" * 5000, "0", "-", "99"])
async def test_a_verdict_that_names_nothing_is_counted(verdict: str) -> None:
    def reply(model: Any, messages: Any, position: int) -> str:
        return verdict if "Candidates" in messages[-1]["content"] else ("right", "wrong")[position % 2]

    judged = stage(aggregator=at.aggregators.BestOf())
    evaluation = await evaluated(at.Pipeline("p", (judged,), at.metrics.exact_match("gold")), 2, reply)
    assert evaluation.score == 1 and evaluation.usage["s"].unparsable == 4
