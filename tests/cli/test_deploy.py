"""`agenttts best` and `agenttts serve-pipeline`: from a study to an endpoint, with a file between or without."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import yaml

from tests.cli.conftest import SEARCH, Shell


@contextmanager
def serving(shell: Shell, command: str) -> Iterator[str]:
    """The URL of a pipeline that is served, until interrupted."""
    with shell.start(f"serve-pipeline {command} --port 0", stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        assert lines[0] == "pipeline     mine" and lines[3].startswith("serving      http"), lines
        assert lines[1] == "environment  mine.py:environment"
        yield lines[3].split()[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def ask(url: str) -> httpx.Response:
    body = {"model": "mine", "messages": [{"role": "user", "content": "Who?"}]}
    return httpx.post(f"{url}/chat/completions", json=body, timeout=30)


def test_a_study_is_served_by_its_name_or_from_its_file_alone(shell: Shell) -> None:
    shell(f"{SEARCH} --study s")
    (shell.folder / "allocation.yaml").write_text(shell("best s"))
    content = yaml.safe_load((shell.folder / "allocation.yaml").read_text())
    assert content["environment"] == "mine.py:environment" and set(content["endpoints"]) == {"small", "large"}
    with serving(shell, "s") as url:
        by_name = ask(url).json()
    (shell.folder / "agenttts.db").unlink()
    with serving(shell, "allocation.yaml") as url:
        from_file = ask(url).json()
    assert by_name["agenttts"]["allocation"] == from_file["agenttts"]["allocation"] == content["allocation"]
    assert by_name["choices"] == from_file["choices"] and from_file["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(("command", "message"), [
    ("none.yaml", "cannot read the allocation file 'none.yaml'"),
    ("s --store none.db", "there is no store 'none.db'"),
    ("mine.py", "is not YAML"),
])  # fmt: skip
def test_mistakes_are_one_sentence(shell: Shell, command: str, message: str) -> None:
    assert message in shell(f"serve-pipeline {command} --port 0", code=2)


def test_a_file_of_another_pipeline_is_refused(shell: Shell) -> None:
    shell(f"{SEARCH} --study s")
    (shell.folder / "allocation.yaml").write_text(shell("best s"))
    code = (shell.folder / "mine.py").read_text()
    (shell.folder / "mine.py").write_text(code.replace('"find {{ question }}"', '"seek {{ question }}"'))
    said = shell("serve-pipeline allocation.yaml --port 0", code=2)
    assert "another version of pipeline 'mine': subtask 'find' changed since" in said
