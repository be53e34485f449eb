"""The agent as a searcher: one run of its graph per call."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from agenttts.agent.graph import Agent, graph
from agenttts.agent.planner import Adviser, Insights, Planner
from agenttts.agent.rules import RulePlanner
from agenttts.protocols import Searcher
from agenttts.space import SearchSpace
from agenttts.study.trial import AgentStep, Archive, Proposal, Trial


class AgentSearcher(Searcher):
    """The paper's agent (section 5), as a LangGraph graph whose nodes ask a planner.

    Examples:
        >>> agent = at.AgentSearcher(at.RulePlanner(), insights=at.Insights(interaction=False), seed=1)
        >>> proposals = asyncio.run(agent.propose(store.archive(study), space, 2))
        >>> [proposal.allocation in space for proposal in proposals]
        [True, True]

    Args:
        planner: Writes guidelines and proposals; the rule planner when None. One that is also an async context manager
            is entered and left with the searcher.
        insights: Which of the paper's insights to use.
        seed: Of its random choices.
    """

    name = "agent"
    may_ask_llm = True

    def __init__(self, planner: Planner | None = None, *, insights: Insights | None = None, seed: int = 0) -> None:
        self.planner = planner or RulePlanner()
        self.insights = insights or Insights()
        self._seed = seed
        self.explains = isinstance(self.planner, Adviser)

    @property
    def title(self) -> str:
        """The agent, and its planner."""
        return f"{self.name}-{self.planner.name}"

    async def __aenter__(self) -> Self:
        """Let the planner check, before anything is paid for, what it needs."""
        if isinstance(self.planner, AbstractAsyncContextManager):
            await self.planner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self.planner, AbstractAsyncContextManager):
            await self.planner.__aexit__(kind, error, trace)

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `protocols.Searcher.propose`."""
        final = await graph().ainvoke({}, context=self._agent(archive, space, count))
        accepted: list[Proposal] = final["accepted"]
        return accepted

    async def explain(self, archive: Archive, space: SearchSpace, best: Trial) -> None:
        """See `protocols.Searcher.explain`: in the words of a planner that is an adviser."""
        if isinstance(self.planner, Adviser):
            await self._agent(archive, space, 0).explain(self.planner, best)

    def _agent(self, archive: Archive, space: SearchSpace, count: int) -> Agent:
        return Agent(
            planner=self.planner,
            insights=self.insights,
            seed=self._seed,
            archive=archive,
            space=space,
            count=count,
            journal=self.journal or _forget,
            outlook=self.outlook,
        )


def _forget(_: AgentStep) -> None:
    """The journal of an agent whose steps are not recorded."""
