"""Racing: a trial sees a growing part of the examples, and more only where that may change which trial is best.

All trials of a study see the examples in one order, a look at a time, so that any two can be compared pairwise on
those both have seen. A new trial gets one look. After it, one look goes where looking again is worth most: by the
knowledge gradient (Frazier, Powell and Dayanik, 2009), how much the best posterior mean is expected to rise by it, so
that close leaders get the most and what is plainly worse gets nothing. A trial whose mean difference to the leader is
negative by a one-sided t-test is not looked at while it is; the error rate is shared out over the looks (Bonferroni),
so that over all of them a trial that is in truth no worse than the leader it is compared with is dropped in at most
about 5 % of cases. That a leader was chosen for its scores is not corrected for, but by the posterior that chooses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from agenttts.errors import ConfigError
from agenttts.posterior.insights import posterior, representative
from agenttts.posterior.surrogate import Posterior, Sizes, normal_cdf, normal_density
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import Archive, Trial

_ERROR_RATE = 0.05
_LEAST_WORTH = 1e-4
"""A look that is expected to raise the best score by less is not worth its samples."""


@dataclass(frozen=True)
class Racing:
    """How trials race.

    Examples:
        >>> racing = at.Racing(look=5)
        >>> plan = at.SearchPlan(environment, at.searcher("agent"), space, "runs.db", study_name="raced", racing=racing)

    Raises:
        ConfigError: When a look is too small for a test.
    """

    look: int = 20
    """Examples that one look adds."""

    def __post_init__(self) -> None:
        if self.look < 5:
            raise ConfigError(f"racing needs looks of at least 5 examples, not {self.look}")

    def worth_another(self, archive: Archive, sizes: Sizes, total: int, count: int) -> list[Trial]:
        """The trials, at most `count`, at which another look is worth most; none when no look is worth its samples.

        Args:
            archive: The study so far.
            sizes: Subtask -> pairing -> parameter count of its model (`Pipeline.sizes`).
            total: Examples that a complete trial has seen.
            count: Looks to give.
        """
        trials = representative(archive.trials)
        if len(trials) < 2:
            return []
        surrogate = posterior(sizes, archive.evidence, archive.experience)
        expected = surrogate.predict_allocations([trial.allocation for trial in trials])
        worth = knowledge_gradient(expected, self.look)
        leader, looks = trials[int(np.argmax(expected.mean))], max(total // self.look - 1, 1)
        chosen = [
            trials[i]
            for i in np.argsort(-worth, kind="stable")
            if worth[i] >= _LEAST_WORTH
            and len(trials[i].evaluation.results) < total
            and not self.surely_worse(trials[i].evaluation, leader.evaluation, looks)
        ]
        return chosen[:count]

    def surely_worse(self, evaluation: Evaluation, leader: Evaluation, looks: int) -> bool:
        """Whether a trial is worse than the leader on the examples both have seen, at 5 % over all looks."""
        theirs = {result.example: result.score for result in leader.results}
        pairs = [(r.score, theirs[r.example]) for r in evaluation.results if r.example in theirs]
        if len(pairs) < self.look:
            return False
        differences = np.array([mine - other for mine, other in pairs])
        count = len(differences)
        # One pseudo-difference of 1: without it, a handful of equal scores would look free of noise.
        error = sqrt((float(((differences - differences.mean()) ** 2).sum()) + 1) / (count * (count - 1)))
        z = NormalDist().inv_cdf(1 - _ERROR_RATE / looks)
        quantile = z + (z**3 + z) / (4 * (count - 1))  # Student's t by its usual expansion
        return float(differences.mean()) + quantile * error < 0


def knowledge_gradient(posterior: Posterior, look: int) -> NDArray[np.float64]:
    """By how much one look at each trial is expected to raise the best posterior mean, the other trials as they are."""
    chance = np.clip(posterior.mean, 0.05, 0.95)
    variance = posterior.sd**2
    spread = variance / np.sqrt(variance + chance * (1 - chance) / look)
    order = np.argsort(-posterior.mean)
    rival = np.full(len(order), posterior.mean[order[0]])
    rival[order[0]] = posterior.mean[order[1]]
    z = -np.abs(posterior.mean - rival) / spread
    # Far from the leader, rounding alone would make it negative.
    result: NDArray[np.float64] = np.maximum(spread * (z * normal_cdf(z) + normal_density(z)), 0.0)
    return result
