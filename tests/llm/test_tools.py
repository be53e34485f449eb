"""Tools and images: a sample is text and calls, votes compare calls, and what a message holds is sent as it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import agenttts as at
from agenttts.execution.pool import sample_key
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.samples import Completions
from agenttts.pipeline import Message, Model, Sampling
from agenttts.pipeline.tools import message_text
from tests.llm.providers import SHAPES, Provider, Said, completion, refusal

ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
OFFERED = Sampling(extra={"tools": [ADD]})
PROMPT: list[Message] = [{"role": "user", "content": "2 + 3?"}]
LOCAL = SHAPES["llama.cpp"]


def called(body: Mapping[str, Any], *calls: tuple[str, Any], content: str | None = None, **choice: Any) -> Said:
    """An answer whose n-th choice makes the n-th call; a call of None answers in text."""
    found = completion(body, usage=None)
    for place, each in enumerate(found.body["choices"]):
        name, arguments = calls[place % len(calls)]
        function = {"name": name, "arguments": arguments}
        made = [{"id": f"call_{place}", "type": "function", "function": function}]
        each |= {"finish_reason": "tool_calls", **choice}
        each["message"] = {"role": "assistant", "content": content, "tool_calls": made}
    return found


async def drawn(said: Said, sampling: Sampling = OFFERED) -> Completions:
    with Provider(replace(LOCAL, chat=lambda body: said)) as provider:
        client = OpenAIClient(timeout_s=5, max_retries=0)
        try:
            return await client.complete(
                Model("m", base_url=provider.url), PROMPT, sampling, start=0, samples=1, seed=1
            )
        finally:
            await client.close()


ASKED = {"messages": PROMPT}
STREAM = (
    "".join(
        f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'tool_calls': [part]}}]})}\n\n"
        for part in (
            {"index": 0, "id": "x", "function": {"name": "add", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"a"'}},
            {"index": 0, "function": {"arguments": ": 2}"}},
        )
    )
    + "data: [DONE]\n\n"
)


@pytest.mark.parametrize(
    ("said", "arguments", "text"),
    [
        (called(ASKED, ("add", '{"a": 2}')), {"a": 2}, ""),
        (called(ASKED, ("add", {"a": 2})), {"a": 2}, ""),  # as JSON, not as a text of it
        (called(ASKED, ("add", "")), {}, ""),
        (called(ASKED, ("add", '{"a": 2}'), content="<think>hm</think>Let me add."), {"a": 2}, "Let me add."),
        (called(ASKED, ("add", '{"a": 2'), finish_reason="stop"), '{"a": 2', ""),
        (completion(ASKED, content=None, function_call={"name": "add", "arguments": '{"a": 2}'}), {"a": 2}, ""),
        (Said(STREAM), {"a": 2}, ""),
    ],
)
async def test_a_sample_holds_its_calls_whatever_they_look_like(said: Said, arguments: Any, text: str) -> None:
    (sample,) = (await drawn(said)).samples
    kept = json.loads(sample.text)
    assert sample.ended == "called" and kept["content"] == text and sample.completion_tokens > 0
    assert [(call["name"], call["arguments"]) for call in kept["tool_calls"]] == [("add", arguments)]


async def test_calls_that_were_not_asked_for_or_are_cut_are_nothing_to_parse() -> None:
    (unasked,) = (await drawn(called(ASKED, ("add", '{"a": 2}')), Sampling())).samples
    (cut,) = (await drawn(called(ASKED, ("add", '{"a": '), finish_reason="length"))).samples
    assert (unasked.said, unasked.ended, cut.said, cut.ended) == ("", "empty", "", "cut")


def environment(provider: Provider, **stage: Any) -> at.LiveEnvironment:
    model = Model("m", 1e6, base_url=provider.url)
    subtask = at.Subtask("solve", [model], **stage)
    metric = at.metrics.equal("gold")
    pipeline = at.Pipeline("tools", (subtask,), metric)
    gold = [{"name": "add", "arguments": {"a": 2, "b": 3}}]
    return at.LiveEnvironment(pipeline, [{"id": "1", "question": "2 + 3?", "gold": gold}])


async def evaluated(searched: at.LiveEnvironment, samples: int) -> at.Evaluation:
    async with searched:
        return await searched.evaluate(at.Allocation({"solve": ("m", samples)}))


async def test_votes_compare_names_and_arguments_whatever_their_order_and_ids() -> None:
    calls = [("add", '{"a": 9}'), ("add", '{"a":2,"b":3}'), ("mul", "no JSON"), ("add", '{"b": 3, "a": 2}')]
    with Provider(replace(SHAPES["vllm"], chat=lambda body: called(body, *calls))) as provider:
        searched = environment(provider, prompt="{{ question }}", tools=[ADD], parser=at.parsers.number)
        evaluation = await evaluated(searched, 4)
        assert evaluation.score == 1 and evaluation.usage["solve"].unparsable == 1
        assert provider.requests[-1]["tools"] == [ADD]


async def test_a_stage_of_ones_own_goes_on_with_the_results_of_its_tools() -> None:
    def chat(body: dict[str, Any]) -> Said:
        last = body["messages"][-1]
        if last["role"] == "tool":
            return completion(body, content=f"It is {last['content']}.")
        return called(body, ("add", '{"a": 2, "b": 3}'))

    async def solve(stage: at.SubtaskRun) -> Any:
        messages: list[Message] = [{"role": "user", "content": stage.input.example["question"]}]
        (asked,) = await stage.sample(messages, 1)
        call = asked.calls[0]
        result = {"role": "tool", "tool_call_id": call.id, "content": str(sum(call.arguments.values()))}
        (answer,) = await stage.draw([*messages, asked.message, result], 1)
        return asked.value if answer == "It is 5." else answer

    with Provider(replace(LOCAL, chat=chat)) as provider:
        searched = environment(provider, run=solve, tools=[ADD])
        assert (await evaluated(searched, 1)).score == 1
        first = [dict(message) for message in provider.requests[-1]["messages"]]
        assert (await evaluated(searched, 1)).spend.requests == 0
    assert first[1]["tool_calls"][0]["id"] == first[2]["tool_call_id"] and len(first[2]["tool_call_id"]) == 9


PICTURE: list[Message] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "repeat five"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 30_000}},
        ],
    }
]


@pytest.mark.parametrize("told", [{"prompt_tokens": 1500, "completion_tokens": 1, "total_tokens": 1501}, None])
async def test_images_are_sent_and_their_tokens_counted_as_those_of_images(told: Any) -> None:
    with Provider(replace(LOCAL, chat=lambda body: completion(body, usage=told, content="five"))) as provider:
        searched = environment(provider, prompt=lambda given: PICTURE)
        evaluation = await evaluated(searched, 1)
        assert evaluation.failures == 0 and provider.requests[-1]["messages"] == PICTURE
    assert (1000 < evaluation.spend.prompt_tokens < 2000) and bool(evaluation.spend.estimated_tokens) == (told is None)
    assert message_text(PICTURE[0]) == "repeat five\n[image]"


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ({"prompt": lambda given: PICTURE}, "this model does not take image input"),
        ({"prompt": "{{ question }}", "tools": [ADD]}, "auto tool choice requires --enable-auto-tool-choice"),
    ],
)
async def test_a_server_without_them_is_quoted_and_nothing_is_left_out(stage: dict[str, Any], text: str) -> None:
    def chat(body: dict[str, Any]) -> Said:
        return completion(body) if body["messages"][-1]["content"] == "ready" else refusal(text)

    with Provider(replace(LOCAL, chat=chat)) as provider:
        searched = environment(provider, **stage)
        with pytest.raises(at.EndpointError, match=text):
            await evaluated(searched, 1)


def test_tools_are_part_of_the_identity_and_of_the_key_only_where_there_are_any() -> None:
    model = Model("m")
    plain, offering = (
        at.Pipeline("p", (at.Subtask("s", [model], "x", tools=tools),), at.metrics.equal("g")) for tools in ((), [ADD])
    )
    assert plain.fingerprint != offering.fingerprint
    assert plain.fingerprint == at.Pipeline("p", (at.Subtask("s", [model], "x"),), at.metrics.equal("g")).fingerprint
    keys = {sample_key("search", model, PROMPT, sampling) for sampling in (Sampling(), OFFERED)}
    assert len(keys) == 2
    with pytest.raises(at.ConfigError, match="subtask 's': tools must .* as the chat API takes them"):
        at.Subtask("s", [model], "x", tools=[{"name": "add"}])


def test_an_operator_that_writes_anew_does_not_go_with_tools() -> None:
    model = Model("m")
    for operator in (at.operators.Fuse(), at.operators.Revise(), at.operators.Refine(model), at.operators.Tree(model)):
        with pytest.raises(at.ConfigError, match="subtask 's' has tools, and operator .* writes its output anew"):
            at.Subtask("s", [model], "x", tools=[ADD], operators=[at.operators.Vote(), operator])
    with pytest.raises(at.ConfigError, match="writes its output anew"):
        at.Subtask("s", [model], "x", tools=[ADD], aggregator=at.aggregators.Fuse())


def test_the_same_call_has_the_same_id_and_another_turn_another() -> None:
    async def texts() -> list[str]:
        found = []
        for arguments in ('{"a": 2, "b": 3}', '{"b":3,"a":2}', '{"a": 1}'):
            found.append((await drawn(called(ASKED, ("add", arguments)))).samples[0].text)
        return found

    one, same, other = [json.loads(text)["tool_calls"][0]["id"] for text in asyncio.run(texts())]
    assert one == same != other
