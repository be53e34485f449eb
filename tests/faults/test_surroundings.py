"""Where the program runs: locale C, no HOME, a checkout that cannot be written, output that cannot be written.

| tried | must be |
|---|---|
| a search, a table and an allocation file with locale C and no HOME, from a copy | done, the copy as it was |
| standard output or error closed | as with them |
| standard output on a full disk | one sentence |
| a working folder that is gone, or cannot be written | one sentence |
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import agenttts

PROGRAM = "import sys; sys.dont_write_bytecode = True; from agenttts.cli import main; main()"
SEARCH = "search minihop-recorded --llm none --trials 2 --study s --store s.db"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that cannot be written, where the user is not root, to whom everything can."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copytree(Path(agenttts.__file__).parent, copy / "agenttts", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o555)
    return copy


def run(command: str, checkout: Path, *, shell: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """`agenttts` with these environment variables and no others, and `shell` behind the command."""
    arguments = ["/bin/sh", "-c", f'"$0" -c "{PROGRAM}" {command} {shell}', sys.executable]
    known = {"PATH": os.defpath, "PYTHONPATH": str(checkout), **variables}
    return subprocess.run(arguments, env=known, capture_output=True, text=True, timeout=120)


def test_locale_c_no_home_and_a_checkout_that_is_not_written(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(checkout.rglob("*"))
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TMPDIR": str(tmp_path / "none")}
    for command in (SEARCH, "trials s --store s.db", "best s --store s.db"):
        ended = run(command, checkout, **bare)
        assert ended.returncode == 0 and ended.stdout and not ended.stderr, (command, ended.stderr)
    assert sorted(checkout.rglob("*")) == before


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_a_closed_stream_is_no_fault(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run("environments", checkout, shell=closed)
    assert ended.returncode == 0 and not ended.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", ["environments", "environments --json", "--version"])
def test_output_to_a_full_disk_is_one_sentence(checkout: Path, command: str) -> None:
    ended = run(command, checkout, shell="> /dev/full")
    assert ended.returncode == 2
    assert ended.stderr == "error: cannot write to standard output: No space left on device\n"


@pytest.mark.skipif(sys.version_info[:3] == (3, 13, 0), reason="Python 3.13.0 cannot import asyncio in such a folder")
def test_a_working_folder_that_is_gone_is_one_sentence(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ended = run(SEARCH, checkout)
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 4 and last == "error: cannot open the store s.db: No such file or directory"
    assert "Traceback" not in ended.stderr
