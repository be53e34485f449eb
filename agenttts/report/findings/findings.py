"""Everything the store holds of one study, read once, with what it amounts to: what figures and pages are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from agenttts._util.numbers import Scale, plain
from agenttts.db import Store, Study
from agenttts.errors import ConfigError
from agenttts.llm.prefix_cache import CacheUse
from agenttts.llm.samples import Spend
from agenttts.posterior.frontier import (
    Estimate,
    Expected,
    Frontier,
    Gain,
    cheapest_as_good,
    estimates,
    frontier_of,
    gain_of,
    passed_over,
)
from agenttts.posterior.insights import affordable, posterior, representative
from agenttts.posterior.surrogate import Surrogate
from agenttts.report.findings.history import Moment, history, new_bests
from agenttts.report.findings.spending import study_prices, study_scale
from agenttts.space.prices import PriceList
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import AgentStep, Archive, Refusal, Trial


@dataclass(frozen=True, kw_only=True)
class Round:
    """One call of the searcher: what it thought, what came of it, what was rejected."""

    number: int
    """Trials in the archive when it was made."""
    steps: tuple[AgentStep, ...]
    trials: tuple[Trial, ...]
    refusals: tuple[Refusal, ...]

    @property
    def spend(self) -> Spend:
        """The searcher's own."""
        return sum((step.spend for step in self.steps), start=Spend())


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A study as read from a store; nothing in it changes when the store does.

    Examples:
        >>> from agenttts import report
        >>> found = report.Findings.read(store, study)
        >>> found.best.allocation == result.best.allocation
        True
    """

    store: Store
    """Where it was read."""
    study: Study
    """What was searched."""
    archive: Archive
    """Its trials."""
    steps: tuple[AgentStep, ...]
    """What the method recorded of its reasons."""
    checks: Mapping[str, Evaluation]
    """Key of an allocation -> its evaluation on held-out examples."""
    spend: Spend
    """Of the whole study."""

    @classmethod
    def read(cls, store: Store, study: Study) -> Findings:
        """Read a study.

        Raises:
            ConfigError: When it has no finished trial.
        """
        archive = store.archive(study)
        if not archive.trials:
            raise ConfigError(f"study {study.name!r} has no finished trial yet")
        keys = {trial.allocation.key: store.validation(study, trial.allocation) for trial in archive.trials}
        return cls(
            store=store,
            study=study,
            archive=archive,
            steps=tuple(store.steps(study)),
            checks={key: check for key, check in keys.items() if check is not None},
            spend=store.spend(study),
        )

    @property
    def name(self) -> str:
        """The study's."""
        return self.study.name

    @property
    def trials(self) -> tuple[Trial, ...]:
        """In the order in which they were finished."""
        return self.archive.trials

    @cached_property
    def scale(self) -> Scale:
        """How costs and budgets are shown."""
        return study_scale(self.study)

    @property
    def recorded(self) -> str:
        """In words, that and what was replayed; empty where models ran."""
        return str(self.study.details.get("recorded") or "")

    @property
    def prefix_caches(self) -> dict[str, CacheUse]:
        """Model -> what its server found of its prompts in its prefix cache, where that is known."""
        return {name: CacheUse(*use) for name, use in self.study.prefix_caches.items()}

    @cached_property
    def prices(self) -> PriceList:
        """What each model costs at each subtask; empty for a study begun before prices were kept."""
        return study_prices(self.study)

    @cached_property
    def surrogate(self) -> Surrogate:
        """The posterior over true scores after all trials."""
        return posterior(self.study.spec.sizes, self.archive.evidence, self.archive.experience)

    @cached_property
    def expected(self) -> Mapping[int, Expected]:
        """Number of a trial -> posterior mean of its true score, with its 95 % interval."""
        return {number: each.expected for number, each in estimates(self.surrogate, self.trials).items()}

    @cached_property
    def best(self) -> Trial:
        """The recommended trial: the highest posterior mean, as `posterior.recommend` chooses."""
        return self.surrogate.best(affordable(representative(self.trials), self.study.spec.budget))

    @cached_property
    def cheapest(self) -> Trial:
        """The cheapest trial that the posterior does not show to be worse than the recommended one; may be that one."""
        answered = [trial for trial in self.trials if not trial.evaluation.refused]
        return cheapest_as_good(self.surrogate, answered, self.best)

    @cached_property
    def passed_over(self) -> Estimate | None:
        """The trial that scored most above the recommended one on the same examples, though no more is expected of it.

        None where there is none.
        """
        return passed_over(self.surrogate, affordable(self.trials, self.study.spec.budget), self.best)

    @cached_property
    def history(self) -> tuple[Moment, ...]:
        """What was known after every look; empty for a study begun before this was kept."""
        return history(self.study.spec.sizes, self.archive, self.study.spec.budget)

    @cached_property
    def new_bests(self) -> Mapping[int, Trial]:
        """Round -> the trial that was recommended from then on, by what was known then: see `history.new_bests`."""
        return new_bests(self.study.spec.sizes, self.archive, self.study.spec.budget)

    @property
    def explanation(self) -> AgentStep | None:
        """Why the best is recommended, in the words of the method's LLM; None where it has said nothing of it."""
        return next((step for step in reversed(self.steps) if step.explains(self.best)), None)

    @property
    def validation(self) -> Evaluation | None:
        """The recommended allocation on held-out examples; None where it has not been checked."""
        return self.checks.get(self.best.allocation.key)

    @property
    def baseline_check(self) -> Evaluation | None:
        """The baseline on held-out examples; None where there is none, or it has not been checked."""
        return None if self.archive.baseline is None else self.checks.get(self.archive.baseline.allocation.key)

    @property
    def gain(self) -> Gain | None:
        """What the recommended allocation scores more than the baseline; None where there is no other baseline."""
        baseline = self.archive.baseline
        return None if baseline is None else gain_of(baseline, self.best, self.baseline_check, self.validation)

    @cached_property
    def frontier(self) -> Frontier:
        """What each budget of the study affords, and its Pareto-optimal trials."""
        spec = self.study.spec
        return frontier_of(self.surrogate, self.trials, spec.budgets or (spec.budget,)).checked(self.checks)

    @cached_property
    def rounds(self) -> tuple[Round, ...]:
        """In order."""
        parts = (self.steps, self.trials, self.archive.refusals)
        numbers = sorted({each.round for part in parts for each in part})
        return tuple(
            Round(
                number=number,
                steps=tuple(step for step in self.steps if step.round == number),
                trials=tuple(trial for trial in self.trials if trial.round == number),
                refusals=tuple(refusal for refusal in self.archive.refusals if refusal.round == number),
            )
            for number in numbers
        )

    @property
    def row(self) -> str:
        """What its runs over several seeds share: the study's name without what is common to a comparison."""
        spec = self.study.spec
        name = self.name.removesuffix(f"-s{spec.seed}")
        return name.removeprefix(f"{spec.environment}-{spec.cost_model}{plain(spec.budget)}-")


def read_findings(store: Store, names: Sequence[str] = ()) -> list[Findings]:
    """Read studies to be shown on one page.

    Examples:
        >>> from agenttts import report
        >>> [found.name for found in report.read_findings(store, ["fir*"])]
        ['first']

    Args:
        store: Holds the studies.
        names: Names, or patterns as in 'minihop-*'; the newest study when empty.

    Raises:
        ConfigError: When there is no such study, one has no finished trial, or they cannot be compared.
    """
    known = {study.name: study for study in store.studies()}
    matching = [
        store.study(each)
        for name in names
        for each in ([known_name for known_name in known if fnmatchcase(known_name, name)] or [name])
    ]
    chosen = list({study.name: study for study in matching or [store.study()]}.values())
    _require_comparable(chosen)
    return [Findings.read(store, study) for study in chosen]


def _require_comparable(studies: Sequence[Study]) -> None:
    first, *others = studies
    for other in others:
        if (first.spec.environment, first.spec.fingerprint) != (other.spec.environment, other.spec.fingerprint):
            raise ConfigError(
                f"studies {first.name!r} and {other.name!r} are of different environments "
                f"({_environment(first)} and {_environment(other)}): report each on a page of its own"
            )
        one, two = (each.spec for each in (first, other))
        if (one.cost_model, one.pricing, one.budget) != (two.cost_model, two.pricing, two.budget):
            raise ConfigError(
                f"studies {first.name!r} and {other.name!r} were searched under different budgets or prices "
                f"({_budget(first)} and {_budget(other)}): report each on a page of its own"
            )


def _environment(study: Study) -> str:
    return f"{study.spec.environment!r}, fingerprint {study.spec.fingerprint}"


def _budget(study: Study) -> str:
    return f"{study_scale(study).show(study.spec.budget)}, pricing {study.spec.pricing}"
