"""The agent: its graph is what runs, the paper's initial trials, the insights, and an LLM behind HTTP."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from agenttts.agent import AgentSearcher, Insights, LLMPlanner, RulePlanner
from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.proposals.initial import initial_allocations
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import PaperCost
from agenttts.study.trial import RULES, AgentStep, Archive, Proposal
from tests.baselines.test_searchers import SPACE, archive_of, continued
from tests.endpoint import FakeEndpoint


def wiki(budget: float) -> SearchSpace:
    """The paper's 2WikiMultiHopQA space."""
    retrievers = (Model("Q7", 7e9), Model("Q32", 32e9), Model("Q72", 72e9))
    readers = (Model("L3", 3e9), Model("L8", 8e9), Model("L70", 70e9))
    stages = (
        Subtask("ret", retrievers, "x", prompt_tokens=2048, completion_tokens=128),
        Subtask("qa", readers, "x", prompt_tokens=256, completion_tokens=64),
    )
    return SearchSpace(Pipeline("2wiki", stages, metric=lambda output, example: 0.0), PaperCost(), budget)


def shown(allocations: Sequence[Allocation]) -> list[str]:
    return [f"{a['ret']} {a['qa']}" for a in allocations]


def test_initial_trials_at_the_papers_default_budget() -> None:
    # Exactly the sum of the largest: the paper's table for a greater budget, without its duplicate.
    space = wiki(814 + 344 / 3)
    assert shown(initial_allocations(space)) == [
        "Q7 x60 L70 x1", "Q32 x22 L70 x1", "Q72 x1 L70 x1", "Q72 x1 L3 x60", "Q72 x1 L8 x39",
    ]  # fmt: skip


def test_initial_trials_step_down_stage_by_stage_where_the_budget_is_small() -> None:
    space = wiki(500)
    found = initial_allocations(space)
    assert all(allocation in space for allocation in found)
    # The retriever steps down to the largest that fits beside the reader, not to the smallest.
    assert "Q32 x1 L3 x60" in shown(found)
    assert len(found) == len(set(found))


async def test_the_graph_is_what_runs() -> None:
    steps: list[AgentStep] = []
    agent = AgentSearcher(RulePlanner())
    agent.journal = steps.append
    archive, rounds = Archive(), []
    while len(archive.trials) < 12:
        proposals = await agent.propose(archive, SPACE, 2)
        rounds.append([step.node for step in steps])
        steps.clear()
        archive = archive_of(*(t.allocation for t in archive.trials), *(p.allocation for p in proposals))
    assert rounds[0] == ["recall", "initial", "check"] and RulePlanner().name == RULES
    assert rounds[-1] == ["recall", "reflect", "propose", "check"]
    assert len(initial_allocations(SPACE)) == sum(len(r) == 3 for r in rounds) * 2 - len(initial_allocations(SPACE)) % 2


async def test_the_guideline_states_the_insights_that_are_on() -> None:
    archive = await continued(AgentSearcher(), Archive(), 6)

    async def guideline(insights: Insights) -> str:
        steps: list[AgentStep] = []
        agent = AgentSearcher(insights=insights)
        agent.journal = steps.append
        await agent.propose(archive, SPACE, 1)
        return next((step.text for step in steps if step.node == "reflect"), "")

    everything = await guideline(Insights())
    assert all(word in everything for word in ("Model preference", "Samples:", "Stages:"))
    assert "Samples:" not in await guideline(Insights(saturation=False))
    assert "Stages:" not in await guideline(Insights(interaction=False))


async def test_without_insight_1_the_initial_trials_are_random() -> None:
    proposals = await AgentSearcher(insights=Insights(model_preference=False)).propose(Archive(), SPACE, 3)
    assert not {p.allocation for p in proposals} <= set(initial_allocations(SPACE))
    assert all("random" in proposal.rationale for proposal in proposals)


# The LLM planner, against a scripted endpoint.


def candidate(a: tuple[str, int], b: tuple[str, int]) -> dict[str, object]:
    chosen = {"a": {"model": a[0], "samples": a[1]}, "b": {"model": b[0], "samples": b[1]}}
    return {"rationale": "because", "allocation": chosen}


async def asked(endpoint: FakeEndpoint, replies: list[str]) -> tuple[list[Allocation], list[AgentStep]]:
    """The allocations that the agent proposes when its model answers these replies, and its steps."""
    proposals, steps = await answered(endpoint, replies)
    assert all(proposal.searcher == "" for proposal in proposals)
    return [proposal.allocation for proposal in proposals], steps


async def answered(endpoint: FakeEndpoint, replies: list[str]) -> tuple[list[Proposal], list[AgentStep]]:
    """What the agent proposes when its model answers these replies to the proposal prompts."""
    archive = archive_of(*initial_allocations(SPACE))
    steps: list[AgentStep] = []

    endpoint.reply, endpoint.models = lambda messages, seed: replies.pop(0), ["wise"]
    agent = AgentSearcher(LLMPlanner("wise", base_url=endpoint.url))
    agent.journal = steps.append
    return await agent.propose(archive, SPACE, 1), steps


async def test_an_llm_reflects_and_proposes_in_one_reply(endpoint: FakeEndpoint) -> None:
    answer = json.dumps({"notes": "prefer m " * 50, "candidates": [candidate(("m", 3), ("s", 2))]})
    proposed, steps = await asked(endpoint, [answer])
    assert proposed == [Allocation({"a": ("m", 3), "b": ("s", 2)})]
    assert [step.node for step in steps] == ["recall", "reflect", "propose", "check"]
    assert [step.planner for step in steps] == [RULES, "wise", "wise", RULES]
    reflect, propose = steps[1], steps[2]
    assert reflect.guideline is not None and reflect.text == "prefer m " * 40 + "..."
    assert reflect.spend.prompt_tokens > 100 and reflect.spend.seconds > 0 and reflect.reply == answer
    assert propose.spend.tokens == 0 and "because" in propose.text and propose.evidence[0]["mean"] > 0
    (request,) = endpoint.requests
    assert request["response_format"]["json_schema"]["schema"]["required"] == ["notes", "candidates"]


async def test_an_llm_may_answer_with_numbers_of_the_shortlist(endpoint: FakeEndpoint) -> None:
    archive = archive_of(*initial_allocations(SPACE))
    steps: list[AgentStep] = []
    agent = AgentSearcher()
    agent.journal = steps.append
    best = [each.allocation for each in await agent.propose(archive, SPACE, 2)]
    for picks in ([1, 2], ["#1", "2."], [{"number": 1, "rationale": "so"}, {"allocation": {}, "number": "2"}]):
        endpoint.reply = lambda messages, seed, picks=picks: json.dumps({"candidates": picks})  # type: ignore[misc]
        planner = AgentSearcher(LLMPlanner("small", base_url=endpoint.url))
        assert [each.allocation for each in await planner.propose(archive, SPACE, 2)] == best
    endpoint.reply = lambda messages, seed: json.dumps({"candidates": [1, 99]})
    planner.journal = steps.append
    assert (await planner.propose(archive, SPACE, 2))[0].allocation == best[0]
    assert any("candidates.1: the shortlist has the numbers 1 to 6, and no 99" in step.text for step in steps)


async def test_a_server_without_schemas_is_asked_without(endpoint: FakeEndpoint) -> None:
    endpoint.refuses_schema = True
    answer = f"Sure!\n```json\n{json.dumps({'candidates': [candidate(('m', 3), ('s', 2))]})}\n```"
    proposed, _ = await asked(endpoint, [answer])
    assert proposed == [Allocation({"a": ("m", 3), "b": ("s", 2)})]


async def test_refused_proposals_go_back_with_the_reasons(endpoint: FakeEndpoint) -> None:
    dear = json.dumps({"candidates": [candidate(("l", 16), ("l", 16))]})
    mended = json.dumps({"candidates": [candidate(("m", 3), ("s", 2))]})
    proposed, steps = await asked(endpoint, [dear, mended])
    assert proposed == [Allocation({"a": ("m", 3), "b": ("s", 2)})]
    assert [step.node for step in steps][2:] == ["propose", "check", "reflect", "repair", "check"]
    assert steps[5].planner == "wise"
    assert "over the budget of 2.5 GFLOP" in steps[5].prompt


async def test_an_llm_that_never_gives_anything_usable_is_filled_in_for_and_it_shows(endpoint: FakeEndpoint) -> None:
    proposals, steps = await answered(endpoint, ["no idea", '{"candidates": [{"allocation": 3}]}', "still none"])
    assert len(proposals) == 1 and SPACE.faults(proposals[0].allocation) == [] and proposals[0].searcher == RULES
    assert [(step.node, step.planner) for step in steps][-2:] == [("fill", RULES), ("check", RULES)]
    assert "unreadable reply: no JSON object" in steps[1].text


def test_openais_own_endpoint_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="'o3-mini' needs a key: set OPENAI_API_KEY, or OPENAI_BASE_URL"):
        LLMPlanner()
