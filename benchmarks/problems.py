"""Problems that `search_efficiency.py` compares methods on: what is searched, and what only the judge knows.

Synthetic families (`environments.synthetic`) are drawn from a seed; those of operators
(`environments.synthetic_operators`: "operators-votes", ...) run the operators themselves, at one of three budgets.
"minihop" is real: samples of the four tiny models recorded once, 100 of its 400 examples drawn by the seed, one of
three budgets; an allocation's true score is its expectation over the order of the recorded samples on all 400 examples
(`minihop.expected_score`, known to +-0.003). The paper's six tasks are tables of what simulated models scored
(`landscapes.py`); an allocation's true score is its mean over all examples, of which the search sees half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from landscapes import TASKS, landscape

import agenttts as at
from agenttts.environments.synthetic import FAMILIES, SyntheticEnvironment
from agenttts.environments.synthetic_operators import OPERATOR_FAMILIES, OperatorProblem
from agenttts.environments.tasks.minihop import expected_score, minihop_recorded, pipeline, world
from agenttts.protocols import Environment

MINIHOP = "minihop"
OPERATORS = "operators-"
NAMES = (*FAMILIES, MINIHOP)
"""The families that methods are compared on."""
OPERATOR_NAMES = tuple(OPERATORS + name for name in OPERATOR_FAMILIES)
OPERATOR_BUDGETS = (5e6, 1e7, 1.6e7)
"""MFLOP per query."""
MINIHOP_BUDGETS = (500.0, 700.0, 1000.0)
"""MFLOP per query."""
_EXAMPLES, _ALL_EXAMPLES = 100, 400
_MOST_EXAMPLES = 200
"""Of a synthetic problem of which the search sees some only: fewer are the first of them."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem."""

    environment: Environment
    space: at.SearchSpace
    true_score: Callable[[at.Allocation], float]
    optimum: float
    """The highest true score within the budget."""

    def regret(self, allocation: at.Allocation) -> float:
        """How much less an allocation really scores than the best one."""
        return self.optimum - self.true_score(allocation)


def problem(family: str, seed: int, examples: int | None = None) -> Problem:
    """The problem of this family and seed; the search sees so many examples, or as many as is usual in the family."""
    if family in TASKS:
        return simulated(family, seed)
    if family in OPERATOR_NAMES:
        return operators(family.removeprefix(OPERATORS), seed, OPERATOR_BUDGETS[seed % len(OPERATOR_BUDGETS)])
    return _recorded(seed, examples or _EXAMPLES) if family == MINIHOP else _synthetic(family, seed, examples)


def operators(family: str, seed: int, budget: float, *, chosen: bool = True) -> Problem:
    """A problem of operators.

    Args:
        family: One of `OPERATOR_FAMILIES`.
        seed: Which one.
        budget: MFLOP per query.
        chosen: Whether the operator is chosen, beside models and samples: else all stages vote.
    """
    environment = OperatorProblem(OPERATOR_FAMILIES[family], seed)
    if not chosen:
        stages = tuple(replace(each, operators=(at.operators.Vote(),)) for each in environment.pipeline.subtasks)
        environment.pipeline = replace(environment.pipeline, subtasks=stages)
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), budget)
    best = environment.true_score(environment.optimum(space))
    return Problem(environment=environment, space=space, true_score=environment.true_score, optimum=best)


def simulated(task: str, seed: int) -> Problem:
    """One of the paper's tasks, of which the seed draws what a search sees."""
    found = landscape(task)
    best = max(found.scores.values())
    return Problem(
        environment=found.environment(seed),
        space=found.space,
        true_score=found.scores.__getitem__,
        optimum=best,
    )


def _synthetic(family: str, seed: int, examples: int | None) -> Problem:
    kind = FAMILIES[family] if examples is None else replace(FAMILIES[family], examples=_MOST_EXAMPLES)
    environment = SyntheticEnvironment(kind, seed)
    environment.examples = environment.examples[:examples]
    budget = environment.default_budget
    space = at.SearchSpace(environment.pipeline, at.cost_model(budget.cost_model), budget.amount)
    return Problem(
        environment=environment,
        space=space,
        true_score=environment.true_score,
        optimum=environment.optimum(space),
    )


def _recorded(seed: int, examples: int) -> Problem:
    budget = MINIHOP_BUDGETS[seed % len(MINIHOP_BUDGETS)]
    chosen = np.random.default_rng([20250801, seed]).choice(_ALL_EXAMPLES, size=examples, replace=False)
    environment = at.LiveEnvironment(
        pipeline(),
        [world.make_example(int(index)) for index in sorted(chosen)],
        client=minihop_recorded().client,
        name=f"minihop-recorded-{seed}",
        recorded="recorded samples of real models; no model runs",
    )
    space = _minihop_space(budget)
    return Problem(environment=environment, space=space, true_score=_true_score, optimum=minihop_optimum(budget))


def _minihop_space(budget: float) -> at.SearchSpace:
    return at.SearchSpace(pipeline(), at.cost_model("flops"), budget)


@cache
def _true_score(allocation: at.Allocation) -> float:
    return expected_score(allocation).score


_optima: dict[float, float] = {}


def minihop_optimum(budget: float) -> float:
    """The best of all allocations, a minute's work: done once, and handed to other processes (`share_optima`)."""
    if budget not in _optima:
        _optima[budget] = max(_true_score(allocation) for allocation in _minihop_space(budget).enumerate())
    return _optima[budget]


def share_optima(optima: dict[float, float]) -> None:
    """Take over what another process has worked out."""
    _optima.update(optima)
