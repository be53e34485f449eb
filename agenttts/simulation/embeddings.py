"""Simulated embeddings by a fixed rule: a hashed bag of words beside a part that all texts share.

A word is a run of three or more letters, lower-cased (`select_image` is two). Each goes, with the square root of its
count, to one of 256 places with a sign, both by its hash; the bag has length 1. The shared part is chosen so that the
programs of `simulation.chatdev` come out at the consistencies that were published for text-embedding-ada-002, .74 to
.752: cosine = 0.626 + 0.374 x cosine of the bags.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence

SHARED = 0.626
"""Cosine of two texts without a word in common."""
_PLACES = 256
_WORD = re.compile(r"[a-z]{3,}")


def embed(text: str) -> list[float]:
    """The embedding of a text, of length 1 (of a text without words, its shared part alone)."""
    bag = [0.0] * _PLACES
    for word, count in Counter(_WORD.findall(text.lower())).items():
        place, sign = _place(word)
        bag[place] += sign * math.sqrt(count)
    length = math.hypot(*bag) or 1.0
    return [math.sqrt(SHARED), *_scaled(bag, math.sqrt(1 - SHARED) / length)]


def _scaled(values: Sequence[float], factor: float) -> list[float]:
    return [value * factor for value in values]


def _place(word: str) -> tuple[int, int]:
    digest = hashlib.blake2b(word.encode(), digest_size=3).digest()
    return digest[0] % _PLACES, 1 if digest[1] % 2 else -1
