"""The agent's graph (LangGraph), run once per call of `propose`.

    recall ──> initial ─────────────┐
       └─────> reflect ──> propose ─┴─> check ──> end
                              ^            │ faults, and rounds left
                              └── repair <─┘

`recall` turns the archive into a posterior with its evidence; while the paper's initial trials are not all done,
`initial` proposes the next of them by rule. Otherwise `reflect` writes a new guideline and `propose` asks the planner
for candidates. `check` lets through what is feasible and new; on faults, `repair` hands the reasons back to the
planner, a bounded number of times; what is still missing then is filled in by rule, and says so. Every node that runs
is recorded with what did it: the planner at `reflect`, `propose` and `repair`, rules elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from agenttts.agent.gathering import gather_evidence
from agenttts.agent.planner import Insights, PlannedProposals, Planner, Thought, View
from agenttts.agent.ranking import Ranking
from agenttts.agent.rules import RulePlanner
from agenttts.posterior.insights import representative, weighed_posterior
from agenttts.proposals.checking import MAX_REPAIRS, Check, Rejected, filled
from agenttts.proposals.initial import initial_allocations
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import BASELINE, RULES, AgentStep, Archive, Proposal


class State(TypedDict, total=False):
    """What flows through the graph."""

    initial: list[Allocation]
    """Initial trials that are still to be tried."""
    view: View
    guideline: str
    pending: list[Proposal]
    """Proposals that have not been checked."""
    accepted: list[Proposal]
    rejected: list[Rejected]
    """Everything that was rejected in this run."""
    repairs: int


@dataclass(frozen=True)
class Agent:
    """The nodes; each returns the part of the state that it changes."""

    planner: Planner
    insights: Insights
    seed: int
    archive: Archive
    space: SearchSpace
    count: int
    journal: Callable[[AgentStep], None]

    def recall(self, state: State) -> State:
        """The archive as a posterior with its evidence, and which initial trials are left."""
        design = self._initial_design()
        # Trials made under other budgets are evidence as well: together there are as many as one design has.
        own = [trial for trial in self.archive.trials if trial.searcher != BASELINE]
        missing = max(len(design) - len(own), 0)
        untried = [a for a in design if a.key not in self.archive.tried]
        left = untried[max(len(untried) - missing, 0) :]
        trials, refusals = len(self.archive.trials), len(self.archive.refusals)
        summary = f"{trials} trials, {refusals} rejected proposals, {len(left)} initial trials left"
        if scored := len(self.archive.untried):
            summary += f"; {scored} more allocations are scored by the trials' samples"
        self._record("recall", Thought(summary))
        state = State(initial=left, accepted=[], rejected=[], repairs=0)
        return state if left else State(**state, view=self._view())

    def initial(self, state: State) -> State:
        """The next of the paper's initial trials."""
        chosen = state["initial"][: self.count]
        why = (
            "initial trial: the models of a subtask at one equal budget (Insight 1)"
            if self.insights.model_preference
            else "initial trial: drawn at random (Insight 1 is switched off)"
        )
        self._record("initial", Thought("\n".join(f"{allocation}" for allocation in chosen)))
        return State(pending=[Proposal(allocation, why) for allocation in chosen])

    async def reflect(self, state: State) -> State:
        """A new guideline."""
        thought = await self.planner.reflect(state["view"])
        self._record("reflect", thought, self.planner.name)
        return State(guideline=thought.text)

    async def propose(self, state: State) -> State:
        """Candidates from the planner."""
        return State(pending=await self._plan("propose", state, []))

    def check(self, state: State) -> State:
        """Let through what is feasible, new and distinct."""
        checked = Check(self.archive, self.space, self.count)(state["accepted"], state["pending"])
        self._record("check", Thought(str(checked)))
        return State(accepted=checked.accepted, rejected=state["rejected"] + checked.rejected, pending=[])

    async def repair(self, state: State) -> State:
        """Hand the reasons back to the planner; after the last round, fill in by rule."""
        repairs = state["repairs"] + 1
        if repairs <= MAX_REPAIRS:
            return State(pending=await self._plan("repair", state, state["rejected"]), repairs=repairs)
        missing = self.count - len(state["accepted"])
        held = [Rejected(proposal, ["already proposed"]) for proposal in state["accepted"]]
        plan = await RulePlanner().propose(state["view"], "", missing, state["rejected"] + held)
        by_rule = filled(plan.proposals, "filled in by rule, the planner's own were rejected")
        self._record("fill", Thought("\n".join(str(p.allocation) for p in by_rule), plan.thought.evidence))
        return State(pending=by_rule, repairs=repairs)

    # Where to go next

    def after_recall(self, state: State) -> str:
        """`initial` while the initial design is not done."""
        return "initial" if state["initial"] else "reflect"

    def after_check(self, state: State) -> str:
        """`repair` while proposals are missing and something may still bring them."""
        short = len(state["accepted"]) < self.count
        return "repair" if "guideline" in state and short and state["repairs"] <= MAX_REPAIRS else "end"

    # Parts

    async def _plan(self, node: str, state: State, rejected: list[Rejected]) -> list[Proposal]:
        missing = self.count - len(state["accepted"])
        plan: PlannedProposals = await self.planner.propose(state["view"], state["guideline"], missing, rejected)
        self._record(node, plan.thought, self.planner.name)
        return plan.proposals

    def _view(self) -> View:
        trials = tuple(representative(self.archive.evidence))
        surrogate, hypotheses = weighed_posterior(self.space.pipeline.sizes, trials, self.insights.structure)
        evidence = gather_evidence(
            replace(self.archive, trials=trials), self.space, surrogate, hypotheses, self.insights.on
        )
        return View(
            archive=self.archive,
            space=self.space,
            insights=self.insights,
            first=not self.archive.guidelines,
            evidence=evidence,
            ranking=Ranking(
                archive=self.archive, space=self.space, surrogate=surrogate, evidence=evidence, seed=self.seed
            ),
        )

    def _initial_design(self) -> list[Allocation]:
        design = initial_allocations(self.space)
        if self.insights.model_preference:
            return design
        rng = Archive().rng(self.seed)
        return list(dict.fromkeys(self.space.sample(rng, len(design))))

    def _record(self, node: str, thought: Thought, planner: str = RULES) -> None:
        self.journal(
            AgentStep(
                round=self.archive.round,
                node=node,
                planner=planner,
                text=thought.text,
                evidence=thought.evidence,
                prompt=thought.prompt,
                reply=thought.reply,
                spend=thought.spend,
            )
        )


def build(agent: Agent) -> Any:
    """The compiled graph of an agent."""
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(State)
    graph.add_node("recall", agent.recall)
    graph.add_node("initial", agent.initial)
    graph.add_node("reflect", agent.reflect)
    graph.add_node("propose", agent.propose)
    graph.add_node("check", agent.check)
    graph.add_node("repair", agent.repair)
    graph.add_edge(START, "recall")
    graph.add_conditional_edges("recall", agent.after_recall, ["initial", "reflect"])
    graph.add_edge("reflect", "propose")
    graph.add_edge("initial", "check")
    graph.add_edge("propose", "check")
    graph.add_conditional_edges("check", agent.after_check, {"repair": "repair", "end": END})
    graph.add_edge("repair", "check")
    return graph.compile()
