"""What a reader of README and guides has: data in the published formats, models to ask, a graph and a table."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from agenttts.environments.tasks.models import LLAMA_3B, LLAMA_8B, LLAMA_70B, QWEN_7B, QWEN_32B, QWEN_72B
from tests import vllm_standin
from tests.endpoint import FakeEndpoint
from tests.environments.tasks.data import OWN
from tests.pages import README, ROOT, blocks

_ROWS = 4
_DATASETS = {
    "hotpot_dev_distractor_v1.json": "hotpotqa.jsonl",
    "dev.json": "2wikimultihopqa.jsonl",
    "data_with_ct_0.5.json": "cwq.jsonl",
    "webqsp_with_ct_0.5.json": "webqsp.jsonl",
}
"""The name that the pages use -> our own examples in the same format."""
_GRAPH = """
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
_SCORES = """retrieve.model,retrieve.samples,answer.model,answer.samples,example,score
8B,1,8B,1,a,0
8B,1,70B,1,a,1
"""
_SMALL = {
    "agenttts/one.py": "ONE = 1\n",
    "examples/two.py": "TWO = 2\n",
    "tests/test_one.py": "def test_one() -> None:\n    assert 1\n",
}
"""What stands for package, examples and tests where `make test` is run."""
_PAPER_MODELS = (QWEN_7B, QWEN_32B, QWEN_72B, LLAMA_3B, LLAMA_8B, LLAMA_70B)
NVML = """
class NVMLError(Exception): pass
class Memory: total, free = 85 * 10**9, 84 * 10**9
def nvmlInit(): pass
def nvmlShutdown(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetMemoryInfo(handle): return Memory
def nvmlDeviceGetUUID(handle): return f"GPU-{handle}"
"""
"""What stands for the module pynvml: two GPUs."""


def furnish(folder: Path) -> None:
    """Put into a folder what the pages take for granted, and what stands for two GPUs with vLLM on them."""
    row = {"question": "Who?", "passages": ["Ann did.", "Bob did not."], "answer": "Ann"}
    for name in ("train.jsonl", "test.jsonl"):
        rows = [json.dumps({**row, "id": f"{name}{i}"}) for i in range(3)]
        (folder / name).write_text("\n".join(rows))
    for name, own in _DATASETS.items():
        rows = (OWN / own).read_text().splitlines()[:_ROWS]
        (folder / name).write_text(json.dumps([json.loads(line) for line in rows]))
    shutil.copytree(OWN / "taskbench" / "data_dailylifeapis", folder / "data_dailylifeapis")
    described = (OWN / "srdd.csv").read_text().splitlines(keepends=True)[: 1 + _ROWS]
    (folder / "data_attribute_format.csv").write_text("".join(described))
    (folder / "my_graph.py").write_text(_GRAPH)
    (folder / "scores.csv").write_text(_SCORES)
    (folder / "pynvml.py").write_text(NVML)
    for name in ("xs", "s", "m", "l"):
        (folder / "zoo" / f"minihop-{name}").mkdir(parents=True)
    rag = next(block for block in blocks(README) if block.title == "rag.py")
    (folder / "rag.py").write_text(rag.code)
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    _clone(folder / "clone")


def _clone(folder: Path) -> None:
    """A clone in small, with all that the Makefile works on: `make test` in a clone would run these tests in these."""
    for name in ("Makefile", "pyproject.toml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text((ROOT / name).read_text())
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    for name, code in _SMALL.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(code)


def variables(folder: Path, endpoint: FakeEndpoint) -> dict[str, str]:
    """The environment in which every model is asked at an endpoint, whatever host a page says it is on."""
    found = vllm_standin.install(folder / "standin")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{found['PATH']}"
    proxy = endpoint.url.removesuffix("/v1")
    asked = {"OPENAI_BASE_URL": endpoint.url, "HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1,localhost"}
    asked["RAY_AUTH_MODE"] = "disabled"  # else it is on wherever Ray has been used before
    return found | {"PATH": programs} | asked


def serve_models(endpoint: FakeEndpoint) -> None:
    """Let an endpoint have the models of all pages."""
    endpoint.models = ["llama-3.1-8b", "llama-3.1-70b", *(model.served_name for model in _PAPER_MODELS)]
    endpoint.models.append("text-embedding-ada-002")
    endpoint.embedding = lambda text: [1.0, float(len(text) % 7)]
    endpoint.reply = _reply


def _reply(messages: Any, seed: int) -> str:
    asked = messages[-1]["content"]
    if "numbers" in asked:
        return "[1]"
    return "Topic: refund" if "Topic" in asked else "So it was.\nAnswer: Ann"
