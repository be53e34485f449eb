"""How far a search is to go, how far it has come, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agenttts.db import Study
from agenttts.errors import ConfigError
from agenttts.execution.meter import Meter
from agenttts.llm.prefix_cache import CacheUse
from agenttts.llm.samples import Spend
from agenttts.posterior.frontier import Estimate, Expected, Frontier, Gain
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import Archive, Trial

Phase = Literal["starting", "proposing", "evaluating", "validating"]
"""What a search is doing; while it is "starting" nothing has been asked or paid for."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a search stops.

    Examples:
        >>> at.Limits(trials=40, max_tokens=2_000_000)
        Limits(trials=40, max_tokens=2000000, max_usd=None)

    Raises:
        ConfigError: On a limit that allows nothing.
    """

    trials: int = 30
    """Trials in the study, those of earlier runs included."""
    max_tokens: int | None = None
    """Tokens that the study may pay for in all, the agent's own included."""
    max_usd: float | None = None
    """US dollars that the study may spend in all, by the models' declared or listed prices; the agent's own included,
    where its model's price is listed."""

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"trials must be at least 1, not {self.trials}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if self.max_usd is not None and not self.max_usd > 0:
            raise ConfigError(f"max_usd must be positive, not {self.max_usd}")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a search tells while it runs.

    Examples:
        >>> def report_progress(progress):
        ...     print(progress.phase, len(progress.archive.trials))
        >>> plan = at.SearchPlan(environment, at.searcher("random"), space, at.Store(), study_name="told",
        ...                      limits=at.Limits(trials=1), validate=False, on_progress=report_progress)
        >>> _ = asyncio.run(at.search(plan))
        starting 0
        proposing 0
        evaluating 0
        evaluating 1
    """

    study: Study
    archive: Archive
    meter: Meter
    """Counts on while trials run."""
    limits: Limits
    started: float
    """`time.monotonic()` at the start of this run."""
    told: float
    """`time.monotonic()` at this report."""
    trials_before: int
    """Trials that the study had before this run."""
    held_out: int
    """Examples on which the winner is to be checked at the end; with several budgets, at most so many for them all."""
    phase: Phase
    waits: Callable[[], str] = str
    """Tells what has been waited for for long, while trials run."""

    @property
    def waiting(self) -> str:
        """What is waited for now, in words; empty while all goes on."""
        return self.waits()

    @property
    def spent(self) -> Spend:
        """What the study has paid for and reused up to now."""
        return self.meter.spent

    @property
    def own(self) -> Spend:
        """What of it the searcher itself took, where it asks an LLM."""
        return self.meter.own

    @property
    def seconds_left(self) -> float | None:
        """To the end of the held-out check, by this run's pace per trial and example; None before its first trial."""
        new = self.archive.trials[self.trials_before :]
        if not new:
            return None
        trials = 0 if self.phase == "validating" else max(self.limits.trials - len(self.archive.trials), 0)
        examples = sum(len(trial.evaluation.results) for trial in new)
        left = (self.told - self.started) * (trials / len(new) + self.held_out / examples)
        return max(left - (time.monotonic() - self.told), 0.0)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """How a search ended.

    Examples:
        >>> result.stopped
        '8 trials done'
        >>> result.best.cost <= space.budget
        True
    """

    study: Study
    archive: Archive
    best: Trial
    """The recommended trial, by posterior mean over all trials (`posterior.recommend`) unless told otherwise, seen on
    all examples."""
    expected: Expected
    """What the posterior over all trials expects its true score to be."""
    validation: Evaluation | None
    """The recommended allocation on held-out examples with fresh samples; None without held-out examples."""
    baseline: Trial | None = None
    """The trial of what is used today; None where the search was given none."""
    gain: Gain | None = None
    """What the recommended allocation scores more than the baseline, on the same examples; None without a baseline, or
    where it is the baseline itself."""
    cheapest: Trial | None = None
    """The cheapest trial that the posterior does not show to be worse than the best."""
    passed_over: Estimate | None = None
    """The trial that scored most above the best on the same examples, though no more is expected of it; None where
    there is none."""
    baseline_check: Evaluation | None = None
    """The baseline on held-out examples, as `validation`."""
    spend: Spend
    """Everything the study paid for and reused, in earlier runs too."""
    own: Spend
    """What of it the searcher itself took, where it asks an LLM."""
    seconds: float
    """Wall-clock seconds of this run, parallel trials not counted twice."""
    stopped: str
    """Why it stopped."""
    misdeclared: tuple[str, ...] = ()
    """In words, the declared token lengths that are far off what was measured."""
    explanation: str = ""
    """Why the trial is recommended, in the words of the method's LLM; empty where it asks none."""
    frontier: Frontier | None = None
    """What each budget affords, where the search had several; `best` is the choice for the largest."""
    prefix_caches: Mapping[str, CacheUse] = field(default_factory=dict)
    """Model -> what its server found of its prompts in its prefix cache while the study was searched; only of servers
    that tell (vLLM's)."""
