"""A planner that answers badly, late or not at all: what was wrong is said, what it took is charged, rules carry on."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agenttts.agent import AgentSearcher, LLMPlanner
from agenttts.baselines import ZeroShotSearcher
from agenttts.cli.live import status_line
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.llm.chat import ChatModel, Unanswered
from agenttts.pipeline import Model, Pipeline, Subtask, SubtaskInput, metrics
from agenttts.proposals.dialogue import ask_for_allocations
from agenttts.proposals.meaning import meaning
from agenttts.report import study_row, summary_lines
from agenttts.searching import search
from agenttts.searching.progress import Limits, Progress
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import RULES, AgentStep, Archive, Guideline, Proposal
from agenttts.testing import ScriptedClient
from tests.agent.test_agent import candidate
from tests.baselines.test_searchers import SPACE, archive_of, designed
from tests.conftest import toy_reply
from tests.endpoint import FakeEndpoint, Fault
from tests.faults.server import RawServer

GOOD = candidate(("m", 3), ("s", 2))
THIS = Allocation({"a": ("m", 3), "b": ("s", 2)})
BEGUN = archive_of(*designed(SPACE))


async def proposed(
    endpoint: FakeEndpoint, replies: Sequence[str], archive: Archive = BEGUN, count: int = 1
) -> tuple[list[Proposal], list[AgentStep]]:
    """What the agent proposes when its model answers these, and its steps."""
    left, steps = list(replies), list[AgentStep]()
    endpoint.reply = lambda messages, seed: left.pop(0)
    agent = AgentSearcher(LLMPlanner("small", base_url=endpoint.url))
    agent.journal = steps.append
    return await agent.propose(archive, SPACE, count), steps


def prompts(endpoint: FakeEndpoint) -> list[str]:
    return [request["messages"][-1]["content"] for request in endpoint.requests]


async def test_a_repair_shows_the_reply_its_fault_and_what_was_accepted(endpoint: FakeEndpoint) -> None:
    half = json.dumps({"candidates": [GOOD, {"allocation": {"a": {"model": "l", "samples": "lots"}}}]})
    whole = json.dumps({"candidates": [candidate(("s", 3), ("s", 2))]})
    found, _ = await proposed(endpoint, [half, whole], count=2)
    assert [each.allocation for each in found] == [THIS, Allocation({"a": ("s", 3), "b": ("s", 2)})]
    first, second = prompts(endpoint)
    assert first != second and half in second and "candidates.1.allocation.a.samples: " in second
    assert f"These were accepted; do not propose them again:\n- {THIS}" in second


def said(message: dict[str, Any], reason: str = "stop") -> Fault:
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", **message}}
    return Fault(200, json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}))


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (said({"content": ""}), "it is empty"),
        (said({"content": None, "refusal": "I will not."}), "the model refused: I will not."),
        (said({"content": "Never."}, "content_filter"), "the model refused: Never."),
        (said({"content": "", "reasoning_content": "Hm."}), "it holds reasoning alone, and no answer"),
        (said({"content": "<think>Hm.</think>"}), "it holds reasoning alone, and no answer"),
        (said({"content": "<think>Hm."}, "length"), "it was cut at the token limit while reasoning"),
        (said({"content": ""}, "length"), "it was cut at the token limit before it said anything"),
        (said({"content": "Let me see"}, "length"), "it was cut at the token limit"),
    ],
)
async def test_what_is_no_answer_is_said_as_such_and_charged(endpoint: FakeEndpoint, answer: Fault, fault: str) -> None:
    endpoint.faults = [answer]
    reply = await ask_for_allocations(ChatModel("small", base_url=endpoint.url), "propose", SPACE)
    assert reply.text == f"unreadable reply: {fault}" and reply.answer.spend.tokens == 14


async def test_what_was_answered_in_this_very_round_is_not_paid_for_again(endpoint: FakeEndpoint) -> None:
    whole = json.dumps({"notes": "as before", "candidates": [candidate(("s", 3), ("s", 2))]})
    half = json.dumps({"candidates": [GOOD, "lots of everything"]})
    found, steps = await proposed(endpoint, [half, whole], count=2)
    said, asked = [step.guideline for step in steps if step.guideline], prompts(endpoint)
    assert len(said) == len(asked) == 2 and sum(step.spend.requests for step in steps) == 2
    for kept in (1, 2):  # killed, and begun again from what the store has of the round
        endpoint.requests.clear()
        archive = replace(BEGUN, guidelines=tuple(said[:kept]))
        again, further = await proposed(endpoint, [whole][kept - 1 :], archive, count=2)
        assert again == found and prompts(endpoint) == asked[kept:]
        assert sum(step.spend.requests for step in further) == 2 - kept


async def test_where_the_planner_fails_rules_carry_on_at_once(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    for faults in ([Fault(403, "out of credit, sk-very-secret")], [None, Fault(403, "out of credit")]):
        endpoint.requests.clear()
        asked, endpoint.faults = len(faults), list[Fault | None](faults)
        (found,), steps = await proposed(endpoint, ["no idea"])
        assert found.searcher == RULES and "as the planner gave no answer" in found.rationale
        assert len(endpoint.requests) == asked and steps[-2].node == "fill"
    assert "answered 403: out of credit" in caplog.text and "sk-very-secret" not in caplog.text
    assert "rules carry on, as the planner gave no answer" in caplog.text
    await proposed(endpoint, ["no idea"] * 2)
    assert "rules carry on, as the planner's own were rejected or unreadable" in caplog.text


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("Small models\nsuffice.", "Small models\nsuffice."),
        ("<think>{}</think>So {it} is.", "So {it} is."),
        ('```json\n{"why": {"short": "small", "explanation": "Small models suffice."}}\n```', "Small models suffice."),
        ('{"notes": null, "candidates": [{"allocation": {"a": "m x3", "b": "s x2"}}]}', ""),
    ],
)
async def test_an_explanation_is_the_words_of_a_reply(reply: str, words: str, endpoint: FakeEndpoint) -> None:
    endpoint.reply, steps = lambda messages, seed: reply, list[AgentStep]()
    agent = AgentSearcher(LLMPlanner("small", base_url=endpoint.url))
    agent.journal = steps.append
    await agent.explain(BEGUN, SPACE, BEGUN.trials[0])
    assert [(step.node, step.text) for step in steps] == [("explain" if words else "explain, in vain", words)]


def after(trials: int, said: Sequence[str] = ()) -> Archive:
    """So many trials after the initial ones, by rule; before them the planner was asked, and gave these candidates."""
    more = (THIS, *SPACE.neighbours(THIS))[:trials]
    evidence = {"occasion": "asked", "candidates": [json.loads(each) for each in said]}
    guideline = Guideline(round=BEGUN.round, text="prefer m", evidence=evidence)
    return replace(archive_of(*designed(SPACE), *more), guidelines=(guideline,))


async def test_after_an_answer_without_use_rules_carry_on_and_the_planner_is_asked_again_later(
    endpoint: FakeEndpoint,
) -> None:
    asked = {}
    for trials in (1, 3, 4, 5):
        endpoint.requests.clear()
        found, steps = await proposed(endpoint, ["no idea"] * 2, after(trials))
        asked[trials] = bool(endpoint.requests)
        assert found[0].searcher == (RULES if asked[trials] else "")
        assert [step.planner for step in steps if step.node == "propose"] == ["small" if asked[trials] else RULES]
    assert [trials for trials, was in asked.items() if was] == [4, 5]


async def test_after_a_useful_answer_it_is_asked_when_the_posterior_stalls(endpoint: FakeEndpoint) -> None:
    useful = json.dumps({"allocation": THIS.as_dict(), "rationale": "so"})
    whole = json.dumps({"candidates": [candidate(("s", 3), ("l", 2))]})
    asked = {}
    for trials in (1, 7, 8):
        endpoint.requests.clear()
        await proposed(endpoint, [whole] * 2, after(trials, [useful]))
        asked[trials] = prompts(endpoint)
    assert [trials for trials, told in asked.items() if told] == [8]
    (told,) = asked[8]
    assert re.search(r"You are asked because the posterior has stalled: the best is the same for \d+ trials\.", told)
    assert f"Your last notes, after {len(BEGUN.trials)} trials: prefer m" in told


async def test_a_server_that_breaks_down_over_the_schema_loses_the_schema(endpoint: FakeEndpoint) -> None:
    endpoint.faults = [Fault(500, "internal error")]
    found, _ = await proposed(endpoint, [json.dumps({"candidates": [GOOD]})])
    assert [each.allocation for each in found] == [THIS]
    assert ["response_format" in request for request in endpoint.requests] == [True, False]
    model = ChatModel("small", base_url=endpoint.url)
    endpoint.faults, endpoint.reply = [Fault(500, "internal error")], lambda messages, seed: "yes"
    await model.ask("q", system="s", schema={"type": "object"})
    endpoint.requests.clear()
    await model.ask("q", system="s", schema={"type": "object"})
    assert ["response_format" in request for request in endpoint.requests] == [False]


async def test_what_was_generated_before_the_time_was_up_is_charged_and_asked_once_more() -> None:
    event = json.dumps({"choices": [{"index": 0, "delta": {"content": "many words are said here "}}]})
    connections: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + f"data: {event}\n\n".encode() * 4)
        await writer.drain()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        model = ChatModel("small", base_url=url, timeout_s=0.4)
        with pytest.raises(Unanswered, match="did not answer within 0.4 s; more time is had with --llm-timeout") as why:
            await model.ask("q", system="s")
        for writer in connections:
            writer.close()
            await writer.wait_closed()
    assert len(connections) == 2 and why.value.spend.requests == 2
    assert why.value.spend.completion_tokens >= 2 * 16 and why.value.spend.tokens == why.value.spend.estimated_tokens


async def test_a_planner_that_is_waited_for_is_told_of_again_and_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in (("TOLD_AFTER_S", 0.1), ("_TOLD_AGAIN_S", 0.2), ("_TICK_S", 0.05)):
        monkeypatch.setattr(f"agenttts.llm.pulse.{name}", seconds)
    with RawServer(lambda asked, number: b"DRIP") as server:  # thinks aloud, and comes to no end
        with pytest.raises(Unanswered, match="did not answer within 0.5 s"):
            await ChatModel("small", base_url=server.url, timeout_s=0.5).ask("q", system="s")
    told = [record.message for record in caplog.records if "no answer for" in record.message]
    assert len(told) >= 2 and all(each.startswith("waiting for the planner's model 'small' at") for each in told)


async def test_a_planners_tokens_are_never_called_replayed(
    endpoint: FakeEndpoint, toy_pipeline: Pipeline, toy_space: SearchSpace, store: Store
) -> None:
    endpoint.reply = lambda messages, seed: "no idea"
    rows = [{"id": str(n), "question": f"{n}?", "gold": "yes"} for n in range(5)]
    client, label = ScriptedClient(toy_reply), "recorded samples; no model runs"
    found, told = LiveEnvironment(toy_pipeline, rows, client=client, recorded=label), list[Progress]()
    made = ZeroShotSearcher(ChatModel("small", base_url=endpoint.url))
    limits = Limits(trials=2)
    result = await search(found, made, toy_space, store, study_name="s", limits=limits, on_progress=told.append)
    own, replayed = result.own.tokens, f"{result.spend.tokens - result.own.tokens:,} tokens"
    assert own > 100 and told[-1].own == result.own
    assert f"{replayed} replayed, 10 reused, {own:,} by the planner" in status_line(told[-1])
    assert any(f"but the {own:,} tokens of the method's own LLM): {replayed}" in line for line in summary_lines(result))
    row = study_row(store, result.study)
    assert row["tokens_bought"] - row["tokens_of_method"] == result.spend.tokens - own


async def test_a_reply_is_streamed_where_the_server_can_and_whole_where_it_cannot(endpoint: FakeEndpoint) -> None:
    parts: list[dict[str, object]] = [
        {"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("four ", "samples")
    ]
    parts += [{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}]
    events = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
    model = ChatModel("small", base_url=endpoint.url)
    endpoint.faults = [Fault(200, events), Fault(400, "unknown field: stream_options"), None]
    streamed, whole = await model.ask("q", system="s"), await model.ask("q", system="s")
    assert streamed.text == "four samples" and streamed.spend.tokens == 9 and streamed.spend.estimated_tokens == 0
    assert whole.text == "text0"
    assert ["stream_options" in request for request in endpoint.requests] == [True, True, False]
    assert all(request["stream"] for request in endpoint.requests)


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="time-out must be a time, more than 0 s, not 0"):
        ChatModel("small", base_url="http://localhost:1/v1", timeout_s=0)


async def test_a_limit_counts_every_question_of_the_planner(
    endpoint: FakeEndpoint, toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    endpoint.reply = lambda messages, seed: "no idea"

    async def run(most: int | None, trials: int) -> Any:
        planner = LLMPlanner("small", base_url=endpoint.url)
        limits = Limits(trials=trials, max_tokens=most)
        return await search(toy_environment, AgentSearcher(planner), toy_space, store, study_name="s", limits=limits,
                            validate=False)  # fmt: skip

    first = len(designed(toy_space))
    begun = await run(None, first)
    assert len(endpoint.requests) == 2 and begun.own.tokens > 2  # at the start, and for the explanation
    ended = await run(begun.spend.tokens + 1, first + 4)
    assert len(endpoint.requests) <= 3 and "(--max-tokens)" in ended.stopped
    bought = sum(trial.evaluation.spend.tokens for trial in ended.archive.trials)
    assert ended.spend.tokens == bought + ended.own.tokens


def test_the_planner_is_told_what_the_stages_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_KEY", "sk-of-a-tool")

    def prompt(given: SubtaskInput) -> str:
        """Answers from the passages that were kept."""
        return ""

    models = [Model("m", 1e6, base_url="http://localhost:1/v1", api_key_env="TOOL_KEY")]
    find = Subtask("find", models, "Which of the\n{{ passages }} are by sk-of-a-tool?" + " are needed?" * 30)
    answer, bare = Subtask("answer", models, prompt), Subtask("bare", models, lambda given: "")
    told = meaning(Pipeline("qa", [find, answer, bare], metrics.exact_match("gold")))
    assert (
        "- find: Which of the {{ passages }} are by ***?" in told
        and "- answer: prompt: Answers from the passages" in told
    )
    assert all(len(line) < 200 for line in told.splitlines())
    assert told.endswith("scored by: metrics.exact_match(field='gold')")
