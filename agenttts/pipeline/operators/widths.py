"""How often each step of a step search is gone on with: REBASE's widths, and which steps ETS gives any.

A step's prefix is all that its samples have said so far, step by step: the path from the root of the tree, which is the
prompt. A server that caches prefixes holds each node of the tree once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

Prefix = tuple[str, ...]
_ROUNDING = 1e-9


class _Kept(NamedTuple):
    """The best leaves behind a node, one at least."""

    value: float
    """What they bring less what the nodes from here on cost."""
    leaves: tuple[Prefix, ...]


def shares(scores: Sequence[float], temperature: float, count: int | None = None) -> list[int]:
    """How often each step is gone on with, in all `count` times (REBASE, arXiv 2408.00724).

    In turn, each gets its part, by the softmax of the scores, of what is left, rounded up.

    Args:
        scores: In descending order.
        temperature: Of the softmax; 0 gives all to the first.
        count: As many as there are steps when None.

    Examples:
        >>> shares([0.9, 0.5, 0.5, 0.1], 0.2)
        [4, 0, 0, 0]
        >>> shares([0.5, 0.4, 0.3, 0.3], 0.2)
        [2, 2, 0, 0]
    """
    count = len(scores) if count is None else count
    if not temperature:
        return [count] + [0] * (len(scores) - 1)
    weights = [math.exp((score - scores[0]) / temperature) for score in scores]
    found: list[int] = []
    for place, weight in enumerate(weights):
        left = count - sum(found)
        found.append(math.ceil(left * weight / sum(weights[place:]) - _ROUNDING) if left else 0)
    return found


def worth_their_cache(
    leaves: Sequence[Prefix],
    widths: Sequence[int],
    *,
    sharing: float,
    diversity: float = 0.0,
    clusters: Sequence[Hashable] = (),
) -> frozenset[Prefix]:
    """The leaves that ETS keeps (Efficient Tree Search, arXiv 2502.13575): one at least.

    They maximise: share of `widths` - `sharing` * share of the tree's nodes that lie on their paths + `diversity` *
    share of the clusters that they are of. Exact without `diversity`; with it, a cluster counts for the leaf of it that
    has most width, where ETS's integer programme would take any of them.

    Args:
        leaves: Prefixes, all of as many steps; equal ones are one leaf.
        widths: REBASE's, of each leaf.
        sharing: The paper's lambda of nodes; 0 keeps all.
        diversity: The paper's lambda of clusters.
        clusters: Of each leaf, where `diversity` is not 0.

    Examples:
        >>> sorted(worth_their_cache([("a", "b"), ("a", "c"), ("d", "e")], [2, 1, 0], sharing=1.5))
        [('a', 'b'), ('a', 'c')]
    """
    price = sharing / len({leaf[:length] for leaf in leaves for length in range(len(leaf) + 1)})
    worth = dict.fromkeys(leaves, 0.0)
    for leaf, width in zip(leaves, widths, strict=True):
        worth[leaf] += width / sum(widths)
    if diversity:
        of_cluster: dict[Hashable, list[Prefix]] = defaultdict(list)
        for leaf, cluster in zip(leaves, clusters, strict=True):
            of_cluster[cluster].append(leaf)
        for leaf in [max(each, key=lambda leaf: worth[leaf]) for each in of_cluster.values()]:
            worth[leaf] += diversity / len(of_cluster)
    best = {leaf: _Kept(value - price, (leaf,)) for leaf, value in worth.items()}
    for length in reversed(range(len(leaves[0]))):
        behind: dict[Prefix, list[_Kept]] = defaultdict(list)
        for node, kept in best.items():
            behind[node[:length]].append(kept)
        best = {node: _together(each, price) for node, each in behind.items()}
    return frozenset(best[()].leaves)


def _together(branches: Sequence[_Kept], price: float) -> _Kept:
    """Of a node's branches those that pay, or the one that loses least."""
    paying = [each for each in branches if each.value >= 0] or [max(branches, key=lambda each: each.value)]
    return _Kept(sum(each.value for each in paying) - price, tuple(leaf for each in paying for leaf in each.leaves))
