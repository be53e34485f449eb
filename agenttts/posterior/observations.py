"""What some trials say of scores, whatever is assumed of these: worked out once for every structure that is weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agenttts.posterior.noise import noise_covariance
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Trial

Floats = NDArray[np.float64]

_JUDGED_BY = 150
"""Most choices that a subtask's own scores are learned from, taken evenly."""


class Observations:
    """The scores of some trials, and those that their subtasks reported.

    Args:
        trials: At least one.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials = trials
        self._by_subtask: dict[str, Observations] = {}

    @cached_property
    def scores(self) -> Floats:
        """Mean score of each trial."""
        return np.array([trial.evaluation.score for trial in self.trials])

    @cached_property
    def noise(self) -> Floats:
        """Covariance of these means, shape (trials, trials)."""
        return noise_covariance(self.trials)

    @cached_property
    def reported(self) -> frozenset[str]:
        """The subtasks that scored some trial by a metric of their own."""
        return frozenset(name for trial in self.trials for name in trial.evaluation.subtask_scores)

    def of_subtask(self, names: Sequence[str]) -> Observations:
        """What the last of these subtasks scored by its own metric, by the choices of all of them.

        Of trials with the same choices, the one with most examples counts.
        """
        if names[-1] not in self._by_subtask:
            self._by_subtask[names[-1]] = Observations(self._judged(names))
        return self._by_subtask[names[-1]]

    def _judged(self, names: Sequence[str]) -> list[Trial]:
        longest: dict[Allocation, Trial] = {}
        for trial in self.trials:
            allocation = Allocation({name: trial.allocation[name] for name in names})
            known = longest.get(allocation)
            if known is None or len(known.evaluation.results) < len(trial.evaluation.results):
                longest[allocation] = trial
        return [
            replace(trial, allocation=allocation, evaluation=_by_subtask(trial.evaluation, names[-1]))
            for allocation, trial in list(longest.items())[:: -(-len(longest) // _JUDGED_BY)]
        ]


def _by_subtask(evaluation: Evaluation, name: str) -> Evaluation:
    """What a subtask scored by its own metric; a failed example counts as 0."""
    return Evaluation(
        results=tuple(
            ExampleResult(example=each.example, score=each.subtask_scores.get(name, 0.0)) for each in evaluation.results
        )
    )
