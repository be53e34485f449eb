"""The sample pool: prefixes, no double purchase, limits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenttts.db import Store
from agenttts.errors import EndpointError, LimitReached
from agenttts.execution.meter import Meter
from agenttts.execution.pool import SamplePool, sample_key
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.samples import Completions, Sample
from agenttts.pipeline import Message, Model, Sampling
from agenttts.testing import ScriptedClient
from tests.endpoint import FakeEndpoint, Fault

# Every example draws in a namespace of its own.
SHARING_A_STORE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
MODEL = Model("m", 1e9, usd_per_million_prompt_tokens=1e6, usd_per_million_completion_tokens=2e6)


def prompt(content: str) -> list[Message]:
    return [{"role": "user", "content": content}]


def client() -> ScriptedClient:
    return ScriptedClient(lambda model, messages, position: f"{messages[0]['content']} {position}")


@SHARING_A_STORE
@given(draws=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 12)), min_size=1, max_size=20))
def test_any_sequence_of_draws_buys_each_sample_once(any_store: Store, draws: list[tuple[str, int]]) -> None:
    scripted, pool = client(), SamplePool(any_store.samples, namespace=uuid.uuid4().hex)

    async def run() -> None:
        for content, samples in draws:
            drawn = await pool.draw(scripted, MODEL, prompt(content), Sampling(), samples)
            assert [sample.text for sample in drawn.samples] == [f"{content} {i}" for i in range(samples)]

    asyncio.run(run())
    largest = {content: max(n for c, n in draws if c == content) for content, _ in draws}
    assert pool.meter.spent.completion_tokens == 2 * sum(largest.values())
    assert pool.meter.spent.reused_completion_tokens == 2 * (sum(n for _, n in draws) - sum(largest.values()))


@SHARING_A_STORE
@given(counts=st.lists(st.integers(1, 12), min_size=2, max_size=12))
def test_coroutines_asking_at_once_buy_each_sample_once(any_store: Store, counts: list[int]) -> None:
    scripted, pool = client(), SamplePool(any_store.samples, namespace=uuid.uuid4().hex)

    async def run() -> None:
        await asyncio.gather(*(pool.draw(scripted, MODEL, prompt("a"), Sampling(), n) for n in counts))

    asyncio.run(run())
    assert pool.meter.spent.completion_tokens == 2 * max(counts)


async def test_keys_differ_by_everything_that_matters(any_store: Store) -> None:
    scripted, pool = client(), SamplePool(any_store.samples)
    base = (MODEL, prompt("a"), Sampling())
    other_revision = Model("m", 1e9, revision="2")
    for model, messages, sampling in (
        base,
        (other_revision, prompt("a"), Sampling()),
        (MODEL, prompt("b"), Sampling()),
        (MODEL, prompt("a"), Sampling(temperature=0.5)),
        (MODEL, prompt("a"), Sampling(extra={"top_k": 1})),
    ):
        await pool.draw(scripted, model, messages, sampling, 1)
    assert scripted.requests == 5
    await pool.fresh("validation").draw(scripted, *base, 1)
    assert scripted.requests == 6
    await pool.draw(scripted, *base, 1)
    assert scripted.requests == 6


async def test_usd_by_the_declared_prices() -> None:
    pool = SamplePool()
    await pool.draw(client(), MODEL, prompt("a"), Sampling(), 3)
    assert pool.meter.spent.usd == pytest.approx(1 * 1 + 3 * 2 * 2)


async def test_a_gap_left_by_a_failure_is_filled_at_its_own_positions(any_store: Store, endpoint: FakeEndpoint) -> None:
    endpoint.ignores_n = True
    endpoint.faults = [None, Fault(400, "no"), None, None]
    asked = Model("small", 1e9, base_url=endpoint.url)
    buying, pool = OpenAIClient(max_retries=0, max_in_flight=1), SamplePool(any_store.samples)
    with pytest.raises(EndpointError):
        await pool.draw(buying, asked, prompt("a"), Sampling(), 4)
    drawn = await pool.draw(buying, asked, prompt("a"), Sampling(), 4)
    first = int(drawn.samples[0].text.removeprefix("text"))
    assert [sample.text for sample in drawn.samples] == [f"text{first + i}" for i in range(4)]
    assert len(endpoint.requests) == 5
    await buying.close()


async def test_a_dead_processs_claim_is_soon_free(any_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.execution.pool._CLAIM_SECONDS", 0.3)
    pool = SamplePool(any_store.samples)
    await pool.draw(client(), MODEL, prompt("a"), Sampling(), 1)
    with_key = sample_key("search", MODEL, prompt("b"), Sampling())
    assert any_store.samples.claim(with_key, "dead", 0.3)
    assert len((await pool.draw(client(), MODEL, prompt("b"), Sampling(), 1)).samples) == 1


async def test_claims_last_as_long_as_their_requests(any_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of draws that outlast their claims, the other process's pool waits, and pays for none."""
    monkeypatch.setattr("agenttts.execution.pool._CLAIM_SECONDS", 6.0)
    slow = _Slow(7.0)
    pools = SamplePool(any_store.samples), SamplePool(any_store.samples)
    drawn = await asyncio.gather(
        *(pool.draw(slow, MODEL, prompt(text), Sampling(), 1) for pool in pools for text in ("a", "b"))
    )
    assert slow.asked == 2
    assert sorted(each.spend.requests for each in drawn) == [0, 0, 1, 1]


@dataclass
class _Slow:
    """A model that takes its time."""

    seconds: float
    asked: int = 0

    async def complete(
        self, model: Model, messages: object, sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        return Completions((Sample("fine", 1),), 1)


async def test_a_limit_is_passed_by_one_purchase_at_most() -> None:
    meter = Meter(max_tokens=100)
    pool = SamplePool(meter=meter)
    draws = [pool.draw(client(), MODEL, prompt(f"p{i}"), Sampling(max_tokens=8), 3) for i in range(200)]
    outcomes = await asyncio.gather(*draws, return_exceptions=True)
    assert any(isinstance(outcome, LimitReached) for outcome in outcomes)
    assert 100 <= meter.spent.tokens < 110


async def test_a_limit_stops_purchases_but_not_reuse() -> None:
    pool = SamplePool(meter=Meter(max_tokens=4))
    await pool.draw(client(), MODEL, prompt("a"), Sampling(), 2)
    await pool.draw(client(), MODEL, prompt("a"), Sampling(), 1)
    with pytest.raises(LimitReached, match="5 tokens of at most 4"):
        await pool.draw(client(), MODEL, prompt("b"), Sampling(), 1)


async def test_what_was_bought_before_a_failure_is_in_the_pool(any_store: Store) -> None:
    def reply(model: Model, messages: object, position: int) -> str:
        if position == 2:
            raise EndpointError("down")
        return "fine"

    pool = SamplePool(any_store.samples)
    with pytest.raises(EndpointError):
        await pool.draw(ScriptedClient(reply), MODEL, prompt("a"), Sampling(), 4)
    assert any_store.samples.count() == 2
    again = await pool.draw(client(), MODEL, prompt("a"), Sampling(), 4)
    assert [sample.text for sample in again.samples] == ["fine", "fine", "a 2", "a 3"]


_PROCESS = """
import asyncio, sys
from agenttts.db import Store
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.samples import Completions, Sample
from agenttts.execution.pool import SamplePool
from agenttts.pipeline import Model, Sampling

async def main(url, store):
    client, pool = OpenAIClient(), SamplePool(Store(store).samples)
    prompts = [[{"role": "user", "content": str(i)}] for i in range(12)]
    model = Model("small", 1e9, base_url=url)
    await asyncio.gather(*(pool.draw(client, model, prompt, Sampling(), 3) for prompt in prompts))
    await client.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_processes_sharing_a_store_buy_each_sample_once(any_url: str, any_store: Store, endpoint: FakeEndpoint) -> None:
    endpoint.delay_s = 0.3
    command = [sys.executable, "-c", _PROCESS, endpoint.url, any_url]
    children = [subprocess.Popen(command) for _ in range(3)]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0]
    assert len(endpoint.requests) == 12
    assert any_store.samples.count() == 36
