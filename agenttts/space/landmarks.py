"""Allocations that a person knows without any search: the cheapest, the largest models once, the largest.

The second is what is usually deployed. Where a budget does not reach as far, it is the same with smaller models: in
each subtask the largest that is no larger than some size, for the largest such size that fits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from agenttts.pipeline import Pipeline, Subtask
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.cost import CostModel
from agenttts.space.counts import bound, least_of, most_of
from agenttts.space.space import SearchSpace


class Landmark(NamedTuple):
    """An allocation that is known by a name."""

    name: str
    allocation: Allocation | None
    """None where a subtask takes any number of samples, so that there is no largest."""
    cost: float


def landmarks(pipeline: Pipeline, cost_model: CostModel) -> list[Landmark]:
    """The cheapest allocation, the largest model of each subtask once, and the largest allocation.

    Examples:
        >>> from agenttts.space.landmarks import landmarks
        >>> [(each.name, each.cost) for each in landmarks(pipeline, at.cost_model("flops"))][:2]
        [('cheapest', 32.0), ('largest once', 320.0)]

    Raises:
        ConfigError: When a model lacks a figure that the cost model needs.
    """

    def cost(allocation: Allocation) -> float:
        pairs = ((s, allocation[s.name], s.pairing(allocation[s.name].pairing)) for s in pipeline.subtasks)
        return sum(float(cost_model.pairing_cost(s, at, choice.samples)) for s, choice, at in pairs)

    if pipeline.only is not None:
        listed = sorted(map(Allocation.from_key, sorted(pipeline.only)), key=cost)
        cheapest, largest = listed[0], listed[-1]
    else:
        choices = {s.name: _ends(s, cost_model) for s in pipeline.subtasks}
        cheapest = Allocation({name: ends[0] for name, ends in choices.items()})
        largest = Allocation({name: ends[1] for name, ends in choices.items()})
    unbounded = pipeline.only is None and any(bound(s) is None for s in pipeline.subtasks)
    named = [("cheapest", cheapest), ("largest once", _once(pipeline, math.inf)), ("largest", largest)]
    found = [Landmark(name, allocation, cost(allocation)) for name, allocation in named]
    return [*found[:2], Landmark("largest", None, math.inf) if unbounded else found[2]]


def _ends(subtask: Subtask, cost_model: CostModel) -> tuple[Choice, Choice]:
    """The cheapest and the dearest choice of a subtask."""
    costs = [
        (float(cost_model.pairing_cost(subtask, pairing, count)), place, pairing.name, count)
        for place, pairing in enumerate(subtask.pairings)
        for count in {least_of(subtask, pairing), most_of(subtask)} - {0}
    ]
    ends = min(costs), max(costs)
    low, high = (Choice.of(name, count) for _, _, name, count in ends)
    return low, high


def usual(space: SearchSpace) -> Allocation:
    """The largest models that fit, once: what is usually deployed; the cheapest allocation where none fits so.

    Examples:
        >>> from agenttts.space.landmarks import usual
        >>> print(usual(space))
        find: large x1, answer: large x1
        >>> print(usual(space.within(100)))
        find: small x1, answer: small x1
    """
    return next((each for each in _descending(space.pipeline) if each in space), space.cheapest)


def _descending(pipeline: Pipeline) -> Iterator[Allocation]:
    sizes = {size for subtask in pipeline.subtasks for size in subtask.sizes.values()}
    return (_once(pipeline, size) for size in sorted(sizes, reverse=True))


def _once(pipeline: Pipeline, most: float) -> Allocation:
    """As few samples as each subtask takes of its largest model up to a size; of its smallest where all are larger."""
    chosen = {}
    for subtask in pipeline.subtasks:
        sizes = subtask.sizes
        fitting = [name for name, size in sizes.items() if size <= most] or [min(sizes, key=sizes.__getitem__)]
        chosen[subtask.name] = Choice(max(fitting, key=sizes.__getitem__), subtask.least_samples)
    return Allocation(chosen)
