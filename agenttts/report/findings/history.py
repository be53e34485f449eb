"""A study look by look: what had been seen at each moment, and what would have been recommended on that alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from agenttts.llm.samples import Spend
from agenttts.posterior.frontier import Expected, estimates
from agenttts.posterior.insights import affordable, posterior
from agenttts.posterior.surrogate import Sizes
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import Archive, Look, Trial

_MOST = 30
"""Moments, or ends of rounds, at which a posterior is fitted; of more an even selection. Each takes some tenths of a
second in a study of hundreds of trials."""


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


def history(sizes: Sizes, archive: Archive, budget: float) -> tuple[Moment, ...]:
    """The moments of a study in their order; none where some trial does not tell when it saw what.

    Args:
        sizes: Subtask -> pairing -> parameter count of its model (`Pipeline.sizes`).
        archive: One study's.
        budget: The study's, the largest where it has several; what costs more is not recommended.
    """
    looks = _looks(archive.trials)
    states = _states(looks, _selected(range(len(looks))))
    return tuple(_moment(sizes, state, archive, budget) for state in states)


def new_bests(sizes: Sizes, archive: Archive, budget: float) -> Mapping[int, Trial]:
    """Round -> the trial that then became the recommended one, by what was known before the next round's trials.

    It may be of an earlier round and have seen more examples since. Of many rounds an even selection is judged, and a
    change is told at the next of them. Empty where there is no trial, or some trial does not tell when it saw what.
    """
    looks = _looks(archive.trials)
    rounds = accumulate((trial.round for _, trial in looks), max)
    ends = _selected(list({number: place for place, number in enumerate(rounds)}.values()))
    became: dict[int, Trial] = {}
    last = None
    for state in _states(looks, ends):
        best = posterior(sizes, (*state, *_scored_by_then(state, archive)), archive.experience).best(
            affordable(state, budget)
        )
        if best.number != last:
            became[max(trial.round for trial in state)], last = best, best.number
    return became


def _looks(trials: Sequence[Trial]) -> list[tuple[Look, Trial]]:
    """Every look at the trials, in order; none where some trial does not tell when it saw what."""
    if not all(trial.looks for trial in trials):
        return []
    return sorted(((look, trial) for trial in trials for look in trial.looks), key=lambda each: each[0].at)


def _selected(places: Sequence[int]) -> Sequence[int]:
    """At most `_MOST` of them, evenly, the last among them."""
    return places[:: -max(1, -(-len(places) // _MOST))][::-1]


def _states(looks: Sequence[tuple[Look, Trial]], places: Sequence[int]) -> Iterator[list[Trial]]:
    """After the looks at these places: the trials begun by then, with what they had seen."""
    seen: dict[int, Trial] = {}
    for place, (look, trial) in enumerate(looks):
        results = trial.evaluation.results[: look.examples]
        seen[trial.number] = replace(trial, evaluation=Evaluation(results=results, spend=look.spend))
        if place in places:
            yield list(seen.values())


def _scored_by_then(state: Sequence[Trial], archive: Archive) -> list[Trial]:
    """The counterfactual trials that these trials score, on the examples that they have seen."""
    begun, tried = {trial.number for trial in state}, {trial.allocation.key for trial in state}
    seen = {result.example for trial in state for result in trial.evaluation.results}
    found = []
    for each in archive.counterfactuals:
        results = tuple(result for result in each.evaluation.results if result.example in seen)
        if results and each.scored_by in begun and each.allocation.key not in tried:
            found.append(replace(each, evaluation=Evaluation(results=results)))
    return found


def _moment(sizes: Sizes, state: Sequence[Trial], archive: Archive, budget: float) -> Moment:
    surrogate = posterior(sizes, (*state, *_scored_by_then(state, archive)), archive.experience)
    best = surrogate.best(affordable(state, budget))
    return Moment(
        trials=len(state),
        examples=sum(len(trial.evaluation.results) for trial in state),
        spend=sum((trial.evaluation.spend for trial in state), start=Spend()),
        best=best,
        expected=estimates(surrogate, [best])[best.number].expected,
    )
