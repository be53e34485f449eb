"""The methods that an LLM drives, against a scripted HTTP endpoint: what they are told, and what becomes of replies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.agent import AgentSearcher, LLMPlanner
from agenttts.baselines import (
    AgentHPOSearcher,
    MLCopilotSearcher,
    PaperSearcher,
    RandomSearcher,
    ZeroShotSearcher,
)
from agenttts.baselines.llm import LLMSearcher
from agenttts.baselines.paper import published_initial_allocations
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError, EndpointError, LimitReached
from agenttts.llm.chat import ChatModel
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.protocols import Searcher
from agenttts.report import summary_lines
from agenttts.searching import search
from agenttts.searching.methods import method, searcher
from agenttts.searching.progress import Limits, SearchResult
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost, PaperCost
from agenttts.study.trial import RULES, AgentStep, Archive, Guideline, Proposal
from agenttts.testing import ScriptedClient
from tests.agent.test_agent import candidate
from tests.baselines.test_searchers import LISTED, PIPELINE, SPACE, archive_of
from tests.endpoint import FakeEndpoint, Fault

EXPERIENCE = archive_of(Allocation({"a": ("s", 7), "b": ("l", 2)}))
GUIDELINE = "1. prefer m"
GOOD = Allocation({"a": ("m", 3), "b": ("s", 2)})

Build = Callable[[ChatModel], LLMSearcher]
METHODS = [
    pytest.param(ZeroShotSearcher, id="llm-zs"),
    pytest.param(AgentHPOSearcher, id="agenthpo"),
    pytest.param(MLCopilotSearcher, id="mlcopilot"),
    pytest.param(PaperSearcher, id="agenttts-paper"),
]
GUIDED = METHODS[1:]


def beyond_initial(*further: Allocation) -> Archive:
    """Trials with which the paper's own method is past its initial ones."""
    return archive_of(*published_initial_allocations(SPACE), *further)


def with_guideline(archive: Archive, *rounds: int) -> Archive:
    return replace(archive, guidelines=tuple(Guideline(round=r, text=f"guideline after {r}") for r in rounds))


def json_of(*candidates: dict[str, object]) -> str:
    return json.dumps({"candidates": candidates})


def script(endpoint: FakeEndpoint, *replies: str) -> None:
    """Answer requests for allocations with these replies in turn, others with a guideline."""
    left = list(replies)

    def reply(messages: Sequence[dict[str, str]], seed: int) -> str:
        return left.pop(0) if "Reply with JSON" in messages[-1]["content"] else GUIDELINE

    endpoint.reply = reply


def built(build: Build, endpoint: FakeEndpoint) -> tuple[LLMSearcher, list[AgentStep]]:
    """The searcher, and the steps that it is going to write."""
    made, steps = build(ChatModel("small", base_url=endpoint.url)), list[AgentStep]()
    made.journal = steps.append
    return made, steps


def prompts(endpoint: FakeEndpoint) -> list[str]:
    return [request["messages"][-1]["content"] for request in endpoint.requests]


async def test_the_model_is_told_which_sample_counts_a_subtask_takes(endpoint: FakeEndpoint) -> None:
    good = Allocation({"a": ("s", 5), "b": ("m", 3)})
    script(endpoint, json_of(candidate(("m", 3), ("s", 2)), candidate(("s", 5), ("m", 3))))
    made, steps = built(ZeroShotSearcher, endpoint)
    assert await made.propose(Archive(), LISTED, 1) == [Proposal(good, "because")]
    told, schema = prompts(endpoint)[0], json.dumps(endpoint.requests[0]["response_format"])
    assert "2, 5, 9 or 16 samples)" in told and "at most 16 samples)" in told
    assert '"samples": {"type": "integer", "enum": [2, 5, 9, 16]}' in schema
    assert "subtask 'a' takes 2, 5, 9 or 16 samples, not 3" in steps[-1].text


# What becomes of replies.


@pytest.mark.parametrize("build", METHODS)
async def test_a_good_proposal_is_taken_and_its_steps_are_journaled(build: Build, endpoint: FakeEndpoint) -> None:
    script(endpoint, f"Sure!\n{json_of(candidate(('m', 3), ('s', 2)))}")
    made, steps = built(build, endpoint)
    assert await made.propose(beyond_initial(), SPACE, 1) == [Proposal(GOOD, "because")]
    *reflections, propose, check = steps
    assert [step.node for step in steps] == ["reflect"] * made.guided + ["propose", "check"]
    assert (propose.planner, check.planner) == ("small", RULES)
    assert propose.prompt == prompts(endpoint)[-1] and propose.reply.startswith("Sure!")
    assert propose.spend.prompt_tokens > 50 and propose.spend.seconds > 0 and check.spend.tokens == 0
    assert all(step.guideline and step.text == GUIDELINE and step.planner == "small" for step in reflections)
    assert [request["messages"][0]["content"][:15] for request in endpoint.requests] == ["You are an expe"] * (
        len(endpoint.requests)
    )


@pytest.mark.parametrize("build", METHODS)
async def test_what_is_refused_goes_back_with_the_reasons(build: Build, endpoint: FakeEndpoint) -> None:
    archive = beyond_initial(Allocation({"a": ("s", 3), "b": ("s", 3)}))
    bad = [(("l", 16), ("l", 16)), (("s", 3), ("s", 3)), (("huge", 1), ("s", 1)), (("s", 17), ("s", 1))]
    script(endpoint, json_of(*(candidate(*each) for each in bad)), json_of(candidate(("m", 3), ("s", 2))))
    made, steps = built(build, endpoint)
    assert [proposal.allocation for proposal in await made.propose(archive, SPACE, 1)] == [GOOD]
    assert [step.node for step in steps][-4:] == ["propose", "check", "repair", "check"]
    told = prompts(endpoint)[-1]
    for reason in ("over the budget of 2.5 GFLOP", "tried already", "has no model 'huge'", "at most 16 samples"):
        assert reason in told and reason in steps[-3].text


@pytest.mark.parametrize("build", METHODS)
@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        ("no idea", "no JSON object"),
        ('{"candidates": [{"allocation": 3}]}', "candidates.0.allocation"),
        ('{"candidates": "all of them"}', "candidates"),
        (json_of(candidate(("m", 10**30), ("s", 1))), "less than or equal to"),
        (json_of(candidate(("a model", 1), ("s", 1))), "cannot be part of an allocation"),
        (json_of(), "it holds no candidate"),
        ("", "it is empty"),
    ],
)
async def test_a_model_that_gives_nothing_usable_is_filled_in_for_and_it_shows(
    build: Build, garbage: str, why: str, endpoint: FakeEndpoint
) -> None:
    script(endpoint, *[garbage] * 3)
    made, steps = built(build, endpoint)
    archive = beyond_initial()
    proposals = await made.propose(archive, SPACE, 3)
    assert len({proposal.allocation for proposal in proposals}) == 3
    for proposal in proposals:
        assert SPACE.faults(proposal.allocation) == [] and proposal.allocation.key not in archive.tried
        assert proposal.searcher == RULES and "drawn uniformly" in proposal.rationale
    assert [step.node for step in steps][-3:] == ["repair", "check", "fill"] and steps[-1].planner == RULES
    assert why in steps[-3].text
    assert "could not be read" in prompts(endpoint)[-1]


@pytest.mark.parametrize("build", METHODS)
async def test_more_than_asked_for_and_twice_the_same_are_cut(build: Build, endpoint: FakeEndpoint) -> None:
    twice = [candidate(("m", 3), ("s", 2))] * 2
    script(endpoint, json_of(*twice, *(candidate(("s", n), ("s", n)) for n in range(5, 9))))
    made, _ = built(build, endpoint)
    proposals = await made.propose(beyond_initial(), SPACE, 2)
    assert [proposal.allocation for proposal in proposals] == [GOOD, Allocation({"a": ("s", 5), "b": ("s", 5)})]


@pytest.mark.parametrize("build", METHODS)
async def test_a_space_that_is_exhausted_costs_no_question(build: Build, endpoint: FakeEndpoint) -> None:
    tiny = SearchSpace(PIPELINE, FlopsCost(), 300)
    *rest, last = tiny.enumerate()
    made, _ = built(build, endpoint)
    assert await made.propose(archive_of(*rest, last, space=tiny), tiny, 2) == []
    assert endpoint.requests == []
    script(endpoint, *["none"] * 3)
    assert [p.allocation for p in await made.propose(archive_of(*rest, space=tiny), tiny, 2)] == [last]


@pytest.mark.parametrize("build", METHODS)
async def test_the_same_archive_gives_the_same_prompts_and_proposals(build: Build, endpoint: FakeEndpoint) -> None:
    archive = with_guideline(beyond_initial(), 2)
    seen = []
    for warmed in (False, True):
        made, _ = built(build, endpoint)
        if warmed:
            script(endpoint, *["none"] * 3)
            await made.propose(Archive(), SPACE, 1)
        endpoint.requests.clear()
        script(endpoint, json_of(candidate(("l", 16), ("l", 16))), "none", "none")
        seen.append((await made.propose(archive, SPACE, 2), prompts(endpoint)))
    assert seen[0] == seen[1] and len(seen[0][1]) >= 3


# What each is told.


async def test_zero_shot_is_told_the_task_alone(endpoint: FakeEndpoint) -> None:
    script(endpoint, json_of(candidate(("m", 3), ("s", 2))))
    await built(ZeroShotSearcher, endpoint)[0].propose(with_guideline(beyond_initial(), 2), SPACE, 1)
    (told,) = prompts(endpoint)
    assert "budget 2.5 GFLOP" in told and "m, 4e+06 parameters" in told and "about 50 tokens of prompt" in told
    assert "rial" not in told and "uideline" not in told
    assert f"not to be proposed again:\n- {beyond_initial().trials[0].allocation}\n- " in told


@pytest.mark.parametrize("build", GUIDED)
async def test_a_guided_method_shows_every_trial_and_the_first_and_last_two_guidelines(
    build: Build, endpoint: FakeEndpoint
) -> None:
    script(endpoint, json_of(candidate(("m", 3), ("s", 2))))
    archive = with_guideline(beyond_initial(), 0, 1, 2, 3)
    await built(build, endpoint)[0].propose(archive, SPACE, 1)
    reflection, told = prompts(endpoint)
    for trial in archive.trials:
        assert f"{trial.allocation} | " in told and f"{trial.allocation} | " in reflection
    assert f"{archive.trials[0].evaluation.score:.3f} on 40 examples" in told
    for text, is_shown in (("after 0", True), ("after 1", False), ("after 2", False), ("after 3", True)):
        assert (f"guideline {text}" in told) == is_shown
    assert GUIDELINE in told
    before, since = reflection.split("Trials since: ")
    assert before.count(" | cost | score") == 1 and f"{archive.trials[2].allocation} | " in before
    assert f"{archive.trials[3].allocation} | " in since and "interval" not in reflection + told


@pytest.mark.parametrize("build", GUIDED)
async def test_a_guideline_of_this_very_round_is_used_again(build: Build, endpoint: FakeEndpoint) -> None:
    archive = beyond_initial()
    script(endpoint, json_of(candidate(("m", 3), ("s", 2))))
    made, steps = built(build, endpoint)
    await made.propose(with_guideline(archive, len(archive.trials)), SPACE, 1)
    assert [step.node for step in steps] == ["propose", "check"]
    assert f"guideline after {len(archive.trials)}" in prompts(endpoint)[0]


async def test_agenthpos_first_guideline_is_the_models_own(endpoint: FakeEndpoint) -> None:
    script(endpoint, json_of(candidate(("m", 3), ("s", 2))))
    await built(AgentHPOSearcher, endpoint)[0].propose(Archive(), SPACE, 1)
    reflection, told = prompts(endpoint)
    assert "From what you know" in reflection and "Trials so far: none." in reflection
    assert GUIDELINE in told and "Trials so far: none." in told


async def test_mlcopilot_begins_with_the_experience_and_goes_on_with_its_own(endpoint: FakeEndpoint) -> None:
    answer = json_of(candidate(("m", 3), ("s", 2)))
    script(endpoint, answer, answer)
    similar = f"{EXPERIENCE.trials[0].allocation} | "
    await built(MLCopilotSearcher, endpoint)[0].propose(Archive(similar=EXPERIENCE.trials), SPACE, 1)
    first = prompts(endpoint)[0]
    assert "similar pipeline" in first and similar in first
    endpoint.requests.clear()
    later = replace(with_guideline(archive_of(SPACE.cheapest), 0), similar=EXPERIENCE.trials)
    await built(MLCopilotSearcher, endpoint)[0].propose(later, SPACE, 1)
    assert all(similar not in told for told in prompts(endpoint))


# The paper's own method.


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


def test_the_initial_trials_are_those_of_the_papers_statement() -> None:
    # Exactly the sum of the largest: they stay largest elsewhere; no cap at 60, but the stated range up to 100.
    assert shown(published_initial_allocations(wiki(814 + 344 / 3))) == [
        "Q7 x100 L70 x1", "Q32 x22 L70 x1", "Q72 x1 L70 x1", "Q72 x1 L3 x100", "Q72 x1 L8 x39",
    ]  # fmt: skip
    # Below the cost of a 72B pass, the equal budget is that of a 32B pass (361), not whatever is left.
    assert shown(published_initial_allocations(wiki(500))) == [
        "Q7 x61 L70 x1", "Q32 x1 L70 x1", "Q32 x1 L3 x100", "Q32 x1 L8 x39",
    ]  # fmt: skip


@given(st.floats(81, 3000))
def test_the_initial_trials_always_fit(budget: float) -> None:
    space = wiki(budget)
    found = published_initial_allocations(space)
    assert found and len(set(found)) == len(found)
    assert all(allocation in space for allocation in found)


async def test_the_papers_method_asks_for_insight_1_once_and_shows_no_posterior(endpoint: FakeEndpoint) -> None:
    made, steps = built(PaperSearcher, endpoint)
    initial = published_initial_allocations(SPACE)
    proposals = await made.propose(archive_of(initial[0]), SPACE, 2)
    assert [proposal.allocation for proposal in proposals] == initial[1:3]
    assert [(step.node, step.planner) for step in steps] == [("initial", RULES)] and endpoint.requests == []
    answer = json_of(candidate(("m", 3), ("s", 2)))
    script(endpoint, answer, answer)
    await made.propose(beyond_initial(), SPACE, 1)
    await made.propose(with_guideline(beyond_initial(), 2), SPACE, 1)
    first, _, later, _ = prompts(endpoint)
    insights = [[word in told for word in ("Model size:", "Samples:", "Stages:", "explore")] for told in (first, later)]
    assert insights == [[True, True, True, False], [False, True, True, True]]
    assert not any("statistics" in told or "±" in told for told in prompts(endpoint))


# In a search.


def toy_answer(messages: Sequence[dict[str, str]], seed: int) -> str:
    """What a deterministic model of no great wit answers: a function of the prompt, often infeasible or repeated."""
    told = messages[-1]["content"]
    digest = hashlib.sha256(told.encode()).digest()
    if "Reply with JSON" not in told:
        return f"1. do {digest.hex()[:6]}"
    chosen = {
        name: {"model": ("small", "large")[digest[i] % 2], "samples": 1 + digest[i + 1] % 5}
        for i, name in enumerate(("find", "answer"))
    }
    return json.dumps({"candidates": [{"rationale": "so", "allocation": chosen}]})


async def run(
    made: Searcher, environment: LiveEnvironment, space: SearchSpace, store: Store, trials: int
) -> SearchResult:
    if made.learns:
        limits = Limits(trials=2)
        await search(environment, RandomSearcher(), space, store, study_name="old", limits=limits, validate=False)
    return await search(environment, made, space, store, study_name="s", limits=Limits(trials=trials), validate=False,
                        experience=["old"] if made.learns else [])  # fmt: skip


@pytest.mark.parametrize("build", METHODS)
async def test_a_search_in_pieces_asks_the_same_as_in_one(
    build: Build, endpoint: FakeEndpoint, toy_environment: LiveEnvironment, toy_space: SearchSpace, tmp_path: Path
) -> None:
    endpoint.reply = toy_answer
    planner = ChatModel("small", base_url=endpoint.url)
    whole = await run(build(planner), toy_environment, toy_space, Store(), 8)
    asked = prompts(endpoint)
    endpoint.requests.clear()
    for trials in (1, 5, 8):
        store = Store(str(tmp_path / "pieces.db"))
        pieces = await run(build(planner), toy_environment, toy_space, store, trials)
        store.close()
    assert prompts(endpoint) == asked and len(asked) > 3
    assert [t.allocation for t in pieces.archive.trials] == [t.allocation for t in whole.archive.trials]
    assert pieces.archive.guidelines == whole.archive.guidelines


async def test_a_search_cut_off_after_its_guideline_does_not_pay_for_it_again(
    endpoint: FakeEndpoint, toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    endpoint.reply = toy_answer
    made = AgentHPOSearcher(ChatModel("small", base_url=endpoint.url))
    with pytest.raises(LimitReached, match="--max-tokens"):
        await search(toy_environment, made, toy_space, store, study_name="s", limits=Limits(trials=2, max_tokens=1))
    assert store.spend(store.study("s")).tokens > 0
    result = await run(made, toy_environment, toy_space, store, 1)
    reflections = [told for told in prompts(endpoint) if "Reply with JSON" not in told]
    assert len(reflections) == 1 and len(result.archive.guidelines) == 1


@pytest.mark.parametrize("build", METHODS)
async def test_tokens_are_charged_to_the_study_and_fillings_are_told(
    build: Build, endpoint: FakeEndpoint, toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    endpoint.reply = lambda messages, seed: "I would rather not"
    result = await run(build(ChatModel("small", base_url=endpoint.url)), toy_environment, toy_space, store, 9)
    bought = sum(trial.evaluation.spend.tokens for trial in result.archive.trials)
    asked = sum(step.spend.tokens for step in store.steps(result.study))
    assert asked > 0 and result.spend.tokens == bought + asked
    filled = sum(trial.searcher == RULES for trial in result.archive.trials)
    assert filled > 0 and all(trial.searcher in (RULES, result.study.spec.method) for trial in result.archive.trials)
    line = f"{filled} of 9 trials were filled in by rule: the planner's own proposals were rejected or unreadable"
    assert f"{line}, or it gave no answer" in summary_lines(result)


@pytest.mark.parametrize("build", METHODS[:2])
async def test_where_the_endpoint_fails_rules_carry_on_and_the_model_is_asked_again_later(
    build: Build, endpoint: FakeEndpoint, toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    endpoint.reply, endpoint.faults = toy_answer, [Fault(403, "out of credit")] * 3
    result = await run(build(ChatModel("small", base_url=endpoint.url)), toy_environment, toy_space, store, 9)
    steps, trials = store.steps(result.study), result.archive.trials
    in_vain = [step for step in steps if step.node.endswith(", in vain")]
    assert len(in_vain) == 3 and all("answered 403: out of credit" in step.text for step in in_vain)
    # Asked in vain twice, rested for two rounds, asked in vain again, rested for three; then it is asked again.
    assert [trial.number for trial in trials if trial.searcher == RULES][:8] == list(range(1, 9))
    assert any(step.round == 8 and step.planner == "small" and step.reply for step in steps)
    assert all("gave no answer" in trial.rationale for trial in trials[:2])
    assert "asked again every 4 rounds" in trials[2].rationale
    assert any("trials were filled in by rule" in line for line in summary_lines(result))


def agent(endpoint: FakeEndpoint, model: str) -> Searcher:
    return AgentSearcher(LLMPlanner(model, base_url=endpoint.url))


def agenthpo(endpoint: FakeEndpoint, model: str) -> Searcher:
    return AgentHPOSearcher(ChatModel(model, base_url=endpoint.url))


@pytest.mark.parametrize("build", [agent, agenthpo])
async def test_a_model_that_cannot_be_asked_shows_before_anything_is_bought(
    build: Callable[[FakeEndpoint, str], Searcher],
    toy_environment: LiveEnvironment,
    toy_space: SearchSpace,
    store: Store,
) -> None:
    client = ScriptedClient(lambda model, messages, position: "yes")
    toy_environment.client = client
    with FakeEndpoint() as endpoint:
        with pytest.raises(ConfigError, match="does not serve the model 'wise'; it serves small, large"):
            await run(build(endpoint, "wise"), toy_environment, toy_space, store, 5)
        endpoint.key = "another"
        with pytest.raises(EndpointError, match="the planner's model 'small' at .* answered 401"):
            await run(build(endpoint, "small"), toy_environment, toy_space, store, 5)
        assert [request["max_tokens"] for request in endpoint.requests] == [1, 1], "what no list settles"
    with pytest.raises(EndpointError, match="cannot reach .*, the endpoint of the planner's model 'small'"):
        await run(build(endpoint, "small"), toy_environment, toy_space, store, 5)
    assert client.requests == 0 and store.samples.count() == 0 and store.studies() == []


# By name.


@pytest.mark.parametrize("name", ["llm-zs", "agenthpo", "agenttts-paper"])
def test_a_method_that_needs_an_llm_says_what_to_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    for llm in (None, "none"):
        with pytest.raises(ConfigError, match=f"'{name}' asks an LLM: name one with --llm MODEL.*OPENAI_API_KEY"):
            searcher(name, llm=llm)
    with pytest.raises(ConfigError, match="'wise' needs a key"):
        searcher(name, llm="wise")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    made = searcher(name, seed=3)
    assert isinstance(made, LLMSearcher) and made.name == name and made.planner.name == "o3-mini"
    assert method(name).needs_llm


def test_an_llm_is_refused_by_a_method_that_asks_none() -> None:
    with pytest.raises(ConfigError, match="'random' asks no LLM, so there is nothing to ask 'wise': leave --llm out"):
        searcher("random", llm="wise")
    assert searcher("random", llm="none").name == "random"
