"""Any program that was searched is served as any other pipeline."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import httpx
import pytest
from langgraph.graph import END, START, StateGraph

import agenttts as at
from agenttts._util.web import WebServer
from agenttts.adapters.langgraph import step_model
from agenttts.adapters.openai import OpenAI
from agenttts.deployment.answering import DeployedPipeline
from agenttts.deployment.application import application
from agenttts.pipeline import Example, StepRun
from tests.endpoint import FakeEndpoint

PROGRAM = """
import json, os, sys, urllib.request
question = json.load(sys.stdin)["question"]
body = {"model": "any", "messages": [{"role": "user", "content": question}]}
address = os.environ["AGENTTTS_STEP_answer"] + "/chat/completions"
request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
print(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
"""


def by_command() -> dict[str, Any]:
    return {"command": [sys.executable, "-c", PROGRAM]}


def by_openai() -> dict[str, Any]:
    client = OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")

    def ask(question: str) -> str:
        messages: Any = [{"role": "user", "content": question}]
        said = client.step("answer").chat.completions.create(model="any", messages=messages)
        return str(said.choices[0].message.content)

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        return await asyncio.to_thread(ask, example["question"])

    return {"run": run}


def by_langgraph() -> dict[str, Any]:
    class State(TypedDict, total=False):
        question: str
        answer: str

    def answer(state: Any) -> Any:
        return {"answer": str(step_model("answer").invoke(state["question"]).content)}

    graph: Any = StateGraph(State)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    compiled = graph.compile()

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await compiled.ainvoke({"question": example["question"]}))["answer"])

    return {"run": run}


def by_dspy() -> dict[str, Any]:
    dspy = pytest.importorskip("dspy", reason="DSPy is not installed: pip install 'agenttts[dspy]'")
    from agenttts.adapters.dspy import step_model as dspy_model

    program = dspy.Predict("question -> answer")
    program.set_lm(dspy_model("answer"))

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await program.acall(question=example["question"])).answer)

    return {"run": run}


@pytest.mark.parametrize("kind", [by_command, by_openai, by_langgraph, by_dspy])
def test_a_program_is_served(kind: Callable[[], dict[str, Any]], endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda messages, seed: "[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]" if seed else "no"
    models = [at.Model(name, size, base_url=endpoint.url) for name, size in (("small", 1e6), ("large", 8e6))]
    stage = at.Subtask("answer", models, prompt_tokens=10, completion_tokens=5, max_samples=4)
    pipeline = at.Pipeline("app", [stage], at.metrics.equal("gold"), **kind())
    space = at.SearchSpace(pipeline, at.cost_model("flops"), 600)
    deployed = DeployedPipeline(at.Allocation({"answer": ("small", 3)}), space)
    with WebServer(application(deployed), within=deployed) as server:
        body = {"model": "app", "messages": [{"role": "user", "content": "Is 7 odd?"}]}
        answer = httpx.post(f"{server.url}/chat/completions", json=body, timeout=10).json()
    assert "yes" in answer["choices"][0]["message"]["content"], answer
    assert answer["agenttts"]["stages"]["answer"]["samples"] == 3
    assert endpoint.requests[0]["n"] == 3 and endpoint.requests[0]["model"] == "small"
