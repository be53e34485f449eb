"""Racing: a trial sees a growing part of the examples, and is stopped as soon as it is surely worse than the best.

All trials of a study see the examples in one order, so that any two can be compared pairwise on those both have seen.
After each part the mean difference to the best fully evaluated trial is tested, one-sided, by Student's t; the error
rate is shared out over the looks (Bonferroni), so that over a whole trial the chance of stopping one that is in truth
no worse is at most about 5 %. What is not surely worse goes on to all examples: close leaders get the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from agenttts.errors import ConfigError
from agenttts.trial import Archive, Evaluation

# One-sided 5 % / looks quantiles of the normal distribution, inflated to Student's t by the usual expansion.
_QUANTILES = {1: 1.645, 2: 1.960, 3: 2.128, 4: 2.241, 5: 2.326}


@dataclass(frozen=True)
class Racing:
    """How trials race.

    Raises:
        ConfigError: When the first part is too small for a test.
    """

    first: int = 20
    """Examples before the first look; each later part doubles what has been seen."""

    def __post_init__(self) -> None:
        if self.first < 5:
            raise ConfigError(f"racing needs at least 5 examples before its first look, not {self.first}")

    def parts(self, examples: Sequence[str], seed: int) -> list[list[str]]:
        """The examples in the study's order, cut into parts: 20, 20, 40, ...; one part when there are few."""
        order = [str(name) for name in np.random.default_rng(seed).permutation(list(examples))]
        edges = [0]
        while (edges[-1] * 2 or self.first) * 2 <= len(order):
            edges.append(edges[-1] * 2 or self.first)
        return [order[a:b] for a, b in zip(edges, [*edges[1:], len(order)], strict=True)]

    def surely_worse(self, evaluation: Evaluation, archive: Archive, looks: int) -> bool:
        """Whether the trial is worse than the best fully evaluated one, at 5 % over all looks."""
        best = archive.best
        if best is None:
            return False
        theirs = {result.example: result.score for result in best.evaluation.results}
        pairs = [(r.score, theirs[r.example]) for r in evaluation.results if r.example in theirs]
        if len(pairs) < self.first:
            return False
        differences = np.array([mine - other for mine, other in pairs])
        count = len(differences)
        # One pseudo-difference of 1: without it, a handful of equal scores would look free of noise.
        error = sqrt((float(((differences - differences.mean()) ** 2).sum()) + 1) / (count * (count - 1)))
        z = _QUANTILES.get(looks, max(_QUANTILES.values()))
        quantile = z + (z**3 + z) / (4 * (count - 1))
        return float(differences.mean()) + quantile * error < 0
