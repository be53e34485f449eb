"""A shell to run the command in, and a pipeline of one's own to run it on."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint import FakeEndpoint
from tests.forked import Forks

SEARCH = "search mine.py:environment --budget 100 --trials 5 --method random"

PIPELINE = """
import agenttts as at

models = [at.Model("small", 1e6, base_url="{url}"), at.Model("large", 8e6, base_url="{url}")]
find = at.Subtask("find", models, "find {{{{ question }}}}", prompt_tokens=5, completion_tokens=2, max_samples=4)
answer = at.Subtask("answer", models, "{{{{ question }}}} {{{{ find }}}}", prompt_tokens=6, completion_tokens=2,
                    max_samples=4)
rows = [{{"id": str(i), "question": f"q{{i}}", "gold": "text"}} for i in range(8)]
pipeline = at.Pipeline("mine", (find, answer), at.metrics.exact_match("gold"))
environment = at.LiveEnvironment(pipeline, rows[:5], held_out=rows[5:])
"""


class Shell:
    """Runs `agenttts` in an empty folder without any key."""

    def __init__(self, folder: Path, endpoint: FakeEndpoint, forks: Forks) -> None:
        self.folder, self._forks = folder, forks
        (folder / "mine.py").write_text(PIPELINE.format(url=endpoint.url))

    def start(self, command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-c", "from agenttts.cli import main; main()", *shlex.split(command)],
            text=True, cwd=self.folder, env=_keyless() | options.pop("variables", {}),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )  # fmt: skip

    def __call__(self, command: str, code: int = 0, **variables: str) -> str:
        """Run a command; what it printed, or for another code the error, which must stand alone in one line."""
        done = self._forks.run(shlex.split(command), str(self.folder), _keyless() | variables)
        out, err = done.stdout, done.stderr
        assert done.returncode == code, out + err
        assert "Traceback" not in err
        if code:
            assert out == "" and err.startswith("error: ") and err.count("\n") == 1
        return err if code else out

    def json(self, command: str) -> Any:
        return json.loads(self(f"{command} --json"))

    @property
    def files(self) -> set[str]:
        """What commands have left in the folder."""
        return {path.name for path in self.folder.iterdir()} - {"mine.py", "__pycache__"}


def _keyless() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "AGENTTTS_"))}


@pytest.fixture
def shell(tmp_path: Path, endpoint: FakeEndpoint, forks: Forks) -> Shell:
    endpoint.reply = lambda messages, seed: "text" if seed % 3 else "other"
    return Shell(tmp_path, endpoint, forks)
