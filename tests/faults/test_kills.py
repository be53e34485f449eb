"""Searches that are killed at any instant and run again: they end as one that was never stopped, and pay once.

Tried: SIGKILL after a random time, from the start of the process to the end of the search, again and again until it
ends by itself. Compared: every trial, its scores, and the requests that the server has seen, key by key.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenttts.db import Store
from tests.endpoint import FakeEndpoint

PROGRAM = """
import agenttts as at
models = tuple(at.Model(name, size, base_url={url!r}) for name, size in (("small", 1e6), ("large", 8e6)))
short = dict(max_samples=4, prompt_tokens=10, completion_tokens=5)
find = at.Subtask("find", models, "find {{{{ question }}}}", **short)
answer = at.Subtask("answer", models, "{{{{ find }}}} {{{{ question }}}}", **short)
pipeline = at.Pipeline("killed", (find, answer), metric=at.metrics.equal("gold"))
rows = [dict(id=f"e{{i}}", question=f"{{i}}?", gold="yes") for i in range(16)]
environment = at.LiveEnvironment(pipeline, rows[:10], held_out=rows[10:])
"""
COMMAND = [sys.executable, "-c", "from agenttts.cli import main; main()", "search", "killed.py:environment"]
OPTIONS = ["--budget", "600", "--trials", "6", "--method", "random", "--study", "s", "--store", "killed.db"]
IN_FLIGHT = 2 * 10 * 4
"""Samples that a search may be waiting for: two trials, ten examples, four samples each."""
ROOT = Path(__file__).parents[2]


def _reply(messages: Sequence[dict[str, str]], seed: int) -> str:
    digest = hashlib.sha256(f"{messages[-1]['content']}{seed}".encode()).digest()
    return "yes" if digest[0] % 3 else "no"


def _run(folder: Path, kill_after_s: float | None) -> bool:
    """One run of the command; whether it ended by itself."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*COMMAND, *OPTIONS], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        try:
            _, error = running.communicate(timeout=kill_after_s)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            return False
    assert running.returncode == 0, error.decode()
    return True


def _outcome(folder: Path) -> list[tuple[str, list[tuple[str, float]]]]:
    store = Store(str(folder / "killed.db"))
    try:
        trials = store.archive(store.study("s")).trials
        # Of two trials at once, the one that ends first has the lower number: their order is no outcome.
        return sorted((t.allocation.key, sorted((r.example, r.score) for r in t.evaluation.results)) for t in trials)
    finally:
        store.close()


def _asked(endpoint: FakeEndpoint) -> Counter[str]:
    """Prompt, model and seed of each sample that was asked for -> how often."""
    return Counter(
        json.dumps([body["model"], body["messages"], body["seed"] + i])
        for body in endpoint.requests
        for i in range(body.get("n", 1))
    )


@pytest.mark.parametrize("kills", [2, pytest.param(200, marks=pytest.mark.slow)])
def test_a_search_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path: Path, kills: int) -> None:
    luck, killed, searches = random.Random(kills), 0, 0
    while killed < kills:
        searches += 1
        whole, pieces = tmp_path / f"whole{searches}", tmp_path / f"pieces{searches}"
        with FakeEndpoint() as sound, FakeEndpoint() as endpoint:
            for folder, server in ((whole, sound), (pieces, endpoint)):
                folder.mkdir()
                server.reply, server.delay_s = _reply, 0.05
                (folder / "killed.py").write_text(PROGRAM.format(url=server.url))
            started = time.monotonic()
            assert _run(whole, None)
            lasts, before = time.monotonic() - started, killed
            while not _run(pieces, luck.uniform(0.1, 1.0) * lasts if killed - before < 12 and killed < kills else None):
                killed += 1
            assert _outcome(pieces) == _outcome(whole)
            # What was under way when it was killed is asked for again, and nothing else.
            twice = sum(count - 1 for count in _asked(endpoint).values())
            assert set(_asked(endpoint)) == set(_asked(sound))
            assert twice <= (killed - before) * IN_FLIGHT
