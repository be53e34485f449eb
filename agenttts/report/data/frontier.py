"""The frontier of a study as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agenttts.db import Study
from agenttts.posterior.frontier import Expected, Frontier, Gain, Point
from agenttts.report.data.rows import evaluation_row
from agenttts.space.cost import cost_model
from agenttts.study.trial import Trial


def frontier_row(found: Frontier, study: Study) -> dict[str, Any]:
    """Plain data.

    Examples:
        >>> from agenttts import report
        >>> report.frontier_row(found.frontier, study)["budgets"][0]["allocation"]
        {'find': {'model': 'small', 'samples': 4}, 'answer': {'model': 'small', 'samples': 5}}
    """
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
