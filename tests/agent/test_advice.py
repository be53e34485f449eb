"""When an adviser is asked, what it is told, and what becomes of that: from the first trial to the explanation."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from agenttts.agent import AgentSearcher, Insights, LLMPlanner
from agenttts.agent.evidence import Evidence
from agenttts.agent.memory import last_batch, occasion
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.environments.synthetic import FAMILIES, SyntheticEnvironment
from agenttts.errors import ConfigError
from agenttts.llm.chat import ChatModel
from agenttts.llm.token_counts import prompt_tokens_by_length
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.pipeline.operator import Operator
from agenttts.pipeline.operators import Revise, Vote
from agenttts.posterior.insights import Hypothesis
from agenttts.protocols import FailedExample, Outlook
from agenttts.report import read_findings, report_html, summary_lines
from agenttts.searching import Racing, search
from agenttts.searching.failures import failed_examples
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits, SearchResult
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import cost_model
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import RULES, AgentStep, Archive, Guideline, Trial
from agenttts.testing import ScriptedClient
from tests.agent.test_agent import candidate
from tests.baselines.test_searchers import SPACE, archive_of, designed
from tests.endpoint import FakeEndpoint, Fault

WHY = "Small models suffice, since many samples make up for size."


def scripted(messages: Sequence[dict[str, str]], seed: int) -> str:
    """The shortlist from the top, or why."""
    told = messages[-1]["content"]
    if "Reply with JSON" not in told:
        return WHY
    wanted = re.search(r"Propose (\d+)", told)
    picks = range(1, int(wanted[1]) + 1 if wanted else 1)
    return json.dumps({"notes": "small is fine " * 40, "candidates": [{"rationale": "so", "number": n} for n in picks]})


def prompts(endpoint: FakeEndpoint) -> list[str]:
    return [request["messages"][-1]["content"] for request in endpoint.requests]


def adviser(endpoint: FakeEndpoint) -> AgentSearcher:
    return AgentSearcher(LLMPlanner("small", base_url=endpoint.url))


async def begun(endpoint: FakeEndpoint, count: int = 20) -> tuple[list[str], list[Allocation], list[AgentStep]]:
    """Who chose each of the initial trials, the trials, and the steps."""
    steps: list[AgentStep] = []
    agent = adviser(endpoint)
    agent.journal = steps.append
    proposals = await agent.propose(Archive(), SPACE, count)
    return [each.searcher or each.rationale[:7] for each in proposals], [each.allocation for each in proposals], steps


async def test_it_chooses_half_of_the_initial_trials(endpoint: FakeEndpoint) -> None:
    own, bad = candidate(("s", 3), ("m", 3)), candidate(("l", 16), ("l", 16))
    endpoint.reply = lambda messages, seed: json.dumps({"notes": "n", "candidates": [bad, own, own]})
    design = designed(SPACE)
    who, found, steps = await begun(endpoint)
    assert len(endpoint.requests) == 1 and len(found) == len(design) == 5
    assert found[::2] == design[::2] and found[1::2] == [Allocation({"a": ("s", 3), "b": ("m", 3)}), design[1]]
    assert who == ["initial", "because", "initial", RULES, "initial"]  # one of its own was not feasible
    assert [step.node for step in steps] == ["recall", "reflect", "initial", "check"]
    told = prompts(endpoint)[0]
    assert "Propose 2 allocations" in told and "No trial has been made" in told
    # The next round goes on with them, and asks nobody.
    guideline = steps[1].guideline
    assert guideline is not None
    later = replace(archive_of(*found[:2]), guidelines=(guideline,))
    assert [each.allocation for each in await adviser(endpoint).propose(later, SPACE, 2)] == found[2:4]
    assert len(endpoint.requests) == 1


async def test_where_it_fails_at_the_start_the_rule_makes_all_of_them_and_says_so(endpoint: FakeEndpoint) -> None:
    endpoint.faults = [Fault(403, "out of credit")]
    who, found, steps = await begun(endpoint)
    assert set(found) == set(designed(SPACE)) and who == ["initial", RULES, "initial", RULES, "initial"]
    assert steps[1].text.startswith("no answer: ") and "out of credit" in steps[1].text


ARCHIVE = archive_of(*dict.fromkeys(SPACE.sample(Archive().rng(0), 12)))


def told_of(insight: int, log_odds: float) -> Evidence:
    """Evidence whose best is the newest trial."""
    hypothesis = Hypothesis(insight=insight, claim="claim", log_odds=log_odds)
    return Evidence(incumbent=ARCHIVE.trials[-1].allocation, score=0.5, sd=0.1, budget="", hypotheses=(hypothesis,))


def test_it_is_asked_when_the_trials_come_to_speak_against_an_insight() -> None:
    before = {**told_of(2, 0.0).as_dict(), "occasion": "", "candidates": [{"allocation": {}, "rationale": ""}]}
    archive = replace(ARCHIVE, guidelines=(Guideline(round=2, text="", evidence=before),))
    assert occasion(archive, told_of(2, 0.0)) == ""
    assert occasion(archive, told_of(2, -2.0)) == "the trials now speak against Insight 2"
    known = {**before, "hypotheses": told_of(2, -2.0).as_dict()["hypotheses"]}
    archive = replace(ARCHIVE, guidelines=(Guideline(round=2, text="", evidence=known),))
    assert occasion(archive, told_of(2, -2.0)) == ""


async def test_expected_and_observed_of_the_last_batch_are_traced() -> None:
    steps: list[AgentStep] = []
    agent = AgentSearcher()
    agent.journal = steps.append
    archive = archive_of(*designed(SPACE))
    first = await agent.propose(archive, SPACE, 1)
    guideline = next(step.guideline for step in steps if step.guideline)
    tried = replace(archive_of(*designed(SPACE), first[0].allocation), guidelines=(guideline,))
    ((trial, mean, sd),) = last_batch(tried)
    assert trial.allocation == first[0].allocation and f"expected {mean:.3f} ± {1.96 * sd:.3f}" in first[0].rationale
    steps.clear()
    await agent.propose(tried, SPACE, 1)
    assert f"trial {len(tried.trials)} ({trial.allocation}): expected {mean:.3f}" in steps[0].text
    assert f"observed {trial.evaluation.score:.3f} [" in steps[0].text


@pytest.mark.parametrize("off", [{}, {"saturation": False}, {"interaction": False}])
async def test_the_notes_are_asked_about_the_insights_that_are_on(off: dict[str, bool], endpoint: FakeEndpoint) -> None:
    endpoint.reply = scripted
    agent = AgentSearcher(LLMPlanner("small", base_url=endpoint.url), insights=Insights(**off))
    await agent.propose(archive_of(*designed(SPACE)), SPACE, 1)
    (told,) = prompts(endpoint)
    assert ("more stop helping" in told) == ("saturation" not in off)
    assert ("moves a later one's" in told) == ("interaction" not in off)


async def run(problem: SyntheticEnvironment, endpoint: FakeEndpoint, store: Store, trials: int) -> SearchResult:
    budget = problem.default_budget
    space = SearchSpace(problem.pipeline, cost_model(budget.cost_model), budget.amount)
    return await search(problem, adviser(endpoint), space, store, study_name="s", limits=Limits(trials=trials),
                        parallel=2, racing=Racing(look=20))  # fmt: skip


@pytest.mark.parametrize("operators", [(Vote(),), (Vote(), Revise())])
async def test_long_names_texts_and_replies_make_no_longer_prompt(
    operators: tuple[Operator, ...], endpoint: FakeEndpoint
) -> None:
    endpoint.reply = lambda messages, seed: "Let me think about it. " * 500
    names = ("retrieve_passages", "decompose_question", "answer_question", "verify_answer")[: 5 - len(operators)]
    sizes = {"llama-3.2-1b-instruct": 1e9, "qwen2.5-7b-instruct": 7e9, "llama-3.1-70b-instruct": 70e9}
    stages = tuple(
        Subtask(name, tuple(Model(*each) for each in sizes.items()), "words " * 100, operators=operators,
                metric=lambda output, example: 1.0, prompt_tokens=100, completion_tokens=100, max_samples=16)
        for name in names
    )  # fmt: skip
    pipeline = Pipeline("long", stages, metric=lambda output, example: 1.0)
    space = SearchSpace(pipeline, cost_model("flops"), 1e8)
    rng = np.random.default_rng(0)

    def results() -> tuple[ExampleResult, ...]:
        scores = rng.integers(0, 2, size=(20, 1 + len(names))).astype(float).tolist()
        return tuple(
            ExampleResult(example=str(number), score=score, subtask_scores=dict(zip(names, own, strict=True)))
            for number, (score, *own) in enumerate(scores)
        )

    trials = tuple(
        Trial(number=number, allocation=allocation, cost=space.cost(allocation), searcher="test", rationale="",
              evaluation=Evaluation(results=results()), round=number - 1, created=datetime.now(UTC))
        for number, allocation in enumerate(dict.fromkeys(space.sample(rng, 14)), start=1)
    )  # fmt: skip
    agent, archive = adviser(endpoint), Archive(trials=trials)
    agent.outlook = Outlook(trials=24, at_once=2, look=20, endpoints=[endpoint.url],
                            failures=lambda trial, most, secrets: [FAILURE] * 3)  # fmt: skip
    await agent.propose(Archive(), space, 2)
    await agent.propose(archive, space, 2)
    await agent.explain(archive, space, trials[0])
    began, planned, repaired, explained = prompts(endpoint)
    assert all(prompt_tokens_by_length(request["messages"]) <= 1500 for request in endpoint.requests)
    assert all("\n2. " in told for told in (began, planned, repaired))
    assert "Trials by posterior mean, " in planned and "Examples that the best trial fails" in planned
    assert "Your last reply:\nLet me think" in repaired and "What the trials say" in explained


@pytest.mark.slow
async def test_a_search_of_24_trials_takes_at_most_6000_tokens(endpoint: FakeEndpoint, store: Store) -> None:
    endpoint.reply = scripted
    problem = SyntheticEnvironment(FAMILIES["stage-metrics"], 0)
    result = await run(problem, endpoint, store, 24)
    asked = [prompt_tokens_by_length(request["messages"]) for request in endpoint.requests]
    assert 3 <= len(asked) <= 4 and max(asked) <= 1500
    replied = sum(len(step.reply) / 3 for step in store.steps(result.study))
    assert sum(asked) + replied <= 6000
    first, *_, last = prompts(endpoint)
    assert "The budget is 100 units" in first and "Trial 1 of 24 is next; 2 trials are made at a time." in first
    assert f"first sees 20 of {len(problem.examples)} examples" in first and "highest posterior mean" in first
    assert all("Shortlist, untried" in told for told in prompts(endpoint)[1:-1])
    assert any("Expected and observed in the last round" in told for told in prompts(endpoint))
    assert str(result.best.allocation) in last


async def test_the_end_is_explained_once_in_plain_words(
    endpoint: FakeEndpoint, toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    endpoint.reply = scripted

    async def run(store: Store, most: int | None = None) -> SearchResult:
        limits = Limits(trials=2, max_tokens=most)
        return await search(toy_environment, adviser(endpoint), toy_space, store, study_name="s", limits=limits)

    result = await run(store)
    assert result.explanation == WHY and f"Why, in the words of the planner: {WHY}" in summary_lines(result)
    (found,) = read_findings(store, ["s"])
    assert found.explanation is not None and found.explanation.text == WHY
    assert "In the words of small, an LLM: Small models" in report_html([found])
    endpoint.requests.clear()
    again = await run(store)
    assert again.explanation == WHY and endpoint.requests == [] and again.own == result.own
    explained = store.steps(result.study)[-1].spend.tokens
    limited = await run(Store(), result.spend.tokens - explained)
    assert limited.explanation == "" and "the planner was not asked to explain what is recommended" in limited.stopped


@pytest.mark.slow
async def test_a_search_in_pieces_is_the_same_and_pays_for_no_answer_twice(
    endpoint: FakeEndpoint, toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    endpoint.reply = scripted
    limits = Limits(trials=14)

    async def whole(store: Store) -> SearchResult:
        return await search(toy_environment, adviser(endpoint), toy_space, store, study_name="s", limits=limits,
                            validate=False)  # fmt: skip

    result = await whole(Store())
    asked = prompts(endpoint)
    endpoint.requests.clear()
    for _ in asked:  # each run is ended by the first answer that it pays for
        spent = store.spend(store.study("s")).tokens if store.studies() else 0
        try:
            cut = replace(limits, max_tokens=spent + 1)
            await search(toy_environment, adviser(endpoint), toy_space, store, study_name="s", limits=cut)
        except Exception as error:
            assert "--max-tokens" in str(error)
    pieces = await whole(store)
    assert prompts(endpoint) == asked and len(asked) >= 3
    assert [t.allocation for t in pieces.archive.trials] == [t.allocation for t in result.archive.trials]


FAILURE = FailedExample(
    given={"question": "who?", "gold": "yes"},
    outputs={"a": "no\nidea", "b": "x" * 500},
    score=0.0,
    stage_scores={"a": 0.0},
)


@pytest.mark.parametrize(
    ("stages", "share", "shown"),
    [("here", False, True), ("there", False, False), ("", False, False), ("there", True, True)],
)
async def test_failed_examples_are_shown_where_the_stages_are_asked_too_or_with_consent(
    stages: str, share: bool, shown: bool, endpoint: FakeEndpoint
) -> None:
    endpoint.reply = scripted
    asked = {"here": [endpoint.url], "there": [endpoint.url, "https://api.example.com/v1"], "": []}[stages]
    agent = AgentSearcher(LLMPlanner("small", base_url=endpoint.url, share_examples=share))
    agent.outlook = Outlook(
        trials=9, at_once=1, look=None, endpoints=asked, failures=lambda trial, most, secrets: [FAILURE]
    )
    await agent.propose(archive_of(*designed(SPACE)), SPACE, 1)
    (told,) = prompts(endpoint)
    line = f"\n- 0.00 | question: who?; gold: yes | a (0.00): no idea | b: {'x' * 60} ...\n"
    assert (line in told) == ("Examples that the best trial fails" in told) == shown


async def test_a_failed_example_has_what_its_stages_said_and_no_key(
    toy_pipeline: Pipeline, toy_space: SearchSpace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGE_KEY", "sk-of-the-stages")
    rows = [{"id": f"e{i}", "question": f"{i}?", "gold": "yes"} for i in range(4)]
    client = ScriptedClient(lambda model, messages, position: "no, sk-of-the-stages, sk-of-the-planner")
    searched = LiveEnvironment(toy_pipeline, rows, client=client)
    made, limits = searcher("random"), Limits(trials=1)
    result = await search(searched, made, toy_space, store, study_name="s", limits=limits, validate=False)
    models = [Model("small", 1e6, base_url="http://localhost:1/v1", api_key_env="STAGE_KEY")]
    monkeypatch.setenv("PLANNER_KEY", "sk-of-the-planner")
    planner = ChatModel("wise", base_url="http://localhost:1/v1", api_key_env="PLANNER_KEY")
    found = failed_examples(store, result.study, models, result.best, 2, planner.secrets)
    assert len(found) == 2 and all(each.score == 0 for each in found)
    assert found[0].outputs == dict.fromkeys(("find", "answer"), "no, ***, ***") and found[0].given["gold"] == "yes"
    assert made.outlook is not None and [each.given for each in made.outlook.failures(result.best, 9, ())] != []


def test_sharing_examples_needs_an_llm_to_share_them_with(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="examples are to be shown to the planner, but it asks no LLM: give --llm"):
        searcher("agent", llm="none", share_examples=True)
    with pytest.raises(ConfigError, match="only the LLM of the method 'agent' is shown examples, not that of 'tpe'"):
        searcher("tpe", share_examples=True)
