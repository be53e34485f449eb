"""What a server tells of tokens never loses a sample, and never switches a limit off.

| usage tried | must be |
|---|---|
| absent, null, a list, a text, a number | tokens counted by length, said once per endpoint |
| counts of 10**18, of 4,300 digits, NaN, infinity, floats, texts, null, booleans | the same |
| counts below 0, 0 of a text, fewer than the text can have, more than `max_tokens` allows | the same |
| each of them, with a limit in tokens and in USD | the limit holds: no request more than with a right usage |
| spend and reuse | never below 0 |
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agenttts.errors import LimitReached
from agenttts.execution.meter import Meter
from agenttts.execution.pool import SamplePool
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.samples import Completions, Sample
from agenttts.pipeline import Message, Model, Sampling
from tests.faults.server import Answer, RawServer, completion, http, pipeline, prompt

MAX_TOKENS = 16
TEXT = "twelve tokens or so of a text that is long enough"
RIGHT = {"prompt_tokens": 4, "completion_tokens": 12}
COUNTS = ["-1000", "1" + "0" * 18, "9" * 4301, "NaN", "Infinity", "-Infinity", "1e300", '"7"', "null", "true"]
HOSTILE: dict[str, Any] = {
    "absent": None,
    "null": "null",
    "a list": "[]",
    "a text": '"12"',
    "a number": "12",
    **{
        f"{name} is {count[:12]}": json.dumps(RIGHT).replace(str(RIGHT[name]), count)
        for name in RIGHT
        for count in (
            "-1000",
            "1" + "0" * 18,
            "9" * 4301,
            "NaN",
            "Infinity",
            "-Infinity",
            "1e300",
            '"7"',
            "null",
            "true",
        )
    },
    "no completion tokens": '{"prompt_tokens": 4, "completion_tokens": 0}',
    "no prompt tokens": '{"prompt_tokens": 0, "completion_tokens": 12}',
    "one more for each choice": '{"prompt_tokens": 4, "completion_tokens": 100}',
    "a long prompt": '{"prompt_tokens": 100000, "completion_tokens": 12}',
}


def answer(usage: str | None) -> Answer:
    body = json.dumps(completion(TEXT, usage=0))
    return http(body.replace('"usage": 0', '"x": 0' if usage is None else f'"usage": {usage}'))


async def spent(usage: str | None, meter: Meter, *, times: int = 40) -> int:
    """Requests until a limit stops them."""
    with RawServer(lambda asked, number: answer(usage)) as server:
        client, pool = OpenAIClient(timeout_s=2), SamplePool(meter=meter)
        model = pipeline(server.url, prices=True).subtasks[0].models[0]
        try:
            for i in range(times):
                drawn = await pool.draw(client, model, prompt(f"question {i}"), Sampling(max_tokens=MAX_TOKENS), 1)
                assert drawn.samples[0].text == TEXT
                assert 0 < drawn.samples[0].completion_tokens <= MAX_TOKENS + 1 and drawn.spend.usd > 0
                assert 0 < drawn.prompt_tokens < 400
        except LimitReached:
            pass
        finally:
            await client.close()
        return len(server.requests)


@pytest.mark.parametrize("usage", HOSTILE)
async def test_no_usage_loses_a_sample_or_a_limit(usage: str, caplog: pytest.LogCaptureFixture) -> None:
    meter = Meter(max_tokens=100)
    assert 5 <= await spent(HOSTILE[usage], meter) <= 8  # six with a right usage
    assert 100 <= meter.spent.tokens < 100 + 2 * MAX_TOKENS
    told = [record.message for record in caplog.records if "counted by length" in record.message]
    assert len(told) == 1 and "model 'small' at http://127.0.0.1" in told[0]


@pytest.mark.parametrize("usage", ["absent", "completion_tokens is -1000", "prompt_tokens is NaN"])
async def test_a_limit_in_usd_holds(usage: str) -> None:
    meter = Meter(max_usd=100 / 1e6)
    assert 5 <= await spent(HOSTILE[usage], meter) <= 8
    assert 100 / 1e6 <= meter.spent.usd < 140 / 1e6


async def test_a_right_usage_is_taken_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    meter = Meter(max_tokens=100)
    assert await spent(json.dumps(RIGHT), meter) == 7
    assert meter.spent.tokens == 7 * 16
    told = [f"{share} % of a limit are used up" for share in (50, 80)]
    assert [record.message.split(":")[0] for record in caplog.records] == told


@pytest.mark.parametrize("told", [1, 200, 316])
async def test_parallel_requests_keep_to_what_they_have_reserved(told: int) -> None:
    """The prompt's tokens are as many as can still be believed, and far more than its words."""
    usage = json.dumps({"prompt_tokens": told, "completion_tokens": 17})
    meter, limit = Meter(max_tokens=2000), 2000
    with RawServer(lambda asked, number: answer(usage)) as server:
        client, pool = OpenAIClient(timeout_s=5), SamplePool(meter=meter)
        model = pipeline(server.url).subtasks[0].models[0]
        draws = [pool.draw(client, model, prompt(f"{i}"), Sampling(max_tokens=MAX_TOKENS), 1) for i in range(300)]
        outcomes = await asyncio.gather(*draws, return_exceptions=True)
        await client.close()
    assert any(isinstance(outcome, LimitReached) for outcome in outcomes)
    assert limit <= meter.spent.tokens < limit + told + 17 + 1


@dataclass
class Counting:
    """Answers with 200 tokens of prompt and 17 of completion, and counts how many wait at once."""

    waiting: int = 0
    most: int = 0

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        return Completions((Sample(TEXT, 17),), 200)


async def test_requests_run_side_by_side_under_a_limit_in_usd() -> None:
    model = Model("small", usd_per_million_prompt_tokens=1, usd_per_million_completion_tokens=1)
    meter, client = Meter(max_usd=20_000 / 1e6), Counting()
    pool, sampling = SamplePool(meter=meter), Sampling(max_tokens=MAX_TOKENS)
    draws = [pool.draw(client, model, prompt(f"{i}"), sampling, 1) for i in range(200)]
    outcomes = await asyncio.gather(*draws, return_exceptions=True)
    assert any(isinstance(outcome, LimitReached) for outcome in outcomes)
    assert 20_000 / 1e6 <= meter.spent.usd < (20_000 + 217 + 1) / 1e6
    assert client.most > 20


@pytest.mark.parametrize("told", ["-5", "NaN", '"many"', "1" + "0" * 30])
async def test_embeddings_are_counted_too(told: str) -> None:
    body = f'{{"data": [{{"embedding": [0.5, 1]}}], "usage": {{"prompt_tokens": {told}}}}}'
    with RawServer(lambda asked, number: http(body)) as server:
        client, pool = OpenAIClient(timeout_s=2), SamplePool()
        vector, spend = await pool.embed(client, pipeline(server.url).subtasks[0].models[0], "three words here")
        await client.close()
    assert vector == (0.5, 1.0) and 0 < spend.prompt_tokens < 10
