"""First trials: a few allocations, of which one should be good whatever the task turns out to be.

Tasks are drawn from what the formula of the paper's insights (`posterior.formula`) takes for possible: before any
trial, or after earlier studies (three in four are then drawn as if there were none, for studies may mislead). The
first allocation is the best on average over these tasks; each further one raises most what the best of those chosen
scores on average (a portfolio: what suits the same tasks as one before it adds nothing).

Where a subtask lists several operators or values of an option, these first allocations have the first of each; every
other gets one trial more, chosen in the same way among the allocations that have it and are otherwise plain.

The paper's own initial trials, the models of a subtask at one equal budget (section 5.1), are in `baselines.paper`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agenttts.pipeline.pairing import Pairing, Setting, read_options
from agenttts.posterior.kernel import Structure
from agenttts.posterior.surrogate import Encoder
from agenttts.proposals.candidates import candidates
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.experience import Experience

PORTFOLIO = 5
"""Trials of a portfolio."""
_TASKS = 300
_TASKS_OF_STUDIES = 100
"""That are drawn from what earlier studies taught, beside those."""
_SEED = 20250801


class FirstTrial(NamedTuple):
    """A first trial, and what is expected of it."""

    allocation: Allocation
    mean: float
    """Of its score over the tasks that are possible; those that earlier studies expect, where there are any."""
    sd: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {1.96 * self.sd:.2f}"


class _Chooser:
    """Chooses one candidate after another.

    Args:
        space: What is searched.
        experience: What earlier studies taught.
    """

    def __init__(self, space: SearchSpace, experience: Experience | None) -> None:
        self.pool = candidates(space, np.random.default_rng(_SEED))
        self.chosen: list[int] = []
        beliefs = {None: _TASKS} if experience is None else {experience: _TASKS_OF_STUDIES, None: _TASKS}
        formulas = [Encoder(space.pipeline.sizes, Structure(), {}, each).formula for each in beliefs]
        tasks = np.random.default_rng(_SEED).standard_normal((_TASKS, formulas[0].parameters))
        samples, drawn = self.pool.samples.astype(float), zip(formulas, beliefs.values(), strict=True)
        scores = [each.scores(tasks[:count], self.pool.pairings, samples) for each, count in drawn]
        self._scores, self._expected = np.vstack(scores), scores[0]
        self._best = np.full(len(self._scores), -np.inf)

    def choose(self, count: int, among: NDArray[np.int64] | None = None) -> None:
        """The candidates that raise most what the best one chosen so far scores, one by one, of all or of some."""
        rows = np.arange(len(self.pool)) if among is None else among
        for _ in range(min(count, len(rows))):
            index = int(rows[np.argmax(np.maximum(self._scores[:, rows], self._best[:, None]).mean(axis=0))])
            self._best = np.maximum(self._best, self._scores[:, index])
            self.chosen.append(index)
            rows = rows[rows != index]

    @property
    def found(self) -> list[FirstTrial]:
        """What was chosen."""
        expected = self._expected[:, self.chosen]
        chosen = zip(self.chosen, expected.mean(axis=0), expected.std(axis=0), strict=True)
        return [FirstTrial(self.pool.allocation(index), float(mean), float(sd)) for index, mean, sd in chosen]


def portfolio(space: SearchSpace, experience: Experience) -> list[FirstTrial]:
    """`PORTFOLIO` distinct feasible allocations, or all there are.

    Args:
        space: What is searched.
        experience: What earlier studies taught.
    """
    chooser = _Chooser(space, experience)
    chooser.choose(PORTFOLIO)
    return chooser.found


def initial_design(space: SearchSpace) -> list[FirstTrial]:
    """A portfolio of plain allocations, then one for each further operator and value of an option; all distinct.

    Plain is what has the first operator and the first value of every option at each stage.
    """
    chooser = _Chooser(space, None)
    pairings = chooser.pool.pairings
    departures = np.zeros(len(pairings), dtype=int)
    for i, subtask in enumerate(space.pipeline.subtasks):
        departures += np.array([each.departures for each in subtask.pairings])[pairings[:, i]]
    chooser.choose(PORTFOLIO, np.flatnonzero(departures == departures.min()))
    for i, subtask in enumerate(space.pipeline.subtasks):
        ways = [list(_ways(pairing)) for pairing in subtask.pairings]
        for way in dict.fromkeys(way for each in ways for way in each):
            has_it = np.array([way in each for each in ways])[pairings[:, i]]
            if has_it.any() and not has_it[chooser.chosen].any():
                chooser.choose(1, np.flatnonzero(has_it & (departures == departures[has_it].min())))
    return chooser.found


def longest_design(space: SearchSpace) -> int:
    """Trials that an initial design has at most."""
    ways = [{way for each in subtask.pairings for way in _ways(each)} for subtask in space.pipeline.subtasks]
    return PORTFOLIO + sum(map(len, ways))


def _ways(pairing: Pairing) -> Iterator[tuple[str, Setting]]:
    """What of it is not the first of its kind: its operator, and the values of its options."""
    if pairing.operator_name:
        yield "", pairing.operator_name
    yield from read_options(pairing.options_name).items()
