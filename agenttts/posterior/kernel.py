"""How alike the scores of two allocations are believed to be: the kernel of the surrogate's Gaussian process.

It states what is believed of multi-stage test-time scaling, the paper's three insights (section 4.2) as assumptions
that data can overrule and that can be switched off one by one (`Structure`):

1. ordered     models of a subtask are ordered by size: neighbours in size behave alike
2. saturating  the effect of samples flattens: it is smooth in S^(-1/2), not in S
3. interacting subtasks interact in pairs: an upstream choice changes the downstream curve

The kernel is a sum over subtasks of (model kernel x kernel of operator and options x sample kernel), plus products of
pairs of subtasks. With the formula (`formula`), it is that formula's, and a hundredth of the sum for what the formula
misses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEVEL_SD = 0.3
_COMMON_TO_WAYS = 0.7
"""Share of a subtask's effect that does not depend on what is done with its samples, nor on any one of its options."""
_MISSED = 0.1
"""What the formula is expected to miss, as a share of what there is to know without it."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Which of the paper's insights the surrogate assumes."""

    ordered: bool = True
    saturating: bool = True
    interacting: bool = True
    formula: bool = True
    """The three as one formula, `formula.Formula`, for which the kernel is left what the formula misses."""
    experience: bool = True
    """Whether the formula's parameters are as earlier studies taught, where there are any."""


class Rows(NamedTuple):
    """What one subtask is given in some allocations: distinct pairings and samples, and distinct choices.

    Choices of the same pairing and samples are distinct where they are of another quality.
    """

    model: NDArray[np.int64]
    """Of each pairing, shape (pairings,)."""
    ways: NDArray[np.int64]
    """Operator and settings, shape (pairings, 1 + options)."""
    size: Floats
    """Shape (pairings,)."""
    samples: Floats
    """Shape (levels,)."""
    pairing: NDArray[np.int64]
    """Of each choice, shape (choices,)."""
    level: NDArray[np.int64]
    """Place of its samples."""
    quality: Floats
    """As of `Encoded`."""
    which: NDArray[np.int64]
    """The choice of each allocation, shape (allocations,)."""


@dataclass(frozen=True)
class Encoded:
    """Allocations as arrays of shape (allocations, subtasks)."""

    pairing: NDArray[np.int64]
    model: NDArray[np.int64]
    ways: NDArray[np.int64]
    """Operator and settings of the options, shape (allocations, subtasks, 1 + most options of a subtask)."""
    size: Floats
    """Log size of the model within its subtask, scaled to [0, 1]."""
    samples: Floats
    """The sample axis on which effects are smooth, scaled to about [0, 1]."""
    quality: Floats
    """Expected score of each subtask by its own metric; NaN where none is known."""
    expected: Floats
    """Prior mean of the score, shape (allocations,)."""
    slope: Floats
    """By the parameters of the formula, shape (allocations, parameters); no columns without a formula."""

    def __len__(self) -> int:
        return len(self.model)

    @cached_property
    def distinct(self) -> list[Rows]:
        """Of every subtask: kernels need no more."""
        return [self._distinct(subtask) for subtask in range(self.model.shape[1])]

    def _distinct(self, subtask: int) -> Rows:
        _, first, pairing = np.unique(self.pairing[:, subtask], return_index=True, return_inverse=True)
        samples, level = np.unique(self.samples[:, subtask], return_inverse=True)
        choice, quality = pairing * len(samples) + level, self.quality[:, subtask]
        if subtask in self.judged:
            values, place = np.unique(quality, return_inverse=True)
            choice = choice * len(values) + place
        _, chosen, which = np.unique(choice, return_index=True, return_inverse=True)
        model, ways, size = (each[first, subtask] for each in (self.model, self.ways, self.size))
        return Rows(model, ways, size, samples, pairing[chosen], level[chosen], quality[chosen], which)

    def rows(self, chosen: NDArray[np.int64]) -> Encoded:
        """These allocations alone."""
        return Encoded(*(getattr(self, each.name)[chosen] for each in fields(self)))

    @property
    def judged(self) -> list[int]:
        """The subtasks whose quality is known."""
        return [i for i in range(self.quality.shape[1]) if not np.isnan(self.quality[:, i]).any()]


class Hyper(NamedTuple):
    """Hyperparameters of the kernel; `hyper_of` reads them off a vector of standard normal coordinates."""

    amplitude: Floats
    """Standard deviation of each subtask's effect."""
    size_scale: float
    own_share: float
    """Share of a model's effect that it has in common with no other."""
    samples_scale: float
    interaction: float
    quality_share: float
    """Share of a subtask's effect that its quality explains, where that is known."""
    quality_scale: float


SHARED = 6
"""Hyperparameters beside the amplitudes."""


def hyper_of(z: Floats) -> Hyper:
    """The prior: log-normal scales, and shares that are coins of their own."""
    size, own, samples, interaction, share, quality = z[-SHARED:].tolist()
    return Hyper(
        amplitude=0.2 * np.exp(0.8 * z[:-SHARED]),
        size_scale=1.2 * math.exp(0.7 * size),
        own_share=1 / (1 + math.exp(0.8 - own)),
        samples_scale=0.5 * math.exp(0.5 * samples),
        interaction=2.0 * math.exp(interaction),
        quality_share=1 / (1 + math.exp(-2 - 1.5 * share)),
        quality_scale=0.6 * math.exp(0.5 * quality),
    )


class _Likeness(NamedTuple):
    """Of the choices of one subtask, by their pairings and their samples."""

    same: Floats
    """Whether the models of two pairings are the same, as 0 or 1; shape (left pairings, right pairings)."""
    used_alike: Floats
    size: Floats
    """Squared distances of the models' sizes."""
    samples: Floats
    """Squared distances of samples, shape (left choices, right choices)."""
    quality: Floats
    """Squared distances of qualities, of the same shape."""

    @classmethod
    def of(cls, left: Rows, right: Rows) -> _Likeness:
        """Of two sets of allocations."""
        return cls(
            same=(left.model[:, None] == right.model[None, :]).astype(float),
            used_alike=_COMMON_TO_WAYS ** (left.ways[:, None] != right.ways[None, :]).sum(axis=2),
            size=(left.size[:, None] - right.size[None, :]) ** 2,
            samples=(left.samples[left.level][:, None] - right.samples[right.level][None, :]) ** 2,
            quality=(left.quality[:, None] - right.quality[None, :]) ** 2,
        )


class Pairs:
    """How alike the allocations of two sets are, subtask by subtask, before any hyperparameter is applied.

    A choice of a subtask occurs in many allocations: likeness is worked out once per pair of distinct choices.
    """

    def __init__(self, left: Encoded, right: Encoded, structure: Structure) -> None:
        self.structure, self.left, self.right = structure, left, right
        self._subtasks = [_Likeness.of(*options) for options in zip(left.distinct, right.distinct, strict=True)]
        self._judged = left.judged

    @cached_property
    def _formula(self) -> Floats:
        whole: Floats = self.left.slope @ self.right.slope.T
        return whole

    def kernel(self, hyper: Hyper) -> Floats:
        """Prior covariance under these hyperparameters, shape (left, right)."""
        total, *others = (self._placed(hyper, subtask) for subtask in range(len(self._subtasks)))
        products = np.zeros_like(total)
        for term in others:
            if self.structure.interacting:
                products += total * term
            total += term
        total += _LEVEL_SD**2
        products *= hyper.interaction
        total += products
        if self.structure.formula:
            total *= _MISSED**2
            total += self._formula
        return total

    def weighted(self, hyper: Hyper, weights: Floats) -> Floats:
        """`weights @ kernel(hyper)`, without a step for each pair of allocations; shape (right,)."""
        which = [each.which for each in self.right.distinct]
        terms = [self._term(hyper, i)[each.which] for i, each in enumerate(self.left.distinct)]
        total = np.full(len(self.right), _LEVEL_SD**2 * weights.sum())
        for i, term in enumerate(terms):
            shares = weights[:, None] * term
            total += shares.sum(axis=0)[which[i]]
            if self.structure.interacting:
                for j in range(i):
                    total += hyper.interaction * (shares.T @ terms[j])[which[i], which[j]]
        if self.structure.formula:
            total *= _MISSED**2
            total += (weights @ self.left.slope) @ self.right.slope.T
        return total

    def prior_variance(self, hyper: Hyper) -> Floats:
        """Prior variance of the right allocations, shape (right,): the kernel of each with itself."""
        effects = hyper.amplitude**2
        alone = effects.sum() + _LEVEL_SD**2
        if self.structure.interacting:
            alone += hyper.interaction / 2 * (effects.sum() ** 2 - (effects**2).sum())
        if self.structure.formula:
            alone *= _MISSED**2
        result: Floats = alone + (self.right.slope**2).sum(axis=1)
        return result

    def _placed(self, hyper: Hyper, subtask: int) -> Floats:
        """The part of a subtask, for pairs of allocations."""
        left, right = self.left.distinct[subtask], self.right.distinct[subtask]
        result: Floats = self._term(hyper, subtask)[:, right.which][left.which]
        return result

    def _term(self, hyper: Hyper, subtask: int) -> Floats:
        """The same for pairs of distinct choices."""
        likeness = self._subtasks[subtask]
        judged, variance = subtask in self._judged, hyper.amplitude[subtask] ** 2
        share = hyper.quality_share if judged else 0.0
        # Where sizes mean nothing, any two models of a subtask are as alike as any other two.
        alike = np.exp(-0.5 * likeness.size / hyper.size_scale**2) if self.structure.ordered else 1.0
        model = hyper.own_share * likeness.same + (1 - hyper.own_share) * alike
        samples = likeness.samples * (-0.5 / hyper.samples_scale**2)
        pairings = (1 - share) * variance * model * likeness.used_alike
        result = self._product(subtask, pairings, np.exp(samples, out=samples))
        if judged:
            alike = likeness.quality * (-0.5 / hyper.quality_scale**2)
            result += share * variance * np.exp(alike, out=alike)
        return result

    def _product(self, subtask: int, pairings: Floats, samples: Floats) -> Floats:
        """What is known of pairs of pairings, times what is of pairs of samples, for pairs of distinct choices."""
        left, right = self.left.distinct[subtask], self.right.distinct[subtask]
        samples *= pairings[left.pairing][:, right.pairing]
        return samples


class OwnPairs(Pairs):
    """Of one set with itself, every pair once: kernels are the lower triangle, row by row, shape (pairs,)."""

    def __init__(self, data: Encoded, structure: Structure) -> None:
        super().__init__(data, data, structure)
        self.places = rows, columns = np.tril_indices(len(data))
        self._pairings, self._levels = [], []
        for subtask, each in enumerate(data.distinct):
            pairing, level = each.pairing[each.which], each.level[each.which]
            self._pairings.append(pairing[rows] * len(each.model) + pairing[columns])
            # Pairs of samples are a triangle, too.
            low, high = np.minimum(level[rows], level[columns]), np.maximum(level[rows], level[columns])
            self._levels.append(high * (high + 1) // 2 + low)
            one, other = np.tril_indices(len(each.samples))
            samples = (each.samples[one] - each.samples[other]) ** 2
            quality = (data.quality[rows, subtask] - data.quality[columns, subtask]) ** 2
            self._subtasks[subtask] = self._subtasks[subtask]._replace(samples=samples, quality=quality)

    @cached_property
    def _formula(self) -> Floats:
        whole: Floats = self.left.slope @ self.left.slope.T
        return whole[self.places]

    def _placed(self, hyper: Hyper, subtask: int) -> Floats:
        return self._term(hyper, subtask)

    def _product(self, subtask: int, pairings: Floats, samples: Floats) -> Floats:
        result: Floats = pairings.ravel().take(self._pairings[subtask])
        result *= samples.take(self._levels[subtask])
        return result
