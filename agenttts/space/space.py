"""The space of the allocations that fit the budget.

It counts, enumerates and draws the feasible allocations themselves (`combinations`), from one table per subtask.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from agenttts._util.numbers import Scale, as_budget
from agenttts.errors import BudgetTooSmall, ConfigError
from agenttts.pipeline import Pipeline, Subtask
from agenttts.pipeline.pairing import Pairing
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.choices import choice_faults
from agenttts.space.combinations import Combinations, Options, restrict, walk
from agenttts.space.cost import CostModel
from agenttts.space.counts import MOST_SAMPLES, bound, least_of, most_of, next_counts
from agenttts.space.limit import Grid, limit, tolerance

_SHOWN = 100


class SearchSpace:
    """The allocations of a pipeline whose cost does not exceed the budget.

    Examples:
        >>> space = at.SearchSpace(pipeline, at.cost_model("flops"), 320)
        >>> space.size
        39
        >>> print(space.cheapest)
        find: small x1, answer: small x1

    Args:
        pipeline: Its subtasks span the space.
        cost_model: Prices an allocation.
        budget: Upper bound on the cost of one query, in the cost model's unit.

    Raises:
        ConfigError: When the budget is below the cheapest allocation (the message says the minimum).
    """

    def __init__(self, pipeline: Pipeline, cost_model: CostModel, budget: float) -> None:
        self.pipeline = pipeline
        self.cost_model = cost_model
        self.budget = _finite(budget)
        self._prices: dict[tuple[str, str, int], float] = {}
        """Subtask, pairing and samples -> cost: a proposal asks for the same ones thousands of times."""
        least = {
            s.name: min(self._raw(s, each, count) for each in s.pairings if (count := least_of(s, each)))
            for s in pipeline.subtasks
        }
        self._grid = Grid.of(self._largest(subtask, sum(map(abs, least.values()))) for subtask in pipeline.subtasks)
        self._cheapest_costs = {name: float(self._grid.nearest(cost)) for name, cost in least.items()}
        self.limit = self._on_grid(limit(self.budget))
        """The largest cost that counts as within the budget; see `limit`."""
        self._require(sum(self._cheapest_costs.values()))
        if abs(self.budget) <= self._grid.noise:
            self.budget = 0.0  # as costs of this size are
        self._require_bounds()
        self._require_only()
        if self.listed is not None and not self.listed:
            self._require(min(self.cost(Allocation.from_key(key)) for key in pipeline.only or ()))

    def _largest(self, subtask: Subtask, least: float) -> float:
        """The largest size of a cost that the subtask can have within the budget."""
        counts = [subtask.least_samples, most_of(subtask)]
        costs = [abs(self._raw(subtask, each, count)) for each in subtask.pairings for count in counts]
        return min(max(costs), abs(self.budget) + least)

    def _on_grid(self, most: float) -> float:
        return self._grid.noise if abs(most) <= self._grid.noise else self._grid.below(most)

    def _require(self, minimum: float) -> None:
        if not self.limit >= minimum:
            shown = self.cost_model.scale(max(self.budget, minimum))
            raise BudgetTooSmall(
                f"budget {shown.show(self.budget)} is below the cheapest allocation: pipeline {self.pipeline.name!r} "
                f"needs at least {as_budget(minimum, self.cost_model.unit)}"
            )

    def _require_bounds(self) -> None:
        for subtask in self.pipeline.subtasks:
            most = self.limit - sum(self._cheapest_costs.values()) + self._cheapest_costs[subtask.name]
            for pairing in subtask.pairings:
                if bound(subtask) is None and self._price(subtask, pairing, MOST_SAMPLES) <= most:
                    raise ConfigError(
                        f"the budget allows more than {MOST_SAMPLES:,} samples of model {pairing.name!r} in subtask "
                        f"{subtask.name!r}: give the subtask max_samples"
                    )

    def _require_only(self) -> None:
        for key in self.pipeline.only or ():
            allocation = Allocation.from_key(key)
            if faults := self._choice_faults(allocation):
                raise ConfigError(f"pipeline {self.pipeline.name!r}: only lists {key[:_SHOWN]!r}, but {faults[0]}")

    def within(self, budget: float) -> SearchSpace:
        """The space of the same pipeline under another budget."""
        return SearchSpace(self.pipeline, self.cost_model, budget)

    # Costs

    @property
    def scale(self) -> Scale:
        """How the space's costs are shown."""
        return self.cost_model.scale(self.budget)

    def cost(self, allocation: Allocation) -> float:
        """Cost of one query, in the cost model's unit."""
        total = self._total(allocation)
        return total if abs(total) > self._grid.noise else 0.0

    def _total(self, allocation: Allocation) -> float:
        return sum(self.subtask_costs(allocation).values())

    def subtask_costs(self, allocation: Allocation) -> dict[str, float]:
        """Cost of each subtask for one query."""
        return {
            s.name: self._price(s, s.pairing(allocation[s.name].pairing), allocation[s.name].samples)
            for s in self.pipeline.subtasks
        }

    def worst_cost(self, allocation: Allocation) -> float:
        """Cost of the dearest query: more than `cost`, which is a mean, where an operator stops early or escalates."""
        return sum(self._worst(s, allocation[s.name]) for s in self.pipeline.subtasks)

    def _worst(self, subtask: Subtask, choice: Choice) -> float:
        pairing = subtask.pairing(choice.pairing)
        lengths = subtask.lengths(pairing.model, pairing.options)
        loads = pairing.operator.worst_loads(choice.samples, lengths)
        return float(self.cost_model.total(pairing.model, loads))

    def _price(self, subtask: Subtask, pairing: Pairing, samples: int) -> float:
        key = subtask.name, pairing.name, samples
        if key not in self._prices:
            self._prices[key] = float(self._grid.nearest(self._raw(subtask, pairing, samples)))
        return self._prices[key]

    def _raw(self, subtask: Subtask, pairing: Pairing, samples: int) -> float:
        return float(self.cost_model.pairing_cost(subtask, pairing, samples))

    @cached_property
    def pricing(self) -> str:
        """Hash of the cost of 1, 2 and 3 samples of every model of every subtask, with every operator."""
        return self.pricing_of((s, each) for s in self.pipeline.subtasks for each in s.pairings)

    def pricing_of(self, pairings: Iterable[tuple[Subtask, Pairing]]) -> str:
        """Hash of the cost of 1, 2 and 3 samples of some subtasks with some of their pairings."""
        curves = [
            [s.name, each.name, [float(f"{self._raw(s, each, each.least_samples + n):.9g}") for n in range(3)]]
            for s, each in pairings
        ]
        return hashlib.sha256(json.dumps(curves).encode()).hexdigest()[:16]

    # Membership

    def faults(self, allocation: Allocation) -> list[str]:
        """Why the allocation is not in the space, in words that a person or an LLM can act on; empty when it is."""
        if faults := self._choice_faults(allocation) or self._budget_faults(allocation):
            return faults
        if self.listed is None or allocation in self._known:
            return []
        return [f"it is not among the {len(self.listed)} allocations that can be tried; the nearest is "
                f"{self.nearest(allocation)}"]  # fmt: skip

    def __contains__(self, allocation: Allocation) -> bool:
        return not self.faults(allocation)

    def _choice_faults(self, allocation: Allocation) -> list[str]:
        faults = [f"there is no subtask {name!r}" for name in allocation if name not in self._cheapest_costs]
        for subtask in self.pipeline.subtasks:
            faults += choice_faults(subtask, allocation)
        return faults

    def _budget_faults(self, allocation: Allocation) -> list[str]:
        cost = self._total(allocation)
        if cost <= self.limit:
            return []
        fixes = [
            f"{choice.model} in {name!r} could have at most {most} sample{'s' * (most > 1)}"
            for name, choice in allocation.items()
            if (most := self.most_samples(allocation, name)) >= 1
        ]
        hint = "; with the rest unchanged, " + " or ".join(fixes) if fixes else "; use smaller models"
        return [f"it costs {self.scale.show(cost)}, over the budget of {self.scale.show(self.budget)}{hint}"]

    def most_samples(self, allocation: Allocation, subtask: str, pairing: str | None = None) -> int:
        """Most samples of a subtask that fit when the other subtasks stay as they are; 0 when no number fits.

        Args:
            allocation: Fixes the other subtasks.
            subtask: The subtask whose samples may vary.
            pairing: Its model and operator (`Pairing.name`); the allocation's when None.
        """
        others = sum(cost for name, cost in self.subtask_costs(allocation).items() if name != subtask)
        target = self.pipeline.subtask(subtask)
        return self._fitting(target, target.pairing(pairing or allocation[subtask].pairing), self.limit - others)

    def samples_within(self, subtask: Subtask, pairing: str, cost: float) -> int:
        """Most samples of a pairing that a subtask can have for this cost, of those it takes; 0 when no number fits."""
        return self._fitting(subtask, subtask.pairing(pairing), cost + max(tolerance(self.budget), self._grid.noise))

    def _fitting(self, subtask: Subtask, pairing: Pairing, most: float) -> int:
        """The largest number of samples that costs at most `most`."""
        fitting, over = 0, most_of(subtask) + 1
        while over - fitting > 1:
            middle = (fitting + over) // 2
            fitting, over = (middle, over) if self._price(subtask, pairing, middle) <= most else (fitting, middle)
        taken = subtask.samples_up_to(fitting)
        return taken if taken >= pairing.least_samples else 0

    # The feasible set as a whole

    @cached_property
    def listed(self) -> tuple[Allocation, ...] | None:
        """The feasible allocations where not every feasible combination may be tried (`Pipeline.only`), in the order
        of `enumerate`; None where each may.
        """
        if self.pipeline.only is None:
            return None
        place = [{options.choice(i): i for i in range(len(options.costs))} for options in self._combined.options]
        found: dict[tuple[int, ...], Allocation] = {}
        for allocation in map(Allocation.from_key, self.pipeline.only):
            choices = [allocation[subtask.name] for subtask in self.pipeline.subtasks]
            if all(choice in places for choice, places in zip(choices, place, strict=True)):
                index = tuple(places[choice] for choice, places in zip(choices, place, strict=True))
                cost = sum(float(options.costs[i]) for options, i in zip(self._combined.options, index, strict=True))
                if cost <= self.limit:
                    found[index] = allocation.in_order(s.name for s in self.pipeline.subtasks)
        return None if len(found) == self._combined.size else tuple(found[index] for index in sorted(found))

    @cached_property
    def _known(self) -> frozenset[Allocation]:
        return frozenset(self.listed or ())

    def nearest(self, allocation: Allocation) -> Allocation:
        """The allocation itself where it can be tried, else the listed one with fewest other models, then nearest
        numbers of samples; of equals the cheaper. Where every combination can be tried it is returned as it is.
        """
        if self.listed is None or allocation in self._known:
            return allocation
        return min(self.listed, key=lambda other: (*_distance(allocation, other), self.cost(other)))

    @cached_property
    def options(self) -> tuple[Options, ...]:
        """Per subtask, in declared order, every option that fits when the other subtasks are at their cheapest."""
        if self.listed is None:
            return self._combined.options
        used = [{allocation[s.name] for allocation in self.listed} for s in self.pipeline.subtasks]
        return tuple(
            restrict(each, np.array([each.choice(i) in choices for i in range(len(each.costs))]))
            for each, choices in zip(self._combined.options, used, strict=True)
        )

    @cached_property
    def _combined(self) -> Combinations:
        """What is feasible where every combination may be tried."""
        least = tuple(self._cheapest_costs.values())
        options = tuple(
            self._subtask_options(subtask, self.limit - sum(least) + cheapest)
            for subtask, cheapest in zip(self.pipeline.subtasks, least, strict=True)
        )
        return Combinations(options, least, self.limit, tolerance=tolerance(self.budget))

    def _subtask_options(self, subtask: Subtask, most_cost: float) -> Options:
        pairings, samples, costs = [], [], []
        for index, pairing in enumerate(subtask.pairings):
            most = self._fitting(subtask, pairing, most_cost)
            counts = np.arange(pairing.least_samples, most + 1, dtype=np.int64)
            if subtask.sample_counts is not None:
                counts = counts[np.isin(counts, subtask.sample_counts)]
            if not len(counts):
                continue
            pairings.append(np.full(len(counts), index, dtype=np.int64))
            samples.append(counts)
            price = self._grid.nearest(self.cost_model.pairing_cost(subtask, pairing, counts))
            costs.append(np.broadcast_to(price, counts.shape).astype(float))
        return Options(subtask, np.concatenate(pairings), np.concatenate(samples), np.concatenate(costs))

    @cached_property
    def size(self) -> int:
        """Number of feasible allocations: exact, but for spaces with many millions of distinct costs.

        There sums are rounded up to 1/20,000 of the dearest, and this is a lower bound.
        """
        return self._combined.size if self.listed is None else len(self.listed)

    def sample(self, rng: np.random.Generator, count: int = 1) -> list[Allocation]:
        """Independent draws, uniform over the feasible allocations."""
        if self.listed is not None:
            return [self.listed[int(i)] for i in rng.integers(len(self.listed), size=count)]
        return [self._combined.draw(rng) for _ in range(count)]

    def enumerate(self) -> Iterator[Allocation]:
        """Every feasible allocation, in the order of the declared models and ascending samples."""
        return walk(self.options, self.limit, {}) if self.listed is None else iter(self.listed)

    def on_levels(self, levels: Iterable[int]) -> list[Allocation]:
        """Every feasible allocation whose sample counts are all among `levels`."""
        wanted = sorted(set(levels))
        if self.listed is not None:
            return [each for each in self.listed if all(choice.samples in wanted for choice in each.values())]
        options = [restrict(each, np.isin(each.samples, wanted)) for each in self.options]
        return list(walk(options, self.limit, {})) if all(len(each.costs) for each in options) else []

    @property
    def cheapest(self) -> Allocation:
        """As few samples as a subtask takes of what is then cheapest, everywhere; the cheapest listed one
        where not every combination can be tried.
        """
        if self.listed is not None:
            return min(self.listed, key=self.cost)
        return Allocation({s.name: self._cheapest_choice(s) for s in self.pipeline.subtasks})

    def _cheapest_choice(self, subtask: Subtask) -> Choice:
        fewest = [(each, count) for each in subtask.pairings if (count := least_of(subtask, each))]
        cheapest, count = min(fewest, key=lambda pair: self._price(subtask, *pair))
        return Choice.of(cheapest.name, count)

    @property
    def largest_once(self) -> Allocation:
        """As few samples as a subtask takes (one) of its model with most parameters, everywhere: the paper's default
        budget. May be infeasible.
        """
        largest = {s.name: max(s.sizes, key=s.sizes.__getitem__) for s in self.pipeline.subtasks}
        return Allocation({s.name: Choice(largest[s.name], s.least_samples) for s in self.pipeline.subtasks})

    def neighbours(self, allocation: Allocation) -> list[Allocation]:
        """Feasible allocations one step away: another model or operator, or samples one step more or fewer, doubled or
        halved.

        Where a subtask takes only some numbers of samples, a step is to the next of them, and doubling or halving is
        rounded down to one of them. Where not every combination can be tried, every listed one that differs in one
        subtask is a neighbour.
        """
        if self.listed is not None:
            apart = [(sum(each[name] != allocation[name] for name in each), each) for each in self.listed]
            return sorted((each for count, each in apart if count == 1), key=lambda each: each.key)
        found = set()
        for subtask in self.pipeline.subtasks:
            now, samples = allocation[subtask.name].pairing, allocation[subtask.name].samples
            counts = next_counts(subtask, samples) - {0}
            found |= {allocation.replaced(subtask.name, now, count) for count in counts}
            for other in subtask.pairings:
                if other.name != now:
                    most = self.most_samples(allocation, subtask.name, other.name)
                    kept = {max(subtask.samples_up_to(min(samples, most)), min(most, other.least_samples)), most} - {0}
                    found |= {allocation.replaced(subtask.name, other.name, count) for count in kept}
        found.discard(allocation)
        return sorted((step for step in found if step in self), key=lambda step: step.key)


def _finite(budget: Any) -> float:
    """The budget as a float.

    Raises:
        ConfigError: When it is no finite number.
    """
    try:
        number = float(budget) if isinstance(budget, Real | Decimal) and not isinstance(budget, bool) else math.nan
    except (OverflowError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        shown = f"{type(budget).__name__} of {budget.bit_length():,} bits" if type(budget) is int else repr(budget)
        raise ConfigError(f"the budget must be a finite number, not {shown[:_SHOWN]}")
    return number


def _distance(one: Allocation, other: Allocation) -> tuple[int, float]:
    """Subtasks with another model or operator, and how far the numbers of samples are apart, in doublings."""
    models = sum(one[name].pairing != other[name].pairing for name in one)
    return models, sum(abs(math.log2(one[name].samples / other[name].samples)) for name in one)
