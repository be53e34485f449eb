"""The package as users get it: public names, instant import, links, extension points."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import agenttts
from agenttts.environments import environment, environment_names
from agenttts.environments.live import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.searching.methods import method_names, searcher

ROOT = Path(__file__).parent.parent


def loaded_by(code: str) -> set[str]:
    """Modules loaded in a fresh interpreter after this code, which prints them."""
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("name", ["db", "environments", "baselines"])
def test_the_roots_folders_are_relative_links_into_the_package(name: str) -> None:
    assert os.readlink(ROOT / name) == f"agenttts/{name}"


@pytest.mark.parametrize(
    "module",
    [
        "agenttts", "agenttts.agent", "agenttts.pipeline.aggregators", "agenttts.baselines", "agenttts.db",
        "agenttts.environments", "agenttts.serving", "agenttts.pipeline.metrics", "agenttts.pipeline.parsers",
        "agenttts.report", "agenttts.simulation", "agenttts.tracking",
    ],
)  # fmt: skip
def test_public_names_exist_and_are_sorted(module: str) -> None:
    loaded = importlib.import_module(module)
    assert loaded.__all__ == sorted(loaded.__all__)
    assert all(getattr(loaded, name) is not None for name in loaded.__all__)


def test_public_names_are_no_modules_whatever_was_imported_before() -> None:
    code = "import agenttts as at, agenttts.searching.loop, agenttts.report; at.Limits"
    code += "\nprint(callable(at.search), callable(at.searcher))"
    assert loaded_by(code) == {"True"}


def test_no_two_classes_share_a_name() -> None:
    """Nor do a public and a private one: an underscore does not tell a reader which of two things is meant."""
    modules = sorted((ROOT / "agenttts").rglob("*.py"))
    nodes = [node for module in modules for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))]
    names = Counter(node.name.lstrip("_") for node in nodes if isinstance(node, ast.ClassDef))
    short_forms = {"BestOf"}  # an aggregator, and the operator that does more
    assert {name for name, count in names.items() if count > 1} == short_forms


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        agenttts.nonsense  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import agenttts, sys; print(*sys.modules)"
    assert not loaded_by(code) & {"numpy", "openai", "sqlalchemy", "langgraph", "optuna", "pydantic", "typer", "rich"}


def test_a_command_loads_only_what_it_needs() -> None:
    code = "import sys; sys.argv = ['agenttts', '--version']\nfrom agenttts.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\nprint(*sys.modules)"
    assert not loaded_by(code) & {"numpy", "openai", "sqlalchemy", "langgraph", "optuna"}


def test_environments_are_found_by_name_module_and_file(tmp_path: Path) -> None:
    assert "minihop" in environment_names()
    assert isinstance(environment("agenttts.environments.tasks.minihop:minihop_recorded"), LiveEnvironment)
    path = tmp_path / "mine.py"
    path.write_text(
        "import agenttts as at\n"
        "stage = at.Subtask('s', (at.Model('m', 1e9),), '{{ question }}')\n"
        "def build():\n"
        "    pipeline = at.Pipeline('mine', (stage,), at.metrics.exact_match('gold'))\n"
        "    return at.LiveEnvironment(pipeline, [{'id': '1', 'question': 'q', 'gold': 'g'}])\n"
        "ready = build()\n"
        "nothing = 3\n"
        "def broken():\n"
        "    raise RuntimeError('no\\nway')\n"
        "def ended():\n"
        "    raise SystemExit(3)\n"
    )
    assert environment(f"{path}:build").name == environment(f"{path}:ready").name == "mine"
    for name, message in [
        ("nonsense", "no environment 'nonsense'; registered are minihop"),
        (f"{path}:nothing", "is not an environment"),
        (f"{path}:missing", "has no .missing.: give .*:ready"),
        (f"{path}:broken", r"\(line 9 of mine.py\) failed with RuntimeError: no"),
        (f"{path}:ended", r"\(line 11 of mine.py\) ended the program with exit\(3\)"),
        (f"{tmp_path}/none.py:x", "there is no file"),
        ("no_such_module:x", "there is no module 'no_such_module'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            environment(name)


def test_a_file_in_a_package_is_a_module_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    make = "from agenttts.environments.tasks.minihop import minihop_recorded as make\n"
    files = {
        "whole/__init__.py": "", "whole/parts.py": make, "whole/deep/__init__.py": "",
        "whole/deep/up.py": "from ..parts import make\nenv = make()\n",
        "whole/dot.py": "from .parts import make\nenv = make()\n",
        "whole/bare.py": "import parts\nenv = parts.make()\n",
        "json/__init__.py": "", "json/beside.py": make, "json/here.py": "import beside\nenv = beside.make()\n",
        "other/absolute.py": "from whole.parts import make\nenv = make()\n",
        "agenttts.py": make + "env = make()\n",
        "other/dot.py": "from .absolute import env\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("whole/deep/up", "whole/dot", "whole/bare", "json/here", "other/absolute", "agenttts"):
        assert environment(f"{name}.py:env").name == "minihop-recorded"
    with pytest.raises(ConfigError, match="put an empty __init__.py into its folder"):
        environment("other/dot.py:env")


def test_data_and_endpoints_reach_the_environment_that_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import agenttts as at\n"
        "stage = at.Subtask('s', (at.Model('m', 1e9, served_name='org/m'),), '{{ question }}')\n"
        "def build(data=None):\n"
        "    rows = [{'id': '1', 'question': data, 'gold': 'g'}]\n"
        "    return at.LiveEnvironment(at.Pipeline('mine', (stage,), at.metrics.exact_match('gold')), rows)\n"
        "ready = build()\n"
        "def bare():\n"
        "    return ready\n"
        "def needy(data, more):\n"
        "    return ready\n"
    )
    first, second = (environment(f"{path}:build", data=data) for data in ("one", "two"))
    assert first.fingerprint != second.fingerprint
    routed = environment(f"{path}:build", data="one", endpoints={"m": "http://127.0.0.1:1/v1"})
    assert routed.fingerprint == first.fingerprint
    for name, data, endpoints, message in [
        ("minihop-recorded", "x.jsonl", {}, "environment 'minihop-recorded' takes no data"),
        (f"{path}:bare", "x.jsonl", {}, "takes no data"),
        (f"{path}:ready", "x.jsonl", {}, "takes no data"),
        (f"{path}:needy", "x.jsonl", {}, "cannot be called"),
        (f"{path}:ready", None, {"n": "http://me:secret@h/v1"}, r"no model 'n' to ask at http://h/v1; it has m"),
        ("minihop-recorded", None, {"minihop-s": "http://h/v1"}, "brings its own models: leave --endpoint out"),
    ]:
        with pytest.raises(ConfigError, match=message):
            environment(name, data=data, endpoints=endpoints)


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that registers an environment and a searcher."""
    registered = EntryPoints(
        [
            EntryPoint("theirs", "agenttts.environments.tasks.minihop:minihop_recorded", "agenttts.environments"),
            EntryPoint("their-random", "agenttts.baselines:RandomSearcher", "agenttts.searchers"),
        ]
    )

    def entry_points(*, group: str) -> EntryPoints:
        return registered.select(group=group)

    monkeypatch.setattr("agenttts.environments.registry.entry_points", entry_points)
    monkeypatch.setattr("agenttts.searching.methods.entry_points", entry_points)
    yield


@pytest.mark.usefixtures("third_party")
def test_third_parties_add_environments_and_searchers() -> None:
    assert "theirs" in environment_names() and environment("theirs").name == "minihop-recorded"
    assert "their-random" in method_names() and searcher("their-random", seed=1).name == "random"
