"""What choices cost in units of which the budget has 100: an LLM is shown the table, and never asked to reckon."""

from __future__ import annotations

from agenttts.pipeline import Model, Subtask
from agenttts.pipeline.pairing import Pairing
from agenttts.space import SearchSpace
from agenttts.space.counts import least_of

_UNITS = 100
_STEP = 4
"""Between two numbers of samples that are priced."""
_MOST_ROWS = 8
"""Of one subtask: where it has more pairings, each operator and option is priced with its smallest model alone."""


def units(space: SearchSpace, cost: float) -> str:
    """A cost in hundredths of the budget."""
    return f"{_UNITS * cost / (abs(space.budget) or 1.0):.3g}"


def price_table(space: SearchSpace, counts: int) -> str:
    """The models, then stage by stage what can be chosen and what it costs, as far as it fits beside the cheapest of
    the others.

    Args:
        space: What is searched.
        counts: Numbers of samples of each choice that are priced, two at least.
    """
    models = {model.name: model for subtask in space.pipeline.subtasks for model in subtask.models}
    named = ", ".join(f"{name} ({_size(model)})" for name, model in models.items())
    head = f"Pipeline {space.pipeline.name!r}. The budget is {_UNITS} units, and the cost the sum over the stages."
    lines = [head, f"Models: {named}."]
    for subtask in space.pipeline.subtasks:
        after = ", ".join(space.pipeline.parents(subtask.name)) or "the input"
        operator = subtask.pairings[0].operator.name
        lines.append(f"{subtask.name} (reads {after}; operator {operator}):")
        lines += [f"  {row}" for each in _shown(subtask) if (row := _row(space, subtask, each, counts))]
    return "\n".join(lines)


def _shown(subtask: Subtask) -> list[Pairing]:
    if len(subtask.pairings) <= _MOST_ROWS:
        return list(subtask.pairings)
    smallest = min(subtask.models, key=lambda model: subtask.sizes[model.name])
    return [
        each
        for each in subtask.pairings
        if not each.departures or (each.departures == 1 and each.model.name == smallest.name)
    ]


def _row(space: SearchSpace, subtask: Subtask, pairing: Pairing, most_counts: int) -> str:
    """One pairing; empty where it does not fit at all."""
    most = space.most_samples(space.cheapest, subtask.name, pairing.name)
    least = least_of(subtask, pairing)
    if not 0 < least <= most:
        return ""
    found = _counts(least, most, subtask)
    counts = [*found[: max(most_counts, 2) - 1], most] if len(found) > most_counts else found
    shown = ", ".join(f"x{count} {units(space, _cost(space, subtask, pairing, count))}" for count in counts)
    return f"{pairing.name}: {shown}"


def _counts(least: int, most: int, subtask: Subtask) -> list[int]:
    """From the least to the most that fit, in steps that grow."""
    found, count = [least], least * _STEP
    while count < most:
        if (taken := subtask.samples_up_to(count)) > found[-1]:
            found.append(taken)
        count *= _STEP
    return found if found[-1] == most else [*found, most]


def _cost(space: SearchSpace, subtask: Subtask, pairing: Pairing, count: int) -> float:
    chosen = space.cheapest.replaced(subtask.name, pairing.name, count)
    return space.subtask_costs(chosen)[subtask.name]


def _size(model: Model) -> str:
    size = "unknown size" if model.parameters is None else f"{model.parameters / 1e9:.3g}B parameters"
    return ", ".join([size, *(f"{name} {value}" for name, value in model.own_fields.items())])
