"""README and guides are real: their code runs, their commands exist, and the site builds without a broken link."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields, is_dataclass
from fnmatch import fnmatch
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

import pytest
import typer
import yaml

import agenttts
from agenttts.cli.app import app
from tests.endpoint import FakeEndpoint
from tests.forked import Forks
from tests.llm.providers import HOSTS, KEY, SHAPES, Provider
from tests.pages import DOCS, NOT_RUN, PAGES, README, ROOT, UNTIL, blocks, commands, follow
from tests.postgresql import find_programs
from tests.reader import furnish, serve_models, variables

GUIDES = DOCS / "guides"
COURSES = [
    [README],
    [GUIDES / "first-search.md"],
    [GUIDES / "own-pipeline.md", GUIDES / "deploy.md"],  # the second begins where the first ends
    [GUIDES / "compare.md"],
    [GUIDES / "extend.md"],
    [GUIDES / "look-inside.md"],
    [GUIDES / "operators.md"],
    [GUIDES / "paper-tasks.md"],
    [GUIDES / "providers.md"],
    [GUIDES / "serving-and-stores.md"],
    [GUIDES / "what-you-have.md"],
    [DOCS / "benchmarks.md"],
    [DOCS / "commands.md"],
    [DOCS / "gpus.md"],
    [DOCS / "how-it-works.md"],
    [DOCS / "paper-on-gpus.md"],
    [DOCS / "paper-tables.md"],
    [DOCS / "ray.md"],
    [DOCS / "scale.md"],
]
"""Every page that has blocks, with those that share a folder side by side."""
LONG = (
    *("benchmarks", "commands", "compare", "deploy", "gpus", "paper-on-gpus", "paper-tables", "paper-tasks"),
    "serving-and-stores",
)
"""Those that take minutes."""


@pytest.fixture
def folder(endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the reader is: with data and models of their own, and no key."""
    furnish(tmp_path)
    serve_models(endpoint)
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "AGENTTTS_"))]:
        monkeypatch.delenv(name)
    for name, value in variables(tmp_path, endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:  # pages name their files alike
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What the guide's servers are called there -> local ones that answer in the same shapes; and keys for them."""
    for name in re.findall(r"\w+_(?:API_)?KEY\b", (GUIDES / "providers.md").read_text()):
        monkeypatch.setenv(name, KEY)
    with ExitStack() as running:
        yield {host: running.enter_context(Provider(SHAPES[name])).host for name, host in HOSTS.items()}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "course",
    [pytest.param(each, id=each[-1].stem, marks=[pytest.mark.slow] * (each[-1].stem in LONG)) for each in COURSES],
)
def test_pages_work_from_top_to_bottom(
    course: list[Path], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, forks: Forks
) -> None:
    if any("POSTGRESQL_URL" in page.read_text() for page in course) and find_programs() is not None:
        monkeypatch.setenv("POSTGRESQL_URL", request.getfixturevalue("postgresql").new_schema())
    hosts = request.getfixturevalue("providers") if GUIDES / "providers.md" in course else {}
    lacking = [what for page in course for what in follow(page, forks, hosts)]
    if lacking:
        pytest.skip(f"all was run but what needs {', '.join(dict.fromkeys(lacking))}")


def test_no_page_is_left_out() -> None:
    assert {page for course in COURSES for page in course} == {page for page in PAGES if blocks(page)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_of_a_kind_that_is_known(page: Path) -> None:
    kinds = {"python": {"", "*.py"}, "sh": {"", UNTIL}, "text": {"*"}, "yaml": {""}}
    for block in blocks(page):
        assert any(fnmatch(block.title, kind) for kind in kinds.get(block.language, ())), block


@pytest.mark.parametrize(("begin", "reason"), NOT_RUN.items())
def test_what_is_not_run_is_on_a_page_and_says_why(begin: str, reason: str) -> None:
    assert [block.reason for page in PAGES for block in blocks(page) if block.code.startswith(begin)] == [reason]


def test_the_pipeline_of_the_readme_is_short() -> None:
    rag = next(block for block in blocks(README) if block.title == "rag.py")
    assert len([line for line in rag.code.splitlines() if line.strip()]) <= 25


def test_the_readme_is_read_in_minutes() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150 and len(text.split()) <= 1_000


def test_the_picture_and_the_table_of_the_readme_show_the_same_figures() -> None:
    rows = json.loads((DOCS / "images" / "largest_once.json").read_text())
    drawn = runpy.run_path(str(ROOT / "benchmarks" / "largest_once.py"))
    assert drawn["picture"](rows) == (DOCS / "images" / "largest_once.svg").read_text()
    assert drawn["table"](rows) in README.read_text()


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
    assert ["best", "--budget", "400"] in list(commands(DOCS / "commands.md"))
    assert ["report", "-o", "report.html"] in list(commands(DOCS / "commands.md"))
    paper = list(commands(DOCS / "paper-on-gpus.md"))
    assert any(
        "Llama-3.2-3B=http://localhost:8004/v1" in words for words in paper if words[:2] == ["search", "chatdev"]
    )


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


def test_every_field_of_a_public_class_is_in_the_reference(site: Path) -> None:
    pages = [page.read_text() for page in (site / "api").glob("*.html")]
    documented = {name for page in pages for name in re.findall(r'id="(agenttts\.[\w.]+)"', page)}
    modules = [import_module(f"agenttts.{found.name}") for found in iter_modules(agenttts.__path__)]
    lacking = [
        f"{module.__name__}.{name}.{each.name}"
        for module in modules
        for name in getattr(module, "__all__", ())
        if is_dataclass(kind := getattr(module, name)) and isinstance(kind, type)
        for each in fields(kind)
        if not each.name.startswith("_")
        and not documented & {f"{module.__name__}.{owner.__name__}.{each.name}" for owner in kind.__mro__}
    ]
    assert lacking == []


def test_the_serve_deployment_of_the_guide_is_what_this_ray_takes() -> None:
    """By its source: importing `ray.serve.llm` takes vLLM."""
    ray = _ray()
    public = _defined(ray / "serve/llm/__init__.py")
    configs = _defined(ray / "llm/_internal/serve/core/configs/llm_config.py")
    tree = ast.parse(_unrun("python"))
    (imported,) = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert imported.module == "ray.serve.llm" and {name.name for name in imported.names} <= public.keys()
    (config,) = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "LLMConfig"
    ]
    given = {word.arg: ast.literal_eval(word.value) for word in config.keywords}
    assert given.keys() <= configs["LLMConfig"]
    assert given["model_loading_config"].keys() <= configs["ModelLoadingConfig"]
    assert "llm_configs" in _defined(ray / "llm/_internal/serve/core/ingress/builder.py")["LLMServingArgs"]


def test_the_cluster_of_the_guide_is_what_this_autoscaler_takes() -> None:
    schema = json.loads((_ray() / "autoscaler/ray-schema.json").read_text())
    cluster = yaml.safe_load(_unrun("yaml"))
    pytest.importorskip("jsonschema").validate(cluster, schema)
    kinds = cluster["available_node_types"]
    assert cluster["head_node_type"] in kinds
    assert cluster["max_workers"] == sum(kind.get("min_workers", 0) for kind in kinds.values())


def _ray() -> Path:
    """Where Ray is installed."""
    found = find_spec("ray")
    if found is None or found.origin is None:
        pytest.skip("Ray is not installed: pip install 'agenttts[ray]'")
    return Path(found.origin).parent


def _unrun(language: str) -> str:
    """The guide's block in this language that is not run."""
    (block,) = (block for block in blocks(DOCS / "ray.md") if block.reason and block.language == language)
    return block.code


def _defined(module: Path) -> dict[str, set[str]]:
    """Classes of a module with their fields, and functions, by name."""
    defined: dict[str, set[str]] = {}
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.ClassDef):
            defined[node.name] = {ast.unparse(each.target) for each in node.body if isinstance(each, ast.AnnAssign)}
        elif isinstance(node, ast.FunctionDef):
            defined[node.name] = set()
    return defined
