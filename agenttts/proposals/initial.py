"""The paper's initial trials (section 5.1, Insight 1): every model of a subtask at one equal budget.

For each subtask in turn, the budget of one pass of its largest model is given to each of its models (a small model
gets as many samples as fit), while the other subtasks run their largest model once. Two defects of the authors' code
are fixed: the comparison with the remaining budget has a tolerance, so that the paper's own default budget (exactly
the sum) keeps the largest models elsewhere; and where the budget does not allow that, the other subtasks step down one
at a time, the dearest first, instead of all to the smallest. Duplicates are dropped.

Where a subtask lists several operators or values of an option, each but the first gets one trial more, at the same
equal budget: of the largest model that leaves the other subtasks theirs, as what a subtask does well is not seen behind
one that fails.
"""

from __future__ import annotations

from collections.abc import Iterator

from agenttts.pipeline import Subtask
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation

_MOST_SAMPLES = 60


def initial_allocations(space: SearchSpace) -> list[Allocation]:
    """Distinct feasible allocations, subtask by subtask, models from small to large; the nearest that can be tried."""
    proposed = [
        allocation
        for subtask in space.pipeline.subtasks
        for model in sorted(subtask.models, key=lambda model: subtask.sizes[model.name])
        if (allocation := _equal_budget(space, subtask, model.name)) is not None
    ]
    proposed += [allocation for subtask in space.pipeline.subtasks for allocation in _by_way(space, subtask)]
    return list(dict.fromkeys(map(space.nearest, proposed)))


def _by_way(space: SearchSpace, subtask: Subtask) -> Iterator[Allocation]:
    """For every further operator or value of an option, a model that can have enough samples with it.

    The largest one beside which the other subtasks run their largest model; the largest one where there is none.
    """
    single = [pairing for pairing in subtask.pairings if pairing.departures == 1]
    by_size = sorted(single, key=lambda pairing: -subtask.sizes[pairing.model.name])
    for way in dict.fromkeys((pairing.operator_name, pairing.options_name) for pairing in single):
        same = (each for each in by_size if (each.operator_name, each.options_name) == way)
        tried = [each for pairing in same if (each := _equal_budget(space, subtask, pairing.name)) is not None]
        yield from sorted(tried, key=lambda each: _stepped_down(space, each, subtask.name))[:1]


def _stepped_down(space: SearchSpace, allocation: Allocation, fixed: str) -> bool:
    """Whether another subtask has less than its largest model once."""
    return any(choice != space.largest_once[name] for name, choice in allocation.items() if name != fixed)


def _equal_budget(space: SearchSpace, subtask: Subtask, model: str) -> Allocation | None:
    """The pairing with as many samples as one pass of the subtask's largest model costs; None when none fits."""
    cheapest = space.subtask_costs(space.cheapest)
    others = sum(cost for name, cost in cheapest.items() if name != subtask.name)
    largest = space.subtask_costs(space.largest_once)[subtask.name]
    share = min(largest, space.budget - others)
    affordable = space.samples_within(subtask, model, share)
    least = subtask.pairing(model).least_samples
    samples = min(affordable, max(subtask.samples_up_to(_MOST_SAMPLES), subtask.least_samples, least))
    if samples < 1:
        return None
    return _step_down(space, space.largest_once.replaced(subtask.name, model, samples), subtask.name)


def _step_down(space: SearchSpace, allocation: Allocation, fixed: str) -> Allocation:
    """Make the other subtasks smaller, the dearest first, until the whole fits the budget."""
    while allocation not in space:
        costs = space.subtask_costs(allocation)
        smaller = {
            s.name: next_smaller
            for s in space.pipeline.subtasks
            if s.name != fixed and (next_smaller := _next_smaller(space, s, allocation[s.name].model))
        }
        if not smaller:
            return space.cheapest.replaced(fixed, allocation[fixed].pairing, allocation[fixed].samples)
        dearest = max(smaller, key=lambda name: costs[name])
        fewest = space.pipeline.subtask(dearest).least_samples
        allocation = allocation.replaced(dearest, smaller[dearest], fewest)
    return allocation


def _next_smaller(space: SearchSpace, subtask: Subtask, model: str) -> str | None:
    """The next cheaper model of a subtask."""
    prices = {m.name: float(space.cost_model.cost(subtask, m, subtask.least_samples)) for m in subtask.models}
    cheaper = [name for name, price in prices.items() if price < prices[model]]
    return max(cheaper, key=lambda name: prices[name], default=None)
