"""Programs in any language are searched as they are: in Node, and as a shell script with curl."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from tests.endpoint import FakeEndpoint, Fault

NODE = """
const lines = require("readline").createInterface({ input: process.stdin });
async function ask(step, content) {
  const response = await fetch(process.env["AGENTTTS_STEP_" + step] + "/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "any", messages: [{ role: "user", content }] }),
  });
  const said = await response.json();
  if (!response.ok) throw new Error(said.error.message);
  return said.choices[0].message.content;
}
lines.on("line", async (line) => {
  const { question } = JSON.parse(line);
  const fact = await ask("find", "question " + question);
  const answer = await ask("answer", "Use " + fact);
  process.stdout.write(WRITTEN);
});
"""
CURL = """
question=$(sed 's/.*"question": "\\([^"]*\\)".*/\\1/')
ask() {
  curl --silent --fail-with-body "$OPENAI_BASE_URL/chat/completions" -H "Authorization: Bearer $OPENAI_API_KEY" \\
    -d "{\\"model\\": \\"step:$1\\", \\"messages\\": [{\\"role\\": \\"user\\", \\"content\\": \\"$2\\"}]}" |
    sed 's/.*"content": "\\([^"]*\\)".*/\\1/'
}
fact=$(ask find "question $question")
ask answer "Use $fact"
"""
CHOSEN = at.Allocation({"find": ("large", 1), "answer": ("small", 3)})
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def said(messages: Sequence[dict[str, str]], seed: int) -> str:
    """The fact of a question, and that as the answer: the first of three is wrong."""
    content = messages[-1]["content"]
    right = f"fact of {content.rpartition(' ')[2]}"
    return "wrong" if content.startswith("Use") and seed == 0 else right


def environment(
    endpoint: FakeEndpoint, command: Any, rows: int = 4, names: Sequence[str] = ("find", "answer")
) -> LiveEnvironment:
    endpoint.reply = said
    models = [at.Model(name, size, base_url=endpoint.url) for name, size in (("small", 1e6), ("large", 8e6))]
    lengths = {"prompt_tokens": 10, "completion_tokens": 5, "max_samples": 6}
    pipeline = at.Pipeline(
        "app", [at.Subtask(name, models, **lengths) for name in names], at.metrics.equal("gold"), command=command
    )
    examples = [{"id": str(i), "question": f"q{i}", "gold": f"fact of q{i}"} for i in range(rows)]
    return LiveEnvironment(pipeline, examples)


def script(folder: Path, text: str, name: str = "app.sh") -> list[str]:
    path = folder / name
    path.write_text(text)
    return [{".js": "node", ".sh": "sh", ".py": sys.executable}[path.suffix], str(path)]


async def evaluated(found: LiveEnvironment, **choice: Any) -> at.Evaluation:
    async with found:
        return await found.evaluate(at.Allocation(choice) if choice else CHOSEN)


def programs() -> Sequence[Any]:
    return [
        pytest.param("app.js", NODE.replace("WRITTEN", "answer"), False, marks=needs_node),
        pytest.param("app.js", NODE.replace("WRITTEN", 'JSON.stringify(answer) + "\\n"'), True, marks=needs_node),
        pytest.param("app.sh", CURL, False, marks=needs_curl),
    ]


@pytest.mark.parametrize(("name", "text", "keep"), programs())
async def test_models_and_samples_come_from_the_allocation(
    endpoint: FakeEndpoint, tmp_path: Path, name: str, text: str, keep: bool
) -> None:
    command = at.Command(script(tmp_path, text, name), keep=keep, at_once=2)
    async with environment(endpoint, command) as found:
        evaluation = await found.evaluate(CHOSEN)
        asked = len(endpoint.requests)
        again = await found.evaluate(CHOSEN)
    assert (evaluation.score, evaluation.failures) == (1, 0), evaluation.errors
    assert evaluation.usage["find"].samples == 4 and evaluation.usage["answer"].samples == 12
    assert [body["model"] for body in endpoint.requests].count("large") == 4 and asked == len(endpoint.requests) == 8
    assert again.score == 1 and again.spend.tokens == 0 and again.spend.reused_tokens == evaluation.spend.tokens
    assert not left_running(tmp_path)


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that were started with a file of this folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found += [words] if str(folder) in words and "pytest" not in words else []
    return found
