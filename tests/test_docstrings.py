"""Every public name that a user calls has an example in its docstring, and the example is true.

The examples share what `names` prepares: a pipeline of two subtasks and two models, an environment whose answers come
from a function, a search space, and a store with one finished study.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import agenttts as at
from agenttts import report
from agenttts.testing import ScriptedClient

PACKAGES = (
    *("agenttts", "agenttts.pipeline.parsers", "agenttts.pipeline.metrics", "agenttts.pipeline.aggregators"),
    *("agenttts.environments", "agenttts.searching", "agenttts.deployment", "agenttts.report", "agenttts.tracking"),
    "agenttts.adapters.openai",
)
ADAPTERS = {"agenttts.adapters.langgraph": "langchain_core", "agenttts.adapters.dspy": "dspy"}
"""Module of an adapter, which cannot even be imported without its framework -> that framework's module."""
NEEDED = {
    **{"MlflowTracker": "mlflow", "WandbTracker": "wandb", "report_html": "plotly"},
    **dict.fromkeys([name for name in report.__all__ if name.endswith("_figure")], "plotly"),
    **dict.fromkeys([name for name in report.__all__ if name.endswith("_frame")], "pandas"),
}
"""Name -> the module of an extra without which its example cannot run."""
WITHOUT = {
    **dict.fromkeys(["AgentTTSError", "ConfigError", "EndpointError", "ParseError", "StoreError"], "caught, not made"),
    **dict.fromkeys(["StepRun", "SubtaskRun", "Tracker"], "protocols: what a user is handed, or writes"),
    **dict.fromkeys(["aggregators", "metrics", "parsers"], "modules, whose names are listed on their own"),
    "Recommend": "the type of a function",
}
"""Public names that need no example, and why."""


def public() -> dict[str, Any]:
    """Every public name that needs an example -> the function or class."""
    found = {name: getattr(module, name) for module in map(import_module, PACKAGES) for name in module.__all__}
    for module, framework in ADAPTERS.items():
        if find_spec(framework):
            found[f"{module}.step_model"] = import_module(module).step_model
    return {name: each for name, each in found.items() if name not in WITHOUT}


PUBLIC = public()


class Handle:
    """What an aggregator may use of the handle of a subtask that asks for Norway's capital."""

    messages: Sequence[dict[str, str]] = ()
    input = at.SubtaskInput({})
    subtask = at.Subtask("answer", (at.Model("small", 1e6),), "What is the capital of Norway?")

    async def draw(self, messages: Sequence[dict[str, str]], *_: Any, **__: Any) -> list[str]:
        """The number of a candidate where that is asked, else candidates merged."""
        return ["2" if "number of that candidate" in messages[0]["content"] else "Oslo, Norway"]

    async def sample(self, messages: Sequence[dict[str, str]], samples: int) -> list[at.operators.Drawn]:
        """Other candidates."""
        return [at.operators.Drawn(text, text, 2) for text in ("Oslo", "Rome", "Bern")[:samples]]


def reply(model: at.Model, messages: Sequence[dict[str, str]], position: int) -> str:
    """Whether a number is odd: the large model knows, the small one errs on every third sample."""
    number = int(messages[-1]["content"].split()[1])
    right = model.name == "large" or (position + number) % 3 > 0
    return "yes" if (number % 2 == 1) == right else "no"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What an example may use without making it."""
    models = small, large = at.Model("small", 1e6), at.Model("large", 8e6)
    find = at.Subtask("find", models, "{{ question }}", prompt_tokens=10, completion_tokens=5, max_samples=6)
    answer = at.Subtask("answer", models, "{{ question }}", prompt_tokens=12, completion_tokens=4, max_samples=5)
    pipeline = at.Pipeline("toy", (find, answer), at.metrics.exact_match("gold"))
    rows = [{"id": f"e{n}", "question": f"Is {n} odd?", "gold": "yes" if n % 2 else "no"} for n in range(15)]
    client = ScriptedClient(reply)
    environment = at.LiveEnvironment(pipeline, rows[:10], held_out=rows[10:], client=client)
    space = at.SearchSpace(pipeline, at.cost_model("flops"), 320)
    store, agent = at.Store(str(tmp_path_factory.mktemp("docs") / "store.db")), at.searcher("agent", llm="none")
    search = at.search(environment, agent, space, store, study_name="first", limits=at.Limits(trials=8))
    result = asyncio.run(search)
    yield {
        "at": at,
        "asyncio": asyncio,
        "small": small,
        "large": large,
        "pipeline": pipeline,
        "environment": environment,
        "space": space,
        "store": store,
        "study": result.study,
        "result": result,
        "found": report.read_findings(store)[0],
        "given": at.SubtaskInput({"id": "1", "question": "Is 1 odd?"}),
        "handle": Handle(),
        "rows": rows,
        "client": client,
    }
    store.close()


@pytest.fixture
def folder(names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the examples read and write files."""
    allocation = report.recommendation(names["store"], names["study"])
    (tmp_path / "allocation.yaml").write_text(yaml.safe_dump(allocation, sort_keys=False), encoding="utf-8")
    columns = "retrieve.model,retrieve.samples,answer.model,answer.samples,example,score"
    (tmp_path / "scores.csv").write_text(f"{columns}\n8B,1,8B,1,q1,0.5\n70B,1,8B,4,q1,0.8\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")


def reference() -> dict[str, type]:
    """Every class of the API reference."""
    pages = (Path(__file__).parent.parent / "docs" / "api").glob("*.md")
    named = {name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)}
    found = dict[str, type]()
    for name in named - set(ADAPTERS):
        module = import_module(name)
        listed = {each: getattr(module, each) for each in getattr(module, "__all__", dir(module))}
        found |= {f"{name}.{each}": value for each, value in listed.items() if inspect.isclass(value)}
    return {name: each for name, each in found.items() if each.__module__.startswith("agenttts.")}


def described(kind: type) -> Iterator[tuple[str, bool]]:
    """Each public field of a class's body, and whether its meaning is stated there."""
    (body,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    for statement, after in zip(body.body, [*body.body[1:], None], strict=True):
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        yield from ((each.id, said) for each in targets if isinstance(each, ast.Name) and not each.id.startswith("_"))


def test_every_field_of_the_reference_says_what_it_means() -> None:
    classes = reference()
    assert len(classes) > 150
    missing = []
    for name, kind in classes.items():
        inherited = {
            field for base in kind.__mro__[1:] for field in (*vars(base), *vars(base).get("__annotations__", ()))
        }
        missing += [f"{name}.{field}" for field, said in described(kind) if not said and field not in inherited]
    assert not missing, missing


def test_names_without_an_example_are_public() -> None:
    known = {name for package in PACKAGES for name in import_module(package).__all__}
    assert set(WITHOUT) <= known


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(PUBLIC[name]) or "")


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", PUBLIC)
def test_an_example_is_true(name: str, names: dict[str, Any]) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name], reason=f"{NEEDED[name]} is not installed")
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(PUBLIC[name]) or "", dict(names), name, None, None)
    said: list[str] = []
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    doctest.DocTestRunner(optionflags=flags).run(example, out=said.append)
    assert not said, "".join(said)
