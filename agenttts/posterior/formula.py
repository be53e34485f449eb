"""The paper's insights as one formula: subtasks are the links of a chain, and what one loses no later one recovers.

    score = product over subtasks of 1 - w (1 - q)
    q = a + lift (1 - a) (1 - 2^(-(u log2 S / half)^k)) - fall max(0, log2 S - knee)

One sample of a model has the quality a: a logistic curve of the model's relative log size, and a deviation of its own
(Insight 1). S samples lift it along a curve that flattens, a power law where k = 1, and that may fall behind a knee
(Insight 2): the sooner, the better the subtasks before it are, u = exp(their mean quality - 1/2) (Insight 3). w is how
much of the score a failure costs. Every operator but a subtask's first, and every value of an option but its first, has
deviations of its own, in a, lift and half, so that one that nobody has tried is expected to do as its subtask does. So
few parameters, all under wide priors, learn from every trial, near or far.

The parameters are standard normal coordinates, of what is believed of each: its prior, or what earlier studies taught
(`experience`). The most probable ones are found by Gauss-Newton steps; around them
the formula is taken as linear (Laplace's approximation). That makes it a Gaussian process, to which `surrogate` adds
its own for what the formula misses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COMMON = ("level", "size", "lift", "half", "late", "fall", "knee", "weight")
"""Parameters of a subtask beside the deviations of its models, operators and options."""
OF_A_WAY = ("level", "lift", "half")
"""Parameters of an operator, or of a value of an option."""
_COMMON, _OF_A_WAY = len(COMMON), len(OF_A_WAY)
SLOPE, SLOPE_SD = 0.9, 0.7
"""Logits by which the largest model of a subtask is expected to be better than the smallest, and how surely."""
_STARTS = 2
_STEPS = 20
_LONGEST = 3.0
"""Farthest that one step may move a parameter."""
_LENGTHS = (1.0, 0.5, 0.25, 0.1)
"""Shares of a step that are tried."""
_ENOUGH = 1e-3
"""A step that gains less log posterior is the last."""
_DIFFERENCE = 1e-5
_LEAST_QUALITY = 0.01


class PairingIndices(NamedTuple):
    """What the pairings of a subtask are made of, as indices of shape (pairings,)."""

    models: NDArray[np.int64]
    operators: NDArray[np.int64]
    settings: NDArray[np.int64]
    """The value of each option that some pairing names, shape (pairings, options)."""

    @property
    def ways(self) -> list[NDArray[np.int64]]:
        """Operators, then the values of each option; 0 is the first of each."""
        return [self.operators, *self.settings.T]

    @property
    def further_ways(self) -> int:
        """How many of them are not the first of their kind."""
        return sum(int(way.max()) for way in self.ways)


class Linear(NamedTuple):
    """Scores of allocations as a linear function of the parameters, `constant + slope @ parameters`."""

    constant: Floats
    """Shape (allocations,)."""
    slope: Floats
    """Shape (allocations, parameters)."""


class Formula:
    """The formula for some subtasks.

    Args:
        sizes: Relative log sizes of the models of each subtask's pairings, each of shape (pairings,), in [0, 1].
        parts: Which models and operators these are.
        mean: What is expected of every parameter, shape (parameters,).
        sd: How surely, shape (parameters,).
    """

    def __init__(
        self,
        sizes: Sequence[Floats],
        parts: Sequence[PairingIndices],
        mean: Floats | None = None,
        sd: Floats | None = None,
    ) -> None:
        self._sizes, self._parts = sizes, parts
        self._widths = [_COMMON + int(each.models.max()) + 1 + _OF_A_WAY * each.further_ways for each in parts]
        self.parameters = sum(self._widths)
        self._mean = np.zeros(self.parameters) if mean is None else mean
        self._sd = np.ones(self.parameters) if sd is None else sd

    def scores(self, parameters: Floats, pairings: NDArray[np.int64], samples: Floats) -> Floats:
        """Scores under several settings of the parameters.

        Args:
            parameters: Shape (settings, parameters).
            pairings: Indices, shape (allocations, subtasks).
            samples: Numbers of samples, shape (allocations, subtasks).

        Returns:
            Shape (settings, allocations).
        """
        score, before = np.ones((len(parameters), len(pairings))), np.zeros((len(parameters), len(pairings)))
        by_subtask = zip(self._sizes, self._parts, self._by_subtask(parameters), strict=True)
        for i, (size, parts, z) in enumerate(by_subtask):
            upstream = np.exp(before / i - 0.5) if i else 1.0
            base, gain, lift, half, late, fall, knee, weight = z[:, :_COMMON].T[:, :, None]
            chosen, own = pairings[:, i], 0.1 * z[:, _COMMON + parts.models]
            if parts.further_ways:
                level, more, sooner = _deviations(z, parts)
                own = own + 0.3 * level
                lift, half = (lift + more)[:, chosen], (half + 0.7 * sooner)[:, chosen]
            single = _logistic(0.7 * base + (SLOPE + SLOPE_SD * gain) * size + own)[:, chosen]
            doublings = np.log2(samples[:, i])
            halfway = 1.8 * np.exp(0.6 * half) / upstream
            gained = 1 - 2 ** -((doublings / halfway) ** np.exp(0.1 + 0.3 * late))
            lost = 0.01 * np.exp(fall) * _above(doublings - 2.5 - knee)
            quality = np.clip(single + _logistic(0.8 * lift - 0.5) * (1 - single) * gained - lost, _LEAST_QUALITY, 1)
            score *= 1 - _logistic(1 + weight) * (1 - quality)
            before += quality
        return score

    def linear(self, parameters: Floats, pairings: NDArray[np.int64], samples: Floats) -> Linear:
        """The formula around these parameters, of shape (parameters,)."""
        steps = np.vstack([np.zeros(self.parameters), _DIFFERENCE * np.eye(self.parameters)])
        scores = self.scores(parameters + steps, pairings, samples)
        slope = (scores[1:] - scores[0]).T / _DIFFERENCE
        return Linear(scores[0] - slope @ parameters, slope)

    def most_probable(self, pairings: NDArray[np.int64], samples: Floats, scores: Floats, covariance: Floats) -> Floats:
        """The parameters with the highest posterior that is found, shape (parameters,).

        Args:
            pairings: Indices of the trials' pairings, shape (trials, subtasks).
            samples: Their numbers of samples.
            scores: Their mean scores.
            covariance: Of what the scores have beside the formula: noise, and what the formula misses.
        """
        whitener = np.linalg.inv(np.linalg.cholesky(covariance))

        def losses(settings: Floats) -> Floats:
            """Negative log posterior, up to a constant."""
            missed = (scores - self.scores(settings, pairings, samples)) @ whitener.T
            result: Floats = ((missed**2).sum(axis=1) + (settings**2).sum(axis=1)) / 2
            return result

        def step(parameters: Floats) -> Floats:
            """To the optimum of the linear formula around these parameters."""
            constant, slope = self.linear(parameters, pairings, samples)
            whitened = whitener @ slope
            precision = whitened.T @ whitened + np.eye(len(parameters))
            found = np.linalg.solve(precision, whitened.T @ (whitener @ (scores - constant))) - parameters
            result: Floats = found * min(1.0, _LONGEST / np.abs(found).max())
            return result

        def descended(parameters: Floats) -> tuple[float, Floats]:
            loss = float(losses(parameters[None])[0])
            for _ in range(_STEPS):
                settings = parameters + np.outer(_LENGTHS, step(parameters))
                tried = losses(settings)
                least = int(np.argmin(tried))
                if not tried[least] < loss - _ENOUGH:
                    break
                loss, parameters = float(tried[least]), settings[least]
            return loss, parameters

        rng = np.random.default_rng(20250801)
        starts = [np.zeros(self.parameters), *rng.normal(0, 0.7, (_STARTS - 1, self.parameters))]
        return min((descended(start) for start in starts), key=lambda found: found[0])[1]

    def precision(self, parameters: Floats, pairings: NDArray[np.int64], samples: Floats, covariance: Floats) -> Floats:
        """What the trials alone say of the parameters, the formula taken as linear around these.

        Args:
            parameters: The most probable ones.
            pairings: As of `most_probable`.
            samples: As of `most_probable`.
            covariance: As of `most_probable`.

        Returns:
            Shape (parameters, parameters).
        """
        whitened = np.linalg.solve(np.linalg.cholesky(covariance), self.linear(parameters, pairings, samples).slope)
        result: Floats = whitened.T @ whitened
        return result

    def _by_subtask(self, parameters: Floats) -> Iterator[Floats]:
        ends = np.cumsum(self._widths)
        # Nothing lies beyond six standard deviations, but powers that overflow.
        believed = self._mean + self._sd * parameters
        return iter(np.split(np.clip(believed, -6, 6), ends[:-1], axis=1))


def _deviations(z: Floats, parts: PairingIndices) -> Floats:
    """Of quality, lift and half, each of shape (settings, pairings); what is the first of its kind has none."""
    own = z[:, _COMMON + int(parts.models.max()) + 1 :].reshape(len(z), -1, _OF_A_WAY)
    total, start = np.zeros((_OF_A_WAY, len(z), len(parts.models))), 0
    for way in parts.ways:
        count = int(way.max())
        padded = np.concatenate([np.zeros((len(z), 1, _OF_A_WAY)), own[:, start : start + count]], axis=1)
        total, start = total + np.moveaxis(padded[:, way], 2, 0), start + count
    return total


def _logistic(z: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-z))
    return result


def _above(z: Floats) -> Floats:
    """A smooth max(z, 0)."""
    result: Floats = np.logaddexp(0, 4 * z) / 4
    return result
