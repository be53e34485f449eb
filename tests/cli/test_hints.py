"""Commands that are printed to be pasted work as printed, in the shell and the folder where the program was started."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agenttts._util.hints import install, program
from tests.cli.conftest import SEARCH, Shell

SCRIPT = f"#!{sys.executable}\nfrom agenttts.cli import main\nmain()\n"
BARE = os.pathsep.join(["/usr/bin", "/bin"])
"""A path on which no `agenttts` is."""


class Clone:
    """A folder with `.venv/bin/agenttts`, as `make demo` leaves it, and a shell there."""

    def __init__(self, shell: Shell) -> None:
        self.folder = shell.folder
        self.script = self.folder / ".venv" / "bin" / "agenttts"
        self.script.parent.mkdir(parents=True)
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)

    def __call__(self, command: str, path: str = BARE, **variables: str) -> subprocess.CompletedProcess[str]:
        """What a person gets who pastes a command."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "AGENTTTS_"))}
        return subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=kept | {"PATH": path} | variables,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def paste(self, printed: str, path: str = BARE, **variables: str) -> list[str]:
        """The commands that a search ended with, each of them run."""
        commands = re.findall(r"^(?:See why|Keep it):  (.*)$", printed, re.M)
        assert len(commands) == 2, printed
        for command in commands:
            done = self(command, path, **variables)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
        return commands


@pytest.fixture
def clone(shell: Shell) -> Clone:
    return Clone(shell)


def test_what_a_search_ends_with_can_be_pasted(clone: Clone) -> None:
    done = clone(f".venv/bin/agenttts {SEARCH} --study 'my study' --store 'a store.db'")
    trace, best = clone.paste(done.stdout)
    assert trace == ".venv/bin/agenttts trace 'my study' --store 'a store.db'"
    assert best == ".venv/bin/agenttts best 'my study' --store 'a store.db' > allocation.yaml"


def test_an_activated_environment_needs_no_path(clone: Clone) -> None:
    path = f"{clone.script.parent}{os.pathsep}{BARE}"
    done = clone(f"agenttts {SEARCH} --study mine", path)
    assert clone.paste(done.stdout, path)[0] == "agenttts trace mine"


def test_a_store_of_the_environment_is_not_named_again(clone: Clone) -> None:
    done = clone(f".venv/bin/agenttts {SEARCH} --study mine", AGENTTTS_STORE="own.db")
    assert clone.paste(done.stdout, AGENTTTS_STORE="own.db")[0] == ".venv/bin/agenttts trace mine"
    done = clone(f".venv/bin/agenttts {SEARCH} --study mine --store agenttts.db", AGENTTTS_STORE="own.db")
    assert clone.paste(done.stdout, AGENTTTS_STORE="own.db")[0].endswith("--store agenttts.db")


@pytest.mark.parametrize("command", ["studies", "trials", "trace", "best", "frontier", "watch --once"])
def test_a_store_that_was_just_written_is_found(shell: Shell, command: str) -> None:
    older, newer = shell.folder / "older.db", shell.folder / "newer"
    shell(f"{SEARCH} --study first --store {older.name}")
    shutil.copy(older, newer)
    shell(f"{SEARCH.replace('random', 'grid')} --study second --store {newer.name}")
    (shell.folder / "foreign.db").write_bytes(b"SQLite format 3\0 and nothing that fits")
    before = {path.name for path in shell.folder.iterdir()}
    with shell.start(command) as process:
        printed, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert told == "reading newer, as there is no agenttts.db (--store names another)\n"
    assert "first" not in printed or command == "studies"
    assert {path.name for path in shell.folder.iterdir()} == before


def test_without_a_store_the_hint_makes_one(clone: Clone) -> None:
    error = clone(".venv/bin/agenttts trace").stderr
    (command,) = re.findall(r"`(.*?)`", error)
    assert command.startswith(".venv/bin/agenttts search ")
    assert clone(f"{command} --trials 1").returncode == 0
    assert clone(".venv/bin/agenttts trace").returncode == 0


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
    assert command.endswith(f"pip install -U {requirement}")
    assert shlex.split(command)


def test_the_program_that_was_started_is_named_not_another_one(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "elsewhere" / "agenttts"
    other.parent.mkdir()
    shutil.copy(clone.script, other)
    monkeypatch.setenv("PATH", str(other.parent))
    for started, shown in ((clone.script, str(clone.script)), (other, "agenttts")):
        monkeypatch.setattr(sys, "argv", [str(started)])
        assert program() == shown
    monkeypatch.chdir(other.parent)
    monkeypatch.setenv("PATH", BARE)
    assert program() == "./agenttts"
