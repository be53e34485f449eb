"""Agents that call tools, of LangGraph and DSPy, are searched as they are: each of their turns is a draw of a step."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.prebuilt import create_react_agent

import agenttts as at
from agenttts.adapters.langgraph import step_model
from agenttts.errors import ConfigError
from agenttts.pipeline import Example, Message, StepRun
from agenttts.pipeline.handles import Program
from tests.llm.providers import SHAPES, Provider, Said, completion


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is deprecated in favour of another package's
    agent = create_react_agent(step_model("solve"), [add])


async def by_langgraph(example: Example, steps: Mapping[str, StepRun]) -> str:
    found = await agent.ainvoke({"messages": [("user", example["question"])]})
    return str(found["messages"][-1].content)


def chat(body: dict[str, Any]) -> Said:
    """Calls `add`, rightly in two of three choices, and answers with its result."""
    found, last = completion(body), body["messages"][-1]
    for place, choice in enumerate(found.body["choices"]):
        if last["role"] == "tool":
            choice["message"] = {"role": "assistant", "content": f"It is {last['content']}."}
            continue
        arguments = ['{"a": 1, "b": 1}', '{"a": 2, "b": 3}', '{"b":3,"a":2}'][place]
        function = {"name": "add", "arguments": arguments}
        choice["message"] = {"role": "assistant", "content": None, "tool_calls": [{"id": "x", "function": function}]}
    return found


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(replace(SHAPES["vllm"], chat=chat)) as server:
        yield server


async def evaluated(provider: Provider, run: Program, **stage: Any) -> at.Evaluation:
    model = at.Model("Qwen/Qwen3-8B", 8e9, base_url=provider.url)
    pipeline = at.Pipeline("agent", [at.Subtask("solve", [model], **stage)], at.metrics.equal("gold"), run=run)
    environment = at.LiveEnvironment(pipeline, [{"id": "1", "question": "2 + 3?", "gold": "It is 5."}])
    async with environment:
        return await environment.evaluate(at.Allocation({"solve": (model.name, 3)}))


async def test_an_agent_of_langgraph_runs_as_a_step_and_each_turn_is_a_draw(provider: Provider) -> None:
    evaluation = await evaluated(provider, by_langgraph)
    assert evaluation.score == 1 and evaluation.spend.requests == 2 and evaluation.usage["solve"].samples == 6
    first, second = provider.requests[-2:]
    assert [tool["function"]["name"] for tool in first["tools"]] == ["add"] and first["n"] == second["n"] == 3
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]
    assert json.loads(second["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"a": 2, "b": 3}


async def test_what_is_bound_to_a_model_of_langchain_goes_with_its_requests(provider: Provider) -> None:
    asked: list[Any] = [
        step_model("solve").bind_tools([add], tool_choice="any", parallel_tool_calls=False),
        step_model("solve").bind_tools([add], tool_choice="add").bind(stop=["."]),
        step_model("solve").with_structured_output(
            {"title": "add", "description": "Adds.", "type": "object", "properties": {"a": {"type": "integer"}}}
        ),
    ]
    replies: list[Any] = []

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        replies.extend([await model.ainvoke("2 + 3?") for model in asked])
        return "It is 5."

    assert (await evaluated(provider, run)).score == 1
    choices = [body["tool_choice"] for body in provider.requests]
    assert choices == ["required", {"type": "function", "function": {"name": "add"}}, "required"]
    assert provider.requests[0]["parallel_tool_calls"] is False and provider.requests[1]["stop"] == ["."]
    assert replies[0].tool_calls[0]["args"] == replies[2] == {"a": 2, "b": 3}


async def test_images_are_sent_and_what_cannot_be_is_one_sentence(provider: Provider) -> None:
    picture = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}

    async def seen(example: Example, steps: Mapping[str, StepRun]) -> str:
        await step_model("solve").bind_tools([add]).ainvoke([HumanMessage([{"type": "text", "text": "See."}, picture])])
        return "It is 5."

    assert (await evaluated(provider, seen)).score == 1
    sent = provider.requests[-1]["messages"][0]["content"]
    assert sent[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

    async def heard(example: Example, steps: Mapping[str, StepRun]) -> str:
        sound = {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}
        return str((await step_model("solve").ainvoke([HumanMessage([sound])])).content)

    async def warmed(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await step_model("solve").bind(temperature=0.2).ainvoke("2 + 3?")).content)

    with pytest.raises(ConfigError, match="holds 'input_audio', which a step cannot send: it sends text, images and"):
        await evaluated(provider, heard)
    with pytest.raises(ConfigError, match="step 'solve': declare temperature in the subtask's Sampling"):
        await evaluated(provider, warmed)


async def test_tools_do_not_go_with_an_operator_that_writes_anew(provider: Provider) -> None:
    with pytest.raises(ConfigError, match="subtask 'solve' offers tools, and operator 'fuse' writes its output anew"):
        await evaluated(provider, by_langgraph, operators=[at.operators.Fuse()])


async def test_a_plain_function_takes_turns_with_the_tools_of_its_stage(provider: Provider) -> None:
    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        messages: list[Message] = [{"role": "user", "content": example["question"]}]
        while (turn := await steps["solve"].turn(messages)).calls:
            results = [
                {"role": "tool", "tool_call_id": call.id, "content": str(add(**call.arguments))} for call in turn.calls
            ]
            messages += [turn.message, *results]
        return turn.text

    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    assert (await evaluated(provider, run, tools=[tool])).score == 1
