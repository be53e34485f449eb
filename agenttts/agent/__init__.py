"""The paper's agent: a LangGraph graph, and the planners that think at its nodes."""

from agenttts.agent.llm import LLMPlanner
from agenttts.agent.planner import Insights, PlannedProposals, Planner, Thought, View
from agenttts.agent.rules import RulePlanner
from agenttts.agent.searcher import AgentSearcher
from agenttts.proposals.checking import Rejected, SoFar

__all__ = [
    "AgentSearcher",
    "Insights",
    "LLMPlanner",
    "PlannedProposals",
    "Planner",
    "Rejected",
    "RulePlanner",
    "SoFar",
    "Thought",
    "View",
]
