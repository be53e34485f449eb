"""Scaling curves: what the posterior expects of more samples at one stage, the others as recommended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttts.posterior.curves import LADDER, FittedCurve, fit_curve
from agenttts.posterior.frontier import Expected, bounded
from agenttts.report.findings.findings import Findings
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Trial

_FIT_POINTS = 4
"""Fewest sample counts that a curve of three parameters is fitted to."""
_DRAWS = 64


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One model at one stage, every other stage as in the recommended allocation.

    Examples:
        >>> from agenttts import report
        >>> curve = report.scaling_curves(found, "find")[0]
        >>> curve.model, curve.counts
        ('small', (1, 2, 3, 4, 5, 6))
    """

    subtask: str
    """Whose samples vary."""
    model: str
    """Who draws them."""
    counts: tuple[int, ...]
    """Sample counts that fit the budget beside the other stages, ascending."""
    expected: tuple[Expected, ...]
    """Posterior mean of the pipeline's score at each count, with its 95 % interval."""
    fit: FittedCurve | None
    """None where fewer than four counts fit."""
    on_curve: tuple[Trial, ...]
    """Trials of exactly these allocations."""
    elsewhere: tuple[Trial, ...]
    """Trials of this model at this stage whose other stages differ: they inform the curve, but need not lie on it."""

    @property
    def knee(self) -> int | None:
        """Fewest samples from which doubling is expected to gain less than a point; None where that is not seen.

        It is not seen on a curve that cannot be told from a flat one.
        """
        return self.fit.knee if self.fit is not None and self.fit.told and self.fit.knee < self.counts[-1] else None

    @property
    def fitted(self) -> dict[int, float]:
        """Sample count -> mean of the fitted curves; empty where none was fitted."""
        return {} if self.fit is None else dict(zip(self.fit.counts, self.fit.mean, strict=True))


def scaling_curves(found: Findings, subtask: str) -> list[Curve]:
    """A curve for every model of a stage that fits; none for a study begun before prices were kept.

    Examples:
        >>> from agenttts import report
        >>> {curve.model: curve.knee for curve in report.scaling_curves(found, "find")}
        {'small': None, 'large': None}
    """
    best = found.best.allocation
    prices = found.prices.get(subtask, {})
    left = found.study.spec.budget - sum(_cost(found, best, name) for name in best if name != subtask and prices)
    fitting = {model: _shown(price.fitting(left), price.counts) for model, price in prices.items()}
    return [_curve(found, best, subtask, model, counts) for model, counts in fitting.items() if counts]


def _cost(found: Findings, allocation: Allocation, subtask: str) -> float:
    choice = allocation[subtask]
    return sum(found.prices[subtask][choice.pairing].parts(choice.samples))


def _shown(fitting: Sequence[int], listed: Sequence[int] | None) -> list[int]:
    """Every count where they are listed; else those on the ladder and the largest."""
    return [count for count in fitting if listed or count in LADDER or count == fitting[-1]]


def _curve(found: Findings, best: Allocation, subtask: str, model: str, counts: Sequence[int]) -> Curve:
    line = [best.replaced(subtask, model, count) for count in counts]
    posterior = found.surrogate.predict_allocations(line)
    encoded = found.surrogate.encoder.allocations(line)
    draws = found.surrogate.draws(encoded, _DRAWS, found.archive.rng(0))
    mine = [trial for trial in found.trials if trial.allocation[subtask].pairing == model]
    keys = {allocation.key for allocation in line} | {
        trial.allocation.key
        for trial in mine
        if best.replaced(subtask, model, trial.allocation[subtask].samples) == trial.allocation
    }
    return Curve(
        subtask=subtask,
        model=model,
        counts=tuple(counts),
        expected=tuple(bounded(float(mean), float(sd)) for mean, sd in zip(*posterior, strict=True)),
        fit=fit_curve(counts, draws) if len(counts) >= _FIT_POINTS else None,
        on_curve=tuple(trial for trial in mine if trial.allocation.key in keys),
        elsewhere=tuple(trial for trial in mine if trial.allocation.key not in keys),
    )
