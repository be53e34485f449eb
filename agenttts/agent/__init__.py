"""The paper's agent: a LangGraph graph, and the planners that think at its nodes."""

from agenttts.agent.llm import LLMPlanner
from agenttts.agent.planner import Adviser, Insights, Planner, RoundPlan, Situation, Thought, View
from agenttts.agent.rules import RulePlanner
from agenttts.agent.searcher import AgentSearcher
from agenttts.proposals.checking import Rejected, SoFar

__all__ = [
    "Adviser",
    "AgentSearcher",
    "Insights",
    "LLMPlanner",
    "Planner",
    "Rejected",
    "RoundPlan",
    "RulePlanner",
    "Situation",
    "SoFar",
    "Thought",
    "View",
]
