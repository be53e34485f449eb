"""The README's pipeline is real: it is taken from the page and searched against an HTTP endpoint."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agenttts.allocation import SearchSpace
from agenttts.cost import FlopsCost
from agenttts.db import Store
from agenttts.environments import environment
from agenttts.loop import Limits, search
from agenttts.methods import searcher
from tests.endpoint import FakeEndpoint

README = Path(__file__).parent.parent / "README.md"


async def test_the_pipeline_of_the_readme_runs(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    row = {"question": "Who?", "passages": ["Ann did.", "Bob did not."], "answer": "Ann"}
    for name in ("train.jsonl", "test.jsonl"):
        rows = [json.dumps({**row, "id": f"{name}{i}"}) for i in range(3)]
        (tmp_path / name).write_text("\n".join(rows))
    (tmp_path / "rag.py").write_text(code)

    def reply(messages: Any, seed: int) -> str:
        return "[1]" if "numbers" in messages[-1]["content"] else "So it was.\nAnswer: Ann"

    endpoint.reply, endpoint.models = reply, ["llama-3.1-8b", "llama-3.1-70b"]
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.chdir(tmp_path)
    found = environment("rag.py:environment")
    space = SearchSpace(found.pipeline, FlopsCost(), 1e8)
    result = await search(
        found, searcher("agent", llm="none"), space, Store(), study_name="rag", limits=Limits(trials=6)
    )
    assert result.best.evaluation.score == 1 and result.validation is not None


def test_every_command_of_the_readme_exists() -> None:
    from agenttts.cli.app import app

    named = set(re.findall(r"(?<!import )agenttts ([a-z-]+)", README.read_text()))
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert named <= known
