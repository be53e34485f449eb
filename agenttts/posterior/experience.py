"""What finished studies teach of a new one: empirical Bayes on the formula's parameters.

The formula is fitted to every study alone, and kept as what its trials say of the parameters, beside any prior
(Laplace's approximation). A parameter x of stage r in study s is then taken as

    x = common + of stages named r + own

each normal around 0. The variances of the first two are given; that of a study's own, a parameter's each, is found by
expectation maximisation, under a prior worth a few observations: so few studies teach little, and studies that disagree
teach less. A new study is expected to be what is shared, give or take a deviation of its own. What `lessons.OWN` names
is a study's own altogether.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agenttts.posterior.insights import representative
from agenttts.posterior.kernel import Structure
from agenttts.posterior.lessons import OWN, SIZE, parameter_names, spans, stretched
from agenttts.posterior.observations import Observations
from agenttts.posterior.surrogate import Encoder, Sizes
from agenttts.study.experience import ANY_STAGE, Experience, Lesson
from agenttts.study.trial import Trial

Floats = NDArray[np.float64]

LEAST_TRIALS = 8
"""Fewer teach nothing."""
_COMMON, _OF_A_ROLE, _OWN = 0.5, 0.15, 0.5
"""Variances of what all stages have in common, of what those of one name have, and (expected) of a study's own."""
_WORTH = 4.0
"""Observations that the expected variance of a study's own is worth."""
_ROUNDS = 12
_NEXT_TO_NOTHING = 1e-6

Parameter = tuple[str, str]
"""Stage, or `ANY_STAGE` for what is common to all; and name."""


class _Taught(NamedTuple):
    """What one study's trials say of its parameters x: log likelihood = information @ x - x @ precision @ x / 2."""

    parameters: list[Parameter]
    precision: Floats
    information: Floats


def learned(studies: Mapping[str, tuple[Sizes, Sequence[Trial]]]) -> Experience:
    """What these studies teach.

    Args:
        studies: Name -> its subtasks with the parameter counts of their pairings' models, and its trials, at least
            `LEAST_TRIALS`.
    """
    shared = _Shared([_fit(sizes, trials) for sizes, trials in studies.values()])
    return Experience(studies=tuple(sorted(studies)), lessons=shared.lessons())


def _fit(sizes: Sizes, trials: Sequence[Trial]) -> _Taught:
    """The slopes by size as they are for the span that is kept."""
    found, precision = Encoder(sizes, Structure(), {}).fitted(Observations(representative(trials)))
    names = [(stage, name) for stage, row in sizes.items() for name in parameter_names(list(row))]
    shift, factor = np.zeros(len(names)), np.ones(len(names))
    for place, (stage, name) in enumerate(names):
        if name == SIZE and (span := spans(sizes[stage])):
            shift[place], factor[place] = stretched(Lesson(0.0, 1.0), 1 / span)
    precision = precision / np.outer(factor, factor)
    # Where they are most probable, the likelihood rises as steeply as the standard normal prior falls.
    return _Taught(names, precision, precision @ (shift + factor * found) + found / factor)


class _Shared:
    """What studies share: a normal distribution of `common` and `of stages named r`, every parameter its own."""

    def __init__(self, fits: Sequence[_Taught]) -> None:
        self._fits = fits
        seen = dict.fromkeys(each for fit in fits for each in fit.parameters)
        names = dict.fromkeys(name for _, name in seen)
        self._columns = {each: place for place, each in enumerate([*((ANY_STAGE, name) for name in names), *seen])}
        self._own = dict.fromkeys(names, _OWN) | dict.fromkeys(OWN, 1.0)
        self._prior = np.array([_variance(each) for each in self._columns])
        for _ in range(_ROUNDS):
            self._mean, self._covariance = self._posterior()
            self._own = self._own_variances()

    def lessons(self) -> dict[str, dict[str, Lesson]]:
        """Of every parameter but a study's own."""
        parameters = [each for each in self._columns if each[1] not in OWN]
        shown = self._shown(parameters)
        means, variances = shown @ self._mean, np.einsum("ij,jk,ik->i", shown, self._covariance, shown)
        own = np.array([self._own[name] + (not stage) * _OF_A_ROLE for stage, name in parameters])
        lessons: dict[str, dict[str, Lesson]] = {}
        for (stage, name), mean, variance in zip(parameters, means.tolist(), (variances + own).tolist(), strict=True):
            lessons.setdefault(stage, {})[name] = Lesson(mean, variance**0.5)
        return lessons

    def _shown(self, parameters: Sequence[Parameter]) -> Floats:
        """Which of what is shared is in these parameters, shape (parameters, shared)."""
        shown = np.zeros((len(parameters), len(self._columns)))
        for row, (stage, name) in enumerate(parameters):
            shown[row, self._columns[ANY_STAGE, name]] = shown[row, self._columns[stage, name]] = 1
        return shown

    def _posterior(self) -> tuple[Floats, Floats]:
        precision, information = np.diag(1 / self._prior), np.zeros(len(self._prior))
        for fit in self._fits:
            shown, damped = self._shown(fit.parameters), self._damped(fit)
            precision += shown.T @ damped @ fit.precision @ shown
            information += shown.T @ damped @ fit.information
        covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        return covariance @ information, covariance

    def _damped(self, fit: _Taught) -> Floats:
        """What turns what a study says of its parameters into what it says of those without its own deviations."""
        own = np.array([self._own[name] for _, name in fit.parameters])
        result: Floats = np.linalg.inv(np.eye(len(own)) + fit.precision * own)
        return result

    def _own_variances(self) -> dict[str, float]:
        """Those that the studies' own deviations, as they are now expected, make most probable."""
        squares, counts = dict.fromkeys(self._own, _WORTH * _OWN), dict.fromkeys(self._own, _WORTH)
        for fit in self._fits:
            own = np.array([self._own[name] for _, name in fit.parameters])
            shown, damped = self._shown(fit.parameters), self._damped(fit)
            mean = own * (damped @ (fit.information - fit.precision @ shown @ self._mean))
            pulled = own[:, None] * (damped @ fit.precision)
            variance = own - np.einsum("ij,ji->i", pulled, np.diag(own))
            variance += np.einsum("ij,jk,ik->i", pulled @ shown, self._covariance, pulled @ shown)
            for (_, name), square in zip(fit.parameters, (mean**2 + variance).tolist(), strict=True):
                squares[name] += square
                counts[name] += 1
        return {name: squares[name] / counts[name] for name in self._own} | dict.fromkeys(OWN, 1.0)


def _variance(parameter: Parameter) -> float:
    stage, name = parameter
    if name in OWN:
        return _NEXT_TO_NOTHING
    return _OF_A_ROLE if stage else _COMMON
