"""Insight 2: curves of score against samples, with their uncertainty.

Curves drawn from the posterior are each fitted with the forms of the literature, of which the best by BIC stands for
the draw, so that form, knee and limit come with the share of draws that agree:

    power law       limit - gain S^(-rate)             (Wu et al. 2024; repeated sampling, majority vote)
    exponentiated   limit exp(-gain S^(-rate))         (Brown et al. 2024, "Large Language Monkeys": coverage)
    exponential     limit - gain exp(-rate (S - 1))
    over-fusing     limit - gain S^(-rate) - loss log2 S   (the paper, Insight 2: too many candidates to fuse)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LADDER = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 100)
"""Numbers of samples at which curves are looked at."""
KNEE_GAIN = 0.01
"""A doubling of samples that is expected to gain less than this is beyond the knee."""
_SURE = 0.975
_LEAST_SCORE = 0.01
_POWERS = tuple(np.geomspace(0.15, 4.0, 15).tolist())
_DECAYS = tuple(np.geomspace(0.02, 2.0, 15).tolist())


def _power(samples: Floats, rate: float) -> Floats:
    return np.stack([np.ones_like(samples), -(samples**-rate)], axis=1)


def _exponential(samples: Floats, rate: float) -> Floats:
    return np.stack([np.ones_like(samples), -np.exp(-rate * (samples - 1))], axis=1)


def _over_fusing(samples: Floats, rate: float) -> Floats:
    return np.stack([np.ones_like(samples), -(samples**-rate), -np.log2(samples)], axis=1)


class _Form(NamedTuple):
    name: str
    basis: Callable[[Floats, float], Floats]
    """(samples, rate) -> columns in which the curve, or its logarithm, is linear."""
    rates: tuple[float, ...]
    of_log: bool = False


OVER_FUSING = "over-fusing"
_FORMS = (
    _Form("power law", _power, _POWERS),
    _Form("exponentiated", _power, _POWERS, of_log=True),
    _Form("exponential", _exponential, _DECAYS),
    _Form(OVER_FUSING, _over_fusing, _POWERS),
)


class _Bases(NamedTuple):
    """One form at one rate, for fixed sample counts."""

    form: _Form
    solve: Floats
    """Pseudo-inverse: scores at the counts -> coefficients."""
    here: Floats
    doubled: Floats
    """The basis at twice the counts."""


@dataclass(frozen=True, kw_only=True)
class FittedCurve:
    """Score against samples of one (subtask, model), the rest of the allocation fixed."""

    counts: tuple[int, ...]
    mean: tuple[float, ...]
    """Of the fitted curves, at the counts."""
    sd: tuple[float, ...]
    form: str
    """The form that fits most draws best."""
    share: float
    """Share of the draws that it fits best."""
    knee: int
    """Fewest samples from which a doubling is expected to gain less than `KNEE_GAIN`: the median over the draws."""
    knee_low: int
    knee_high: int
    """80 % of the draws have their knee between them."""
    falling: float
    """Share of the draws that fall by more than `KNEE_GAIN` before the last count."""
    told: bool
    """Whether the draws tell the curve from a flat one: 97.5 % of them score more at its top than at its bottom."""


def fit_curve(counts: Sequence[int], draws: Floats) -> FittedCurve:
    """Fit every draw.

    Args:
        counts: Numbers of samples, ascending; at least four.
        draws: Scores drawn from the posterior, shape (draws, counts).
    """
    bases = _bases(tuple(counts))
    variance = float(draws.var(axis=0).mean()) + 1e-6
    fitted = [_fit(each, draws, variance) for each in bases]
    best = np.argmin([criterion for criterion, _, _ in fitted], axis=0)
    rows = np.arange(len(draws))
    here = np.stack([curve for _, curve, _ in fitted])[best, rows]
    gains = np.stack([doubled for _, _, doubled in fitted])[best, rows] - here
    knees = np.sort([_knee(counts, gain) for gain in gains])
    low, middle, high = (int(knees[int(quantile * (len(knees) - 1))]) for quantile in (0.1, 0.5, 0.9))
    names, numbers = np.unique([bases[index].form.name for index in best], return_counts=True)
    return FittedCurve(
        counts=tuple(counts),
        mean=tuple(here.mean(axis=0).tolist()),
        sd=tuple(here.std(axis=0).tolist()),
        form=str(names[numbers.argmax()]),
        share=float(numbers.max() / len(draws)),
        knee=middle,
        knee_low=low,
        knee_high=high,
        falling=float(np.mean(here.max(axis=1) - here[:, -1] > KNEE_GAIN)),
        told=_is_told(draws),
    )


def _is_told(draws: Floats) -> bool:
    mean = draws.mean(axis=0)
    return bool(np.mean(draws[:, mean.argmax()] > draws[:, mean.argmin()]) >= _SURE)


@lru_cache(maxsize=256)
def _bases(counts: tuple[int, ...]) -> tuple[_Bases, ...]:
    samples = np.asarray(counts, dtype=np.float64)
    return tuple(_at_rate(form, samples, rate) for form in _FORMS for rate in form.rates)


def _at_rate(form: _Form, samples: Floats, rate: float) -> _Bases:
    here = form.basis(samples, rate)
    solve = np.linalg.pinv(here).astype(np.float64)
    return _Bases(form, solve, here, form.basis(2 * samples, rate))


def _fit(bases: _Bases, draws: Floats, variance: float) -> tuple[Floats, Floats, Floats]:
    """BIC of each draw's fit, its curve at the counts, and at twice the counts."""
    scores = np.log(np.maximum(draws, _LEAST_SCORE)) if bases.form.of_log else draws
    solution = scores @ bases.solve.T
    here, doubled = solution @ bases.here.T, solution @ bases.doubled.T
    if bases.form.of_log:
        here, doubled = np.exp(here), np.exp(doubled)
    parameters = solution.shape[1] + 1
    criterion = ((here - draws) ** 2).sum(axis=1) / variance + parameters * np.log(draws.shape[1])
    if bases.form.name == OVER_FUSING:
        # Its last coefficient is a loss: where it would be a gain, the form is not meant.
        criterion = np.where(solution[:, 2] > 0, criterion, np.inf)
    return criterion, here, doubled


def _knee(counts: Sequence[int], gains: Floats) -> int:
    below = np.flatnonzero(gains < KNEE_GAIN)
    return counts[int(below[0])] if len(below) else counts[-1]
