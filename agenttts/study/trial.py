"""What a search produces and reads: proposals, trials, the agent's steps, and the archive of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from agenttts.llm.samples import Spend
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation
from agenttts.study.experience import Experience

COUNTERFACTUAL = "counterfactual"
"""Named as the searcher of a trial that nobody proposed: the samples of another one scored its allocation."""

RULES = "rules"
"""Named as the planner of a step, or the searcher of a trial, that a rule provided where an LLM might have."""

BASELINE = "baseline"
"""Named as the searcher of the trial of what is used today, which is compared with what a search finds."""

EXPERIENCE = "experience"
"""Named as the searcher of a first trial that earlier studies chose."""

GUIDELINE_NODE = "reflect"
"""The node of the agent's graph whose steps are its guidelines."""

EXPLANATION_NODE = "explain"
"""Names the step that says, at the end, why a trial is recommended; its evidence has the number of the trial."""


@dataclass(frozen=True)
class Proposal:
    """An allocation that a searcher wants tried, and why.

    Examples:
        >>> proposal = at.Proposal(space.cheapest, "the cheapest first")
        >>> proposal.allocation in space
        True
    """

    allocation: Allocation
    """What each subtask gets."""
    rationale: str = ""
    """Why it is worth trying, in words."""
    searcher: str = ""
    """`RULES` where it was filled in because an LLM proposed nothing usable; empty: proposed by the searcher itself."""
    examples: int | None = None
    """How many of the study's examples it is to have seen, for a searcher that races its own trials: it may propose a
    tried allocation again to show it more. None leaves the number to the loop."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a trial had seen and taken at some moment: racing shows it more examples later."""

    at: datetime
    examples: int
    """How many: the first ones of its results."""
    spend: Spend
    """All of the trial's until then."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An allocation with its evaluation, where it came from and when.

    Examples:
        >>> trial = store.archive(study).trials[0]
        >>> trial.number, trial.searcher, len(trial.evaluation.results)
        (1, 'agent', 10)
    """

    number: int
    """From 1, in the order in which they were recorded."""
    allocation: Allocation
    """What each subtask got."""
    cost: float
    """Cost of one query, in the unit of the study's cost model: forecast, or at the lengths that the trial measured
    where they show the forecast to be wrong."""
    evaluation: Evaluation
    """What came of it."""
    searcher: str
    """The method that proposed it; `RULES` where it was filled in by rule, `BASELINE` for what is used today."""
    rationale: str
    """Why it was tried, in words."""
    round: int
    """`Archive.round` when it was proposed: links the trial to the agent's steps."""
    created: datetime
    """When it was recorded."""
    looks: tuple[Look, ...] = ()
    """Every time it was shown examples, in order; none where it was recorded by a version that did not keep this."""
    scored_by: int | None = None
    """Of a counterfactual trial: the number of the trial whose samples scored it. It has no number of its own (0)."""

    def ties_with(self, other: Trial) -> bool:
        """Whether it scored the same as another on each of the other's examples."""
        mine = {result.example: result.score for result in self.evaluation.results}
        return all(mine.get(result.example) == result.score for result in other.evaluation.results)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A proposal that the loop rejected: recorded and shown to the searcher, never evaluated."""

    allocation: Allocation
    """What was proposed."""
    reasons: tuple[str, ...]
    """One sentence each."""
    searcher: str
    """Who proposed it."""
    round: int
    """`Archive.round` when it was proposed."""


@dataclass(frozen=True, kw_only=True)
class Guideline:
    """What the agent had learned at some point, in words, with the evidence it rests on."""

    round: int
    """`Archive.round` when it was written."""
    text: str
    """In words."""
    evidence: Any = None
    """What it rests on, as JSON can hold it."""


@dataclass(frozen=True, kw_only=True)
class AgentStep:
    """One node of the agent's graph, as it ran."""

    round: int
    """`Archive.round` when the graph ran."""
    node: str
    """Of the agent's graph, or the part of another method."""
    planner: str
    """Name of the planner that did it, or `RULES` for what takes no LLM."""
    text: str = ""
    """What the node concluded, in words."""
    evidence: Any = None
    """The figures it rests on (plain data)."""
    prompt: str = ""
    """What an LLM was asked; empty where none was."""
    reply: str = ""
    """What it answered, as it came."""
    spend: Spend = Spend()
    """What asking took."""

    @property
    def guideline(self) -> Guideline | None:
        """The guideline that this step wrote; None for the other nodes."""
        if self.node != GUIDELINE_NODE:
            return None
        return Guideline(round=self.round, text=self.text, evidence=self.evidence)

    def explains(self, best: Trial) -> bool:
        """Whether it says why this trial is recommended."""
        return self.node == EXPLANATION_NODE and self.evidence == {"trial": best.number}


class Tried(frozenset[str]):
    """Keys of allocations, which contain the allocations themselves as well.

    Examples:
        >>> archive = store.archive(study)
        >>> allocation = archive.trials[0].allocation
        >>> allocation in archive.tried, allocation.key in archive.tried
        (True, True)
    """

    def __contains__(self, one: object) -> bool:
        return super().__contains__(one.key if isinstance(one, Allocation) else one)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The read-only view of one study.

    Examples:
        >>> archive = store.archive(study)
        >>> len(archive.trials), archive.best.evaluation.score
        (8, 1.0)
    """

    trials: tuple[Trial, ...] = ()
    """In the order of their numbers."""
    refusals: tuple[Refusal, ...] = ()
    """Proposals that were rejected."""
    guidelines: tuple[Guideline, ...] = ()
    """What the agent has learned, the newest last."""
    examples: int = 0
    """How many examples a complete trial has seen; 0 where that is not known."""
    set_aside: int = 0
    """How many further trials the study has, of models that are candidates no more: the store keeps them, and shows
    them again once these are."""
    counterfactuals: tuple[Trial, ...] = ()
    """Allocations that were not tried, but are scored by the samples of one that was, at no cost."""
    experience: Experience | None = None
    """What earlier studies taught; None where the search was given none."""
    similar: tuple[Trial, ...] = ()
    """The trials of those studies, for a method that reads them itself (`Searcher.learns`)."""

    @property
    def round(self) -> int:
        """How many trials the study has: what is proposed now belongs to the round of this number."""
        return len(self.trials) + self.set_aside

    @cached_property
    def untried(self) -> tuple[Trial, ...]:
        """The counterfactual trials of what has not been tried since."""
        return tuple(each for each in self.counterfactuals if each.allocation.key not in self.tried)

    @cached_property
    def evidence(self) -> tuple[Trial, ...]:
        """The trials, and the counterfactual ones of what has not been tried since."""
        return (*self.trials, *self.untried)

    @cached_property
    def tried(self) -> Tried:
        """The allocations that have a trial, by themselves or by their keys."""
        return Tried(trial.allocation.key for trial in self.trials)

    @property
    def baseline(self) -> Trial | None:
        """The trial of what is used today; None where the search was given none."""
        return next((trial for trial in self.trials if trial.searcher == BASELINE), None)

    @property
    def best(self) -> Trial | None:
        """The trial whose interval begins highest, the cheaper of equals; None before the first trial.

        Among trials that saw equally many examples it is the highest observed mean; one that saw few must score higher
        to pass for the best. Still, the luckiest of many looks too good: a recommendation should come from
        `posterior.recommend`.
        """
        return max(self.trials, key=lambda trial: (trial.evaluation.interval.low, -trial.cost), default=None)

    def rng(self, seed: int) -> np.random.Generator:
        """Randomness that depends on the seed and the archive only, so that a resumed search makes the same choices.

        Refusals count: a searcher whose proposals were rejected must not draw the same ones for ever.
        """
        return np.random.default_rng([seed, len(self.trials), len(self.refusals)])
