"""What trying an allocation gives and takes: scores of examples, usage of subtasks, spend."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from agenttts._util.checks import Kind, instance, members, require_fields
from agenttts._util.stats import Interval, wilson_interval
from agenttts._util.text import bounded, storable
from agenttts.errors import ConfigError
from agenttts.llm.samples import Spend
from agenttts.study.transcript import Transcript

_ROUNDING = 1e-9
_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class ExampleResult:
    """One example under one allocation. A failed example scores 0 and says why.

    Raises:
        ConfigError: On a score that is no number in [0, 1], or an id, error or output that is no text.

    Examples:
        >>> at.ExampleResult(example="e1", score=0, error="no sample could be parsed").error
        'no sample could be parsed'
    """

    example: str
    """Its id."""
    score: float
    """From 0 to 1."""
    error: str | None = None
    """Why it failed, and scored 0; None where it did not."""
    subtask_scores: Mapping[str, float] = field(default_factory=dict)
    """Scores of the subtasks that declare a metric."""
    output: str = ""
    """The final output, as text, shortened."""

    def __post_init__(self) -> None:
        for name, kind in (("example", str), ("error", str | None), ("output", str)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(
                    f"the result of example {self.example!r} has the {name} {getattr(self, name)!r}: it must be a text"
                )
        for name in ("example", "error", "output"):  # what is in memory is what a store gives back
            if isinstance(text := getattr(self, name), str):
                object.__setattr__(self, name, storable(text) if name == "example" else bounded(storable(text)))
        object.__setattr__(self, "score", _checked(self.score, f"the score of example {self.example!r}"))
        if self.subtask_scores:
            where = f"of example {self.example!r}"
            scores = {name: _checked(s, f"the score {where} in {name!r}") for name, s in self.subtask_scores.items()}
            object.__setattr__(self, "subtask_scores", scores)


def _is_number(value: Any) -> bool:
    """Whether it is one, Python's own or numpy's."""
    return isinstance(value, int | float | np.number) and not isinstance(value, np.complexfloating)


def _checked(score: Any, what: str) -> float:
    """The score as a float.

    Raises:
        ConfigError: When it is no number in [0, 1]: every later comparison would be wrong.
    """
    if type(score) is float and 0 <= score <= 1:
        return score
    if _is_number(score) and -_ROUNDING <= score <= 1 + _ROUNDING:
        return min(max(float(score), 0.0), 1.0)
    raise ConfigError(f"{what} is {_shown(score)}: it must be a number in [0, 1]")


def _shown(value: Any) -> str:
    """What was given; integers of thousands of digits have no text."""
    try:
        return repr(value)[:_SHOWN]
    except ValueError:
        return "a number of thousands of digits"


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
    refused: int = 0
    """Of these, samples in which the model refused, or a content filter did."""
    cut: int = 0
    """Samples that were cut at `max_tokens`: those that said something are used where no whole one can be."""
    empty: int = 0
    """Of the unparsable ones, samples that held no text."""
    examples: int = 0
    """Examples for which it drew samples; 0 where that was not kept."""
    prompt_deviation: float = 0.0
    """Standard deviation, over these examples, of the mean prompt tokens of each."""
    completion_deviation: float = 0.0
    """The same of completion tokens."""

    def __add__(self, other: SubtaskUsage) -> SubtaskUsage:
        samples = self.samples + other.samples
        share = self.samples / samples if samples else 0.5
        return SubtaskUsage(
            prompt_tokens=share * self.prompt_tokens + (1 - share) * other.prompt_tokens,
            completion_tokens=share * self.completion_tokens + (1 - share) * other.completion_tokens,
            samples=samples,
            unparsable=self.unparsable + other.unparsable,
            refused=self.refused + other.refused,
            cut=self.cut + other.cut,
            empty=self.empty + other.empty,
            examples=self.examples + other.examples,
            prompt_deviation=_pooled(self, other, "prompt"),
            completion_deviation=_pooled(self, other, "completion"),
        )


def _pooled(one: SubtaskUsage, other: SubtaskUsage, kind: str) -> float:
    """The standard deviation over the examples of both."""
    both, squares = one.examples + other.examples, 0.0
    for usage in (one, other):
        squares += max(usage.examples - 1, 0) * getattr(usage, f"{kind}_deviation") ** 2
    apart = getattr(one, f"{kind}_tokens") - getattr(other, f"{kind}_tokens")
    squares += one.examples * other.examples / max(both, 1) * apart**2
    return math.sqrt(squares / (both - 1)) if both > 1 else 0.0


def _require_amounts(what: str, of: Spend | SubtaskUsage) -> None:
    for each in fields(of):
        value = getattr(of, each.name)
        if not (_is_number(value) and 0 <= value < math.inf):
            raise ConfigError(f"{what} has the {each.name} {_shown(value)}: it must be a number from 0 up")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one allocation on some examples, and what obtaining them took.

    Raises:
        ConfigError: On two results of one example, one that is missing too, a field of another type, or a spend or
            usage that is no number from 0 up.

    Examples:
        >>> results = [at.ExampleResult(example="e1", score=1), at.ExampleResult(example="e2", score=0)]
        >>> at.Evaluation(results=tuple(results)).score
        0.5
    """

    results: tuple[ExampleResult, ...]
    """Of the examples that were answered."""
    spend: Spend = Spend()
    """What it took."""
    usage: Mapping[str, SubtaskUsage] = field(default_factory=dict)
    """Subtask -> what was measured of it."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Example that got no answer -> why. That says nothing of the allocation: it is no result, and is asked again."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Subtask whose model refused every example -> why: the trial failed, and the study goes on without the model."""
    transcripts: Mapping[str, Transcript] = field(default_factory=dict, compare=False, repr=False)
    """Example -> what was asked and said, from where it was evaluated until a store takes it (`Store.transcripts`);
    none in what is read back."""

    def __post_init__(self) -> None:
        if type(self.results) is not tuple or not all(isinstance(each, ExampleResult) for each in self.results):
            object.__setattr__(self, "results", members(self.results, _RESULT, "the results of an evaluation"))
        seen = Counter(result.example for result in self.results)
        if len(seen) < len(self.results):
            raise ConfigError(f"the evaluation has two results of example {seen.most_common(1)[0][0]!r}")
        require_fields(self, "an evaluation", _FIELDS)
        if both := [example for example in self.missing if example in seen]:
            raise ConfigError(f"example {both[0]!r} of the evaluation has a result and is missing")
        object.__setattr__(self, "missing", {name: bounded(storable(why)) for name, why in self.missing.items()})
        _require_amounts("the spend", self.spend)
        for name, usage in self.usage.items():
            _require_amounts(f"the usage of {name!r}", usage)

    @property
    def whole(self) -> bool:
        """Whether every example that was asked for was answered."""
        return not self.missing

    def __add__(self, other: Evaluation) -> Evaluation:
        """Of the same allocation on further examples."""
        names = dict.fromkeys([*self.usage, *other.usage])
        none, results = SubtaskUsage(), self.results + other.results
        answered = {result.example for result in results}
        missing = {**self.missing, **other.missing}
        return Evaluation(
            results=results,
            spend=self.spend + other.spend,
            usage={name: self.usage.get(name, none) + other.usage.get(name, none) for name in names},
            missing={example: reason for example, reason in missing.items() if example not in answered},
            refused={**self.refused, **other.refused},
            transcripts={**other.transcripts, **self.transcripts},
        )

    def extended(self, further: Evaluation) -> Evaluation:
        """With the results of a further evaluation; those of examples that are here already stand."""
        seen = {result.example for result in self.results}
        return self + replace(further, results=tuple(each for each in further.results if each.example not in seen))

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


_RESULT = instance(ExampleResult, "ExampleResult objects")
_FIELDS = {
    "spend": instance(Spend, "a Spend"),
    "usage": Kind(
        "a mapping of SubtaskUsage objects",
        lambda usage: isinstance(usage, Mapping) and all(isinstance(each, SubtaskUsage) for each in usage.values()),
    ),
    "missing": Kind(
        "a mapping of example ids to reasons, both texts",
        lambda missing: (
            isinstance(missing, Mapping) and all(isinstance(each, str) for each in (*missing, *missing.values()))
        ),
    ),
}
