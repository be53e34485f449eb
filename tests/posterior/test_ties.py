"""Ties go to the cheaper: a dearer trial that did the same on every example is not recommended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agenttts.posterior.frontier import estimates, passed_over
from agenttts.posterior.insights import posterior, recommend
from agenttts.report.terminal.lines import passed_over_in_words
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Trial
from tests.baselines.test_searchers import PIPELINE, SPACE, archive_of

ALLOCATIONS = sorted(SPACE.enumerate(), key=SPACE.cost)[::40][:5]


def trials_with(*scores: Sequence[float]) -> list[Trial]:
    """Trials of ascending cost with these scores, example by example."""
    trials = archive_of(*ALLOCATIONS[: len(scores)]).trials
    return [replace(trial, evaluation=evaluation(row)) for trial, row in zip(trials, scores, strict=True)]


def evaluation(scores: Sequence[float]) -> Evaluation:
    results = [ExampleResult(example=str(place), score=score) for place, score in enumerate(scores)]
    return Evaluation(results=tuple(results))


def test_of_trials_that_did_the_same_the_cheapest_is_recommended() -> None:
    trials = trials_with(*[(0, 1, 0, 1, 0)] * 5)
    assert recommend(PIPELINE.sizes, trials) == trials[0]


def test_a_dearer_one_is_not_believed_to_be_better_than_what_it_equals() -> None:
    trials = trials_with((0, 1, 0, 0, 1), (0, 1, 0, 0, 1), (1, 1, 1, 1, 1), (1, 1, 1, 1, 1), (0, 1, 0, 0, 1))
    assert recommend(PIPELINE.sizes, trials) == trials[2]


def test_what_differs_on_one_example_is_no_tie() -> None:
    cheap, dear = trials_with((0, 0, 1, 0, 0, 0, 0, 0), (1, 1, 1, 1, 1, 1, 1, 1))
    assert recommend(PIPELINE.sizes, [cheap, dear]) == dear
    seen_less = replace(dear, evaluation=evaluation((1, 1, 1)))
    assert dear.ties_with(seen_less) and not seen_less.ties_with(dear) and not cheap.ties_with(dear)


def test_a_trial_that_scored_more_and_is_not_recommended_is_named() -> None:
    trials = trials_with((0, 0, 1, 0), (1, 0, 1, 1), (0, 0, 0, 1))
    surrogate = posterior(PIPELINE.sizes, trials)
    other = passed_over(surrogate, trials, trials[0])
    assert other is not None and other.trial == trials[1]
    assert other.expected == estimates(surrogate, trials)[trials[1].number].expected
    assert passed_over(surrogate, trials, trials[1]) is None
    told = passed_over_in_words(other, trials[0], estimates(surrogate, trials)[trials[0].number].expected)
    assert f"Trial {trials[1].number} ({trials[1].allocation}) scored 0.750 on the same 4 examples" in told
