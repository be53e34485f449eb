"""Chance that can be repeated: numbers fixed by what they are for, in every process.

What is fixed by the question alone is its difficulty, which no sample escapes; what is fixed by the seed of a sample
too is that sample's luck, which votes and fusion average out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from statistics import NormalDist
from typing import TypeVar

_NORMAL = NormalDist()
_STEPS = 2**64

Item = TypeVar("Item")


def uniform(*key: object) -> float:
    """A number between 0 and 1, neither of them, fixed by the key."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / _STEPS


def deviate(*key: object) -> float:
    """A standard normal number fixed by the key."""
    return _NORMAL.inv_cdf(uniform(*key))


def choice(items: Sequence[Item], *key: object) -> Item:
    """One of the items, fixed by the key."""
    return items[int(uniform(*key) * len(items))]


def shuffled(items: Sequence[Item], *key: object) -> list[Item]:
    """The items in an order fixed by the key."""
    order = sorted(range(len(items)), key=lambda place: uniform(*key, place))
    return [items[place] for place in order]
