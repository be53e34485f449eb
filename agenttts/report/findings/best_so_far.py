"""Best so far: what a search would have recommended after each look at examples, against what it had taken by then.

Nothing is chosen with hindsight. Of one study the score is what was expected of the recommendation at that moment; of
several it is what one posterior, over the trials of all of them, expects of it at the end, so that no method profits
from its own optimism. A study of a version that did not keep when a trial saw its examples is drawn trial by trial,
with all that each saw in the end: `BestSoFar.hindsight`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from agenttts._util.stats import Interval
from agenttts.llm.samples import Spend
from agenttts.posterior.frontier import Expected, estimates
from agenttts.posterior.insights import posterior
from agenttts.report.findings.comparison import mean_over_seeds
from agenttts.report.findings.findings import Findings
from agenttts.report.findings.history import Moment

Against = Literal["trials", "example evaluations", "tokens paid for", "tokens from scratch"]
_GRID = 60

_TAKEN: dict[Against, Callable[[Moment], float]] = {
    "trials": lambda moment: moment.trials,
    "example evaluations": lambda moment: moment.examples,
    "tokens paid for": lambda moment: moment.spend.tokens,
    "tokens from scratch": lambda moment: moment.spend.tokens + moment.spend.reused_tokens,
}


class Reached(NamedTuple):
    """How good the recommendation was after this much."""

    taken: float
    score: float
    interval: Interval | None
    """95 %: of the true score for one study, of the mean over seeds for several; None where runs show no spread."""


@dataclass(frozen=True, kw_only=True)
class BestSoFar:
    """One method, over one study or one per seed."""

    row: str
    seeds: int
    reached: tuple[Reached, ...]
    hindsight: bool
    """Whether it is not known when the trials saw their examples."""


def axes(findings: Sequence[Findings]) -> tuple[Against, ...]:
    """What progress is shown against: tokens paid for, or from scratch where studies are compared or replayed.

    What a comparison's first method pays for, the others find in the pool; a recording costs nothing. Where no
    model has run there are no tokens.
    """
    scratch = len(findings) > 1 or findings[0].recorded
    spent = [trial.evaluation.spend for found in findings for trial in found.trials]
    used = any(spend.tokens or (scratch and spend.reused_tokens) for spend in spent)
    tokens: Against = "tokens from scratch" if scratch else "tokens paid for"
    return ("trials", "example evaluations", tokens) if used else ("trials", "example evaluations")


def best_so_far(findings: Sequence[Findings], against: Against) -> list[BestSoFar]:
    """One per method, by name; studies that differ in their seed alone are one method's."""
    hindsight, judged = not all(found.history for found in findings), _judge(findings)
    ordered = sorted(findings, key=lambda found: found.row)
    lines = []
    for row, group in groupby(ordered, key=lambda found: found.row):
        runs = [_in_hindsight(found, judged) if hindsight else found.history for found in group]
        reached = _alone(runs[0], against) if len(findings) == 1 else _together(runs, judged, against)
        lines.append(BestSoFar(row=row, seeds=len(runs), reached=tuple(reached), hindsight=hindsight))
    return lines


def taken(moment: Moment, against: Against) -> float:
    """What a search had taken by a moment."""
    return _TAKEN[against](moment)


def moments(found: Findings) -> Sequence[Moment]:
    """Of one study, in hindsight where there is nothing else."""
    return found.history or _in_hindsight(found, _judge([found]))


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


def _in_hindsight(found: Findings, judged: dict[str, Expected]) -> tuple[Moment, ...]:
    """One a trial, as if each had seen at once all that it saw in the end, and the best had been known."""
    line: list[Moment] = []
    examples, spend = 0, Spend()
    for count, trial in enumerate(found.trials, start=1):
        examples, spend = examples + len(trial.evaluation.results), spend + trial.evaluation.spend
        best = max(found.trials[:count], key=lambda each: judged[each.allocation.key].score)
        expected = judged[best.allocation.key]
        line.append(Moment(trials=count, examples=examples, spend=spend, best=best, expected=expected))
    return tuple(line)


def _alone(run: Sequence[Moment], against: Against) -> list[Reached]:
    """After each amount once: what is known when the next is about to be taken."""
    last = {taken(moment, against): moment for moment in run}
    return [Reached(amount, *moment.expected) for amount, moment in last.items()]


def _together(runs: Sequence[Sequence[Moment]], judged: dict[str, Expected], against: Against) -> list[Reached]:
    """The mean over runs; one that has ended keeps what it had."""
    amounts = [[taken(moment, against) for moment in run] for run in runs]
    first, last = max(each[0] for each in amounts), max(each[-1] for each in amounts)
    grid = np.arange(first, last + 1) if against == "trials" else np.linspace(first, last, _GRID)
    points = []
    for at in grid.tolist():
        then = [run[np.searchsorted(each, at, side="right") - 1] for run, each in zip(runs, amounts, strict=True)]
        values = [judged[moment.best.allocation.key].score for moment in then]
        points.append(Reached(at, *mean_over_seeds(values, least=0, most=1)))
    return points
