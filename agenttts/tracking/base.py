"""What every tracker tells: the study's settings once, each trial whenever it has seen more examples, and the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from agenttts.db import Study
from agenttts.searching.progress import Progress, SearchResult
from agenttts.study.trial import Trial


class Tracker(Protocol):
    """A callback of a search."""

    def __call__(self, progress: Progress) -> None:
        """Tell the trials that are new or better known."""
        ...

    def finish(self, result: SearchResult) -> None:
        """Tell what is recommended, and end the run."""
        ...


def settings(study: Study) -> dict[str, Any]:
    """What defines the study, as plain values."""
    spec, details = study.spec, study.details
    return {
        "environment": spec.environment,
        "recorded": details.get("recorded", ""),
        "pipeline": spec.pipeline,
        "method": spec.method,
        "seed": spec.seed,
        "cost_model": spec.cost_model,
        "budget": spec.budget,
        "fingerprint": spec.fingerprint,
    }


class Told:
    """Which trials have been told, and how many examples they had seen then: racing shows them more later.

    One is told when the next is asked for: what fails in between is told again.
    """

    def __init__(self) -> None:
        self._examples: dict[int, int] = {}

    def note(self, number: int, examples: int) -> None:
        """A trial that was told with this many examples."""
        self._examples[number] = max(examples, self._examples.get(number, 0))

    def news(self, trials: Sequence[Trial]) -> Iterator[Trial]:
        """Those that are new or have seen more examples since."""
        for trial in trials:
            examples = len(trial.evaluation.results)
            if examples > self._examples.get(trial.number, 0):
                yield trial
                self.note(trial.number, examples)


def trial_metrics(trial: Trial) -> dict[str, float]:
    """The numbers of one trial as they are now."""
    low, high = trial.evaluation.interval
    return {
        "score": trial.evaluation.score,
        "score_low": low,
        "score_high": high,
        "examples": len(trial.evaluation.results),
        "failures": trial.evaluation.failures,
        "cost": trial.cost,
        "tokens_bought": trial.evaluation.spend.tokens,
        "tokens_reused": trial.evaluation.spend.reused_tokens,
        **{f"samples/{stage}": choice.samples for stage, choice in trial.allocation.items()},
    }


def end_metrics(result: SearchResult) -> Mapping[str, float]:
    """The numbers of the recommendation."""
    checked = {} if result.validation is None else {"held_out_score": result.validation.score}
    best = result.best
    return {"best_trial": best.number, "best_score": best.evaluation.score, "best_cost": best.cost, **checked}
