"""From retrieve samples to kept facts: the two rules under which the pools are recorded.

`union` keeps every quoted fact. `vote` is the paper's rule: the most frequent number of quoted facts over the
samples is k, and the k facts with the most votes are kept. Both are written here a second time, apart from the
package's aggregators, so that tests can hold one against the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

Rule = Literal["union", "vote"]
RULES: tuple[Rule, ...] = ("union", "vote")
Kept = tuple[int, ...]
"""Indices of kept facts in list order."""


def kept_facts(rule: Rule, quotes: Sequence[Sequence[int]]) -> Kept:
    """Return what one rule keeps of the quoted facts of n samples.

    Ties between numbers go to the smaller, ties between facts to the lower index; samples that quote nothing are
    no vote.
    """
    if rule == "union":
        return tuple(sorted({fact for quoted in quotes for fact in quoted}))
    lengths = Counter(len(quoted) for quoted in quotes if quoted)
    if not lengths:
        return ()
    size = min(lengths, key=lambda length: (-lengths[length], length))
    votes = Counter(fact for quoted in quotes for fact in quoted)
    return tuple(sorted(sorted(votes, key=lambda fact: (-votes[fact], fact))[:size]))


def prefix_contexts(quotes: Sequence[Sequence[int]]) -> set[Kept]:
    """Return every set of kept facts that the first n samples lead to, for all n and both rules."""
    return {kept_facts(rule, quotes[:count]) for rule in RULES for count in range(1, len(quotes) + 1)}
