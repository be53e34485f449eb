"""One option per subtask, of all that sum to at most a limit: counted, drawn and listed, exactly.

Counting and drawing rest on the sorted sums that the remaining subtasks can take, never on a box of which most is over
the limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agenttts.pipeline import Subtask
from agenttts.space.allocation import Allocation, Choice

_SUMS_LIMIT = 10_000_000
_BUCKETS = 20_000
_MERGED = 1e-12
"""Of the largest sum: sums that are nearer to one another are equal but for rounding."""
_FAR = 8


@dataclass(frozen=True)
class Options:
    """Every choice of one subtask that can be part of a feasible allocation, in the order of its pairings."""

    subtask: Subtask
    pairings: NDArray[np.int64]
    """Index of model and operator in `subtask.pairings`."""
    samples: NDArray[np.int64]
    costs: NDArray[np.float64]

    def choice(self, index: int) -> Choice:
        """The option at this position."""
        return Choice.of(self.subtask.pairings[self.pairings[index]].name, int(self.samples[index]))


@dataclass(frozen=True)
class _Sums:
    """Distinct sums that some subtasks can take, ascending, with the number of ways up to and including each."""

    values: NDArray[np.float64]
    ways: NDArray[np.float64]
    """Whole numbers, exact up to 2^53."""

    def count(self, limits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ways to stay within each limit."""
        index = np.searchsorted(self.values, limits, side="right")
        return np.concatenate(([0.0], self.ways))[index]

    def coarser(self, step: float) -> _Sums:
        """The same sums rounded up to multiples of `step`: never cheaper than they are."""
        values, last = np.unique(np.ceil(self.values / step)[::-1], return_index=True)
        return _Sums(values * step, self.ways[len(self.values) - 1 - last])


@dataclass(frozen=True)
class Combinations:
    """The combinations of one option per subtask that cost at most a limit.

    Costs and limit lie on one grid (`limit.Grid`), so that sums are exact. Where distinct sums are many millions, they
    are rounded up to 1/20,000 of the largest: counts are then lower bounds.
    """

    options: tuple[Options, ...]
    """In the order of the subtasks."""
    least: tuple[float, ...]
    """Cheapest cost of each subtask."""
    limit: float
    tolerance: float
    """How far the limit is over the budget."""

    @cached_property
    def size(self) -> int:
        """How many there are."""
        return int(self._suffix_sums[0].count(self.limit - self.options[0].costs).sum())

    def draw(self, rng: np.random.Generator) -> Allocation:
        """One of them, each as likely as another."""
        remaining, choices = self.limit, {}
        for options, rest in zip(self.options, self._suffix_sums, strict=True):
            ways = np.cumsum(rest.count(remaining - options.costs))
            index = int(np.searchsorted(ways, rng.random() * ways[-1], side="right"))
            choices[options.subtask.name] = options.choice(index)
            remaining -= options.costs[index]
        return Allocation(choices)

    @cached_property
    def _suffix_sums(self) -> tuple[_Sums, ...]:
        """For each subtask, the sums of all subtasks after it."""
        sums = [_Sums(np.zeros(1), np.ones(1))]
        for level in range(len(self.options) - 1, 0, -1):
            # Costs may be negative (the paper's unit is), so the subtasks before can free some budget.
            sums.append(self._add(self.options[level], sums[-1], self.limit - sum(self.least[:level])))
        return tuple(reversed(sums))

    def _add(self, options: Options, rest: _Sums, limit: float) -> _Sums:
        if len(options.costs) * len(rest.values) > _SUMS_LIMIT:
            rest = rest.coarser(2.0 ** math.floor(math.log2(self._scale / _BUCKETS)))
        ways = np.diff(rest.ways, prepend=0)
        values = (options.costs[:, None] + rest.values[None, :]).ravel()
        weights = np.broadcast_to(ways, (len(options.costs), len(ways))).ravel()
        kept = values <= limit
        distinct, index = self._distinct(values[kept])
        counts = np.zeros(len(distinct))
        np.add.at(counts, index, weights[kept])
        return _Sums(distinct, np.cumsum(counts))

    def _distinct(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The distinct sums, and which of them each is.

        Sums that are meant to be equal and that rounding split are merged, where that is far below the tolerance.
        """
        step = _MERGED * self._scale
        if not 0 < len(self.options) * step * _FAR < self.tolerance:
            return np.unique(values, return_inverse=True)
        distinct, index = np.unique(np.round(values / step), return_inverse=True)
        return distinct * step, index

    @cached_property
    def _scale(self) -> float:
        """The size of the costs."""
        return sum(float(np.abs(each.costs).max()) for each in self.options)


def walk(options: Sequence[Options], remaining: float, chosen: dict[str, Choice]) -> Iterator[Allocation]:
    """Every combination that costs at most what remains, joined to what is chosen, in the order of the options."""
    if not options:
        yield Allocation(chosen)
        return
    first, *rest = options
    least = sum(float(each.costs.min()) for each in rest)
    for index in np.flatnonzero(first.costs + least <= remaining):
        choice = {**chosen, first.subtask.name: first.choice(int(index))}
        yield from walk(rest, remaining - float(first.costs[index]), choice)


def restrict(options: Options, kept: NDArray[np.bool_]) -> Options:
    """The options at the positions that are kept."""
    return Options(options.subtask, options.pairings[kept], options.samples[kept], options.costs[kept])
