"""Token lengths: declared for each subtask and model, measured by the trials, and what the budget makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.pipeline import Message, Model, Pipeline, Subtask
from agenttts.pipeline.metrics import equal
from agenttts.pipeline.operators import Cascade, Vote
from agenttts.pipeline.parsers import tagged
from agenttts.report import cost_notes, summary_lines
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.pricing import trial_cost
from agenttts.searching.progress import Limits, SearchResult
from agenttts.space import Allocation, SearchSpace
from agenttts.space.cost import FlopsCost, PaperCost
from agenttts.study.evaluation import SubtaskUsage
from agenttts.testing import ScriptedClient

TERSE, WORDY = Model("terse", 1e6), Model("wordy", 1e6)
ROWS = [{"id": f"e{i}", "question": f"{i}?", "gold": "yes"} for i in range(12)]


def reply(model: Model, messages: Sequence[Message], position: int) -> str:
    """The wordy one is always right, after 80 to 83 words of thought; the terse one on every second question."""
    number = int(messages[-1]["content"].rstrip("?"))
    if model.name == "wordy":
        return "so " * (80 + number % 4) + "Answer: yes"
    return f"Answer: {'yes' if number % 2 else 'no'}"


def pipeline(**of_stage: object) -> Pipeline:
    """One stage that is declared to have short answers."""
    known = {"parser": tagged("Answer:"), "prompt_tokens": 1, "completion_tokens": 2, "max_samples": 3}
    stage = Subtask("answer", (TERSE, WORDY), "{{ question }}", **{**known, **of_stage})  # type: ignore[arg-type]
    return Pipeline("wordy", (stage,), equal("gold"))


async def searched(
    budget: float, store: Store, trials: int = 6, cost: type = FlopsCost, **of_stage: object
) -> SearchResult:
    environment = LiveEnvironment(pipeline(**of_stage), ROWS, client=ScriptedClient(reply))
    space = SearchSpace(environment.pipeline, cost(), budget)
    limits = Limits(trials=trials)
    return await search(environment, searcher("grid"), space, store, study_name="s", limits=limits)


def test_each_model_of_a_stage_is_priced_with_its_own_lengths() -> None:
    stage = pipeline(model_lengths={"wordy": (1, 80)}).subtasks[0]
    cost = FlopsCost()
    assert [float(cost.cost(stage, model, 2)) for model in (TERSE, WORDY)] == [2 * (1 + 2 * 2), 2 * (1 + 2 * 80)]
    space = SearchSpace(pipeline(model_lengths={"wordy": (1, 80)}), cost, 200)
    assert space.size == len(list(space.enumerate())) == 3 + 1
    paper = PaperCost()
    assert paper.inverse(stage, WORDY, float(paper.cost(stage, WORDY, 7))) == pytest.approx(7)


def test_an_operators_other_model_has_its_own_lengths_too() -> None:
    cascade = Cascade(to=WORDY, samples=2, share=0.5)
    stage = Subtask("answer", (TERSE,), "x", operators=(Vote(), cascade), prompt_tokens=1, completion_tokens=2,
                    model_lengths={"wordy": (1, 80)})  # fmt: skip
    assert float(FlopsCost().cost(stage, TERSE, 2, cascade)) == 2 * (1 + 2 * 2) + 0.5 * 2 * (1 + 2 * 80)


@pytest.mark.parametrize(
    ("lengths", "said"),
    [({"wrody": (1, 2)}, "'wrody'; its models are terse, wordy"), ({"wordy": 3}, "two positive numbers"),
     ({"wordy": (1, 0)}, "two positive numbers"), ([1, 2], "must be a mapping")],
)  # fmt: skip
def test_lengths_that_cannot_be_are_rejected(lengths: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pipeline(model_lengths=lengths)


def test_measured_lengths_are_declared_for_one_model_or_for_all() -> None:
    base = pipeline(model_lengths={"wordy": (1, 80)})
    one = base.with_lengths({"answer": {"terse": (3, 4)}}).subtasks[0]
    assert [one.lengths(model)[:2] for model in (TERSE, WORDY)] == [(3, 4), (1, 80)]
    every = base.with_lengths({"answer": (5, 6)}).subtasks[0]
    assert [every.lengths(model)[:2] for model in (TERSE, WORDY)] == [(5, 6), (5, 6)]


async def test_a_trial_that_turns_out_to_be_over_the_budget_is_not_recommended(store: Store) -> None:
    result = await searched(30, store)
    costs = {str(trial.allocation): trial.cost for trial in result.archive.trials}
    assert costs["answer: wordy x1"] == pytest.approx(2 * (1 + 81.5 + 2))
    assert result.best.allocation["answer"].model == "terse" and result.best.cost <= 30
    assert "not recommended" in result.stopped
    # Once one trial has measured it, nothing that is now known to be over the budget is tried.
    assert sum(trial.allocation["answer"].model == "wordy" for trial in result.archive.trials) == 1
    told = "answer with wordy: declared 1 prompt tokens and 2 per sample, measured 1 and 83.5 ("
    assert any(line.strip().startswith(told) for line in summary_lines(result))
    notes = cost_notes(result.study, result.archive.trials)
    assert "at the lengths that were measured" in notes[0] and notes[1].startswith(told)


async def test_a_prompt_shorter_than_declared_does_not_pay_for_longer_answers(store: Store) -> None:
    declared: dict[str, Any] = {"model_lengths": {"wordy": (200, 2)}}
    result = await searched(405, store, **declared)
    space = SearchSpace(pipeline(**declared), FlopsCost(), 405)
    assert all(trial.allocation in space for trial in result.archive.trials)
    assert any(trial.allocation["answer"].model == "wordy" for trial in result.archive.trials)


@pytest.mark.parametrize(("tokens", "partly", "wholly"), [(4.2, 42, 44), (6.0, 62, 62)])
def test_a_part_of_the_examples_may_be_the_longest(tokens: float, partly: float, wholly: float) -> None:
    space = SearchSpace(pipeline(completion_tokens=4, max_samples=5), FlopsCost(), 1000)
    used = SubtaskUsage(examples=20, samples=100, prompt_tokens=1, completion_tokens=tokens)
    chosen = Allocation({"answer": ("terse", 5)})
    assert space.cost(chosen) == 2 * (1 + 5 * 4)
    cost = {whole: trial_cost(space, chosen, {"answer": used}, {}, whole=whole) for whole in (False, True)}
    assert cost == {False: pytest.approx(partly), True: pytest.approx(wholly)}


async def test_a_resumed_search_learns_the_same_lengths(tmp_path: Path) -> None:
    whole, path = await searched(400, Store()), str(tmp_path / "pieces.db")
    for trials in (1, 3, 6):
        pieces = await searched(400, Store(path), trials)
    assert [t.allocation for t in pieces.archive.trials] == [t.allocation for t in whole.archive.trials]
    assert [t.cost for t in pieces.archive.trials] == [t.cost for t in whole.archive.trials]


async def test_where_nothing_is_within_the_budget_the_search_ends_and_says_so(store: Store) -> None:
    environment = LiveEnvironment(
        replace(pipeline(), subtasks=(pipeline().subtasks[0].only((WORDY,)),)), ROWS, client=ScriptedClient(reply)
    )
    space = SearchSpace(environment.pipeline, FlopsCost(), 30)
    result = await search(environment, searcher("random"), space, store, study_name="s", limits=Limits(trials=6))
    assert len(result.archive.trials) == 1
    assert result.stopped.startswith("no allocation is within the budget at the lengths that were measured")
    assert "what is recommended is the one that costs least" in result.stopped


async def test_the_papers_cost_keeps_the_papers_lengths(store: Store) -> None:
    result = await searched(1, store, cost=PaperCost)
    space = SearchSpace(pipeline(), PaperCost(), 1)
    assert all(trial.cost == space.cost(trial.allocation) for trial in result.archive.trials)


def test_the_deviation_of_two_parts_is_that_of_the_whole() -> None:
    lengths = [3.0, 5.0, 4.0, 10.0, 12.0]

    def usage(part: Sequence[float]) -> SubtaskUsage:
        mean = sum(part) / len(part)
        spread = (sum((each - mean) ** 2 for each in part) / (len(part) - 1)) ** 0.5
        return SubtaskUsage(completion_tokens=mean, samples=len(part), examples=len(part), completion_deviation=spread)

    both, whole = usage(lengths[:2]) + usage(lengths[2:]), usage(lengths)
    assert both.completion_tokens == pytest.approx(whole.completion_tokens)
    assert both.completion_deviation == pytest.approx(whole.completion_deviation)
