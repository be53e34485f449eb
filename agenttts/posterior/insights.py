"""The posterior under what the trials themselves favour: the paper's insights as hypotheses that they can overrule.

The surrogate is fitted with and without the assumption that stands for an insight; the difference of the two best log
posteriors is the log odds that the data give it. One that the data speak against is dropped until they change their
mind: proposals, races and recommendations are then made without it. What earlier studies taught may mislead, and the
formula does well without it: it is assumed only once the data favour it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from agenttts.posterior.kernel import Structure
from agenttts.posterior.observations import Observations
from agenttts.posterior.surrogate import Sizes, Surrogate, judges, of_judges
from agenttts.space.limit import limit
from agenttts.study.experience import Experience
from agenttts.study.trial import Trial

_LEAST_TRIALS = 10
"""Fewer say nothing of a structure."""
_LEAST_OF_EXPERIENCE = 3
"""Fewer say nothing of the experience of other studies."""
_FITTED_TO = 500
_MANY_TRIALS = 120
"""Of more, structures are compared with the same posteriors of the stages' own scores: one of each, not one for every
structure, which would take longer than it teaches."""
_AGAINST = -math.log(3)
_MOST_ODDS = 1000.0
ALL_INSIGHTS = 0
"""All insights together, where the number of one is expected."""
EXPERIENCE_NUMBER = -1
"""What earlier studies taught, where the number of an insight is expected."""
_CLAIMS = {
    "ordered": (1, "models of like size behave alike"),
    "saturating": (2, "the gain from every doubling of samples shrinks"),
    "interacting": (3, "an upstream choice moves the downstream curve"),
    "experience": (EXPERIENCE_NUMBER, "scores depend on sizes and samples as in {}"),
    "formula": (ALL_INSIGHTS, "what one subtask loses no later one mends: one formula for all allocations"),
}
"""Assumption of `kernel.Structure` -> the insight it stands for, and what it claims."""


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One insight, and the odds that the trials give it."""

    insight: int
    """Its number, `ALL_INSIGHTS` or `EXPERIENCE_NUMBER`."""
    claim: str
    log_odds: float

    @property
    def dropped(self) -> bool:
        """Whether the data speak against it, at odds of 3 to 1 or worse."""
        return self.log_odds < _AGAINST

    @property
    def believed(self) -> bool:
        """Whether the posterior assumes it: an insight unless it is dropped, experience once the data favour it."""
        return self.log_odds > -_AGAINST if self.insight == EXPERIENCE_NUMBER else not self.dropped

    @property
    def decided(self) -> bool:
        """Whether the data speak for or against it, at such odds."""
        return abs(self.log_odds) > -_AGAINST

    def __str__(self) -> str:
        odds = f"{math.exp(min(abs(self.log_odds), math.log(_MOST_ODDS))):.3g} to 1"
        if self.dropped:
            verdict = f"the trials speak against it, {odds}: dropped"
        elif self.decided:
            verdict = f"the trials favour it, {odds}"
        else:
            verdict = "the trials do not decide it"
            if self.insight == EXPERIENCE_NUMBER:  # its odds are told all the while
                verdict += f", {odds} {'for' if self.log_odds > 0 else 'against'} it: not believed yet"
        return f"{hypothesis_name(self.insight)} ({self.claim}): {verdict}"


def hypothesis_name(insight: int) -> str:
    """What a `Hypothesis` of this number is called."""
    named = {ALL_INSIGHTS: "Insights 1 to 3 together", EXPERIENCE_NUMBER: "Experience"}
    return named.get(insight, f"Insight {insight}")


def _weigh(
    structure: Structure, fitted: Callable[[Structure], Surrogate], trials: int, experience: Experience | None
) -> tuple[Hypothesis, ...]:
    """What so many trials say of all that is assumed; `fitted` gives the surrogate under a structure."""

    def odds(name: str, assumed: Structure) -> Hypothesis:
        """Of a structure, against the same without this assumption."""
        log_odds = fitted(assumed).log_posterior - fitted(replace(assumed, **{name: False})).log_posterior
        insight, claim = _CLAIMS[name]
        return Hypothesis(insight=insight, claim=claim.format(experience), log_odds=log_odds)

    learned: tuple[Hypothesis, ...] = ()
    if experience and structure.formula and structure.experience and trials >= _LEAST_OF_EXPERIENCE:
        learned = (odds("experience", structure),)
    if trials < _LEAST_TRIALS:
        return learned
    apart = replace(structure, formula=False, experience=False)
    weighed = tuple(odds(name, apart) for name in _CLAIMS if getattr(apart, name))
    if not structure.formula:
        return weighed
    # The formula states them all at once: it is weighed against what is left of them one by one.
    whole = replace(kept(apart, weighed), formula=True, experience=kept(structure, learned).experience)
    return (*weighed, *learned, odds("formula", whole))


def representative(trials: Sequence[Trial]) -> Sequence[Trial]:
    """The trials that a posterior is fitted to: all, or of very many the best and an even selection of the others.

    Fitting takes the cube of their number in time; beyond some hundreds it would take longer than it teaches.
    """
    if len(trials) <= _FITTED_TO:
        return trials
    ranked = sorted(trials, key=lambda trial: -trial.evaluation.interval.low)
    half = _FITTED_TO // 2
    others = ranked[half :: -(-(len(ranked) - half) // half)]
    return sorted([*ranked[:half], *others], key=lambda trial: trial.number)


def posterior(sizes: Sizes, trials: Sequence[Trial], experience: Experience | None = None) -> Surrogate:
    """The surrogate without the assumptions that the trials speak against, fitted to the `representative` ones.

    Args:
        sizes: Subtask -> pairing -> parameter count of its model (`Pipeline.sizes`).
        trials: At least one.
        experience: What earlier studies taught (`Archive.experience`).
    """
    return weighed_posterior(sizes, trials, Structure(), experience)[0]


def weighed_posterior(
    sizes: Sizes, trials: Sequence[Trial], structure: Structure, experience: Experience | None = None
) -> tuple[Surrogate, tuple[Hypothesis, ...]]:
    """`posterior` where no more is assumed than this structure, and what the trials say of each of its assumptions.

    Nothing is said of them while the trials are few.
    """
    observed = Observations(representative(trials))
    many = len(observed.trials) > _MANY_TRIALS

    @cache
    def judged(alone: Structure) -> Mapping[int, Surrogate]:
        return judges(sizes, observed, alone)

    @cache
    def fitted(assumed: Structure, alone: Structure) -> Surrogate:
        return Surrogate(sizes, observed, assumed, judged(alone), experience)

    def compared(assumed: Structure) -> Surrogate:
        return fitted(assumed, of_judges(structure if many else assumed))

    hypotheses = _weigh(structure, compared, len(trials), experience)
    favoured = kept(structure, hypotheses)
    return fitted(favoured, of_judges(favoured)), hypotheses


def recommend(
    sizes: Sizes,
    trials: Sequence[Trial],
    counterfactuals: Sequence[Trial] = (),
    *,
    budget: float = math.inf,
    experience: Experience | None = None,
) -> Trial:
    """The trial with the highest posterior mean over all trials: never merely the luckiest.

    Args:
        sizes: Subtask -> pairing -> parameter count of its model (`Pipeline.sizes`).
        trials: At least one.
        counterfactuals: Further evidence, which is not recommended.
        budget: Most that one query may cost (see `affordable`).
        experience: What earlier studies taught (`Archive.experience`).
    """
    return posterior(sizes, (*trials, *counterfactuals), experience).best(affordable(representative(trials), budget))


def affordable(trials: Sequence[Trial], budget: float) -> Sequence[Trial]:
    """The trials that may be recommended: those that turned out to be within the budget, or the cheapest, if none did.

    Args:
        trials: At least one.
        budget: In the unit of their costs.
    """
    return [trial for trial in trials if trial.cost <= limit(budget)] or [min(trials, key=lambda trial: trial.cost)]


def kept(structure: Structure, hypotheses: Sequence[Hypothesis]) -> Structure:
    """The structure without what is not believed; experience of which nothing is said is not.

    Experience is of the formula: without that it is not assumed.
    """
    unbelieved = {each.insight for each in hypotheses if not each.believed}
    if ALL_INSIGHTS in unbelieved or all(each.insight != EXPERIENCE_NUMBER for each in hypotheses):
        unbelieved.add(EXPERIENCE_NUMBER)
    return replace(structure, **{name: False for name, (insight, _) in _CLAIMS.items() if insight in unbelieved})
