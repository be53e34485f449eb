"""What some trials say of scores, whatever is assumed of these: worked out once for every structure that is weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agenttts.posterior.noise import noise_covariance, scores_of
from agenttts.space.allocation import Allocation, Choice
from agenttts.study.trial import Trial

Floats = NDArray[np.float64]

_JUDGED_BY = 150
"""Most choices that a subtask's own scores are learned from, taken evenly."""


class Observations:
    """The scores of some trials, and those that their subtasks reported.

    Args:
        trials: At least one.
        subtask: Whose scores are meant; the pipeline's where none is named.
    """

    def __init__(self, trials: Sequence[Trial], subtask: str = "") -> None:
        self.trials, self._subtask = trials, subtask
        self._by_subtask: dict[str, Observations] = {}

    @cached_property
    def scores(self) -> Floats:
        """Mean score of each trial."""
        return np.array([np.mean(scores_of(trial, self._subtask)) for trial in self.trials])

    @cached_property
    def noise(self) -> Floats:
        """Covariance of these means, shape (trials, trials)."""
        return noise_covariance(self.trials, self._subtask)

    @cached_property
    def reported(self) -> frozenset[str]:
        """The subtasks that scored some trial by a metric of their own."""
        results = (result for trial in self.trials for result in trial.evaluation.results)
        return frozenset(name for result in results for name in result.subtask_scores)

    def of_subtask(self, names: Sequence[str]) -> Observations:
        """What the last of these subtasks scored by its own metric, by the choices of all of them.

        Of trials with the same choices, the one with most examples counts.
        """
        if names[-1] not in self._by_subtask:
            self._by_subtask[names[-1]] = Observations(self._judged(names), names[-1])
        return self._by_subtask[names[-1]]

    def _judged(self, names: Sequence[str]) -> list[Trial]:
        longest: dict[tuple[Choice, ...], Trial] = {}
        for trial in self.trials:
            choices = tuple(trial.allocation[name] for name in names)
            known = longest.get(choices)
            if known is None or len(known.evaluation.results) < len(trial.evaluation.results):
                longest[choices] = trial
        return [
            replace(trial, allocation=Allocation(dict(zip(names, choices, strict=True))))
            for choices, trial in list(longest.items())[:: -(-len(longest) // _JUDGED_BY)]
        ]
