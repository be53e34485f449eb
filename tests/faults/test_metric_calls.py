"""What a metric may do to a search: nothing to the rows, little before the first trial, and no score that is none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest

from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.pipeline.metrics import exact_match
from agenttts.space.allocation import Allocation
from agenttts.testing import ScriptedClient

M = Model("m", 1e9)
ROWS = [{"id": str(n), "question": f"{n}?", "gold": ["x"], "notes": {"seen": []}} for n in range(8)]


def environment(metric: Any, *, stage: Any = None, rows: Any = None, **options: Any) -> LiveEnvironment:
    client = ScriptedClient(lambda model, messages, position: "x")
    pipeline = Pipeline("p", (Subtask("s", (M,), "{{ question }}", metric=stage),), metric=metric)
    return LiveEnvironment(pipeline, rows or ROWS, client=client, **options)


async def score_of(live: LiveEnvironment) -> float:
    async with live as entered:
        evaluation = await entered.evaluate(Allocation({"s": ("m", 1)}))
    assert evaluation.failures == 0
    return evaluation.score


def popping(output: Any, example: Any) -> float:
    return float(output in example.pop("gold"))


def clearing(output: Any, example: Any) -> float:
    right = output in example["gold"]
    example["gold"].clear()
    example["notes"]["seen"].append(output)
    example["notes"] = None
    return float(right)


@pytest.mark.parametrize("metric", [popping, clearing])
async def test_what_a_metric_does_to_an_example_is_not_kept(metric: Any) -> None:
    rows = deepcopy(ROWS)
    live = environment(metric, stage=metric, rows=rows)
    prints = dict(live.fingerprints)
    assert await score_of(live) == await score_of(live) == 1
    assert rows == ROWS and environment(metric, stage=metric, rows=rows).fingerprints == prints


async def test_what_a_stage_does_to_an_example_or_its_metric_to_an_output_is_not_kept() -> None:
    def parse(sample: str, given: Any) -> list[str]:
        given.example["gold"].append(sample)
        return [sample]

    def emptied(output: Any, example: Any) -> float:
        output.clear()
        return 1.0

    def first(output: Any, example: Any) -> float:
        return float(output == ["x"])

    rows = deepcopy(ROWS)
    stage = Subtask("s", (M,), "{{ question }}", parser=parse, metric=emptied, default=["y"])
    client = ScriptedClient(lambda model, messages, position: "x")
    live = LiveEnvironment(Pipeline("p", (stage,), metric=first), rows, client=client)
    assert await score_of(live) == 1 and rows == ROWS


@dataclass
class Counted:
    """A metric that counts who calls it."""

    calls: Counter[str] = field(default_factory=Counter)

    def __call__(self, output: Any, example: Any) -> float:
        self.calls[example["id"]] += 1
        return float(output == "x")


async def test_the_probe_calls_a_metric_five_times_at_most_and_only_where_it_is_wanted() -> None:
    metric, stage = Counted(), Counted()
    async with environment(metric, stage=stage):
        pass
    assert 1 <= sum(metric.calls.values()) <= 5 and 1 <= sum(stage.calls.values()) <= 5
    for probe, calls in ((False, 0), (True, 5)):
        metric = Counted()
        async with environment(metric, probe=probe):
            assert sum(metric.calls.values()) <= calls
        assert bool(metric.calls) == probe


class Judge:
    """A coroutine behind a class."""

    asked = 0

    async def __call__(self, output: Any, example: Any) -> float:
        Judge.asked += 1
        await asyncio.sleep(0)
        return float(output in example["gold"])


async def judge(output: Any, example: Any) -> float:
    return await Judge()(output, example)


JUDGES: list[Callable[..., Any]] = [Judge(), judge, partial(judge), lambda output, example: judge(output, example)]


@pytest.mark.parametrize("metric", JUDGES, ids=["class", "function", "partial", "lambda"])
async def test_a_judge_is_awaited_and_never_probed(metric: Any) -> None:
    Judge.asked = 0
    live = environment(metric, stage=metric)
    async with live as entered:
        assert Judge.asked == 0
        evaluation = await entered.evaluate(Allocation({"s": ("m", 1)}))
    assert evaluation.score == evaluation.subtask_scores["s"] == 1 and Judge.asked == 2 * len(ROWS)


ONES: list[Any] = [
    1,
    True,
    1.0,
    np.float32(1),
    np.int64(1),
    np.bool_(True),
    np.array(1.0),
    Decimal(1),
    Fraction(1),
    1 + 1e-12,
]
NONE: list[Any] = [None, "1", "right", float("nan"), Decimal("NaN"), Decimal("sNaN"), 1j, [1.0], {"f1": 1}, b"1",
10**400,
                   -0.1, 1.1, float("inf"), np.nan, np.array([1.0, 0.0]), object()]  # fmt: skip


@pytest.mark.parametrize("value", ONES, ids=lambda value: f"{type(value).__name__}")
async def test_a_number_of_any_library_is_a_score(value: Any) -> None:
    assert await score_of(environment(lambda output, example: value)) == 1


@pytest.mark.parametrize("value", NONE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("probe", [True, False])
async def test_what_is_no_score_is_named(value: Any, probe: bool) -> None:
    def plain(output: Any, example: Any) -> Any:
        return value

    async def later(output: Any, example: Any) -> Any:
        return value

    for metric, stage, where in (
        (plain, None, "pipeline 'p'"), (exact_match("gold"), plain, "subtask 's'"), (later, None, "pipeline 'p'"),
        (exact_match("gold"), later, "subtask 's'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=rf"the metric of {where} gave .* must be (a number|in \[0, 1\])"):
            await score_of(environment(metric, stage=stage, probe=probe))


async def test_a_fault_of_the_examples_shows_before_anything_is_asked() -> None:
    live = environment(exact_match("answer"))
    with pytest.raises(ConfigError, match="example '0': field 'answer' is missing"):
        async with live:
            pass
