"""The agent's graph (LangGraph), run once per call of `propose`.

    recall ─┬──> initial ───────────────────┐
            └──> reflect ─┬─> propose ──────┴─> check ──> end
                          │                     │ ^ │ faults, and repairs left
                          │           repair <──┼─┘─┘
                          └──────────> fill <───┘

`recall` turns the archive into a posterior with its evidence. `reflect` asks the planner, once: it writes a guideline
and names the candidates that `propose` hands on. An adviser is asked where it may know more than the statistics: at
the start, when the posterior stalls or the trials come to speak against an insight (`memory.occasion`); in every other
round rules plan. While the initial trials are not all done, `initial` hands on the next of them, of which an adviser
chooses half. `check` lets through what is feasible and new; on faults, `repair` hands the reasons back, once; what is
still missing then, or where the adviser fails, is filled in by rule (`fill`), and says so. What was answered in this
very round, of a search that was killed, is used and not asked for again. Every node that runs is recorded with what did
it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from inspect import iscoroutinefunction
from itertools import chain, zip_longest
from typing import Any, TypedDict

from agenttts.agent.gathering import gather_evidence
from agenttts.agent.memory import START, advice, advice_kept, advised, expectations, last_batch, occasion, with_expected
from agenttts.agent.planner import Adviser, Insights, Planner, RoundPlan, Situation, Thought, View
from agenttts.agent.ranking import Ranking
from agenttts.agent.rules import RulePlanner
from agenttts.posterior.insights import Hypothesis, representative, weighed_posterior
from agenttts.posterior.surrogate import Surrogate
from agenttts.proposals.checking import Check, Rejected, SoFar, filled
from agenttts.proposals.initial import initial_design, longest_design
from agenttts.protocols import Outlook
from agenttts.space import SearchSpace
from agenttts.study.trial import BASELINE, EXPERIENCE, EXPLANATION_NODE, RULES, AgentStep, Archive, Proposal, Trial

_log = logging.getLogger(__name__)
_MOST_REPAIRS = 1
_REJECTED = "as the planner's own were rejected or unreadable"
_FAILED = "as the planner gave no answer"


class State(TypedDict, total=False):
    """What flows through the graph."""

    initial: list[Proposal]
    """Initial trials that are still to be tried."""
    view: View
    planner: Planner
    """Who plans this round."""
    plan: RoundPlan
    """Its last one."""
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
    outlook: Outlook | None = None

    def recall(self, state: State) -> State:
        """The archive as a posterior with its evidence, and which initial trials are left."""
        left = self._left(self._first_advice())
        trials, refusals = len(self.archive.trials), len(self.archive.refusals)
        summary = f"{trials} trials, {refusals} rejected proposals, {len(left)} initial trials left"
        if scored := len(self.archive.untried):
            summary += f"; {scored} more allocations are scored by the trials' samples"
        self._record("recall", Thought("\n".join([summary, *map(str, last_batch(self.archive))])))
        state = State(initial=left, accepted=[], rejected=[], repairs=0)
        return state if left else State(**state, view=self.view())

    async def initial(self, state: State) -> State:
        """The next of the initial trials; before the first of them, an adviser is asked for its half."""
        left, design = state["initial"], [each.allocation for each in self._by_rule]
        due = len(design) > 1 and not self._own_trials and not advice(self.archive)
        if due and isinstance(self.planner, Adviser):
            situation = Situation(archive=self.archive, space=self.space, insights=self.insights, outlook=self.outlook)
            plan = await self.planner.begin(situation, design[::2], design[1::2])
            self._record("reflect", plan.thought._replace(evidence=advice_kept(plan, START)), self.planner.name)
            left = self._left(plan)
            if any(each.searcher == RULES for each in left):
                self._carry_on(plan)
        chosen = left[: self.count]
        self._record("initial", Thought("\n".join(f"{each.allocation}" for each in chosen)))
        return State(pending=chosen)

    async def reflect(self, state: State) -> State:
        """What has been learned, and what is therefore to be tried."""
        view, planner = state["view"], self.planner
        if isinstance(planner, Adviser):
            said = [each for each in advice(self.archive) if each.round == self.archive.round]
            if said:
                plans = [advised(each) for each in said]
                whole = RoundPlan(plans[-1].thought, [each for plan in plans for each in plan.proposals])
                return State(plan=whole, planner=planner, repairs=len(said) - 1)
            if not view.occasion:
                planner = RulePlanner()
        plan = await planner.plan(view, self.count, SoFar())
        evidence = advice_kept(plan, view.occasion) if isinstance(planner, Adviser) else plan.thought.evidence
        if not any(each.round == self.archive.round for each in self.archive.guidelines):
            kept = with_expected(evidence, self._expected(plan.proposals, view))
            self._record("reflect", plan.thought._replace(evidence=kept), planner.name)
        return State(plan=plan, planner=planner)

    def propose(self, state: State) -> State:
        """The candidates of the plan."""
        plan = state["plan"]
        text = "\n".join(f"{each.allocation}: {each.rationale}" for each in plan.proposals)
        self._record("propose", Thought(text, self._expected(plan.proposals, state["view"])), state["planner"].name)
        return State(pending=plan.proposals)

    def check(self, state: State) -> State:
        """Let through what is feasible, new and distinct."""
        checked = Check(self.archive, self.space, self.count)(state["accepted"], state["pending"])
        self._record("check", Thought(str(checked)))
        return State(accepted=checked.accepted, rejected=state["rejected"] + checked.rejected, pending=[])

    async def repair(self, state: State) -> State:
        """Hand the reasons back to the planner."""
        last, missing = state["plan"].thought, self.count - len(state["accepted"])
        so_far = SoFar(accepted=state["accepted"], rejected=state["rejected"], reply=last.reply, fault=last.fault)
        plan = await state["planner"].plan(state["view"], missing, so_far)
        if isinstance(state["planner"], Adviser):  # first of all, so that it is not paid for again
            kept = with_expected(advice_kept(plan, "repair"), self._expected(plan.proposals, state["view"]))
            self._record("reflect", Thought(plan.thought.text, kept), state["planner"].name)
        self._record("repair", plan.thought, state["planner"].name)
        return State(plan=plan, pending=plan.proposals, repairs=state["repairs"] + 1)

    async def fill(self, state: State) -> State:
        """What is missing, by rule."""
        missing = self.count - len(state["accepted"])
        so_far = SoFar(accepted=state["accepted"], rejected=state["rejected"])
        why = self._carry_on(state["plan"])
        by_rule = filled(RulePlanner().choose(state["view"], missing, so_far), f"filled in by rule, {why}")
        expected = self._expected(by_rule, state["view"])
        self._record("fill", Thought("\n".join(str(each.allocation) for each in by_rule), expected))
        return State(pending=by_rule, repairs=_MOST_REPAIRS + 1)

    # Beside the graph

    async def explain(self, adviser: Adviser, best: Trial) -> None:
        """Why a trial is recommended, in the words of an adviser."""
        thought = await adviser.explain(self.view(), best)
        in_vain = thought.failed or not thought.text
        node = f"{EXPLANATION_NODE}, in vain" if in_vain else EXPLANATION_NODE
        self._record(node, thought._replace(evidence={"trial": best.number}), adviser.name)

    # Where to go next

    def after_recall(self, state: State) -> str:
        """`initial` while the initial design is not done."""
        return "initial" if state["initial"] else "reflect"

    def after_reflect(self, state: State) -> str:
        """`propose`, unless the planner failed."""
        return "fill" if state["plan"].thought.failed else "propose"

    def after_check(self, state: State) -> str:
        """`repair`, or in the end `fill`, while proposals are missing and something may still bring them."""
        if "view" not in state or len(state["accepted"]) >= self.count or state["repairs"] > _MOST_REPAIRS:
            return "end"
        return "repair" if state["repairs"] < _MOST_REPAIRS and not state["plan"].thought.failed else "fill"

    # The initial design

    def _first_advice(self) -> RoundPlan | None:
        """What an adviser said of the initial trials; None where it was not asked."""
        said = advice(self.archive)[:1]
        return advised(said[0]) if said and said[0].evidence["occasion"] == START else None

    def _design(self, advice: RoundPlan | None) -> list[Proposal]:
        """The rule's; or every other one of it and as many of an adviser's, the rule's where those are too few."""
        by_rule = self._by_rule
        if advice is None:
            return by_rule
        kept, others = by_rule[::2], by_rule[1::2]
        own = Check(Archive(), self.space, len(by_rule))(kept, advice.proposals).accepted[len(kept) :]
        instead = [each for each in others if each.allocation not in {one.allocation for one in own}]
        own += filled(instead, f"filled in by rule, {_why(advice)}")[: len(others) - len(own)]
        return [each for each in chain(*zip_longest(kept, own)) if each is not None]

    def _left(self, advice: RoundPlan | None) -> list[Proposal]:
        if self._own_trials >= longest_design(self.space) or self._experienced:
            return []
        # Trials made under other budgets are evidence as well: together there are as many as one design has.
        design = self._design(advice)
        missing = max(len(design) - self._own_trials, 0)
        untried = [each for each in design if each.allocation.key not in self.archive.tried]
        return untried[max(len(untried) - missing, 0) :]

    @property
    def _experienced(self) -> bool:
        """Whether the trials that earlier studies chose stand for the design: they are done, and favour these."""
        chosen = any(trial.searcher == EXPERIENCE for trial in self.archive.trials)
        return chosen and self._weighed[0].structure.experience

    @property
    def _own_trials(self) -> int:
        return sum(trial.searcher != BASELINE for trial in self.archive.trials)

    @cached_property
    def _by_rule(self) -> list[Proposal]:
        """The initial trials of the rule."""
        design = initial_design(self.space)
        if self.insights.model_preference:
            why = "initial trial: one of these should be good, whatever the task: {} expected"
            return [Proposal(each.allocation, why.format(each)) for each in design]
        drawn = self.space.sample(Archive().rng(self.seed), len(design))
        return [
            Proposal(each, "initial trial: drawn at random (Insight 1 is switched off)")
            for each in dict.fromkeys(drawn)
        ]

    # Parts

    def view(self) -> View:
        """The posterior with its evidence."""
        trials = tuple(representative(self.archive.evidence))
        surrogate, hypotheses = self._weighed
        evidence = gather_evidence(
            replace(self.archive, trials=trials), self.space, surrogate, hypotheses, self.insights.on
        )
        return View(
            archive=self.archive,
            space=self.space,
            insights=self.insights,
            outlook=self.outlook,
            evidence=evidence,
            ranking=Ranking(
                archive=self.archive, space=self.space, surrogate=surrogate, evidence=evidence, seed=self.seed
            ),
            occasion=occasion(self.archive, evidence) if isinstance(self.planner, Adviser) else "",
        )

    @cached_property
    def _weighed(self) -> tuple[Surrogate, tuple[Hypothesis, ...]]:
        trials = representative(self.archive.evidence)
        experience = self.archive.experience
        return weighed_posterior(self.space.pipeline.sizes, trials, self.insights.structure, experience)

    def _carry_on(self, plan: RoundPlan) -> str:
        """Why rules fill this round in, which is told."""
        why = _why(plan)
        _log.warning("rules carry on, %s", why)
        return why

    def _expected(self, proposals: list[Proposal], view: View) -> list[dict[str, Any]]:
        feasible = [each.allocation for each in proposals if each.allocation in self.space]
        return expectations(view.ranking.expected(feasible))

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


def _why(plan: RoundPlan) -> str:
    return _FAILED if plan.thought.failed else _REJECTED


@cache
def graph() -> Any:
    """The compiled graph: an `Agent` is the context that it is run with."""
    from langgraph.graph import END, START, StateGraph

    built = StateGraph(State, context_schema=Agent)
    for name in ("recall", "initial", "reflect", "propose", "check", "repair", "fill"):
        built.add_node(name, _of_agent(name))
    built.add_edge(START, "recall")
    built.add_conditional_edges("recall", _of_agent("after_recall"), ["initial", "reflect"])
    built.add_conditional_edges("reflect", _of_agent("after_reflect"), ["propose", "fill"])
    built.add_edge("initial", "check")
    built.add_edge("propose", "check")
    built.add_conditional_edges("check", _of_agent("after_check"), {"repair": "repair", "fill": "fill", "end": END})
    built.add_edge("repair", "check")
    built.add_edge("fill", "check")
    return built.compile()


def _of_agent(name: str) -> Callable[..., Any]:
    """A method of the agent that the graph is run with."""
    if iscoroutinefunction(getattr(Agent, name)):

        async def awaited(state: State, runtime: Any) -> Any:
            return await getattr(runtime.context, name)(state)

        return awaited

    def called(state: State, runtime: Any) -> Any:
        return getattr(runtime.context, name)(state)

    return called
