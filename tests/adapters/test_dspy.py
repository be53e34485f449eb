"""A program written in DSPy is searched as it is, but for the objects of its models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

import agenttts as at
from agenttts.errors import ConfigError
from agenttts.pipeline import Example, Model, Pipeline, StepRun, Subtask
from tests.adapters.conftest import CHOSEN, Models, environment, require_metered
from tests.llm.providers import SHAPES, Provider, Said, completion

dspy = pytest.importorskip("dspy", reason="DSPy is not installed: pip install 'agenttts[dspy]'")
Module: Any = dspy.Module
MARKER = "[[ ## answer ## ]]\n"
REPLY = MARKER + "{text}\n[[ ## completed ## ]]"


@pytest.fixture
def models() -> Models:
    return Models(REPLY)


def users_program(finder: Any, answerer: Any) -> Any:
    """As a user has it: it knows nothing of agenttts."""

    class Program(Module):  # type: ignore[misc]  # DSPy has no types
        def __init__(self) -> None:
            super().__init__()
            self.find, self.answer = dspy.Predict("question -> answer"), dspy.Predict("context -> answer")
            self.find.set_lm(finder)
            self.answer.set_lm(answerer)

        def forward(self, question: str) -> Any:
            fact = self.find(question=f"question {question}").answer
            return self.answer(context=fact)

        async def aforward(self, question: str) -> Any:
            fact = (await self.find.acall(question=f"question {question}")).answer
            return await self.answer.acall(context=fact)

    return Program()


def make_program() -> Any:
    from agenttts.adapters.dspy import step_model

    return users_program(step_model("find"), step_model("answer"))


async def test_models_and_samples_come_from_the_allocation(models: Models) -> None:
    program = make_program()

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await program.acall(question=example["question"])).answer)

    found = environment(run, models, MARKER)
    require_metered(await found.evaluate(CHOSEN), await found.evaluate(CHOSEN), models)


async def test_a_blocking_program_runs_in_threads(models: Models) -> None:
    program = dspy.asyncify(make_program())

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await program(question=example["question"])).answer)

    found = environment(run, models, MARKER)
    require_metered(await found.evaluate(CHOSEN), await found.evaluate(CHOSEN), models)


async def test_a_step_is_asked_only_while_its_pipeline_runs() -> None:
    with pytest.raises(Exception, match="can be asked only while its pipeline") as caught:
        await make_program().acall(question="q")
    causes = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert any(isinstance(cause, ConfigError) for cause in causes)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def as_text(body: dict[str, Any], place: int) -> dict[str, Any]:
    """What a model says to DSPy's ReAct: it adds, rightly in two of three choices, finishes, and answers."""
    if not body["messages"][0]["content"].count("You are an Agent"):
        return {"content": f"[[ ## reasoning ## ]]\nr{place}\n\n{MARKER}5\n\n[[ ## completed ## ]]"}
    done = "observation_0" in body["messages"][-1]["content"]
    arguments = {} if done else {"b": 3, "a": 2} if place == 2 else {"a": 2, "b": 2 + bool(place)}
    tool = "finish" if done else "add"
    told = {"next_thought": f"t{place}", "next_tool_name": tool, "next_tool_args": json.dumps(arguments)}
    return {"content": "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in told.items())}


def as_calls(body: dict[str, Any], place: int) -> dict[str, Any]:
    """What it says to ReActV2, which offers tools as such."""
    done = any(message["role"] == "tool" for message in body["messages"])
    arguments = '{"answer": "5"}' if done else ['{"a":2,"b":2}', '{"a":2,"b":3}', '{"b":3,"a":2}'][place]
    function = {"name": "submit" if done else "add", "arguments": arguments}
    return {"content": None, "tool_calls": [{"id": "x", "type": "function", "function": function}]}


@pytest.mark.parametrize(("kind", "said", "turns"), [("ReAct", as_text, 3), ("ReActV2", as_calls, 2)])
async def test_an_agent_runs_as_a_step_and_each_turn_is_a_draw(
    kind: str, said: Callable[[dict[str, Any], int], dict[str, Any]], turns: int
) -> None:
    from agenttts.adapters.dspy import react, step_model

    agent = getattr(dspy, kind)("question -> answer", tools=[add])
    agent.set_lm(step_model("solve"))

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        with dspy.context(adapter=dspy.ChatAdapter(use_native_function_calling=True)):
            return str((await agent.acall(question=example["question"])).answer)

    def chat(body: dict[str, Any]) -> Said:
        found = completion(body)
        for place, choice in enumerate(found.body["choices"]):
            choice["message"] = {"role": "assistant", **said(body, place)}
        return found

    with Provider(replace(SHAPES["vllm"], chat=chat)) as provider:
        model = Model("Qwen/Qwen3-8B", 8e9, base_url=provider.url)
        pipeline = Pipeline("agent", [Subtask("solve", [model], parser=react)], at.metrics.equal("gold"), run=run)
        searched = at.LiveEnvironment(pipeline, [{"id": "1", "question": "2 + 3?", "gold": "5"}])
        async with searched:
            evaluation = await searched.evaluate(at.Allocation({"solve": (model.name, 3)}))
        assert evaluation.score == 1 and evaluation.usage["solve"].samples == 3 * turns, evaluation.errors
        seen = json.dumps(provider.requests[-1]["messages"])
        assert "observation_0 ## ]]\\n5" in seen or '"content": "5"' in seen


async def test_images_are_sent() -> None:
    from agenttts.adapters.dspy import step_model

    look = dspy.Predict("picture: dspy.Image -> answer")
    look.set_lm(step_model("solve"))

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await look.acall(picture=dspy.Image("data:image/png;base64,iVBORw0KGgo="))).answer)

    with Provider(replace(SHAPES["vllm"], chat=lambda body: completion(body, content=f"{MARKER}5"))) as provider:
        model = Model("Qwen/Qwen3-8B", 8e9, base_url=provider.url)
        pipeline = Pipeline("look", [Subtask("solve", [model])], at.metrics.equal("gold"), run=run)
        searched = at.LiveEnvironment(pipeline, [{"id": "1", "gold": "5"}])
        async with searched:
            assert (await searched.evaluate(at.Allocation({"solve": (model.name, 1)}))).score == 1
        parts = provider.requests[-1]["messages"][-1]["content"]
    assert {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}} in parts
