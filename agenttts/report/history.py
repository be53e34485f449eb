"""A study look by look: what had been seen at each moment, and what would have been recommended on that alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agenttts.evaluation import Evaluation, Spend
from agenttts.frontier import Expected, estimates
from agenttts.posterior import posterior
from agenttts.surrogate import Sizes
from agenttts.trial import Trial

_MOST = 30
"""Moments at which a posterior is fitted; of more looks an even selection."""
_MOST_ROUNDS = 100
"""The same for the rounds whose best is told."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What was known after some look of a search."""

    trials: int
    """Trials begun."""
    examples: int
    """Example evaluations made."""
    spend: Spend
    best: Trial
    """What would have been recommended, with what it had seen by then."""
    expected: Expected
    """What it was expected to score."""


def history(sizes: Sizes, trials: Sequence[Trial]) -> tuple[Moment, ...]:
    """The moments of a study in their order; none where some trial does not tell when it saw what.

    Args:
        sizes: Subtask -> candidate model -> parameter count (`Pipeline.sizes`).
        trials: Those of one study.
    """
    if not all(trial.looks for trial in trials):
        return ()
    states = list(_states(trials))
    step = -(-len(states) // _MOST)
    return tuple(_moment(sizes, state) for state in reversed(states[::-step]))


def new_bests(sizes: Sizes, trials: Sequence[Trial]) -> Mapping[int, Trial]:
    """Round -> the trial that then became the recommended one, by what was known before the next round's trials.

    It may be of an earlier round and have seen more examples since. Of many rounds an even selection is judged, and a
    change is told at the next of them. Empty where there is no trial, or some trial does not tell when it saw what.
    """
    if not trials or not all(trial.looks for trial in trials):
        return {}
    ends = {max(trial.round for trial in state): state for state in _states(trials)}
    step = -(-len(ends) // _MOST_ROUNDS)
    became: dict[int, Trial] = {}
    last = None
    for number in reversed(list(ends)[::-step]):
        best = posterior(sizes, ends[number]).best(ends[number])
        if best.number != last:
            became[number], last = best, best.number
    return became


def _states(trials: Sequence[Trial]) -> Iterator[list[Trial]]:
    """After every look: the trials begun by then, with what they had seen."""
    looks = [(look, trial) for trial in trials for look in trial.looks]
    seen: dict[int, Trial] = {}
    for look, trial in sorted(looks, key=lambda each: each[0].at):
        results = trial.evaluation.results[: look.examples]
        seen[trial.number] = replace(trial, evaluation=Evaluation(results=results, spend=look.spend))
        yield list(seen.values())


def _moment(sizes: Sizes, state: Sequence[Trial]) -> Moment:
    surrogate = posterior(sizes, state)
    best = surrogate.best(state)
    return Moment(
        trials=len(state),
        examples=sum(len(trial.evaluation.results) for trial in state),
        spend=sum((trial.evaluation.spend for trial in state), start=Spend()),
        best=best,
        expected=estimates(surrogate, [best])[best.number].expected,
    )
