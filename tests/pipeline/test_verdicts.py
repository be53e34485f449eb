"""Verdicts that count by how probable Yes was: over HTTP, from a store, and where a server tells no probabilities."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.db import Store
from agenttts.errors import ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.execution.run import ExampleRun
from agenttts.llm.answers import read_choices
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Operator
from agenttts.pipeline.fingerprint import describe
from agenttts.pipeline.operators import BestOf, Verifier, WeightedVote
from tests.endpoint import FakeEndpoint, Fault

TRUST = {"a": 0.4, "b": 0.45}
"""Answer -> the chance that the judge says Yes of it: it always says No."""


class Judging(FakeEndpoint):
    """The stage's model says a, a, b in turn; of a verdict, the log probabilities are told as vLLM tells them."""

    def __init__(self) -> None:
        super().__init__()
        self.models = ["small", "judge"]
        self.tells = True
        self.refuses = ""
        self.reply = lambda messages, seed: "No" if "Proposed" in messages[-1]["content"] else "aab"[seed % 3]

    def answer(self, body: dict[str, Any], authorization: str) -> Fault | dict[str, Any]:
        if self.refuses and self.refuses in body:
            self.requests.append(body)
            return Fault(400, f"Unsupported parameter: '{self.refuses}' is not supported with this model.")
        answer = super().answer(body, authorization)
        if self.tells and body.get("logprobs") and not isinstance(answer, Fault):
            yes = TRUST[body["messages"][-1]["content"].split()[-1]]
            # Spellings of both words; the drawn one is among them, as it is at OpenAI, or not, as it may be at vLLM.
            tops = [_token("No", (1 - yes) * 0.7), _token(" yes", yes * 0.5), _token("YES", yes * 0.5)]
            told = [{**_token("So", 0.9), "top_logprobs": []}, {**_token(" no", (1 - yes) * 0.3), "top_logprobs": tops}]
            for choice in answer["choices"]:
                choice["logprobs"] = {"content": told}
        return answer


def _token(text: str, chance: float) -> dict[str, Any]:
    return {"token": text, "logprob": math.log(chance), "bytes": list(text.encode())}


@pytest.fixture
def server() -> Iterator[Judging]:
    with Judging() as endpoint:
        yield endpoint


def output(server: Judging, make: type[BestOf | WeightedVote], store: Store, **fields: Any) -> Any:
    small, judge = (at.Model(name, 1e9, base_url=server.url) for name in ("small", "judge"))
    operator: Operator = make(Verifier(judge, **fields), votes=2)
    subtask = at.Subtask("s", (small,), "{{ question }}", operators=(operator,))
    pipeline = at.Pipeline("p", (subtask,), metric=at.metrics.equal("question"))

    async def run() -> Any:
        client, pool = OpenAIClient(timeout_s=5, max_retries=0), SamplePool(store.samples)
        try:
            allocation = at.Allocation({"s": ("small", 3)})
            return await ExampleRun(pipeline, allocation, {"id": "1", "question": "q"}, client, pool).walk()
        finally:
            await client.close()

    return asyncio.run(run())


def test_the_more_probable_yes_wins_and_a_replay_says_the_same(server: Judging, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store.db"))
    assert output(server, BestOf, store) == "a"  # No counts as No
    said = output(server, BestOf, store, logprobs=True)
    asked = len(server.requests)
    assert said == "b" and [r["top_logprobs"] for r in server.requests if "logprobs" in r] == [5, 5]
    assert output(server, BestOf, store, logprobs=True) == "b" and len(server.requests) == asked
    # Two samples of 0.4 have more of its trust than one of 0.45.
    assert output(server, WeightedVote, store, logprobs=True) == "a" and len(server.requests) == asked
    store.close()
    kept = [sample for _, _, sample in Store(str(tmp_path / "store.db")).samples.everything() if sample.logprobs]
    assert [sample.logprobs[1][0][0] for sample in kept] == [" no"] * 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tells": False}, "model 'judge' at .* tells no log probabilities: what needs them does without"),
        ({"refuses": "logprobs"}, "does not take logprobs=True .*: it is left out of all requests from now on"),
    ],
)
def test_a_server_without_probabilities_is_named_and_its_words_count(
    server: Judging, caplog: pytest.LogCaptureFixture, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    vars(server).update(change)
    assert output(server, BestOf, Store(str(tmp_path / "store.db")), logprobs=True) == "a"
    assert sum(re.search(words, record.message) is not None for record in caplog.records) == 1


@pytest.mark.parametrize(
    "told",
    [None, [], {}, {"content": None}, {"content": ["No"]}, {"content": [{"token": "No", "logprob": None}]},
     {"content": [{"token": "No", "logprob": math.nan}]}, {"tokens": ["No"], "token_logprobs": [-0.1]}],
)  # fmt: skip
def test_log_probabilities_of_another_shape_are_none(told: Any) -> None:
    choice = {"message": {"content": "No"}, "finish_reason": "stop", "logprobs": told}
    assert read_choices({"choices": [choice]}, 1).usable[0].logprobs == ()


def test_a_verifier_without_probabilities_is_what_it_was() -> None:
    judge = at.Model("judge", 1e9)
    assert describe(Verifier(judge)) == describe(Verifier(judge, tokens=5)) != describe(Verifier(judge, logprobs=True))
    with pytest.raises(ConfigError, match="Verifier: logprobs must be True or False, not 5"):
        Verifier(judge, logprobs=5)  # type: ignore[arg-type]
