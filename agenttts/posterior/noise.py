"""How uncertain the trials' mean scores are, and how much of that uncertainty they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agenttts.study.trial import Trial

Floats = NDArray[np.float64]

_PSEUDO_COUNT = 8.0
_MOST_CORRELATION = 0.9
_CERTAIN = 100
"""Scores beside the first of their trials that must be equal to it, and neither 0 nor 1, before all are taken for
exact: a coin that nearly always falls alike gives equal scores, too."""
_LEAST_VARIANCE = 1e-8
"""Of a mean of exact scores: what keeps the covariance invertible."""


def noise_covariance(trials: Sequence[Trial]) -> Floats:
    """Covariance of the trials' mean scores over the choice of examples, shape (trials, trials).

    A score's variance is a coin's, times the share of it that scores within trials really show: 1 for right or wrong,
    less for graded scores, 0 for exact ones (a single example can show none: it is the whole truth). Every pair of
    trials gets the same correlation on the examples they share, the mean of all pairs: a correlation of its own for
    each pair would be mostly noise, and overrule the kernel.
    """
    column = {name: i for i, name in enumerate(dict.fromkeys(r.example for t in trials for r in t.evaluation.results))}
    seen, standard = np.zeros((2, len(trials), len(column)))
    deviation = np.zeros(len(trials))
    overall = min(max(float(np.mean([trial.evaluation.score for trial in trials])), 0.05), 0.95)
    shown, possible, spare, telling = 0.0, 0.0, 0, 0
    for row, trial in enumerate(trials):
        places = [column[result.example] for result in trial.evaluation.results]
        scores = np.array([result.score for result in trial.evaluation.results])
        # A coin's deviation, by a mean shrunk towards everyone's: few lucky scores must not pass for certain ones.
        shrunk = (scores.sum() + _PSEUDO_COUNT * overall) / (len(scores) + _PSEUDO_COUNT)
        deviation[row] = np.sqrt(shrunk * (1 - shrunk))
        shown += float(((scores - scores.mean()) ** 2).sum())
        possible += (len(scores) - 1) * deviation[row] ** 2
        spare += len(scores) - 1
        telling += (len(scores) - 1) * (0 < scores[0] < 1)
        seen[row, places] = 1
        standard[row, places] = (scores - scores.mean()) / deviation[row]
    shared, counts = seen @ seen.T, seen.sum(axis=1)
    pairs = ~np.eye(len(trials), dtype=bool)
    correlation = (standard @ standard.T)[pairs].sum() / max(float(shared[pairs].sum()), 1.0)
    correlation = min(max(float(correlation), 0.0), _MOST_CORRELATION)
    covariance = correlation * shared * np.outer(deviation / counts, deviation / counts)
    np.fill_diagonal(covariance, deviation**2 / counts)
    if shown < _LEAST_VARIANCE and (not spare or telling >= _CERTAIN):
        return _LEAST_VARIANCE * np.eye(len(trials))
    # One pseudo-observation of a coin: a few equal scores do not make a certainty.
    share = min((shown + 1) / (possible + 1), 1.0)
    result: Floats = share * covariance + 1e-6 * np.eye(len(trials))
    return result
