"""A planner without an LLM: the three insights as explicit statistics, and expected improvement under them."""

from __future__ import annotations

from dataclasses import dataclass

from agenttts.agent.planner import RoundPlan, Thought, View
from agenttts.agent.ranking import Ranked
from agenttts.proposals.checking import SoFar
from agenttts.study.trial import Proposal


@dataclass(frozen=True)
class RulePlanner:
    """Guidelines from `evidence`, proposals by `ranking`.

    Examples:
        >>> at.AgentSearcher(at.RulePlanner()).title
        'agent-rules'
    """

    name: str = "rules"

    async def plan(self, view: View, count: int, so_far: SoFar) -> RoundPlan:
        """See `planner.Planner.plan`."""
        thought = Thought("\n".join(view.evidence.lines()), view.evidence.as_dict())
        return RoundPlan(thought, self.choose(view, count, so_far))

    def choose(self, view: View, count: int, so_far: SoFar) -> list[Proposal]:
        """The allocations with the highest expected improvement."""
        return [Proposal(each.allocation, _rationale(view, each)) for each in view.ranking.best(count, so_far.keys)]


def _rationale(view: View, ranked: Ranked) -> str:
    incumbent = view.evidence.incumbent
    changes = [
        f"{name} {incumbent[name]} -> {choice}"
        for name, choice in ranked.allocation.items()
        if choice != incumbent[name]
    ]
    return (
        f"expected {ranked.mean:.3f} ± {1.96 * ranked.sd:.3f} against {view.evidence.score:.3f} for the best so far "
        f"(expected improvement {ranked.improvement:.4f}): {', '.join(changes) or 'the same again'}"
    )
