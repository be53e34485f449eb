"""A deployed pipeline as a LangGraph graph with a node per subtask, so that a stream shows one stage after another.

The first node starts the whole answer, exactly as the plain call would, with its fallbacks and its time-out; a
subtask's node waits until its subtask is done, and the last one for the answer. An answer that is cut short leaves the
nodes of the subtasks that were not done without an update.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypedDict

from langgraph.channels import UntrackedValue
from langgraph.graph import END, START, StateGraph

from agenttts.deployment.answer import Answering, PipelineAnswer, StageUse


class _Running(NamedTuple):
    answer: asyncio.Task[PipelineAnswer]
    stages: dict[str, asyncio.Future[tuple[Any, StageUse] | None]]


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {**old, **new}


class StagedState(TypedDict, total=False):
    """The state of the graph."""

    input: Mapping[str, Any] | str
    outputs: Annotated[Mapping[str, Any], _merged]
    """Subtask -> its output."""
    stages: Annotated[Mapping[str, StageUse], _merged]
    """Subtask -> what it used."""
    answer: PipelineAnswer
    running: Annotated[Any, UntrackedValue]


def staged_graph(deployed: Answering) -> Any:
    """The compiled graph of a pipeline whose subtasks are known with their edges."""
    pipeline, graph = deployed.pipeline, StateGraph(StagedState)
    names = [subtask.name for subtask in pipeline.order]
    first = "input" + "_" * ("input" in names)

    async def start(state: StagedState) -> StagedState:
        return {"running": _started(deployed, state["input"], names)}

    graph.add_node(first, start)
    graph.add_edge(START, first)
    for name in names:
        graph.add_node(name, _node(name, last=name == pipeline.final.name))
        graph.add_edge(list(pipeline.parents(name)) or first, name)
    graph.add_edge(pipeline.final.name, END)
    return graph.compile()


def _started(deployed: Answering, given: Mapping[str, Any] | str, names: list[str]) -> _Running:
    loop = asyncio.get_running_loop()
    stages: dict[str, asyncio.Future[tuple[Any, StageUse] | None]] = {name: loop.create_future() for name in names}

    def done(name: str, output: Any, use: StageUse) -> None:
        stages[name].set_result((output, use))

    def ended(_: asyncio.Task[PipelineAnswer]) -> None:
        for stage in stages.values():
            if not stage.done():
                stage.set_result(None)

    answer = asyncio.ensure_future(deployed.answer(given, on_stage=done))
    answer.add_done_callback(ended)
    return _Running(answer, stages)


def _node(name: str, *, last: bool) -> Any:
    async def wait(state: StagedState) -> StagedState:
        running: _Running = state["running"]
        found = await running.stages[name]
        update: StagedState = {} if found is None else {"outputs": {name: found[0]}, "stages": {name: found[1]}}
        return {**update, "answer": await running.answer} if last else update

    return wait
