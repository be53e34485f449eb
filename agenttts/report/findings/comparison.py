"""Several methods, several seeds: what each recommends, with 95 % intervals over the seeds.

The intervals are Student's t for the mean over seeds, cut off where no value can be. They say how much a method depends
on its random choices, given these examples. Equal values get none: a method that makes the same
choices whatever the seed has been run once, however often it was run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from agenttts._util.stats import Interval, student_quantile
from agenttts.db import Study
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import Archive, Trial


class Mean(NamedTuple):
    """A mean over seeds and its 95 % interval; None where the seeds show no spread."""

    value: float
    interval: Interval | None


class Ended(Protocol):
    """How a search ended: a `progress.SearchResult`, or `findings.Findings` of one that ended long ago."""

    @property
    def study(self) -> Study: ...
    @property
    def archive(self) -> Archive: ...
    @property
    def best(self) -> Trial: ...
    @property
    def validation(self) -> Evaluation | None: ...


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One method over several seeds.

    Examples:
        >>> from agenttts import report
        >>> comparison = report.compare_runs("agent", [result])
        >>> comparison.seeds, comparison.score.value
        (1, 1.0)
    """

    method: str
    seeds: int
    score: Mean
    """Score of the recommended allocation: on held-out examples where there are any, else on those searched."""
    trials_to_best: Mean
    """Number of the recommended trial."""
    tokens: Mean
    """Tokens that evaluating every trial from scratch would take: those paid for and those the pool saved."""
    results: tuple[Ended, ...]

    @property
    def agreement(self) -> str:
        """In words, that the runs agree; empty where they do not, or where there is one."""
        if self.seeds < 2 or self.score.interval is not None:
            return ""
        ways = {tuple(trial.allocation.key for trial in result.archive.trials) for result in self.results}
        return f"{self.seeds} identical runs" if len(ways) == 1 else f"equal in {self.seeds} runs"

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        means = {name: getattr(self, name)._asdict() for name in ("score", "trials_to_best", "tokens")}
        runs = [
            {
                "study": result.study.name,
                "recorded": result.study.details.get("recorded", ""),
                "allocation": result.best.allocation.as_dict(),
                "cost": result.best.cost,
                "score": _score(result),
            }
            for result in self.results
        ]
        return {"method": self.method, "seeds": self.seeds, **means, "agreement": self.agreement, "runs": runs}


def compare_runs(method: str, results: Sequence[Ended]) -> Comparison:
    """Summarise one method's runs over its seeds.

    Examples:
        >>> from agenttts import report
        >>> report.compare_runs("agent", [result]).trials_to_best
        Mean(value=8.0, interval=None)
    """
    return Comparison(
        method=method,
        seeds=len(results),
        score=mean_over_seeds([_score(result) for result in results], least=0, most=1),
        trials_to_best=mean_over_seeds([result.best.number for result in results], least=1),
        tokens=mean_over_seeds([_tokens(result) for result in results], least=0),
        results=tuple(results),
    )


def mean_over_seeds(values: Sequence[float], *, least: float, most: float = math.inf) -> Mean:
    """Mean with its 95 % interval by Student's t, cut off at the least and the most that a value can be."""
    mean, count = float(np.mean(values)), len(values)
    if len(set(values)) < 2:
        return Mean(mean, None)
    half = student_quantile(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Mean(mean, Interval(max(mean - half, least), min(mean + half, most)))


def _score(result: Ended) -> float:
    return (result.validation or result.best.evaluation).score


def _tokens(result: Ended) -> int:
    """Paid for, and reused from what earlier searches had put into the pool or from its own trials."""
    return sum(trial.evaluation.spend.tokens + trial.evaluation.spend.reused_tokens for trial in result.archive.trials)
