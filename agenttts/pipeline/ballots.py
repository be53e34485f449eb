"""Votes over values of any kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from agenttts._util.checks import require_value

Key = Callable[[Any], Hashable]
"""A value -> what makes it equal to others: three spellings of one answer are one candidate."""


def canonical(value: Any) -> str:
    """A text that is the same for equal values, which need not be hashable, nor JSON."""
    try:
        return json.dumps(value, sort_keys=True, default=_plain)
    except (TypeError, ValueError):
        return json.dumps(_spelled(value))


def _plain(value: Any) -> Any:
    """Sets have no order of their own: equal ones must count as one vote. The text of an array may leave out a part."""
    if isinstance(value, set | frozenset):
        return sorted(map(canonical, value))
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def _spelled(value: Any) -> Any:
    """What JSON has no form of: keys of several types, whole numbers of thousands of digits."""
    if isinstance(value, Mapping):
        return {"entries": sorted([canonical(key), canonical(each)] for key, each in value.items())}
    if isinstance(value, list | tuple):
        return [canonical(each) for each in value]
    return hex(value) if isinstance(value, int) else canonical(_plain(value))


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
    if key is not None:
        value = key(value)
        require_value(value, "the key of a vote")
    return canonical(value)
