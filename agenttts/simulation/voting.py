"""How a virtual model fuses its own samples: by how many say the same, and a right one more readily."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from agenttts.pipeline import Model
from agenttts.simulation.chance import uniform
from agenttts.simulation.skill import decades

_SHARPNESS = 2.5
"""A value weighs its count to this power."""
_DISCERNMENT = 2.5
"""How many times more readily a right value is taken."""
_CONFUSION = 0.0006
"""Chance per sample that a 3B model's fusion loses the thread; a tenth of it for ten times the parameters."""

Value = TypeVar("Value", bound=Hashable)


def weighed(values: Sequence[Value], is_right: Callable[[Value], bool], at: float) -> Value:
    """The value at this place (0 to 1) of the distinct values, laid out by their weights."""
    weights = {
        value: count**_SHARPNESS * (_DISCERNMENT if is_right(value) else 1.0)
        for value, count in Counter(values).items()
    }
    place = at * sum(weights.values())
    for value, weight in weights.items():
        place -= weight
        if place <= 0:
            return value
    return values[-1]


def confused(model: Model, samples: int, *key: object) -> bool:
    """Whether the fusion of so many samples loses the thread."""
    return uniform(*key, "confused") < _CONFUSION * samples * 10 ** -decades(model)
