"""How uncertain the trials' mean scores are, and how much of that uncertainty they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agenttts.space.allocation import Allocation
from agenttts.study.trial import Trial

Floats = NDArray[np.float64]

_PSEUDO_COUNT = 8.0
_MOST_CORRELATION = 0.9
_CERTAIN = 100
"""Scores beside the first of their trials that must be equal to it, and neither 0 nor 1, before all are taken for
exact: a coin that nearly always falls alike gives equal scores, too."""
_LEAST_VARIANCE = 1e-8
"""Of a mean of exact scores: what keeps the covariance invertible."""


def scores_of(trial: Trial, subtask: str = "") -> list[float]:
    """A trial's scores by example: the pipeline's, or a subtask's by its own metric, where a failed one counts as 0."""
    if not subtask:
        return [result.score for result in trial.evaluation.results]
    return [result.subtask_scores.get(subtask, 0.0) for result in trial.evaluation.results]


def noise_covariance(trials: Sequence[Trial], subtask: str = "") -> Floats:
    """Covariance of the trials' mean scores (`scores_of`) over the choice of examples, shape (trials, trials).

    A score's variance is a coin's, times the share of it that scores within trials really show: 1 for right or wrong,
    less for graded scores, 0 for exact ones (a single example can show none: it is the whole truth). Every pair of
    trials gets the same correlation on the examples they share, the mean of all pairs: a correlation of its own for
    each pair would be mostly noise, and overrule the kernel. Where there are counterfactual trials, pairs that score
    the same samples get their own mean.
    """
    column = {name: i for i, name in enumerate(dict.fromkeys(r.example for t in trials for r in t.evaluation.results))}
    counts = np.array([len(trial.evaluation.results) for trial in trials])
    row = np.repeat(np.arange(len(trials)), counts)
    place = [column[result.example] for trial in trials for result in trial.evaluation.results]
    scores = np.array([score for trial in trials for score in scores_of(trial, subtask)])
    totals = np.bincount(row, scores, len(trials))
    overall = min(max(float(np.mean(totals / counts)), 0.05), 0.95)
    # A coin's deviation, by a mean shrunk towards everyone's: few lucky scores must not pass for certain ones.
    shrunk = (totals + _PSEUDO_COUNT * overall) / (counts + _PSEUDO_COUNT)
    deviation = np.sqrt(shrunk * (1 - shrunk))
    centred = scores - (totals / counts)[row]
    shown, possible = float(centred @ centred), float((counts - 1) @ deviation**2)
    firsts = scores[np.cumsum(counts) - counts]
    spare, telling = int(counts.sum()) - len(trials), int((counts - 1) @ ((firsts > 0) & (firsts < 1)))
    seen, standard = np.zeros((2, len(trials), len(column)))
    seen[row, place] = 1
    standard[row, place] = centred / deviation[row]
    shared = seen @ seen.T
    alike, pairs = _same_samples(trials), ~np.eye(len(trials), dtype=bool)
    products = standard @ standard.T
    correlation = _correlation(products, shared, pairs & ~alike, 0.0)
    correlations = np.where(alike, _correlation(products, shared, pairs & alike, correlation), correlation)
    covariance = correlations * shared * np.outer(deviation / counts, deviation / counts)
    np.fill_diagonal(covariance, deviation**2 / counts)
    if shown < _LEAST_VARIANCE and (not spare or telling >= _CERTAIN):
        return _LEAST_VARIANCE * np.eye(len(trials))
    # One pseudo-observation of a coin: a few equal scores do not make a certainty.
    share = min((shown + 1) / (possible + 1), 1.0)
    result: Floats = share * covariance + 1e-6 * np.eye(len(trials))
    return result


def _correlation(products: Floats, shared: Floats, pairs: NDArray[np.bool_], least: float) -> float:
    """The mean correlation of these pairs on the examples they share."""
    mean = float(products.sum(where=pairs)) / max(float(shared.sum(where=pairs)), 1.0)
    return min(max(mean, least), _MOST_CORRELATION)


def _same_samples(trials: Sequence[Trial]) -> NDArray[np.bool_]:
    """Which pairs differ in no more than what the last stage makes of its samples, shape (trials, trials)."""
    if all(trial.scored_by is None for trial in trials):
        return np.zeros((len(trials), len(trials)), dtype=bool)
    families = [_family(trial.allocation) for trial in trials]
    number = np.array([families.index(family) for family in families])
    result: NDArray[np.bool_] = number[:, None] == number
    return result


def _family(allocation: Allocation) -> tuple[object, ...]:
    *before, last = allocation.values()
    return (*before, last.asked)
