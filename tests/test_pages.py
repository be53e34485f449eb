"""README and guides are real: their code runs, their commands exist, and the site builds without a broken link."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import typer

import agenttts
from agenttts.cli.app import app
from agenttts.db import Store
from tests.endpoint import FakeEndpoint
from tests.pages import DOCS, PAGES, README, ROOT, blocks, commands, follow

GUIDES = DOCS / "guides"
COURSES = [
    [GUIDES / "first-search.md"],
    [GUIDES / "own-pipeline.md", GUIDES / "deploy.md"],  # the second begins where the first ends
    [GUIDES / "compare.md"],
    [GUIDES / "paper-tasks.md"],
    [GUIDES / "serving-and-stores.md"],
]
"""Every guide, with those that share a folder side by side."""

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
SCORES = """retrieve.model,retrieve.samples,answer.model,answer.samples,example,score
8B,1,8B,1,a,0
8B,1,70B,1,a,1
"""
MODELS = ["llama-3.1-8b", "llama-3.1-70b"]


def reply(messages: Any, seed: int) -> str:
    """What the models of README and guides say."""
    asked = messages[-1]["content"]
    if "numbers" in asked:
        return "[1]"
    return "Topic: refund" if "Topic" in asked else "So it was.\nAnswer: Ann"


@pytest.fixture
def folder(endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reader is: with examples, an endpoint, a graph and a table of their own, and no key."""
    row = {"question": "Who?", "passages": ["Ann did.", "Bob did not."], "answer": "Ann"}
    for name in ("train.jsonl", "test.jsonl"):
        rows = [json.dumps({**row, "id": f"{name}{i}"}) for i in range(3)]
        (tmp_path / name).write_text("\n".join(rows))
    (tmp_path / "my_graph.py").write_text(GRAPH)
    (tmp_path / "scores.csv").write_text(SCORES)
    endpoint.reply, endpoint.models = reply, MODELS
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "AGENTTTS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_readme_searches_and_deploys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follow(README)
    text, tokens, degraded = capsys.readouterr().out.split(maxsplit=2)
    assert text == "Ann" and int(tokens) > 0 and degraded.strip() == "()"
    with closing(Store("agenttts.db")) as store:
        searched = {study.name.partition("-")[0]: store.archive(study) for study in store.studies()}
    assert set(searched) == {"rag", "graph", "minihop"}
    for name in ("rag", "graph"):
        best = searched[name].best
        assert best is not None and best.evaluation.score == 1
    assert all(Path(page).stat().st_size > 1e6 for page in ("report.html", "compared.html"))


def test_the_pipeline_of_the_readme_is_short() -> None:
    rag = next(block for block in blocks(README) if block.title == "rag.py")
    assert len([line for line in rag.code.splitlines() if line.strip()]) <= 25


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("course", COURSES, ids=lambda course: course[-1].stem)
def test_guides_work_from_top_to_bottom(course: list[Path]) -> None:
    for page in course:
        follow(page)


def test_no_guide_is_left_out() -> None:
    assert {page for course in COURSES for page in course} == set(GUIDES.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_parses(page: Path) -> None:
    group = typer.main.get_group(app)
    for words in commands(page):
        name = next((word for word in words if word in group.commands), None)
        assert name is not None, f"{page.name}: there is no command in {words}"
        if words != [name]:
            group.make_context("agenttts", list(words))
            group.commands[name].make_context(name, words[words.index(name) + 1 :])


def test_no_command_is_overlooked() -> None:
    """The reader of commands finds them behind variables, in lists, over several lines, and in the text."""
    assert ["best", "--budget", "400"] in list(commands(README))
    assert ["report", "-o", "report.html"] in list(commands(README))
    paper = list(commands(DOCS / "paper-on-gpus.md"))
    assert any("Llama-3.2-3B=http://gpu:8004/v1" in words for words in paper if words[:2] == ["search", "chatdev"])


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_hold(name: str) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / name).read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation site, built as `make docs` builds it."""
    if not (find_spec("material") and find_spec("mkdocstrings_handlers")):
        pytest.skip("the site was not built: pip install 'agenttts[docs]'")
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return built


def test_the_site_needs_no_network(site: Path) -> None:
    fetched = re.compile(r"""<(?:script|link|img)[^>]*(?:src|href)=["']?(?:https?:)?//[^"'>\s]+""")
    assert [
        fetched.findall(page.read_text()) for page in site.rglob("*.html") if fetched.search(page.read_text())
    ] == []


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    pages = [page.read_text() for page in (site / "api").glob("*.html")]
    documented = {name for page in pages for name in re.findall(r'id="(agenttts\.[\w.]+)"', page)}
    modules = [import_module(f"agenttts.{found.name}") for found in iter_modules(agenttts.__path__)]
    public = {f"{module.__name__}.{name}" for module in modules for name in getattr(module, "__all__", ())}
    assert public - documented == {"agenttts.cli.main"}
    assert set(agenttts.__all__) <= {name.rpartition(".")[2] for name in documented}
