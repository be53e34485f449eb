"""A pipeline written in LangGraph is searched as it is, but for the objects of its models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypedDict

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.graph import END, START, StateGraph

import agenttts as at
from agenttts.adapters.langgraph import step_model
from agenttts.db import Store
from agenttts.deployment import deployed
from agenttts.deployment.answering import DeployedPipeline
from agenttts.errors import ConfigError
from agenttts.llm.samples import Completions
from agenttts.pipeline import Example, StepRun
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits
from agenttts.space import SearchSpace
from agenttts.space.cost import FlopsCost
from agenttts.testing import ScriptedClient
from tests.adapters.conftest import CHOSEN, Models, environment, require_metered


class State(TypedDict, total=False):
    question: str
    fact: str
    answer: str


def users_graph(finder: BaseChatModel, answerer: BaseChatModel, *, blocking: bool = False) -> Any:
    """As a user has it: it knows nothing of agenttts."""

    def last_line(reply: Any) -> str:
        return str(reply.content).rpartition("Answer: ")[2]

    async def find(state: State) -> State:
        messages = [SystemMessage("Find."), HumanMessage(f"question {state['question']}")]
        return {"fact": last_line(await finder.ainvoke(messages))}

    async def answer(state: State) -> State:
        return {"answer": last_line(await answerer.ainvoke(f"Use {state['fact']} for {state['question']}"))}

    def blocking_answer(state: State) -> State:
        return {"answer": last_line(answerer.invoke(f"Use {state['fact']} for {state['question']}"))}

    graph = StateGraph(State)
    graph.add_node("find", find)
    graph.add_node("answer", blocking_answer if blocking else answer)
    graph.add_edge(START, "find")
    graph.add_edge("find", "answer")
    graph.add_edge("answer", END)
    return graph.compile()


graph = users_graph(step_model("find"), step_model("answer"))
blocking_graph = users_graph(step_model("find"), step_model("answer"), blocking=True)


async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
    return str((await graph.ainvoke({"question": example["question"]}))["answer"])


async def run_blocking(example: Example, steps: Mapping[str, StepRun]) -> str:
    return str((await blocking_graph.ainvoke({"question": example["question"]}))["answer"])


@pytest.mark.parametrize("program", [run, run_blocking])
async def test_models_and_samples_come_from_the_allocation(program: Any, models: Models) -> None:
    found = environment(program, models)
    require_metered(await found.evaluate(CHOSEN), await found.evaluate(CHOSEN), models)


async def test_a_graph_is_searched_and_its_winner_deployed(models: Models) -> None:
    found = environment(run, models)
    space = SearchSpace(found.pipeline, FlopsCost(), 600)
    agent = searcher("agent", llm="none")
    result = await search(found, agent, space, Store(), study_name="s", limits=Limits(trials=6))
    assert result.best.evaluation.score == 1
    answer = await deployed(result.best, found, space=space).answer("q9")
    assert answer.text == "fact of q9" and set(answer.stages) == {"find", "answer"}


async def test_a_stage_of_a_graph_is_stood_in_for(models: Models) -> None:
    def reply(model: Any, messages: Any, position: int) -> str:
        if model.name == "large":
            raise at.EndpointError("model 'large' did not answer", unreachable=True)
        return models(model, messages, position)

    found = environment(run, models)
    space = SearchSpace(found.pipeline, FlopsCost(), 600)
    answer = await DeployedPipeline(CHOSEN, space, client=ScriptedClient(reply)).answer("q1")
    assert answer.text == "fact of q1" and answer.allocation["find"].model == "small"
    assert "subtask 'find' used small x6 instead of large x1: model 'large' did not answer" in answer.degraded


class LooksUpNames(ScriptedClient):
    """Takes one of the event loop's threads for a moment, as looking up the name of a host does."""

    async def complete(self, *arguments: Any, **named: Any) -> Completions:
        await asyncio.to_thread(lambda: None)
        return await super().complete(*arguments, **named)


def nodes(kind: str) -> tuple[Any, Any]:
    """The nodes of a graph that asks `find` and `answer`: ordinary functions, or coroutines in a loop of their own."""

    def find(state: State) -> State:
        return {"fact": str(step_model("find").invoke(f"question {state['question']}").content)}

    def answer(state: State) -> State:
        return {"answer": str(step_model("answer").invoke(f"Use {state['fact']}").content).rpartition("Answer: ")[2]}

    async def asked(state: State) -> State:
        return {"fact": str((await step_model("find").ainvoke(f"question {state['question']}")).content)}

    def in_a_loop_of_its_own(state: State) -> State:
        return asyncio.run(asked(state))

    def nested(state: State) -> State:
        inner = StateGraph(State)
        inner.add_node("find", find)
        inner.add_edge(START, "find")
        inner.add_edge("find", END)
        return {"fact": inner.compile().invoke({"question": state["question"]})["fact"]}

    return {"sync": find, "async": asked, "nested": nested, "loop": in_a_loop_of_its_own}[kind], answer


@pytest.mark.parametrize("kind", ["sync", "async", "nested", "loop"])
async def test_two_hundred_examples_wait_in_threads_without_being_in_the_way(kind: str) -> None:
    find, answer = nodes(kind)
    users = StateGraph(State)
    users.add_node("find", find)
    users.add_node("answer", answer)
    users.add_edge(START, "find")
    users.add_edge("find", "answer")
    users.add_edge("answer", END)
    compiled = users.compile()

    async def program(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await compiled.ainvoke({"question": example["question"]}))["answer"])

    client = LooksUpNames(lambda model, messages, position: "Answer: " + messages[-1]["content"].rpartition(" ")[2])
    declared = environment(program, Models()).pipeline
    rows = [{"id": str(n), "question": f"q{n}", "gold": f"q{n}"} for n in range(200)]
    found = at.LiveEnvironment(declared, rows, client=client)
    evaluation = await asyncio.wait_for(found.evaluate(CHOSEN), timeout=120)
    assert (evaluation.score, evaluation.failures) == (1, 0), evaluation.errors


async def test_more_calls_than_threads_are_an_error_and_no_standstill(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenttts.execution.threads.MOST_WAITING", 2)
    with pytest.raises(ConfigError, match="more than 2 blocking calls of the program wait for models at once"):
        await asyncio.wait_for(environment(run_blocking, models).evaluate(CHOSEN), timeout=60)


async def test_mistakes_are_one_sentence(models: Models) -> None:
    with pytest.raises(ConfigError, match="step 'find' can be asked only while its pipeline"):
        await step_model("find").ainvoke("x")

    async def unknown(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await step_model("serach").ainvoke("x")).content)

    async def blocked(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str(step_model("find").invoke("x").content)

    for program, message in [
        (unknown, "there is no step 'serach'; the pipeline's subtasks are find, answer"),
        (blocked, "a blocking call inside the event loop: use the framework's async call"),
    ]:
        with pytest.raises(ConfigError, match=message):
            await environment(program, models).evaluate(CHOSEN)
