"""A planner of the agent: as the rules, but of what they rank highest it prefers the cheapest."""

from dataclasses import dataclass

import agenttts as at
from agenttts.agent import SoFar, View


@dataclass(frozen=True)
class FrugalPlanner(at.RulePlanner):
    """Thinks as the rules do, and saves."""

    name: str = "frugal"

    def choose(self, view: View, count: int, so_far: SoFar) -> list[at.Proposal]:
        ranked = view.ranking.best(3 * count, so_far.keys)
        chosen = sorted(ranked, key=lambda each: view.space.cost(each.allocation))[:count]
        return [at.Proposal(each.allocation, f"expected {each.mean:.3f}, and cheap") for each in chosen]


class FrugalAgent(at.AgentSearcher):
    """The agent with this planner, as `--method agent-frugal` finds it."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(FrugalPlanner(), seed=seed)
