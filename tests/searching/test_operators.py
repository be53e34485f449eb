"""A search over operators, from the first trial to the deployed answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

import agenttts as at
from agenttts import report
from agenttts.db import Store
from agenttts.pipeline import Message, Model
from agenttts.pipeline.operators import AdaptiveVote, BestOf, Cascade, Vote
from agenttts.searching import SearchResult
from agenttts.searching.recording import record
from agenttts.testing import ScriptedClient

SMALL, LARGE, JUDGE = at.Model("small", 1e6), at.Model("large", 8e6), at.Model("judge", 1e6)
BEST = "best-of(verifier=judge)"


def environment() -> at.LiveEnvironment:
    """Most samples are wrong, and wrong in the same way: votes are lost, and a verifier knows better."""

    def reply(model: Model, messages: Sequence[Message], position: int) -> str:
        asked = messages[-1]["content"]
        if model.name == "judge":
            return "Yes" if asked.endswith("right") else "No"
        chance = {"small": 0.3, "large": 0.45}[model.name]
        return "right" if random.Random(f"{model.name} {asked} {position}").random() < chance else "wrong"

    operators = (Vote(), AdaptiveVote(), BestOf(JUDGE), Cascade(to=LARGE, samples=3))
    answer = at.Subtask(
        "answer", (SMALL, LARGE), "Question {{ id }}", operators=operators, prompt_tokens=20, completion_tokens=5,
        max_samples=12,
    )  # fmt: skip
    pipeline = at.Pipeline("verified", (answer,), metric=lambda output, example: float(output == "right"))
    rows = [{"id": str(i)} for i in range(60)]
    return at.LiveEnvironment(pipeline, rows[:40], held_out=rows[40:], client=ScriptedClient(reply))


async def searched(store: Store, method: str) -> SearchResult:
    used = environment()
    space = at.SearchSpace(used.pipeline, at.cost_model("flops"), 8000)
    limits = at.Limits(trials=16)
    return await at.search(used, at.searcher(method, llm="none"), space, store, study_name="study", limits=limits)


@pytest.mark.parametrize("method", ["agent", "random", "grid", "tpe", "evolution", "coordinate", "halving"])
async def test_every_method_tries_operators(store: Store, method: str) -> None:
    tried = {trial.allocation["answer"].operator for trial in (await searched(store, method)).archive.trials}
    assert len(tried) > 1
    if method == "agent":
        assert tried == {"", "adaptive-vote", BEST, "cascade(to=large,samples=3,agree=0.6)"}


async def test_what_was_found_is_resumed_told_and_deployed(store: Store, tmp_path: Path) -> None:
    found = await searched(store, "agent")
    assert found.best.allocation["answer"].operator == BEST and found.best.evaluation.score > 0.9
    again = await searched(store, "agent")
    assert again.archive.trials == found.archive.trials
    evidence = found.archive.guidelines[-1].evidence
    assert isinstance(evidence, dict) and evidence["ways"][0]["ways"][0] == BEST
    assert any(f"operator of answer: {BEST}: " in step.text for step in store.steps(found.study))
    (findings,) = report.read_findings(store, ["study"])
    assert "by best-of(verifier=judge)" in report.report_html([findings])
    assert set(report.trials_frame(findings)["answer.operator"]) >= {"", BEST}
    allocation = report.recommendation(store, found.study)
    assert allocation["allocation"]["answer"]["operator"] == BEST
    (tmp_path / "allocation.yaml").write_text(yaml.safe_dump(allocation))
    deployed = at.deployed(tmp_path / "allocation.yaml", environment())
    assert (await deployed.answer({"id": "77"})).output == "right"


async def test_what_was_recorded_with_operators_is_read_and_searched_with_them(tmp_path: Path) -> None:
    used = environment()
    space = at.SearchSpace(used.pipeline, at.cost_model("flops"), 8000)
    allocations = space.on_levels([2, 6])
    await record(used, allocations, str(tmp_path / "s.db"), tmp_path / "scores.csv")
    recorded = at.RecordedEnvironment(used.pipeline, tmp_path / "scores.csv")
    listed = at.SearchSpace(recorded.pipeline, at.cost_model("flops"), 8000)
    assert set(listed.enumerate()) == set(allocations)
    for allocation in allocations[::3]:
        assert (await recorded.evaluate(allocation)).score == (await used.evaluate(allocation)).score
    limits = at.Limits(trials=8)
    found = await at.search(
        recorded, at.searcher("agent", llm="none"), listed, at.Store(), study_name="s", limits=limits
    )
    assert found.best.allocation["answer"].operator == BEST
