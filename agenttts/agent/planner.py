"""What the agent's graph asks of a planner, and of an adviser.

A `Planner` plans every round (`RulePlanner`). An `Adviser` (`LLMPlanner`) costs money, and is asked where it may know
more than the statistics: rules plan every other round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from agenttts.agent.evidence import Evidence
from agenttts.agent.ranking import Ranking
from agenttts.llm.samples import Spend
from agenttts.posterior.kernel import Structure
from agenttts.proposals.checking import SoFar
from agenttts.protocols import Outlook
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Archive, Proposal, Trial


@dataclass(frozen=True, kw_only=True)
class Insights:
    """Which of the paper's insights (section 4.2) the agent uses; each can be switched off for ablation.

    Examples:
        >>> sorted(at.Insights(saturation=False).on)
        [1, 3]
    """

    model_preference: bool = True
    """1: each subtask prefers a model size. Off: random initial trials, sizes carry no meaning."""
    saturation: bool = True
    """2: more samples help until they do not. Off: no knee is looked for, samples have no saturating shape."""
    interaction: bool = True
    """3: an earlier stage's choice moves a later one's optimum. Off: stages are taken as independent."""

    @property
    def on(self) -> frozenset[int]:
        """The numbers of those that are used."""
        used = {1: self.model_preference, 2: self.saturation, 3: self.interaction}
        return frozenset(number for number, is_on in used.items() if is_on)

    @property
    def structure(self) -> Structure:
        """The assumptions of the surrogate that go with them."""
        return Structure(
            ordered=self.model_preference,
            saturating=self.saturation,
            interacting=self.interaction,
            formula=self.model_preference and self.saturation and self.interaction,
        )


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What there is to know before the first trial."""

    archive: Archive
    space: SearchSpace
    insights: Insights
    outlook: Outlook | None = None
    """What the search has planned; None where no search asks."""


@dataclass(frozen=True, kw_only=True)
class View(Situation):
    """What the agent recalls before it thinks: the posterior with its evidence, too."""

    evidence: Evidence
    ranking: Ranking
    occasion: str = ""
    """Why an adviser is asked in this round, in words."""


class Thought(NamedTuple):
    """What a planner concluded at one node, and what it took."""

    text: str
    evidence: Any = None
    prompt: str = ""
    reply: str = ""
    spend: Spend = Spend()
    fault: str = ""
    """What was wrong with the reply; empty where nothing was."""
    failed: bool = False
    """Whether there was no reply at all, so that there is no use in asking again now."""


class RoundPlan(NamedTuple):
    """What a planner has learned, in words, and what it therefore proposes."""

    thought: Thought
    proposals: list[Proposal]


class Planner(Protocol):
    """Thinks at the nodes of the agent's graph, every round."""

    @property
    def name(self) -> str: ...

    async def plan(self, view: View, count: int, so_far: SoFar) -> RoundPlan:
        """A guideline with its evidence, and about `count` new allocations.

        `so_far` holds what has come of this round before: what the check has accepted and rejected, and the last reply
        with its fault, where it could not be read.
        """
        ...


@runtime_checkable
class Adviser(Planner, Protocol):
    """A planner that is asked at the start, on occasion (`View.occasion`), and for an explanation at the end."""

    async def begin(self, now: Situation, design: Sequence[Allocation], others: Sequence[Allocation]) -> RoundPlan:
        """First trials beside those of the rule's design, about as many as the `others` that the rule would make."""
        ...

    async def explain(self, view: View, best: Trial) -> Thought:
        """Why this trial is recommended, in plain words."""
        ...
