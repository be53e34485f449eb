"""A search whose server fails three requests in ten, in every way at once: its scores are those of a sound server.

Tried: statuses 500, 503 and 401, 429 with Retry-After, a page of HTML, an error, no choices, null content, cut JSON and
absurd usage with status 200, an empty 204, and a connection that is cut.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.llm.openai import OpenAIClient
from tests.endpoint import FakeEndpoint, Fault

FAULTS = [
    Fault(500),
    Fault(503),
    Fault(401, "incorrect key"),
    Fault(429, "slow down", {"Retry-After": "0.05"}),
    Fault(429, "slow down", {"retry-after-ms": "20"}),
    Fault(204),
    Fault(0),
    Fault(200, "<html>we will be back soon</html>"),
    Fault(200, json.dumps({"error": {"message": "overloaded"}})),
    Fault(200, json.dumps({"detail": "overloaded"})),
    Fault(200, json.dumps({"choices": []})),
    Fault(200, json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": None}}]})),
    Fault(200, '{"choices": [{"index": 0, "mess'),
    Fault(200, "null"),
    Fault(200, "[]"),
]


class Failing(FakeEndpoint):
    """Fails a share of its requests, each time in a way drawn by chance."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__()
        self._share, self._rng = share, random.Random(seed)
        self.failed = 0
        self.reply = _reply

    def answer(self, body: dict[str, Any], authorization: str) -> Fault | dict[str, Any]:
        """A completion, but for the share that fails; the first request is let through, as a server that is up does."""
        if self.requests and self._rng.random() < self._share:
            self.failed += 1
            return self._rng.choice(FAULTS)
        return super().answer(body, authorization)


def _reply(messages: Sequence[dict[str, str]], seed: int) -> str:
    """Right two times out of three, by the prompt and the seed alone."""
    digest = hashlib.sha256(f"{messages[-1]['content']}{seed}".encode()).digest()
    return "yes" if digest[0] % 3 else "no"


async def scores(url: str, path: Path, seed: int) -> dict[str, list[tuple[str, float]]]:
    """Allocation -> the score of every example, after a search."""
    models = tuple(at.Model(name, size, base_url=url) for name, size in (("small", 1e6), ("large", 8e6)))
    short: dict[str, Any] = {"max_samples": 4, "prompt_tokens": 10, "completion_tokens": 5}
    find = at.Subtask("find", models, "find {{ question }}", **short)
    answer = at.Subtask("answer", models, "{{ find }} {{ question }}", **short)
    pipeline = at.Pipeline("mixed", (find, answer), metric=at.metrics.equal("gold"))
    rows = [{"id": f"e{i}", "question": f"{seed} {i}?", "gold": "yes"} for i in range(12)]
    environment = at.LiveEnvironment(pipeline, rows[:8], held_out=rows[8:], client=OpenAIClient(max_retries=8))
    space = at.SearchSpace(pipeline, at.cost_model("flops"), 600)
    result = await at.search(
        environment, at.searcher("random", seed=seed), space, str(path), study_name="s", seed=seed,
        limits=at.Limits(trials=4), parallel=2,
    )  # fmt: skip
    assert result.validation is not None
    evaluations = {trial.allocation.key: trial.evaluation for trial in result.archive.trials}
    evaluations["held out"] = result.validation
    assert not any(evaluation.missing or evaluation.failures for evaluation in evaluations.values())
    return {key: [(each.example, each.score) for each in e.results] for key, e in evaluations.items()}


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] if seed > 1 else []) for seed in range(20)]
)
async def test_scores_are_those_of_a_server_without_faults(tmp_path: Path, seed: int) -> None:
    with FakeEndpoint() as sound, Failing(0.3, seed) as failing:
        sound.reply = _reply
        expected = await scores(sound.url, tmp_path / "sound.db", seed)
        assert await scores(failing.url, tmp_path / "failing.db", seed) == expected
        assert failing.failed > 5
        # What was asked for again was asked for because it had failed.
        assert len(failing.requests) <= len(sound.requests) + failing.failed
