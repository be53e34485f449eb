"""What the adapters have in common: a pipeline of two steps, found by a fact and answered by vote."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

import agenttts as at
from agenttts.environments import LiveEnvironment
from agenttts.pipeline import Message, Model, Pipeline, Subtask
from agenttts.pipeline.handles import Program
from agenttts.study.evaluation import Evaluation
from agenttts.testing import ScriptedClient

SMALL, LARGE = Model("small", 1e6), Model("large", 8e6)
CHOSEN = at.Allocation({"find": ("large", 1), "answer": ("small", 3)})
ROWS = [{"id": str(i), "question": f"q{i}", "gold": f"fact of q{i}"} for i in range(4)]


class Models:
    """Remembers who was asked what, and answers: the first of three answers is wrong."""

    def __init__(self, answer: str = "thought {n}\nAnswer: {text}") -> None:
        self.asked: list[tuple[str, str]] = []
        self._answer = answer

    def __call__(self, model: Model, messages: Sequence[Message], position: int) -> str:
        content = messages[-1]["content"]
        self.asked.append((model.name, content))
        (question,) = re.findall(r"fact of (q\d)", content) or re.findall(r"question (q\d)", content)
        wrong = "fact of" in content and position == 0
        return self._answer.format(n=position, text="wrong" if wrong else f"fact of {question}")


@pytest.fixture
def models() -> Models:
    return Models()


def environment(run: Program, models: Models, marker: str = "Answer:") -> LiveEnvironment:
    """The user's function as a pipeline to search."""
    parser = at.parsers.tagged(marker)
    steps = [
        Subtask(name, (SMALL, LARGE), parser=parser, prompt_tokens=10, completion_tokens=5, max_samples=6)
        for name in ("find", "answer")
    ]
    pipeline = Pipeline("mine", steps, at.metrics.exact_match("gold"), run)
    return LiveEnvironment(pipeline, ROWS, client=ScriptedClient(models))


def require_metered(evaluation: Evaluation, again: Evaluation, models: Models) -> None:
    """Every call went through the pool, with the allocation's models and numbers of samples; the second time free."""
    assert evaluation.score == 1 and evaluation.failures == 0, evaluation.errors
    assert evaluation.usage["find"].samples == 4 and evaluation.usage["answer"].samples == 12
    assert [name for name, _ in models.asked].count("large") == 4 and len(models.asked) == 16
    assert evaluation.spend.requests == 8 and evaluation.spend.tokens > 0
    assert again.spend.tokens == 0 and again.spend.reused_tokens == evaluation.spend.tokens and again.score == 1
