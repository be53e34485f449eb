"""The frontier of a study: what each budget affords, from one archive.

Every trial is evidence for every budget: one posterior is fitted to all of them, and each budget is given the best
trial among those that fit it. So a study searched under one budget has a frontier too, below that budget.
What the next larger budget gains is measured, not modelled: the mean paired difference between the two recommended
allocations on the examples that both have seen. On held-out examples, which chose neither, it is free of the luck that
made them winners; on the examples searched it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

import numpy as np

from agenttts._util.stats import Z95, Interval, student_quantile
from agenttts.errors import ConfigError
from agenttts.posterior.insights import posterior
from agenttts.posterior.surrogate import Sizes, Surrogate
from agenttts.space.limit import limit
from agenttts.study.evaluation import Evaluation
from agenttts.study.experience import Experience
from agenttts.study.trial import Archive, Trial


class Expected(NamedTuple):
    """Posterior mean of a true score, and its 95 % interval."""

    score: float
    interval: Interval


_WIDER = 1.2
"""How much wider an interval is than the posterior's: one looks at the trials of which it expects most, and on problems
that this was tried on the truth of those lay half a standard deviation below (benchmarks/LOG.md)."""
_DRAWS = 4000
_SURE = 0.975


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What one allocation scores more than another, on the same examples."""

    value: float
    interval: Interval
    """95 %, by Student's t over the paired differences."""
    examples: int
    held_out: bool
    """Whether the examples are held-out ones."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one budget affords."""

    budget: float
    trial: Trial
    """The recommended one among those that fit the budget."""
    expected: Expected
    check: Evaluation | None = None
    """Its allocation on held-out examples with fresh samples; None where that has not been checked."""
    gain: Gain | None = None
    """Of the next larger budget; None at the largest, and where both have the same allocation or share no example."""


class Estimate(NamedTuple):
    """A trial, and what the posterior expects of it."""

    trial: Trial
    expected: Expected


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """Score against cost in one study."""

    points: tuple[Point, ...]
    """One for each budget, ascending, that some trial fits."""
    unreached: tuple[float, ...]
    """The budgets that no trial fits yet."""
    pareto: tuple[Estimate, ...]
    """The trials, by ascending cost, of which every cheaper one has a lower posterior mean."""

    def checked(self, checks: Mapping[str, Evaluation]) -> Frontier:
        """The same frontier with what is known of its allocations (by key) on held-out examples."""
        points = [replace(point, check=checks.get(point.trial.allocation.key)) for point in self.points]
        gains = [_gain(point, following) for point, following in pairwise(points)]
        gained = [replace(point, gain=gain) for point, gain in zip(points, [*gains, None], strict=False)]
        return replace(self, points=tuple(gained))


def frontier(
    sizes: Sizes,
    trials: Sequence[Trial],
    budgets: Sequence[float],
    counterfactuals: Sequence[Trial] = (),
    *,
    experience: Experience | None = None,
) -> Frontier:
    """The frontier of some trials, not yet checked on held-out examples.

    Args:
        sizes: Subtask -> pairing -> parameter count of its model (`Pipeline.sizes`).
        trials: At least one, of one study.
        budgets: Ascending, in the unit of the trials' costs.
        counterfactuals: Further evidence, which is not recommended.
        experience: What earlier studies taught (`Archive.experience`).
    """
    return frontier_of(posterior(sizes, (*trials, *counterfactuals), experience), trials, budgets)


def frontier_of(surrogate: Surrogate, trials: Sequence[Trial], budgets: Sequence[float]) -> Frontier:
    """`frontier` by the posterior that was fitted to the trials."""
    expected = estimates(surrogate, trials)
    fitting = {budget: within(trials, budget) for budget in budgets}
    chosen = {budget: surrogate.best(archive.trials) for budget, archive in fitting.items() if archive.trials}
    points = [
        Point(budget=budget, trial=trial, expected=expected[trial.number].expected) for budget, trial in chosen.items()
    ]
    return Frontier(
        points=tuple(points),
        unreached=tuple(budget for budget in budgets if budget not in chosen),
        pareto=tuple(_pareto(expected.values())),
    ).checked({})


def within(trials: Sequence[Trial], budget: float) -> Archive:
    """The trials that fit a budget, up to rounding (`space.limit`)."""
    return Archive(trials=tuple(trial for trial in trials if trial.cost <= limit(budget)))


def require_budgets(budgets: Sequence[float], largest: float) -> None:
    """Check the budgets of a search.

    Raises:
        ConfigError: When they do not ascend, or do not end at that of the space.
    """
    for budget, following in pairwise(budgets):
        if not budget < following:
            raise ConfigError(f"budgets must ascend, each one once, but {following:g} follows {budget:g}")
    if budgets and budgets[-1] != largest:
        raise ConfigError(f"the last of the budgets, {budgets[-1]:g}, must be that of the space, {largest:g}")


def estimates(surrogate: Surrogate, trials: Sequence[Trial]) -> dict[int, Estimate]:
    """What the posterior expects of each trial, by the trial's number; the interval allows for a chosen one's luck."""
    posterior = surrogate.predict_allocations([trial.allocation for trial in trials])
    return {
        trial.number: Estimate(trial, bounded(float(mean), _WIDER * float(sd)))
        for trial, mean, sd in zip(trials, *posterior, strict=True)
    }


def bounded(mean: float, sd: float) -> Expected:
    """A posterior of a score, cut off at 0 and 1."""
    score, low, high = (min(max(each, 0.0), 1.0) for each in (mean, mean - Z95 * sd, mean + Z95 * sd))
    return Expected(score, Interval(low, high))


def cheapest_as_good(surrogate: Surrogate, trials: Sequence[Trial], best: Trial) -> Trial:
    """The cheapest trial that the posterior does not show to be worse than the best, at 97.5 %; may be the best."""
    cheaper = [trial for trial in trials if trial.cost < best.cost and trial.evaluation.whole]
    behind = chances_behind(surrogate, cheaper, best)
    as_good = [trial for trial, chance in zip(cheaper, behind, strict=True) if chance < _SURE]
    return min(as_good, key=lambda trial: trial.cost, default=best)


def chances_behind(surrogate: Surrogate, trials: Sequence[Trial], best: Trial) -> list[float]:
    """Of each trial, the probability that the best's true score is really higher."""
    encoded = surrogate.encoder.allocations([best.allocation, *(trial.allocation for trial in trials)])
    drawn = surrogate.draws(encoded, _DRAWS, np.random.default_rng(0))
    chances: list[float] = np.mean(drawn[:, :1] > drawn[:, 1:], axis=0).tolist()
    return chances


def passed_over(surrogate: Surrogate, trials: Sequence[Trial], best: Trial) -> Estimate | None:
    """The trial that scored most above the best on all of its examples, though no more is expected of it.

    Args:
        surrogate: Fitted to the trials.
        trials: Which might have been recommended.
        best: The recommended one.
    """
    gains = {trial.number: gain_of(best, trial, None, None) for trial in trials if trial.evaluation.whole}
    shown = {
        number: gain.value
        for number, gain in gains.items()
        if gain is not None and gain.value > 0 and gain.examples == len(best.evaluation.results)
    }
    return estimates(surrogate, trials)[max(shown, key=shown.__getitem__)] if shown else None


def _pareto(estimates: Iterable[Estimate]) -> list[Estimate]:
    kept: list[Estimate] = []
    for each in sorted(estimates, key=lambda e: (e.trial.cost, -e.expected.score)):
        if not kept or each.expected.score > kept[-1].expected.score:
            kept.append(each)
    return kept


def _gain(point: Point, following: Point) -> Gain | None:
    return gain_of(point.trial, following.trial, point.check, following.check)


class Paired(NamedTuple):
    """Two trials to be compared, each with its check on held-out examples, if there is one."""

    base: Trial
    better: Trial
    base_check: Evaluation | None
    check: Evaluation | None

    @property
    def checked(self) -> bool:
        """Whether both have been checked."""
        return self.base_check is not None and self.check is not None

    def differences(self, *, held_out: bool) -> dict[str, float]:
        """Example -> what the second scores more than the first, of those that both have seen."""
        before, after = (self.base_check, self.check) if held_out else (self.base.evaluation, self.better.evaluation)
        if before is None or after is None:
            return {}
        scores = {result.example: result.score for result in before.results}
        return {r.example: r.score - scores[r.example] for r in after.results if r.example in scores}


def gain_of(base: Trial, better: Trial, base_check: Evaluation | None, check: Evaluation | None) -> Gain | None:
    """What a trial gains over another: on held-out examples where both have been checked, else on those searched.

    Returns:
        None where both have the same allocation, or share fewer than two examples.
    """
    return mean_gain([Paired(base, better, base_check, check)])


def mean_gain(pairs: Sequence[Paired]) -> Gain | None:
    """What several pairs gain, as `gain_of`: each example's difference is the mean over the pairs that have seen it.

    Returns:
        None where both of every pair have the same allocation, or there are fewer than two examples.
    """
    if all(pair.base.allocation == pair.better.allocation for pair in pairs):
        return None
    held_out = all(pair.checked for pair in pairs)
    of_example: dict[str, list[float]] = {}
    for pair in pairs:
        for example, difference in pair.differences(held_out=held_out).items():
            of_example.setdefault(example, []).append(difference)
    differences = np.array([np.mean(each) for each in of_example.values()])
    count = len(differences)
    if count < 2:
        return None
    mean = float(differences.mean())
    # One pseudo-difference of 1: without it, a handful of equal scores would look free of noise.
    error = sqrt((float(((differences - mean) ** 2).sum()) + 1) / (count * (count - 1)))
    half = student_quantile(count - 1) * error
    interval = Interval(max(mean - half, -1.0), min(mean + half, 1.0))
    return Gain(value=mean, interval=interval, examples=count, held_out=held_out)
