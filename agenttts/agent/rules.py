"""A planner without an LLM: the three insights as explicit statistics, and expected improvement under them."""

from __future__ import annotations

from dataclasses import dataclass

from agenttts.agent.planner import PlannedProposals, Thought, View
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
    """Shown in tables, after the method's."""

    async def reflect(self, view: View) -> Thought:
        """See `planner.Planner.reflect`."""
        return Thought("\n".join(view.evidence.lines()), view.evidence.as_dict())

    async def propose(self, view: View, guideline: str, count: int, so_far: SoFar) -> PlannedProposals:
        """See `planner.Planner.propose`."""
        ranked = view.ranking.best(count, so_far.keys)
        proposals = [Proposal(each.allocation, _rationale(view, each)) for each in ranked]
        evidence = [
            {"allocation": each.allocation.key, "mean": each.mean, "sd": each.sd, "improvement": each.improvement}
            for each in ranked
        ]
        return PlannedProposals(proposals, Thought("\n".join(proposal.rationale for proposal in proposals), evidence))


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
