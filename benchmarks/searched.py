"""Searches that are watched: what they would recommend after so many example evaluations, and many of them at once.

What `search_efficiency.py`, `few_examples.py` and `experience.py` have in common. Regret is the true score of the best
allocation within the budget less that of the recommended one.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import Pool
from typing import Any

import numpy as np
from numpy.typing import NDArray
from problems import MINIHOP, MINIHOP_BUDGETS, Problem, minihop_optimum, share_optima

import agenttts as at
from agenttts._util.stats import student_quantile
from agenttts.errors import LimitReached
from agenttts.posterior.insights import recommend
from agenttts.searching.progress import Progress, SearchResult
from agenttts.study.trial import Archive, Trial

FIRST_SEED = 1000
"""Seeds below were used while the methods were being made."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One search of one problem."""

    family: str
    seed: int
    regrets: dict[int, float]
    """Example evaluations -> regret of what was recommended then."""
    trials: int
    seconds: float
    """Wall-clock time of the whole search: nothing but our own work, as scores are drawn."""


class Watch:
    """Notes the regret of what would be recommended at every mark, and ends the search at the last evaluation.

    Args:
        posed: The problem.
        marks: Example evaluations.
        last: Example evaluations after which the search ends.
        plain: Whether the best observed mean is recommended, not the best posterior mean.
    """

    def __init__(self, posed: Problem, *, marks: Collection[int] = (), last: int, plain: bool = False) -> None:
        self.problem, self.last, self.plain = posed, last, plain
        self.marks = sorted(marks)
        self.regrets: dict[int, float] = {}
        self.archive = Archive()
        """What there was when the last evaluation was used up: the end of a search completes what it recommends."""
        self._ended = False

    def __call__(self, progress: Progress) -> None:
        """Look at the trials so far."""
        if self._ended or not progress.archive.trials:
            return
        archive = self.archive = progress.archive
        spent = evaluations(archive)
        if due := [mark for mark in self.marks if mark <= spent and mark not in self.regrets]:
            self.regrets |= dict.fromkeys(due, self.problem.regret(self.chosen(archive).allocation))
        if spent >= self.last:
            self._ended = True
            raise LimitReached("all example evaluations are used up")

    def chosen(self, archive: Archive) -> Trial:
        """What is recommended."""
        if self.plain and archive.best is not None:
            return archive.best
        return recommend(self.problem.space.pipeline.sizes, archive.trials, experience=archive.experience)

    @property
    def carried(self) -> dict[int, float]:
        """The regret at every mark: a search that ran out of allocations keeps to its recommendation."""
        whole, latest = {}, 1.0
        for mark in self.marks:
            latest = whole[mark] = self.regrets.get(mark, latest)
        return whole


def searched(
    watch: Watch, searcher: at.Searcher, store: at.Store | None = None, **plan: Any
) -> tuple[SearchResult, float]:
    """A search under watch, and its seconds; `plan` as for `at.SearchPlan`."""
    posed, started = watch.problem, time.perf_counter()
    search = at.search(
        posed.environment,
        searcher,
        posed.space,
        store or at.Store(),
        limits=at.Limits(trials=watch.last),
        on_progress=watch,
        **plan,
    )
    return asyncio.run(_awaited(search)), time.perf_counter() - started


async def _awaited(search: Any) -> SearchResult:
    result: SearchResult = await search
    return result


def evaluations(archive: Archive) -> int:
    """Example evaluations of all trials."""
    return sum(len(trial.evaluation.results) for trial in archive.trials)


def settled(regrets: Mapping[int, float], close: float) -> int | None:
    """The first mark from which on the regret stayed as close; None where it did not."""
    stays = (mark for mark in regrets if all(regrets[later] <= close for later in regrets if later >= mark))
    return next(stays, None)


def half_width(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Half the 95 % interval of the mean, by Student's t; not a number for a single value."""
    if len(values) < 2:
        return float("nan")
    return float(student_quantile(len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)


@contextmanager
def processes(count: int, families: Collection[str]) -> Iterator[Pool]:
    """So many processes that know the optima of these families' problems."""
    spawned, optima = multiprocessing.get_context("spawn"), {}
    if MINIHOP in families:
        with spawned.Pool(min(count, len(MINIHOP_BUDGETS))) as pool:
            optima = dict(zip(MINIHOP_BUDGETS, pool.map(minihop_optimum, MINIHOP_BUDGETS), strict=True))
    # One process a core: each with threads of its own for linear algebra, they would wait for one another.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with spawned.Pool(count, share_optima, (optima,), maxtasksperchild=8) as pool:
        yield pool
