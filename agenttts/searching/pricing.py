"""What allocations cost at the lengths that the trials measured, where these are longer than declared.

Declared lengths are what the user lets a query cost: one that turns out shorter leaves the space as it is, and is told
at the end, so that it can be declared. So what is proposed always fits the budget at declared lengths, too.
The space that a searcher sees is rebuilt from the trials before each round, so that a resumed search sees the same.
A trial is recorded with what it costs at the lengths it measured itself, where they show that the forecast is wrong;
over the budget, it is not recommended. While it has seen a part of the examples it must be wrong by a tenth: these may
be the longest, and what seems to be over the budget sees no more of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agenttts.space import Allocation, SearchSpace
from agenttts.study.evaluation import SubtaskUsage
from agenttts.study.lengths import ByModel, MeasuredLengths, declared_lengths, measured_lengths
from agenttts.study.trial import Trial

_LEAST = 1e-9
"""Tokens: a length must be positive."""
_SAME = 1.1
"""Within this factor a length that is longer leaves the space as it is: a prompt depends on other stages, too."""


def space_at(space: SearchSpace, lengths: ByModel) -> SearchSpace:
    """The space at the lengths that trials measured (`known_lengths`); the very same one where there are none.

    Raises:
        BudgetTooSmall: When no allocation is within the budget at these lengths.
    """
    if not lengths:
        return space
    return SearchSpace(space.pipeline.with_lengths(lengths), space.cost_model, space.budget)


def known_lengths(space: SearchSpace, trials: Iterable[Trial]) -> ByModel:
    """Prompt and completion of each subtask and model of which one is longer than declared: each the longer figure."""
    stages, learned = declared_lengths(space.pipeline), dict[str, dict[str, tuple[float, float]]]()
    for (subtask, model), measured in measured_lengths(trials).items() if space.cost_model.learns else ():
        declared = stages[subtask].get(model)
        if declared is not None and measured.longer(declared, by=_SAME):
            prompt, completion = (max(length.mean, figure) for length, figure in zip(measured, declared, strict=True))
            learned.setdefault(subtask, {})[model] = prompt, completion
    return learned


def trial_cost(
    space: SearchSpace, allocation: Allocation, usage: Mapping[str, SubtaskUsage], lengths: ByModel, *, whole: bool
) -> float:
    """What one query costs: at the lengths that a trial measured, where they show the forecast to be wrong.

    Args:
        space: As declared.
        allocation: What was tried.
        usage: What its subtasks used.
        lengths: Those that other trials measured: they make the forecast.
        whole: Whether the trial has seen all examples.
    """
    forecast = _priced(space, allocation, lengths) if lengths else space.cost(allocation)
    found = {name: MeasuredLengths.of([used]) for name, used in usage.items() if name in allocation}
    measured = {name: each for name, each in found.items() if each is not None}
    if not measured or not space.cost_model.learns:
        return forecast

    def at(end: str) -> float:
        ends = {name: dict(by_model) for name, by_model in lengths.items()}
        for name, each in measured.items():
            both = max(getattr(each.prompt, end), _LEAST), max(getattr(each.completion, end), _LEAST)
            ends.setdefault(name, {})[allocation[name].asked] = both
        return _priced(space, allocation, ends)

    mean, sure = at("mean"), at("low") > forecast
    return mean if sure and (whole or mean > _SAME * forecast) else forecast


def _priced(space: SearchSpace, allocation: Allocation, lengths: ByModel) -> float:
    """What one query costs at these lengths (subtask -> model -> prompt and completion), whatever the budget."""
    subtasks = [subtask.with_lengths(lengths.get(subtask.name, {})) for subtask in space.pipeline.subtasks]
    pairings = [subtask.pairing(allocation[subtask.name].pairing) for subtask in subtasks]
    costs = [
        space.cost_model.pairing_cost(s, at, allocation[s.name].samples)
        for s, at in zip(subtasks, pairings, strict=True)
    ]
    return float(sum(costs))
