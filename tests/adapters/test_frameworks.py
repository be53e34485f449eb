"""Frameworks that are searched by their own `client=` or `base_url=`: one program of each, as its users write it.

The extra `integrations` has them, but for LlamaIndex, which needs version 2 of the official client:
`pip install llama-index-llms-openai 'openai[aiohttp]<3'` in an environment of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.adapters.openai import AsyncOpenAI, OpenAI
from agenttts.pipeline import Example, StepRun
from tests.llm.providers import SHAPES, Provider, Said, completion

pytestmark = pytest.mark.slow
AWAY = {"api_key": "none", "base_url": "http://127.0.0.1:9/v1"}  # nothing listens there
INSPECT = """
import json, sys
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.solver import generate

question = json.load(sys.stdin)["question"]
task = Task(dataset=[Sample(question)], solver=generate())
model = get_model("openai/step:solve", responses_api=False)
(log,) = eval(task, model=model, display="none", log_dir=sys.argv[1])
print(log.samples[0].output.completion)
"""


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


def chat(body: dict[str, Any]) -> Said:
    """Calls `add` where it can, rightly in two of three choices, and answers with its result."""
    found, last = completion(body), body["messages"][-1]
    tools = [tool["function"]["name"] for tool in body.get("tools", [])]
    for place, choice in enumerate(found.body["choices"]):
        if "add" not in tools:
            choice["message"] = {"role": "assistant", "content": "It is 4." if place == 0 else "It is 5."}
            continue
        done = last["role"] == "tool" or "Observation" in json.dumps(last)
        arguments = ['{"a": 1, "b": 1}', '{"a": 2, "b": 3}', '{"b":3,"a":2}'][place]
        if done and "final_answer" not in tools:
            choice["message"] = {"role": "assistant", "content": "It is 5."}
            continue
        made = ("final_answer", '{"answer": "It is 5."}') if done else ("add", arguments)
        function = dict(zip(("name", "arguments"), made, strict=True))
        call = {"id": "x", "type": "function", "function": function}
        choice["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
    return found


async def require_searched(turns: int, **program: Any) -> None:
    """It is answered rightly by the vote of three, in so many turns."""
    with Provider(replace(SHAPES["vllm"], chat=chat)) as provider:
        model = at.Model("Qwen/Qwen3-8B", 8e9, base_url=provider.url)
        pipeline = at.Pipeline("agent", [at.Subtask("solve", [model])], at.metrics.equal("gold"), **program)
        rows = [{"id": "1", "question": "2 + 3?", "gold": "It is 5."}]
        async with at.LiveEnvironment(pipeline, rows) as environment:
            evaluation = await environment.evaluate(at.Allocation({"solve": (model.name, 3)}))
    assert (evaluation.score, evaluation.failures) == (1, 0), evaluation.errors
    assert evaluation.spend.requests == turns and evaluation.usage["solve"].samples == 3 * turns


async def test_pydantic_ai() -> None:
    pytest.importorskip("pydantic_ai", reason="pip install 'agenttts[integrations]'")
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = AsyncOpenAI(**AWAY)
    agent = Agent(OpenAIChatModel("step:solve", provider=OpenAIProvider(openai_client=client)), tools=[add])

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await agent.run(example["question"])).output)

    await require_searched(2, run=run)


async def test_smolagents() -> None:
    pytest.importorskip("smolagents", reason="pip install 'agenttts[integrations]'")
    from smolagents import OpenAIModel, ToolCallingAgent, tool

    model = OpenAIModel("step:solve", client=OpenAI(**AWAY))

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        agent = ToolCallingAgent(tools=[tool(add)], model=model, verbosity_level=0)
        return str(await asyncio.to_thread(agent.run, example["question"]))

    await require_searched(2, run=run)


@pytest.mark.parametrize("blocking", [False, True])
async def test_llama_index(blocking: bool) -> None:
    pytest.importorskip("llama_index.llms.openai", reason="pip install llama-index-llms-openai 'openai[aiohttp]<3'")
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai import OpenAI as Model

    one, other = OpenAI(**AWAY).step("solve"), AsyncOpenAI(**AWAY).step("solve")
    model = Model(model="gpt-4o", openai_client=one, async_openai_client=other)

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        asked = [ChatMessage(role="user", content=example["question"])]
        said = await (asyncio.to_thread(model.chat, asked) if blocking else model.achat(asked))
        return str(said.message.content)

    await require_searched(1, run=run)


async def test_inspect(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai", reason="pip install 'agenttts[integrations]'")
    program = tmp_path / "solve.py"
    program.write_text(INSPECT)
    await require_searched(1, command=[sys.executable, str(program), str(tmp_path / "logs")])
