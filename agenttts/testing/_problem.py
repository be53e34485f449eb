"""The problem that the suites search: two stages, three models each, scores that follow a known truth."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np

from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.space import Allocation, SearchSpace, cost_model
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Archive, Trial

BUDGET_MFLOP = 2500
_QUALITY = {"s": 0.3, "m": 0.6, "l": 0.8}
_EXAMPLES = 40


def small_space(budget: float = BUDGET_MFLOP) -> SearchSpace:
    """Some thousand allocations within the default budget."""
    models = tuple(Model(name, size) for name, size in (("s", 1e6), ("m", 4e6), ("l", 16e6)))
    first = Subtask("a", models, "x", prompt_tokens=50, completion_tokens=20, max_samples=16)
    second = Subtask("b", models, "x", prompt_tokens=30, completion_tokens=10, max_samples=16)
    return SearchSpace(Pipeline("small", (first, second), metric=_unscored), cost_model("flops"), budget)


def true_score(allocation: Allocation) -> float:
    """Larger models and more samples help, with saturation; the stages multiply."""
    parts = [1 - (1 - _QUALITY[choice.model]) * (0.5 + 0.5 / choice.samples) for choice in allocation.values()]
    return parts[0] * parts[1]


def archive_of(allocations: Iterable[Allocation], space: SearchSpace) -> Archive:
    """Trials on 40 examples, with scores as near the truth as they can be."""
    luck = (np.arange(_EXAMPLES) + 0.5) / _EXAMPLES
    trials = [
        Trial(
            number=number,
            allocation=allocation,
            cost=space.cost(allocation),
            evaluation=Evaluation(
                results=tuple(
                    ExampleResult(example=str(example), score=float(score))
                    for example, score in enumerate(luck < true_score(allocation))
                )
            ),
            searcher="suite",
            rationale="",
            round=number - 1,
            created=datetime.now(UTC),
        )
        for number, allocation in enumerate(allocations, start=1)
    ]
    return Archive(trials=tuple(trials))


def _unscored(output: object, example: object) -> float:
    """The pipeline is never run."""
    return 0.0
