"""The frontier of a study: a table of what each budget buys, the Pareto-optimal trials, and both as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from agenttts._util.stats import Interval
from agenttts.db import Store, Study
from agenttts.errors import ConfigError
from agenttts.posterior.frontier import Expected, Frontier, Gain, Point, frontier
from agenttts.report.layout import Column, Listing
from agenttts.report.lines import interval
from agenttts.report.rows import evaluation_row
from agenttts.space.cost import cost_model
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import Trial

_SCORES = (
    "expected: posterior mean of the true score over all trials; searched, held-out: observed means, the latter with "
    "fresh samples; in parentheses 95 % intervals"
)
_GAIN = "next budget gains: mean difference of the two allocations on the same {} examples"


def study_frontier(store: Store, study: Study, budgets: Sequence[float] = ()) -> Frontier:
    """The frontier of a study from what is in the store; nothing is bought.

    Args:
        store: Holds the study.
        study: Which study, searched under one budget or several.
        budgets: Ascending; those of the study when empty.

    Raises:
        ConfigError: When the study has no finished trial.
    """
    trials = store.archive(study).trials
    if not trials:
        raise ConfigError(f"study {study.name!r} has no finished trial yet")
    found = frontier(study.spec.sizes, trials, budgets or study.spec.budgets or (study.spec.budget,))
    keys = {point.trial.allocation.key: point.trial.allocation for point in found.points}
    checks = {key: store.validation(study, allocation) for key, allocation in keys.items()}
    return found.checked({key: check for key, check in checks.items() if check is not None})


def frontier_row(found: Frontier, study: Study) -> dict[str, Any]:
    """Plain data."""
    return {
        "study": study.name,
        "unit": cost_model(study.spec.cost_model).unit,
        "budgets": [{"budget": point.budget, **_point_row(point)} for point in found.points],
        "unreached": list(found.unreached),
        "pareto": [_trial_row(trial, expected) for trial, expected in found.pareto],
    }


def _gain_row(gain: Gain | None) -> dict[str, Any] | None:
    """Plain data of what the next larger budget gains."""
    return None if gain is None else {**asdict(gain), "interval": list(gain.interval)}


def _point_row(point: Point) -> dict[str, Any]:
    return {
        **_trial_row(point.trial, point.expected),
        "held_out": None if point.check is None else evaluation_row(point.check),
        "next_budget_gains": _gain_row(point.gain),
    }


def _trial_row(trial: Trial, expected: Expected) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "allocation": trial.allocation.as_dict(),
        "cost": trial.cost,
        "expected": {"score": expected.score, "interval": list(expected.interval)},
        "searched": evaluation_row(trial.evaluation),
    }


def frontier_table(found: Frontier, unit: str) -> Listing:
    """One line per budget."""
    points = found.points
    gains = [point.gain for point in points if point.gain is not None]
    notes = [_SCORES]
    notes += [_GAIN.format("held-out" if held_out else "searched") for held_out in sorted({g.held_out for g in gains})]
    notes += [f"no trial fits a budget of {budget:g} {unit} yet" for budget in found.unreached]
    first = [_column(f"budget ({unit})", (f"{point.budget:g}" for point in points))]
    last = [
        _column("held-out", (_observed(point.check) for point in points), rank=1),
        _column("next budget gains", (_gained(point.gain) for point in points), rank=2),
    ]
    return _listing(first, [(point.trial, point.expected) for point in points], last, notes)


def pareto_table(found: Frontier) -> Listing:
    """One line per Pareto-optimal trial."""
    first = [_column("trial", (str(trial.number) for trial, _ in found.pareto))]
    last = [_column("examples", (str(len(trial.evaluation.results)) for trial, _ in found.pareto), rank=1)]
    return _listing(first, found.pareto, last, [])


def _listing(
    first: list[Column], rows: Sequence[tuple[Trial, Expected]], last: list[Column], notes: Sequence[str]
) -> Listing:
    """A column per stage between the others; a line per stage where the terminal is too narrow for that."""
    names = list(rows[0][0].allocation) if rows else []
    stages = [Column(heading=name, cells=[str(trial.allocation[name]) for trial, _ in rows]) for name in names]
    stacked = ["\n".join(f"{name}: {choice}" for name, choice in trial.allocation.items()) for trial, _ in rows]
    figures = [
        _column("cost", (f"{trial.cost:.4g}" for trial, _ in rows), rank=3),
        _column("expected", (_bounded(*expected) for _, expected in rows)),
        _column("searched", (_observed(trial.evaluation) for trial, _ in rows), rank=4),
        *last,
    ]
    one_column = Column(heading="allocation", cells=stacked)
    return Listing([*first, *stages, *figures], [*first, one_column, *figures], notes=notes)


def _column(heading: str, cells: Iterable[str], rank: int = 0) -> Column:
    return Column(heading=heading, cells=list(cells), number=True, rank=rank)


def _observed(evaluation: Evaluation | None) -> str:
    return "" if evaluation is None else f"{evaluation.score:.3f} ({interval(evaluation)})"


def _bounded(score: float, bounds: Interval) -> str:
    return f"{score:.3f} ({bounds.low:.3f} to {bounds.high:.3f})"


def _gained(gain: Gain | None) -> str:
    return "" if gain is None else f"{gain.value:+.3f} ({gain.interval.low:+.3f} to {gain.interval.high:+.3f})"
