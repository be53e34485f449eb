"""What trying an allocation gives and takes: scores of examples, usage of subtasks, spend."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from agenttts._util.stats import Interval, wilson_interval
from agenttts._util.text import storable
from agenttts.llm.samples import Spend


@dataclass(frozen=True, kw_only=True)
class ExampleResult:
    """One example under one allocation. A failed example scores 0 and says why.

    Examples:
        >>> at.ExampleResult(example="e1", score=0, error="no sample could be parsed").error
        'no sample could be parsed'
    """

    example: str
    score: float
    error: str | None = None
    subtask_scores: Mapping[str, float] = field(default_factory=dict)
    """Scores of the subtasks that declare a metric."""
    output: str = ""
    """The final output, as text, shortened."""

    def __post_init__(self) -> None:
        """What is in memory is what a store gives back."""
        for name in ("example", "error", "output"):
            if isinstance(text := getattr(self, name), str):
                object.__setattr__(self, name, storable(text))


@dataclass(frozen=True, kw_only=True)
class SubtaskUsage:
    """Means over examples of what one subtask used, whether paid for or reused."""

    prompt_tokens: float = 0.0
    """Prompt tokens of one request."""
    completion_tokens: float = 0.0
    """Completion tokens of one sample."""
    samples: int = 0
    """Samples drawn, over all examples."""
    unparsable: int = 0
    """Samples that the parser could not use: counted non-votes."""

    def __add__(self, other: SubtaskUsage) -> SubtaskUsage:
        samples = self.samples + other.samples
        share = self.samples / samples if samples else 0.5
        return SubtaskUsage(
            prompt_tokens=share * self.prompt_tokens + (1 - share) * other.prompt_tokens,
            completion_tokens=share * self.completion_tokens + (1 - share) * other.completion_tokens,
            samples=samples,
            unparsable=self.unparsable + other.unparsable,
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one allocation on some examples, and what obtaining them took.

    Examples:
        >>> results = [at.ExampleResult(example="e1", score=1), at.ExampleResult(example="e2", score=0)]
        >>> at.Evaluation(results=tuple(results)).score
        0.5
    """

    results: tuple[ExampleResult, ...]
    spend: Spend = Spend()
    usage: Mapping[str, SubtaskUsage] = field(default_factory=dict)

    def __add__(self, other: Evaluation) -> Evaluation:
        """Of the same allocation on further examples."""
        names = dict.fromkeys([*self.usage, *other.usage])
        none = SubtaskUsage()
        return Evaluation(
            results=self.results + other.results,
            spend=self.spend + other.spend,
            usage={name: self.usage.get(name, none) + other.usage.get(name, none) for name in names},
        )

    @property
    def score(self) -> float:
        """Mean score; failed examples count as 0."""
        return float(np.mean([result.score for result in self.results]))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN for a single example."""
        scores = [result.score for result in self.results]
        return float(np.std(scores, ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else math.nan

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval of the mean: conservative for any score in [0, 1]."""
        return wilson_interval(self.score, len(self.results))

    @property
    def lengths(self) -> dict[str, tuple[float, float]]:
        """Subtask -> measured mean (prompt, completion) tokens: calibrates a pipeline (`Pipeline.with_lengths`)."""
        return {name: (usage.prompt_tokens, usage.completion_tokens) for name, usage in self.usage.items()}

    @property
    def failures(self) -> int:
        """Examples that failed and were scored 0."""
        return sum(result.error is not None for result in self.results)

    @property
    def errors(self) -> dict[str, int]:
        """Reason -> examples that failed for it, the most frequent first."""
        return dict(Counter(result.error for result in self.results if result.error is not None).most_common())

    @property
    def subtask_scores(self) -> dict[str, float]:
        """Mean score of each subtask that declares a metric, a failed example counting as 0."""
        names = dict.fromkeys(name for result in self.results for name in result.subtask_scores)
        return {n: float(np.mean([result.subtask_scores.get(n, 0.0) for result in self.results])) for n in names}
