"""Best so far: the trial of the highest expected score among the first ones of a study, against what they took.

One posterior, over the trials of all studies shown, judges every trial, with what is known at the end: how far a
search had come, not what it believed at the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from agenttts.frontier import Expected, estimates
from agenttts.posterior import posterior
from agenttts.report.comparison import mean_over_seeds
from agenttts.report.findings import Findings
from agenttts.trial import Evaluation, Interval, Trial

Against = Literal["trials", "example evaluations", "tokens bought", "tokens from scratch"]
_GRID = 60

_TAKEN: dict[Against, Callable[[Evaluation], float]] = {
    "trials": lambda evaluation: 1,
    "example evaluations": lambda evaluation: len(evaluation.results),
    "tokens bought": lambda evaluation: evaluation.spend.tokens,
    "tokens from scratch": lambda evaluation: evaluation.spend.tokens + evaluation.spend.reused_tokens,
}


class Reached(NamedTuple):
    """How good the best trial was after this much."""

    taken: float
    score: float
    interval: Interval | None
    """95 %: of the true score for one study, of the mean over seeds for several; None where runs show no spread."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One method, over one study or one per seed."""

    row: str
    seeds: int
    reached: tuple[Reached, ...]


def axes(findings: Sequence[Findings]) -> tuple[Against, ...]:
    """What progress is shown against: tokens bought, or from scratch where studies are compared or replayed.

    What a comparison's first method buys, the others find in the pool; of a recording nothing is bought. Where no
    model has run there are no tokens.
    """
    scratch = len(findings) > 1 or findings[0].recorded
    tokens: Against = "tokens from scratch" if scratch else "tokens bought"
    used = any(_TAKEN[tokens](trial.evaluation) for found in findings for trial in found.trials)
    return ("trials", "example evaluations", tokens) if used else ("trials", "example evaluations")


def progress(findings: Sequence[Findings], against: Against) -> list[Progress]:
    """One per method, by name; studies that differ in their seed alone are one method's."""
    judged = _judge(findings)
    if len(findings) == 1:
        return [Progress(row=findings[0].row, seeds=1, reached=tuple(_alone(findings[0], judged, against)))]
    ordered = sorted(findings, key=lambda found: found.row)
    rows = {row: list(group) for row, group in groupby(ordered, key=lambda found: found.row)}
    return [
        Progress(row=row, seeds=len(runs), reached=tuple(_together(runs, judged, against)))
        for row, runs in rows.items()
    ]


def _judge(findings: Sequence[Findings]) -> dict[str, Expected]:
    """Key of an allocation -> its posterior over the trials of all studies, the most seen trial of each."""
    if len(findings) == 1:
        return {trial.allocation.key: findings[0].expected[trial.number] for trial in findings[0].trials}
    trials = sorted(
        (trial for found in findings for trial in found.trials), key=lambda trial: len(trial.evaluation.results)
    )
    distinct = list({trial.allocation.key: trial for trial in trials}.values())
    numbered = [replace(trial, number=number) for number, trial in enumerate(distinct)]
    surrogate = posterior(findings[0].study.spec.sizes, numbered)
    return {each.trial.allocation.key: each.expected for each in estimates(surrogate, numbered).values()}


def _alone(found: Findings, judged: dict[str, Expected], against: Against) -> list[Reached]:
    taken = _taken(found.trials, against)
    scores = [judged[trial.allocation.key] for trial in found.trials]
    leaders = [max(scores[: count + 1], key=lambda each: each.score) for count in range(len(scores))]
    return [Reached(at, leader.score, leader.interval) for at, leader in zip(taken, leaders, strict=True)]


def _together(runs: Sequence[Findings], judged: dict[str, Expected], against: Against) -> list[Reached]:
    """The mean over runs; one that has ended keeps what it had."""
    taken = [_taken(found.trials, against) for found in runs]
    best = [np.maximum.accumulate([judged[t.allocation.key].score for t in found.trials]) for found in runs]
    first, last = max(each[0] for each in taken), max(each[-1] for each in taken)
    grid = np.arange(first, last + 1) if against == "trials" else np.linspace(first, last, _GRID)
    points = []
    for at in grid.tolist():
        values = [float(b[np.searchsorted(each, at, side="right") - 1]) for each, b in zip(taken, best, strict=True)]
        points.append(Reached(at, *mean_over_seeds(values, least=0, most=1)))
    return points


def _taken(trials: Sequence[Trial], against: Against) -> list[float]:
    return [float(total) for total in np.cumsum([_TAKEN[against](trial.evaluation) for trial in trials])]
