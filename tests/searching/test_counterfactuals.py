"""Counterfactual trials: exact, free, found again, evidence for every method, and recommended where they are best."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import agenttts as at
from agenttts import report
from agenttts.db import Store
from agenttts.execution.pool import SamplePool
from agenttts.llm.samples import Spend
from agenttts.pipeline import Message, Metric, Model
from agenttts.pipeline.operators import AdaptiveVote, BestOf, Cascade, Vote
from agenttts.posterior.noise import noise_covariance
from agenttts.searching import SearchResult
from agenttts.searching.counterfactuals import variants
from agenttts.searching.progress import Progress
from agenttts.testing import ScriptedClient
from tests.searching.test_loop import Fixed

SMALL, LARGE, JUDGE = at.Model("small", 1e6), at.Model("large", 8e6), at.Model("judge", 1e6)


def knows_better(value: Any, given: at.SubtaskInput) -> float:
    return float(value == "right")


KNOWING = BestOf(knows_better)
OPERATORS = (Vote(), AdaptiveVote(), KNOWING, BestOf(JUDGE), Cascade(to=LARGE, samples=3, agree=0.9))


def reply(model: Model, messages: Sequence[Message], position: int) -> str:
    asked = messages[-1]["content"]
    return "right" if random.Random(f"{model.name} {asked} {position}").random() < 0.4 else "wrong"


def environment(metric: Any = None, **fields: Any) -> at.LiveEnvironment:
    short: dict[str, Any] = {"prompt_tokens": 20, "completion_tokens": 5, "max_samples": 12}
    find = at.Subtask("find", (SMALL, LARGE), "Find {{ id }}", **short)
    answer = at.Subtask("answer", (SMALL, LARGE), "{{ find }} {{ id }}", operators=OPERATORS, **short)
    is_right: Metric = lambda output, example: float(output == "right")  # noqa: E731
    pipeline = at.Pipeline("verified", (find, answer), metric=metric or is_right)
    rows = [{"id": str(i)} for i in range(40)]
    return at.LiveEnvironment(pipeline, rows[:30], held_out=rows[30:], client=ScriptedClient(reply), **fields)


def space_of(used: at.LiveEnvironment) -> at.SearchSpace:
    return at.SearchSpace(used.pipeline, at.cost_model("flops"), 8000)


async def searched(
    store: Store, used: at.LiveEnvironment, *, trials: int = 8, method: Any = None, **options: Any
) -> SearchResult:
    chosen, limits = method or at.searcher("random"), at.Limits(trials=trials)
    return await at.search(used, chosen, space_of(used), store, study_name="study", limits=limits, **options)


class CutOff(Exception):
    @staticmethod
    def after(trials: int) -> Callable[[Progress], None]:
        def cut(progress: Progress) -> None:
            if len(progress.archive.trials) >= trials:
                raise CutOff

        return cut


async def test_they_score_what_their_allocation_would_and_cost_nothing(store: Store) -> None:
    used = environment()
    found = await searched(store, used, trials=5)
    client, pool = used.client, SamplePool(store.samples)
    assert isinstance(client, ScriptedClient)
    asked = client.requests
    assert len(found.archive.counterfactuals) > 10
    for each in found.archive.counterfactuals:
        again = await used.evaluate(each.allocation, [r.example for r in each.evaluation.results], pool=pool)
        assert [(r.example, r.score) for r in again.results] == [(r.example, r.score) for r in each.evaluation.results]
        assert each.cost == space_of(used).cost(each.allocation) and each.evaluation.spend == Spend()
    assert client.requests == asked
    without = environment()
    await searched(
        at.Store(), without, counterfactuals=False, method=Fixed([t.allocation for t in found.archive.trials])
    )
    assert isinstance(without.client, ScriptedClient)


async def test_what_needs_other_samples_is_left_out(store: Store) -> None:
    found = await searched(store, environment())
    others = {each.allocation["answer"].operator for each in found.archive.counterfactuals}
    drawn = {trial.allocation["answer"].operator for trial in found.archive.trials}
    assert {"", "adaptive-vote", KNOWING.name} <= others
    assert not {BestOf(JUDGE).name} & (others - drawn)


async def test_a_search_that_was_cut_off_finds_the_same(store: Store) -> None:
    whole = await searched(at.Store(), environment(), trials=6)
    for trials in (1, 2, 4):
        with pytest.raises(CutOff):
            await searched(store, environment(), trials=6, on_progress=CutOff.after(trials))
    again = await searched(store, environment(), trials=6)
    assert [(t.allocation, t.evaluation.score) for t in again.archive.evidence] == [
        (t.allocation, t.evaluation.score) for t in whole.archive.evidence
    ]
    assert store.archive(again.study) == again.archive


@pytest.mark.parametrize("budgets", [(), (4000, 8000)])
async def test_they_are_evidence_for_what_is_recommended_now_and_later(store: Store, budgets: Sequence[float]) -> None:
    options: dict[str, Any] = {"trials": 10, "racing": at.Racing(look=10), "budgets": budgets}
    result = await searched(store, environment(), method=at.searcher("agent", llm="none"), **options)
    assert result.best.allocation["answer"].operator == KNOWING.name
    told = report.recommendation(store, result.study)
    assert told["trial"] == result.best.number and report.Findings.read(store, result.study).best == result.best
    again = await searched(store, environment(), method=at.searcher("agent", llm="none"), **options)
    assert again.best == result.best and again.archive == result.archive
    (step, *_) = [each for each in store.steps(result.study) if "scored by the trials' samples" in each.text]
    assert step.node == "recall"


async def test_what_has_been_tried_since_is_no_counterfactual(store: Store) -> None:
    tried = [at.Allocation.from_key(f"find=small*1;answer=small*{samples}") for samples in (8, 4)]
    first = await searched(store, environment(), trials=1, method=Fixed(tried[:1]))
    assert tried[1] in {each.allocation for each in first.archive.untried}
    both = await searched(store, environment(), trials=2, method=Fixed(tried))
    assert tried[1] not in {each.allocation for each in both.archive.untried}
    assert len(both.archive.evidence) == len({each.allocation for each in both.archive.evidence})
    (before,) = [each for each in first.archive.untried if each.allocation == tried[1]]
    assert before.evaluation.score == both.archive.trials[1].evaluation.score
    assert both.archive.trials[1].evaluation.spend.tokens == 0


async def judged(output: Any, example: Any) -> float:
    return float(output == "right")


@pytest.mark.parametrize(
    "used",
    [
        lambda: environment(judged),
        lambda: environment(lambda output, example: judged(output, example)),
        lambda: environment(probe=False),
    ],
)
async def test_a_metric_that_may_cost_something_is_not_asked_more_often(store: Store, used: Any) -> None:
    assert not (await searched(store, used(), trials=3)).archive.counterfactuals


async def test_they_are_made_only_where_they_are_wanted(store: Store) -> None:
    assert not (await searched(store, environment(), trials=3, counterfactuals=False)).archive.counterfactuals


def test_the_last_stages_change_and_nothing_else() -> None:
    used = environment()
    tried = at.Allocation.from_key("find=large*6;answer=small*8")
    found = variants(tried, space_of(used))
    assert {each["find"] for each in found} == {tried["find"]} and {each["answer"].model for each in found} == {"small"}
    assert {each["answer"].samples for each in found if not each["answer"].operator} == {4, 2, 1}
    assert all(each in space_of(used) for each in found)


async def test_the_posterior_knows_that_they_share_their_samples(store: Store) -> None:
    found = await searched(store, environment(), trials=2, racing=None)
    trials = found.archive.evidence
    covariance = noise_covariance(trials)
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    root = {each.scored_by or each.number for each in trials}
    assert len(root) > 1 and np.linalg.eigvalsh(covariance).min() > 0
    within: list[float] = []
    between: list[float] = []
    for i, one in enumerate(trials):
        for j, other in enumerate(trials[:i]):
            same = (one.scored_by or one.number) == (other.scored_by or other.number)
            (within if same else between).append(correlation[i, j])
    assert min(within) > max(between)
