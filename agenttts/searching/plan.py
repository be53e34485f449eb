"""The plan of one search: everything that is decided before anything is paid for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any

from agenttts._util.checks import NAME, instance, members, require
from agenttts._util.plugins import lacks, require_plug_in
from agenttts.db import Store
from agenttts.errors import ConfigError
from agenttts.pipeline import Pipeline
from agenttts.pipeline.tariff import needed_tariff
from agenttts.posterior.frontier import require_budgets
from agenttts.posterior.surrogate import Sizes
from agenttts.protocols import Environment, Searcher
from agenttts.searching.progress import Limits, Progress
from agenttts.searching.racing import Racing
from agenttts.space import Allocation, SearchSpace
from agenttts.study.experience import Experience
from agenttts.study.spec import StudySpec
from agenttts.study.trial import Trial

Recommend = Callable[[Sizes, Sequence[Trial]], Trial]
"""Chooses the trial to recommend among all of a study; `posterior.recommend` is one."""


@dataclass(frozen=True)
class SearchPlan:
    """One search: what `at.search` takes, and what the command line builds.

    Examples:
        >>> plan = at.SearchPlan(environment, at.searcher("random"), space, "runs.db", study_name="planned")
        >>> result = asyncio.run(at.search(plan))
        >>> len(result.archive.trials)
        30

    Raises:
        ConfigError: On bad input, before anything is paid for.
    """

    environment: Environment
    """Scores allocations."""
    searcher: Searcher
    """Decides what to try."""
    space: SearchSpace
    """Which allocations fit the budget."""
    store: Store | str
    """Where everything is recorded. A path or URL is opened when all else has been checked, so that a rejected search
    leaves no file, and closed at the end."""
    _: KW_ONLY
    study_name: str
    """Names the study; one that exists is resumed."""
    seed: int = 0
    """Part of the study's identity (the searcher has been given it)."""
    budgets: Sequence[float] = ()
    """Several budgets to serve with one study, ascending up to that of the space: the searcher is asked for each in
    turn, and every trial is evidence for all."""
    limits: Limits = field(default_factory=Limits)
    """When to stop."""
    parallel: int = 1
    """Proposals asked for and evaluated at once."""
    racing: Racing | None = None
    """Shows a trial more examples only where that may change which is best; None shows all to each."""
    baseline: Allocation | None = None
    """What is used today, within the budget: the first of the trials, with which the recommended one is compared (where
    there are at least two)."""
    counterfactuals: bool = True
    """Whether the samples of a trial also score, at no cost, what they determine of other allocations."""
    experience: Sequence[str] | Experience = ()
    """Names of earlier studies of the store to begin with, or `all` alone, or what they taught
    (`searching.learning.experience_of`); part of the study's identity, and frozen when it begins."""
    choose: Recommend | None = None
    """Chooses the recommended trial, where there is one budget; by posterior mean when None."""
    validate: bool = True
    """Whether to check the winner on held-out examples at the end."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What a reader needs to repeat the search, kept with the study."""
    on_progress: Callable[[Progress], None] | None = None
    """Called whenever something has happened."""

    def __post_init__(self) -> None:
        for name, kind in (("environment", Environment), ("searcher", Searcher)):
            given = getattr(self, name)
            if not isinstance(given, kind):
                raise ConfigError(f"the {name} of a search is {given!r:.100}, which {lacks(given, kind)}")
        evaluated = ("allocation", "examples", "*", "pool")
        require_plug_in(self.environment, "environment", ("name", "pipeline", "examples"), "evaluate", *evaluated)
        require_plug_in(self.searcher, "searcher", ("name",), "propose", "archive", "space", "count")
        require(NAME, self.searcher.name, f"the searcher {type(self.searcher).__name__}: name")
        _require_names(self.environment)
        if self.parallel < 1:
            raise ConfigError(f"parallel must be at least 1, not {self.parallel}")
        if self.searcher.learns and not self.experience:
            raise ConfigError(
                f"the method {self.searcher.name!r} learns from a study of a similar task: name one of the same store "
                'with --experience STUDY (in Python: experience=["STUDY"])'
            )
        _require_same(self.space.pipeline, self.environment.pipeline)
        require_budgets(self.budgets, self.space.budget)
        if self.baseline is not None and (faults := self.space.faults(self.baseline)):
            raise ConfigError(f"the baseline {self.baseline} is not in the space: {'; '.join(faults)}")
        self.spaces  # noqa: B018  (raises on a budget that is too small)
        if self.limits.max_usd is not None:
            _require_prices(self.environment)

    @cached_property
    def spaces(self) -> tuple[SearchSpace, ...]:
        """One for each budget, ascending; the last is `space`."""
        return (*(self.space.within(budget) for budget in self.budgets[:-1]), self.space)

    def spec(self, environment: Environment, experience: Experience | None = None) -> StudySpec:
        """What identifies the study that it starts or resumes.

        Args:
            environment: That of the plan, as it was entered.
            experience: What the studies taught that it begins with.
        """
        return StudySpec(
            environment=environment.name,
            pipeline=self.space.pipeline.name,
            sizes=self.space.pipeline.sizes,
            fingerprint=environment.fingerprint,
            cost_model=self.space.cost_model.name,
            budget=self.space.budget,
            pricing=self.space.pricing,
            method=self.searcher.name,
            seed=self.seed,
            examples=len(environment.examples),
            fingerprints=dict(environment.fingerprints),
            budgets=tuple(map(float, self.budgets)),
            candidates=self._candidates(environment.pipeline),
            experience=experience,
        )

    def _candidates(self, run: Pipeline) -> dict[str, dict[str, str]]:
        """See `StudySpec.candidates`."""
        subtasks = {subtask.name: subtask for subtask in self.space.pipeline.subtasks}

        def pricing(name: str, model: str) -> str:
            mine = [(subtasks[name], each) for each in subtasks[name].pairings if each.model.name == model]
            return self.space.pricing_of(mine)

        return {
            name: {model: f"{scored} {pricing(name, model)}" for model, scored in models.items()}
            for name, models in run.candidates.items()
        }


def _require_names(environment: Environment) -> None:
    """Make sure that what a store knows an environment and its examples by is kept as it is."""
    require(NAME, environment.name, f"the environment {type(environment).__name__}: name")
    require(instance(Pipeline, "a Pipeline"), environment.pipeline, f"environment {environment.name!r}: pipeline")
    ids = NAME._replace(words="texts without NUL or half a surrogate pair")
    for name, listed in (("examples", environment.examples), ("held_out", environment.held_out)):
        members(listed, ids, f"environment {environment.name!r}: {name}")
    if not environment.examples:
        raise ConfigError(f"environment {environment.name!r} has no examples to search on: examples is empty")


def _require_same(searched: Pipeline, run: Pipeline) -> None:
    """Make sure that the space is of the environment's pipeline: its allocations could not be run."""
    if searched.sizes != run.sizes:
        raise ConfigError(
            f"the space is of pipeline {searched.name!r} with {_in_words(searched)}, but the environment runs "
            f"{run.name!r} with {_in_words(run)}: make the space of environment.pipeline"
        )


def _in_words(pipeline: Pipeline) -> str:
    return "; ".join(f"{name}: {', '.join(models)}" for name, models in pipeline.sizes.items())


def _require_prices(environment: Environment) -> None:
    embedder = [] if environment.embedder is None else [environment.embedder]
    for model in (*environment.pipeline.models, *embedder):
        needed_tariff(model, "a limit in USD")
