"""Two trials side by side on the examples that both have seen."""

from __future__ import annotations

from dataclasses import dataclass

from agenttts.db import Store, Study
from agenttts.posterior.frontier import Gain, gain_of
from agenttts.study.evaluation import ExampleResult
from agenttts.study.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two."""

    study: Study
    trial: Trial

    @property
    def place(self) -> str:
        """As in the address of a page."""
        return f"{self.study.id}:{self.trial.number}"


@dataclass(frozen=True, kw_only=True)
class ComparedExample:
    """One example that both have seen."""

    example: str
    one: ExampleResult
    other: ExampleResult

    @property
    def gain(self) -> float:
        """What the other one scores more."""
        return self.other.score - self.one.score


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Two trials on the same examples."""

    one: Side
    other: Side
    examples: list[ComparedExample]
    """Those that the other one wins come first, then those that it loses, then the ties."""
    gain: Gain | None
    """Mean of the differences; None on fewer than two examples, or of one allocation."""

    @property
    def wins(self) -> int:
        """Examples on which the other one scores more."""
        return sum(each.gain > 0 for each in self.examples)

    @property
    def losses(self) -> int:
        """Examples on which it scores less."""
        return sum(each.gain < 0 for each in self.examples)


def side_by_side(one: Side, other: Side) -> SideBySide:
    """Two trials on the examples that both have seen in their search."""
    theirs = {result.example: result for result in other.trial.evaluation.results}
    examples = [
        ComparedExample(example=result.example, one=result, other=theirs[result.example])
        for result in one.trial.evaluation.results
        if result.example in theirs
    ]
    examples.sort(key=lambda each: (each.gain == 0, -each.gain, each.example))
    return SideBySide(one=one, other=other, examples=examples, gain=gain_of(one.trial, other.trial, None, None))


def best_by_score(store: Store, study: Study) -> Trial | None:
    """The trial with the highest score, for a study whose recommended one is not known yet."""
    return next(iter(store.overview.trials(study, order="score", limit=1)), None)
