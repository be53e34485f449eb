"""The README's code is real: it is taken from the page and run against an HTTP endpoint."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from agenttts.allocation import SearchSpace
from agenttts.cost import FlopsCost
from agenttts.db import Store
from agenttts.environments import environment
from agenttts.loop import Limits, SearchResult, search
from agenttts.methods import searcher
from agenttts.report import recommendation
from tests.endpoint import FakeEndpoint

README = Path(__file__).parent.parent / "README.md"


BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
GRAPH = """
from typing import TypedDict
from langgraph.graph import END, START, StateGraph

class State(TypedDict, total=False):
    question: str
    passage: str
    answer: str

def build(retriever, answerer):
    async def retrieve(state):
        return {"passage": (await retriever.ainvoke("numbers for " + state["question"])).content}

    async def answer(state):
        said = (await answerer.ainvoke(state["passage"] + state["question"])).content
        return {"answer": said.rpartition("Answer: ")[2]}

    graph = StateGraph(State)
    graph.add_node("retrieve", retrieve)
    graph.add_node("answer", answer)
    graph.add_edge(START, "retrieve")
    graph.add_edge("retrieve", "answer")
    graph.add_edge("answer", END)
    return graph.compile()
"""


@pytest.fixture
def folder(endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the README's reader is: with examples, an endpoint, and a graph of their own."""
    row = {"question": "Who?", "passages": ["Ann did.", "Bob did not."], "answer": "Ann"}
    for name in ("train.jsonl", "test.jsonl"):
        rows = [json.dumps({**row, "id": f"{name}{i}"}) for i in range(3)]
        (tmp_path / name).write_text("\n".join(rows))
    (tmp_path / "my_graph.py").write_text(GRAPH)
    for name, code in zip(("rag", "deployment", "graph"), BLOCKS, strict=True):
        (tmp_path / f"{name}.py").write_text(code)

    def reply(messages: Any, seed: int) -> str:
        return "[1]" if "numbers" in messages[-1]["content"] else "So it was.\nAnswer: Ann"

    endpoint.reply, endpoint.models = reply, ["llama-3.1-8b", "llama-3.1-70b"]
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


async def searched(name: str, store: Store) -> SearchResult:
    """A search of an environment of the README."""
    found = environment(name)
    space = SearchSpace(found.pipeline, FlopsCost(), 1e8)
    agent = searcher("agent", llm="none")
    details = {"environment": name}
    return await search(found, agent, space, store, study_name="s", limits=Limits(trials=6), details=details)


async def test_the_pipeline_of_the_readme_is_searched_and_deployed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 25
    store = Store()
    result = await searched("rag.py:environment", store)
    assert result.best.evaluation.score == 1 and result.validation is not None
    (folder / "allocation.yaml").write_text(yaml.safe_dump(recommendation(store, result.study)))
    await asyncio.to_thread(runpy.run_path, str(folder / "deployment.py"))
    text, tokens, degraded = capsys.readouterr().out.split(maxsplit=2)
    assert text == "Ann" and int(tokens) > 0 and degraded.strip() == "()"


@pytest.mark.usefixtures("folder")
async def test_the_graph_of_the_readme_is_searched() -> None:
    result = await searched("graph.py:environment", Store())
    assert result.best.evaluation.score == 1 and len(result.archive.trials) == 6


def test_every_command_of_the_readme_exists() -> None:
    from agenttts.cli.app import app

    named = set(re.findall(r"(?<!import )agenttts ([a-z][a-z-]*)", README.read_text()))
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert named <= known
