"""What each model costs at each subtask, taken apart: kept with a study, so that a reader needs no pipeline.

Every cost model is affine in the number of samples but for what the aggregator's own calls take:
cost(S) = prompt + S * sample + aggregation(S).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from agenttts.pipeline import Model, Subtask
from agenttts.space.limit import limit
from agenttts.space.space import SearchSpace


class Parts(NamedTuple):
    """Cost of one subtask for one query, in the unit of its cost model."""

    prompt: float
    """What does not grow with the samples: encoding the prompt (in the paper's unit less its constant 2)."""
    generation: float
    aggregation: float
    """The aggregator's own calls."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """One model at one subtask."""

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
"""Subtask -> model -> price; models of which not one sample fits the budget are left out."""


def price_list(space: SearchSpace) -> dict[str, dict[str, Price]]:
    """The prices of a space."""
    prices: dict[str, dict[str, Price]] = {}
    for subtask in space.pipeline.subtasks:
        most = {model: space.most_samples(space.cheapest, subtask.name, model.name) for model in subtask.models}
        prices[subtask.name] = {model.name: _price(space, subtask, model, n) for model, n in most.items() if n}
    return prices


def price_rows(prices: PriceList) -> dict[str, Any]:
    """Plain data for the store."""
    return {subtask: {model: asdict(price) for model, price in row.items()} for subtask, row in prices.items()}


def read_prices(rows: Mapping[str, Any]) -> dict[str, dict[str, Price]]:
    """`price_rows`, as JSON gives them back."""
    return {subtask: {model: _read(row) for model, row in models.items()} for subtask, models in rows.items()}


def _price(space: SearchSpace, subtask: Subtask, model: Model, most: int) -> Price:
    cost, alone = space.cost_model.cost, replace(subtask, aggregator=None)
    one, two = float(cost(alone, model, 1)), float(cost(alone, model, 2))
    every = np.arange(1, most + 1)
    extra = (cost(subtask, model, every) - cost(alone, model, every)).tolist()
    return Price(
        most=most,
        counts=None if subtask.sample_counts is None else tuple(subtask.sample_counts),
        prompt=2 * one - two,
        sample=two - one,
        aggregation=tuple(extra) if any(extra) else (),
    )


def _read(row: Mapping[str, Any]) -> Price:
    counts = row["counts"]
    listed = None if counts is None else tuple(counts)
    return Price(**{**row, "counts": listed, "aggregation": tuple(row["aggregation"])})
