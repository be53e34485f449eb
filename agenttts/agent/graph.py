"""The agent's graph (LangGraph), run once per call of `propose`.

    recall ──> initial ─────────────┐
       ├─────> reflect ──> propose ─┴─> check ──> end
       │          │           ^          │ ^ │ faults, and rounds left
       │          │           └── repair <─┼─┘
       └──────────┴──────────────────> fill

`recall` turns the archive into a posterior with its evidence; while the paper's initial trials are not all done,
`initial` proposes the next of them by rule. Otherwise `reflect` writes a new guideline and `propose` asks the planner
for candidates. `check` lets through what is feasible and new; on faults, `repair` hands the reasons back to the
planner, a bounded number of times; what is still missing then is filled in by rule (`fill`), and says so. Rules carry
on as well where the planner fails, and after two rounds in a row that they had to fill; every fourth round it is asked
again. A guideline of this very round, of a search that was killed, is used and not asked for again. Every node that
runs is recorded with what did it: the planner at `reflect`, `propose` and `repair`, rules elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from agenttts.agent.gathering import gather_evidence
from agenttts.agent.planner import Insights, Planner, Thought, View
from agenttts.agent.ranking import Ranking
from agenttts.agent.rules import RulePlanner
from agenttts.posterior.insights import representative, weighed_posterior
from agenttts.proposals.checking import MAX_REPAIRS, Check, Rejected, SoFar, filled, resting
from agenttts.proposals.initial import initial_allocations
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import BASELINE, RULES, AgentStep, Archive, Proposal

_REJECTED = "the planner's own were rejected or unreadable"
_FAILED = "as the planner gave no answer"


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
    thought: Thought
    """The planner's last one."""
    repairs: int
    carries_on: str
    """Why the rules take the place of the planner; empty while they do not."""


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
        state = State(initial=left, accepted=[], rejected=[], repairs=0, carries_on="" if left else self._resting())
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
        if self.archive.guidelines and self.archive.guidelines[-1].round == self.archive.round:
            return State(guideline=self.archive.guidelines[-1].text)
        thought = await self.planner.reflect(state["view"])
        if thought.fault:
            self._record("reflect, in vain", thought, self.planner.name)
            return State(guideline="", thought=thought, carries_on=_FAILED if thought.failed else "")
        self._record("reflect", thought, self.planner.name)
        return State(guideline=thought.text)

    async def propose(self, state: State) -> State:
        """Candidates from the planner."""
        return await self._plan("propose", state, SoFar())

    def check(self, state: State) -> State:
        """Let through what is feasible, new and distinct."""
        checked = Check(self.archive, self.space, self.count)(state["accepted"], state["pending"])
        self._record("check", Thought(str(checked)))
        return State(accepted=checked.accepted, rejected=state["rejected"] + checked.rejected, pending=[])

    async def repair(self, state: State) -> State:
        """Hand the reasons back to the planner."""
        last = state["thought"]
        so_far = SoFar(accepted=state["accepted"], rejected=state["rejected"], reply=last.reply, fault=last.fault)
        return State(**await self._plan("repair", state, so_far), repairs=state["repairs"] + 1)

    async def fill(self, state: State) -> State:
        """What is missing, by rule."""
        missing = self.count - len(state["accepted"])
        so_far = SoFar(accepted=state["accepted"], rejected=state["rejected"])
        plan = await RulePlanner().propose(state["view"], "", missing, so_far)
        by_rule = filled(plan.proposals, f"filled in by rule, {state['carries_on'] or _REJECTED}")
        self._record("fill", Thought("\n".join(str(p.allocation) for p in by_rule), plan.thought.evidence))
        return State(pending=by_rule, repairs=MAX_REPAIRS + 1)

    # Where to go next

    def after_recall(self, state: State) -> str:
        """`initial` while the initial design is not done."""
        if state["initial"]:
            return "initial"
        return "fill" if state["carries_on"] else "reflect"

    def after_reflect(self, state: State) -> str:
        """`propose`, unless the planner failed."""
        return "fill" if state["carries_on"] else "propose"

    def after_check(self, state: State) -> str:
        """`repair`, or in the end `fill`, while proposals are missing and something may still bring them."""
        if "view" not in state or len(state["accepted"]) >= self.count or state["repairs"] > MAX_REPAIRS:
            return "end"
        return "repair" if state["repairs"] < MAX_REPAIRS and not state["carries_on"] else "fill"

    # Parts

    async def _plan(self, node: str, state: State, so_far: SoFar) -> State:
        missing = self.count - len(state["accepted"])
        plan = await self.planner.propose(state["view"], state["guideline"], missing, so_far)
        self._record(node, plan.thought, self.planner.name)
        failed = _FAILED if plan.thought.failed else ""
        return State(pending=plan.proposals, thought=plan.thought, carries_on=failed)

    def _resting(self) -> str:
        """Why the planner is not asked in this round; empty where it is."""
        if isinstance(self.planner, RulePlanner):
            return ""
        return resting(self.archive)

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
    graph.add_node("fill", agent.fill)
    graph.add_edge(START, "recall")
    graph.add_conditional_edges("recall", agent.after_recall, ["initial", "reflect", "fill"])
    graph.add_conditional_edges("reflect", agent.after_reflect, ["propose", "fill"])
    graph.add_edge("initial", "check")
    graph.add_edge("propose", "check")
    graph.add_conditional_edges("check", agent.after_check, {"repair": "repair", "fill": "fill", "end": END})
    graph.add_edge("repair", "check")
    graph.add_edge("fill", "check")
    return graph.compile()
