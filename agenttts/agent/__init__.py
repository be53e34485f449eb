"""The paper's agent: a LangGraph graph, and the planners that think at its nodes."""

from agenttts.agent.llm import LLMPlanner
from agenttts.agent.planner import Insights, Planner
from agenttts.agent.rules import RulePlanner
from agenttts.agent.searcher import AgentSearcher

__all__ = ["AgentSearcher", "Insights", "LLMPlanner", "Planner", "RulePlanner"]
