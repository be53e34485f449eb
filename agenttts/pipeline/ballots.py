"""Votes over values of any kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any

Key = Callable[[Any], Hashable]
"""A value -> what makes it equal to others: three spellings of one answer are one candidate."""


def canonical(value: Any) -> str:
    """A text that is the same for equal values, which need not be hashable."""
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """Sets have no order of their own: equal ones must count as one vote."""
    return sorted(map(canonical, value)) if isinstance(value, set | frozenset) else repr(value)


def ballots(values: Sequence[Any], key: Key | None = None, weights: Sequence[float] | None = None) -> dict[str, float]:
    """What each distinct value has in all, in the order in which they were drawn first."""
    found: dict[str, float] = {}
    for value, weight in zip(values, weights or [1.0] * len(values), strict=True):
        name = identity(value, key)
        found[name] = found.get(name, 0.0) + weight
    return found


def winner(values: Sequence[Any], key: Key | None = None, weights: Sequence[float] | None = None) -> Any:
    """The value with most weight; among equals the one that was drawn first."""
    counted = ballots(values, key, weights)
    won = max(counted, key=lambda name: counted[name])
    return next(value for value in values if identity(value, key) == won)


def identity(value: Any, key: Key | None = None) -> str:
    """What a value counts as."""
    return canonical(value if key is None else key(value))
