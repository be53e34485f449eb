"""The agent: its graph is what runs, its initial trials, the insights, and an LLM behind HTTP."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agenttts as at
from agenttts.agent import AgentSearcher, Insights, LLMPlanner, RulePlanner
from agenttts.errors import ConfigError
from agenttts.pipeline import Pipeline, Subtask
from agenttts.proposals.initial import PORTFOLIO, initial_design, longest_design
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost
from agenttts.study.trial import RULES, AgentStep, Archive, Proposal
from tests.baselines.test_searchers import SPACE, archive_of, continued, designed
from tests.endpoint import FakeEndpoint


def test_the_initial_trials_are_few_feasible_and_far_apart() -> None:
    found = designed(SPACE)
    assert len(found) == len(set(found)) == PORTFOLIO and all(each in SPACE for each in found)
    assert found == designed(SPACE)
    for name in ("a", "b"):  # nothing is known yet of what a subtask needs
        assert len({each[name].model for each in found}) > 1 and len({each[name].samples for each in found}) > 1


def test_the_first_of_them_is_expected_to_be_the_best() -> None:
    expected = initial_design(SPACE)
    assert expected[0].mean == max(each.mean for each in expected) and all(0 < each.sd < 0.5 for each in expected)


@given(st.integers(0, 2), st.integers(0, 2), st.integers(1, 2))
@settings(max_examples=10)
def test_every_operator_and_value_of_an_option_is_among_the_initial_trials(first: int, last: int, values: int) -> None:
    others = (at.operators.First(), at.operators.AdaptiveVote())
    stages = [
        Subtask(name, SPACE.pipeline.subtasks[0].models, "x", prompt_tokens=8, completion_tokens=8, max_samples=8,
                operators=(at.operators.Vote(), *others[:more]), options={"shown": tuple(range(values))})
        for name, more in (("a", first), ("b", last))
    ]  # fmt: skip
    pipeline = Pipeline("p", stages, metric=at.metrics.exact_match("gold"))
    space = SearchSpace(pipeline, FlopsCost(), 16 * SPACE.budget)
    found = designed(space)
    assert len(found) == len(set(found)) <= longest_design(space) and all(each in space for each in found)
    for stage in stages:
        tried = [stage.pairing(each[stage.name].pairing) for each in found]
        assert {each.operator_name for each in tried} == {each.operator_name for each in stage.pairings}
        assert {each.options_name for each in tried} == {each.options_name for each in stage.pairings}


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
    assert len(designed(SPACE)) == sum(len(r) == 3 for r in rounds) * 2 - len(designed(SPACE)) % 2


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
    assert not {p.allocation for p in proposals} <= set(designed(SPACE))
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
    archive = archive_of(*designed(SPACE))
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
    archive = archive_of(*designed(SPACE))
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
