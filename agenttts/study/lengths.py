"""Token lengths as the trials of a study measured them, for each subtask and model.

Where a subtask has options, a model stands for it with one setting of these (`Pairing.asked`).

The trials of a study see the same examples and share samples, so that more trials say nothing of other examples: the
interval of a length is that of the examples of one trial, the one that saw most.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agenttts._util.numbers import scale
from agenttts._util.stats import student_quantile
from agenttts.pipeline import Pipeline
from agenttts.space.limit import limit
from agenttts.study.evaluation import SubtaskUsage
from agenttts.study.trial import Trial

ByModel = Mapping[str, Mapping[str, tuple[float, float]]]
"""Subtask -> model -> (prompt, completion) tokens."""
_TOLD = 1.5
"""A declared length that is off by more than this factor is told."""


class Length(NamedTuple):
    """A mean number of tokens, and its 95 % interval."""

    mean: float
    low: float
    high: float

    def longer(self, declared: float, *, by: float) -> bool:
        """Whether it is surely longer than declared, by more than a factor.

        By twice the half of its interval: a search asks after every trial, and of every stage and model.
        """
        return 2 * self.low - self.mean > declared and self.mean > declared * by

    def shorter(self, declared: float, *, by: float) -> bool:
        """Whether it is surely shorter than declared, by more than a factor."""
        return self.high < declared and self.mean * by < declared

    def __str__(self) -> str:
        mean, low, high = (f"{figure:.4g}" for figure in self)
        return mean if low == high else f"{mean} ({low} to {high})"


class MeasuredLengths(NamedTuple):
    """What was measured of one subtask with one model."""

    prompt: Length
    completion: Length

    @classmethod
    def of(cls, usages: Sequence[SubtaskUsage]) -> MeasuredLengths | None:
        """Those of some trials; None where none drew samples for two examples, without which there is no interval."""
        known = [usage for usage in usages if usage.examples > 1 and usage.prompt_tokens and usage.completion_tokens]
        return cls(_length(known, "prompt"), _length(known, "completion")) if known else None

    def longer(self, declared: Sequence[float], *, by: float) -> bool:
        """Whether prompt or completion is surely longer than declared, by more than a factor."""
        return any(length.longer(figure, by=by) for length, figure in zip(self, declared, strict=True))

    def shorter(self, declared: Sequence[float], *, by: float) -> bool:
        """Whether prompt or completion is surely shorter than declared, by more than a factor."""
        return any(length.shorter(figure, by=by) for length, figure in zip(self, declared, strict=True))


def declared_lengths(pipeline: Pipeline) -> dict[str, dict[str, tuple[float, float]]]:
    """What a pipeline declares of each subtask with each of its models."""
    return {
        s.name: {each.asked: s.lengths(each.model, each.options)[:2] for each in s.pairings} for s in pipeline.subtasks
    }


def misdeclared_in_words(declared: ByModel, trials: Iterable[Trial]) -> list[str]:
    """Of each subtask and model with a declared length that is far off what was measured, one sentence."""
    return [
        f"{subtask} with {model}: declared {known[0]:.4g} prompt tokens and {known[1]:.4g} per sample, "
        f"measured {measured.prompt} and {measured.completion}"
        for (subtask, model), measured in measured_lengths(trials).items()
        if (known := declared.get(subtask, {}).get(model))
        and (measured.longer(known, by=_TOLD) or measured.shorter(known, by=_TOLD))
    ]


def over_budget_in_words(trials: Iterable[Trial], budget: float, unit: str) -> list[str]:
    """Which trials turned out to cost more than the budget, in a sentence where there are any."""
    over = [str(trial.number) for trial in trials if trial.cost > limit(budget)]
    if not over:
        return []
    what = f"a query costs more than {scale(unit, budget).show(budget)} at the lengths that were measured"
    return [f"trial {', '.join(over)}: {what}, which is not recommended"]


def measured_lengths(trials: Iterable[Trial]) -> dict[tuple[str, str], MeasuredLengths]:
    """Subtask and model -> what the trials measured."""
    usages: Mapping[tuple[str, str], list[SubtaskUsage]] = defaultdict(list)
    for trial in trials:
        for subtask, usage in trial.evaluation.usage.items():
            usages[subtask, trial.allocation[subtask].asked].append(usage)
    found = {key: MeasuredLengths.of(each) for key, each in usages.items()}
    return {key: each for key, each in found.items() if each is not None}


def _length(usages: Sequence[SubtaskUsage], kind: str) -> Length:
    examples = sum(usage.examples for usage in usages)
    mean = sum(usage.examples * getattr(usage, f"{kind}_tokens") for usage in usages) / examples
    squares = sum((usage.examples - 1) * getattr(usage, f"{kind}_deviation") ** 2 for usage in usages)
    most = max(usage.examples for usage in usages)
    half = student_quantile(most - 1) * math.sqrt(squares / (examples - len(usages)) / most)
    return Length(mean, max(mean - half, 0.0), mean + half)
