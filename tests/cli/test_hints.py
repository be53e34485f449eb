"""Commands that are printed to be pasted work as printed, in the shell and the folder where the program was started."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from agenttts._util.hints import install, program
from agenttts.cli.app import app
from agenttts.cli.run import print_next_steps
from agenttts.errors import ConfigError

SCRIPT = f"#!{sys.executable}\nfrom agenttts.cli import main\nmain()\n"
SEARCH = ".venv/bin/agenttts search minihop-recorded --trials 2 --method random --study 'my study' --store 'my store'"
BARE = os.pathsep.join(["/usr/bin", "/bin"])
"""A path on which no `agenttts` is."""


def paste(command: str, folder: Path) -> str:
    """What a person gets who pastes a command in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "AGENTTTS_"))}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=kept | {"PATH": BARE}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `.venv/bin/agenttts`, as `make demo` leaves it."""
    folder = tmp_path_factory.mktemp("clone")
    script = folder / ".venv" / "bin" / "agenttts"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT)
    script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def printed(clone: Path) -> str:
    """What a search in the clone printed."""
    return paste(SEARCH, clone)


def test_what_a_search_ends_with_can_be_pasted(clone: Path, printed: str) -> None:
    commands = re.findall(r"^(?:See why|Keep it):  (.*)$", printed, re.M)
    assert commands == [
        ".venv/bin/agenttts trace 'my study' --store 'my store'",
        ".venv/bin/agenttts best 'my study' --store 'my store' > allocation.yaml",
    ]
    for command in commands:
        paste(command, clone)


@pytest.mark.parametrize(
    ("store", "variable", "named"),
    [
        ("agenttts.db", None, ""),
        ("own.db", "own.db", ""),
        ("agenttts.db", "own.db", " --store agenttts.db"),
        ("postgresql://host/runs", None, " --store postgresql://host/runs"),
        ("postgresql://ann:secret@host/runs", "postgresql://ann:secret@host/runs", ""),
        ("postgresql://ann:secret@host/runs", None, ""),
    ],
)
def test_hints_name_the_store_where_it_would_not_be_found(
    store: str, variable: str | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENTTTS_STORE", raising=False)
    if variable:
        monkeypatch.setenv("AGENTTTS_STORE", variable)
    console = Console(file=StringIO(), width=200)
    print_next_steps(console, "mine", store)
    assert isinstance(console.file, StringIO)
    *before, trace, best = console.file.getvalue().splitlines()
    assert trace == f"See why:  {program()} trace mine{named}"
    assert best == f"Keep it:  {program()} best mine{named} > allocation.yaml"
    assert len(before) == ("secret" in store and variable is None) and "secret" not in str(before)


@pytest.mark.usefixtures("printed")
@pytest.mark.parametrize("command", ["studies", "trials", "trace", "best", "frontier", "watch --once"])
def test_a_store_that_was_just_written_is_found(
    clone: Path, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, written_s in (("older.db", 1_000), ("newer", 2_000)):
        shutil.copy(clone / "my store", tmp_path / name)
        os.utime(tmp_path / name, (written_s, written_s))
    (tmp_path / "foreign.db").write_bytes(b"SQLite format 3\0 and nothing that fits")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTTTS_STORE", raising=False)
    app(command.split(), standalone_mode=False)
    assert capsys.readouterr().err == "reading newer, as there is no agenttts.db (--store names another)\n"


def test_without_any_store_the_hint_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTTTS_STORE", raising=False)
    with pytest.raises(ConfigError, match=r"there is no store 'agenttts\.db': run a search first") as raised:
        app(["trace"], standalone_mode=False)
    assert f"`{program()} search minihop-recorded --llm none`" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


ORIGINS = [
    ({"url": "file://{here}", "dir_info": {"editable": True}}, "-e '.[report]'"),
    ({"url": "file:///some%20where/clone", "dir_info": {"editable": True}}, "-e '/some where/clone[report]'"),
    ({"url": "file:///clone", "dir_info": {}}, "'/clone[report]'"),
    (
        {"url": "https://host/a.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
        "'agenttts[report] @ git+https://host/a.git@c0ffee'",
    ),
    ({"url": "file:///a-1-py3-none-any.whl", "archive_info": {}}, "'agenttts[report] @ file:///a-1-py3-none-any.whl'"),
    (None, "'agenttts[report]'"),
]


@pytest.mark.parametrize(("origin", "requirement"), ORIGINS)
def test_an_extra_is_installed_from_where_the_package_came(
    origin: dict[str, object] | None, requirement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    information = tmp_path / "agenttts-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: agenttts\nVersion: 1\n")
    if origin is not None:
        (information / "direct_url.json").write_text(json.dumps(origin).replace("{here}", str(tmp_path)))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    command = install("report", upgrade=True)
    assert " install " in command and command.endswith(f" -U {requirement}")
    assert shlex.split(command)


def test_the_program_that_was_started_is_named_not_another_one(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, other = clone / ".venv" / "bin" / "agenttts", tmp_path / "agenttts"
    shutil.copy(started, other)
    monkeypatch.setenv("PATH", str(other.parent))
    for script, shown in ((started, str(started)), (other, "agenttts")):
        monkeypatch.setattr(sys, "argv", [str(script)])
        assert program() == shown
    monkeypatch.chdir(other.parent)
    monkeypatch.setenv("PATH", BARE)
    assert program() == "./agenttts"
