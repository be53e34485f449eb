"""Several methods, several seeds: what each recommends, with 95 % intervals over the seeds.

The intervals are Student's t for the mean over seeds, cut off where no value can be. They say how much a method depends
on its random choices, given these examples. Equal values get none: a method that makes the same
choices whatever the seed has been run once, however often it was run.
The gain over the baseline is paired: its interval is over the examples, each example's difference the mean over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from agenttts._util.stats import Interval, student_quantile
from agenttts.db import Study
from agenttts.posterior.frontier import Gain, Paired, mean_gain
from agenttts.space.allocation import Allocation
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
    @property
    def baseline_check(self) -> Evaluation | None: ...


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
    """Its title."""
    seeds: int
    """Number of studies."""
    score: Mean
    """Score of the recommended allocation: on held-out examples where there are any, else on those searched."""
    trials_to_best: Mean
    """Number of the recommended trial."""
    tokens: Mean
    """Tokens that evaluating every trial from scratch would take: those paid for and those the pool saved."""
    gain: Gain | None
    """What the recommended allocations score more than the baseline, on the same examples; None where some run has no
    baseline, or each recommends it."""
    results: tuple[Ended, ...]
    """One of each seed."""

    @property
    def baselines(self) -> dict[Allocation, Mean]:
        """What the runs were compared with, and what it scores; several where studies were given different ones."""
        scores: dict[Allocation, list[float]] = {}
        for result in self.results:
            if result.archive.baseline is not None:
                check = result.baseline_check or result.archive.baseline.evaluation
                scores.setdefault(result.archive.baseline.allocation, []).append(check.score)
        return {allocation: mean_over_seeds(each, least=0, most=1) for allocation, each in scores.items()}

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Studies whose recommended allocation has not been checked on held-out examples."""
        return tuple(result.study.name for result in self.results if result.validation is None)

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
        gain = None if self.gain is None else asdict(self.gain)
        baselines = [{"allocation": each.as_dict(), "score": mean.value} for each, mean in self.baselines.items()]
        found = {"gain": gain, "baselines": baselines, "agreement": self.agreement, "runs": runs}
        return {"method": self.method, "seeds": self.seeds, **means, **found}


def compare_runs(method: str, results: Sequence[Ended]) -> Comparison:
    """Summarise one method's runs over its seeds.

    Examples:
        >>> from agenttts import report
        >>> report.compare_runs("agent", [result]).trials_to_best
        Mean(value=7.0, interval=None)
    """
    return Comparison(
        method=method,
        seeds=len(results),
        score=mean_over_seeds([_score(result) for result in results], least=0, most=1),
        trials_to_best=mean_over_seeds([result.best.number for result in results], least=1),
        tokens=mean_over_seeds([_tokens(result) for result in results], least=0),
        gain=_gain(results),
        results=tuple(results),
    )


def mean_over_seeds(values: Sequence[float], *, least: float, most: float = math.inf) -> Mean:
    """Mean with its 95 % interval by Student's t, cut off at the least and the most that a value can be."""
    mean, count = float(np.mean(values)), len(values)
    if len(set(values)) < 2:
        return Mean(mean, None)
    half = student_quantile(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Mean(mean, Interval(max(mean - half, least), min(mean + half, most)))


def _gain(results: Sequence[Ended]) -> Gain | None:
    pairs = [
        Paired(result.archive.baseline, result.best, result.baseline_check, result.validation)
        for result in results
        if result.archive.baseline is not None
    ]
    return mean_gain(pairs) if len(pairs) == len(results) else None


def _score(result: Ended) -> float:
    return (result.validation or result.best.evaluation).score


def _tokens(result: Ended) -> int:
    """Paid for, and reused from what earlier searches had put into the pool or from its own trials."""
    return sum(trial.evaluation.spend.tokens + trial.evaluation.spend.reused_tokens for trial in result.archive.trials)
