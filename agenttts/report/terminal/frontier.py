"""The frontier of a study as tables: what each budget gives, and the Pareto-optimal trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agenttts._util.numbers import Scale, interval
from agenttts._util.stats import Interval
from agenttts.posterior.frontier import Expected, Frontier, Gain
from agenttts.report.terminal.layout import Column, Listing
from agenttts.report.terminal.tables import numbered
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import Trial

_SCORES = (
    "expected: posterior mean of the true score over all trials; searched, held-out: observed means, the latter with "
    "fresh samples; in parentheses 95 % intervals"
)
_GAIN = "next budget gains: mean difference of the two allocations on the same {} examples"


def frontier_table(found: Frontier, scale: Scale) -> Listing:
    """One line per budget.

    Examples:
        >>> import rich
        >>> from agenttts import report
        >>> rich.print(report.frontier_table(found.frontier, found.scale))
         budget
        (MFLOP)  find      answer                  expected                held-out
            320  small x4  small x5  1.000 (0.902 to 1.000)  1.000 (0.566 to 1.000)
        ...
    """
    points = found.points
    gains = [point.gain for point in points if point.gain is not None]
    notes = [_SCORES]
    notes += [_GAIN.format("held-out" if held_out else "searched") for held_out in sorted({g.held_out for g in gains})]
    notes += [f"no trial fits a budget of {scale.show(budget)} yet" for budget in found.unreached]
    first = [_column(f"budget ({scale.unit})", (scale.number(point.budget) for point in points))]
    last = [
        _column("held-out", (_observed(point.check) for point in points), rank=1),
        _column("next budget gains", (_gained(point.gain) for point in points), rank=2),
    ]
    return _listing(first, [(point.trial, point.expected) for point in points], last, notes, scale)


def pareto_table(found: Frontier, scale: Scale) -> Listing:
    """One line per Pareto-optimal trial.

    Examples:
        >>> import rich
        >>> from agenttts import report
        >>> rich.print(report.pareto_table(found.frontier, found.scale))
        trial  find      answer    cost (MFLOP)                expected  examples
            7  small x4  small x5           124  1.000 (0.902 to 1.000)        10
        ...
    """
    first = [_column("trial", (numbered(trial) for trial, _ in found.pareto))]
    last = [_column("examples", (str(len(trial.evaluation.results)) for trial, _ in found.pareto), rank=1)]
    return _listing(first, found.pareto, last, [], scale)


def _listing(
    first: list[Column], rows: Sequence[tuple[Trial, Expected]], last: list[Column], notes: Sequence[str], scale: Scale
) -> Listing:
    """A column per stage between the others; a line per stage where the terminal is too narrow for that."""
    names = list(rows[0][0].allocation) if rows else []
    stages = [Column(heading=name, cells=[str(trial.allocation[name]) for trial, _ in rows]) for name in names]
    stacked = ["\n".join(f"{name}: {choice}" for name, choice in trial.allocation.items()) for trial, _ in rows]
    figures = [
        _column(f"cost ({scale.unit})", (scale.number(trial.cost) for trial, _ in rows), rank=3),
        _column("expected", (_bounded(*expected) for _, expected in rows)),
        _column("searched", (_observed(trial.evaluation) for trial, _ in rows), rank=4),
        *last,
    ]
    one_column = Column(heading="allocation", cells=stacked)
    return Listing([*first, *stages, *figures], [*first, one_column, *figures], notes=notes)


def _column(heading: str, cells: Iterable[str], rank: int = 0) -> Column:
    return Column(heading=heading, cells=list(cells), number=True, rank=rank)


def _observed(evaluation: Evaluation | None) -> str:
    return "" if evaluation is None else f"{evaluation.score:.3f} ({interval(evaluation.interval)})"


def _bounded(score: float, bounds: Interval) -> str:
    return f"{score:.3f} ({bounds.low:.3f} to {bounds.high:.3f})"


def _gained(gain: Gain | None) -> str:
    return "" if gain is None else f"{gain.value:+.3f} ({gain.interval.low:+.3f} to {gain.interval.high:+.3f})"
