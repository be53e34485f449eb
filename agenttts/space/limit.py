"""How far over a budget a cost may be and still count as within it: the one place that says.

The paper's default budget is itself a sum of costs, and rounding must not turn an equality into an excess. The
tolerance is relative to the budget, whatever its unit, size and sign; a budget of 0 has none.

Costs of a search space lie on a grid of multiples of a power of two, as fine as floats of their size can be. Their sums
are then exact, in whatever order they are taken, so that counting, listing, drawing and checking agree to the last
allocation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

_TOLERANCE = 1e-9
_DIGITS = 52
"""Of a float's 53 binary digits, those that a sum of costs may use."""
_NOISE = 64
"""Steps of the grid that rounding may part two sums that are meant to be equal."""


def limit(budget: float) -> float:
    """The largest cost that counts as within a budget."""
    return budget + tolerance(budget)


def tolerance(budget: float) -> float:
    """What a cost may be over a budget and still count as within it."""
    return _TOLERANCE * abs(budget)


@dataclass(frozen=True)
class Grid:
    """Where costs lie."""

    step: float
    """A power of two; 0 where every cost is 0."""

    @classmethod
    def of(cls, largest: Iterable[float]) -> Grid:
        """That of sums with one addend from each subtask.

        Args:
            largest: The largest size of each addend.
        """
        sizes = list(largest)
        bound = len(sizes) * sum(sizes)
        return cls(2.0 ** (math.ceil(math.log2(bound)) - _DIGITS) if bound else 0.0)

    def nearest(self, cost: Any) -> Any:
        """A cost, or an array of them, on the grid."""
        if not self.step:
            return cost
        costs = np.asarray(cost, dtype=float)
        finer = np.abs(costs) < self.step * 2.0 ** (_DIGITS + 1)  # what is larger lies on the grid already
        return np.where(finer, np.round(np.where(finer, costs, 0.0) / self.step) * self.step, costs)

    def below(self, cost: float) -> float:
        """The largest point of the grid that is not over a cost."""
        most = self.step * 2.0 ** (_DIGITS + 1)  # over every sum
        return math.floor(min(max(cost, -most), most) / self.step) * self.step if self.step else cost

    @property
    def noise(self) -> float:
        """A sum of this size is 0 but for rounding."""
        return _NOISE * self.step
