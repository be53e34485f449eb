"""What each model costs at each subtask, taken apart: kept with a study, so that a reader needs no pipeline.

The cost of one prompt and its samples is affine in their number in every cost model, what an operator asks beyond that
need not be: cost(S) = prompt + S * sample + aggregation(S).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from agenttts.pipeline import Subtask
from agenttts.pipeline.operators import Vote
from agenttts.pipeline.pairing import Pairing
from agenttts.space.limit import limit
from agenttts.space.space import SearchSpace

_ROUNDING = 1e-12


class Parts(NamedTuple):
    """Cost of one subtask for one query, in the unit of its cost model."""

    prompt: float
    """What does not grow with the samples: encoding the prompt (in the paper's unit less its constant 2)."""
    generation: float
    aggregation: float
    """What the operator asks beyond one prompt's samples; all that it asks, where it does not draw them at once."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """One model, with one operator, at one subtask."""

    most: int
    """Most samples that fit the budget beside the other subtasks at their cheapest."""
    counts: tuple[int, ...] | None
    """The numbers of samples that the search may try, where they are listed; None means every one up to `most`."""
    prompt: float
    sample: float
    aggregation: tuple[float, ...]
    """For 1 to `most` samples; empty where aggregating costs nothing."""

    def parts(self, samples: int) -> Parts:
        """What this many samples cost, at most `most`."""
        aggregation = self.aggregation[samples - 1] if self.aggregation else 0.0
        return Parts(self.prompt, self.sample * samples, aggregation)

    def fitting(self, cost: float) -> list[int]:
        """The numbers of samples, ascending, whose cost is at most `cost`."""
        counts = self.counts or range(1, self.most + 1)
        return [count for count in counts if count <= self.most and sum(self.parts(count)) <= limit(cost)]


PriceList = Mapping[str, Mapping[str, Price]]
"""Subtask -> pairing (a model, and its operator where that is not the first) -> price; those that do not fit the budget
are left out."""


def price_list(space: SearchSpace) -> dict[str, dict[str, Price]]:
    """The prices of a space."""
    prices: dict[str, dict[str, Price]] = {}
    for subtask in space.pipeline.subtasks:
        most = [space.most_samples(space.cheapest, subtask.name, each.name) for each in subtask.pairings]
        fitting = [(each, n) for each, n in zip(subtask.pairings, most, strict=True) if n]
        prices[subtask.name] = {each.name: _price(space, subtask, each, n) for each, n in fitting}
    return prices


def price_rows(prices: PriceList) -> dict[str, Any]:
    """Plain data for the store."""
    return {subtask: {model: asdict(price) for model, price in row.items()} for subtask, row in prices.items()}


def read_prices(rows: Mapping[str, Any]) -> dict[str, dict[str, Price]]:
    """`price_rows`, as JSON gives them back."""
    return {subtask: {model: _read(row) for model, row in models.items()} for subtask, models in rows.items()}


def _price(space: SearchSpace, subtask: Subtask, pairing: Pairing, most: int) -> Price:
    votes = pairing._replace(operator=Vote())
    every = np.arange(1, most + 1)
    totals = np.broadcast_to(space.cost_model.pairing_cost(subtask, pairing, every), every.shape)
    one, two = (float(space.cost_model.pairing_cost(subtask, votes, count)) for count in (1, 2))
    prompt, sample = 2 * one - two, two - one
    extra = totals - (prompt + sample * every)
    if (extra < -_ROUNDING * abs(totals)).any():
        prompt, sample, extra = 0.0, 0.0, totals
    extra = np.where(np.abs(extra) <= _ROUNDING * np.abs(totals), 0.0, extra)
    counts = subtask.sample_counts
    if counts is None and pairing.least_samples > 1:
        counts = tuple(range(pairing.least_samples, most + 1))
    return Price(
        most=most,
        counts=counts if counts is None else tuple(each for each in counts if each >= pairing.least_samples),
        prompt=prompt,
        sample=sample,
        aggregation=tuple(extra.tolist()) if extra.any() else (),
    )


def _read(row: Mapping[str, Any]) -> Price:
    counts = row["counts"]
    listed = None if counts is None else tuple(counts)
    return Price(**{**row, "counts": listed, "aggregation": tuple(row["aggregation"])})
