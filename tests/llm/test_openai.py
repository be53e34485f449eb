"""The client against a real HTTP server: n, seeds, faults, keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.endpoint import shown_url
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Message, Model, Sampling
from tests.endpoint import FakeEndpoint, Fault

PROMPT: list[Message] = [{"role": "user", "content": "one two three"}]


@pytest.fixture
async def client() -> AsyncIterator[OpenAIClient]:
    opened = OpenAIClient(max_retries=2, timeout_s=5)
    yield opened
    await opened.close()


def model(endpoint: FakeEndpoint, name: str = "small") -> Model:
    return Model(name, 1e9, base_url=endpoint.url)


async def test_one_request_brings_all_samples(endpoint: FakeEndpoint, client: OpenAIClient) -> None:
    sampling = Sampling(temperature=0.7, stop=("\n",), extra={"top_k": 0})
    bought = await client.complete(model(endpoint), PROMPT, sampling, start=0, samples=8, seed=100)
    assert [sample.text for sample in bought.samples] == [f"text{100 + i}" for i in range(8)]
    assert bought.prompt_tokens == 3
    assert sum(sample.completion_tokens for sample in bought.samples) == 8
    (request,) = endpoint.requests
    assert (request["n"], request["temperature"], request["stop"], request["top_k"]) == (8, 0.7, ["\n"], 0)


async def test_a_server_that_caps_n_is_learned_once(endpoint: FakeEndpoint, client: OpenAIClient) -> None:
    endpoint.most_n = 4
    first = await client.complete(model(endpoint), PROMPT, Sampling(), start=0, samples=16, seed=0)
    assert [sample.text for sample in first.samples] == [f"text{i}" for i in range(4)]
    assert [request.get("n", 1) for request in endpoint.requests] == [16, 8, 4]
    await client.complete(model(endpoint), PROMPT, Sampling(), start=4, samples=12, seed=0)
    assert [request.get("n", 1) for request in endpoint.requests[3:]] == [4]


async def test_a_server_that_ignores_n_is_learned_once(endpoint: FakeEndpoint, client: OpenAIClient) -> None:
    endpoint.ignores_n = True
    for start in range(3):
        bought = await client.complete(model(endpoint), PROMPT, Sampling(), start=start, samples=5, seed=10)
        assert [sample.text for sample in bought.samples] == [f"text{10 + start}"]
    assert [request.get("n", 1) for request in endpoint.requests] == [5, 1, 1]


async def test_a_server_that_refuses_seeds_gets_none(endpoint: FakeEndpoint, client: OpenAIClient) -> None:
    endpoint.refuses_seed = True
    bought = await client.complete(model(endpoint), PROMPT, Sampling(), start=0, samples=2, seed=1)
    assert len(bought.samples) == 2
    assert "seed" not in endpoint.requests[-1]


async def test_positions_go_on_where_they_stopped(endpoint: FakeEndpoint, client: OpenAIClient) -> None:
    bought = await client.complete(model(endpoint), PROMPT, Sampling(), start=3, samples=2, seed=100)
    assert [sample.text for sample in bought.samples] == ["text103", "text104"]


async def test_retries_honour_retry_after(endpoint: FakeEndpoint, client: OpenAIClient) -> None:
    endpoint.faults = [Fault(429, headers={"Retry-After": "0.2"}), Fault(500)]
    bought = await client.complete(model(endpoint), PROMPT, Sampling(), start=0, samples=1, seed=0)
    assert len(bought.samples) == 1 and len(endpoint.requests) == 3


async def failed(client: OpenAIClient, asked: Model, samples: int = 1) -> EndpointError:
    """The error of a purchase that must fail."""
    with pytest.raises(EndpointError) as caught:
        await client.complete(asked, PROMPT, Sampling(), start=0, samples=samples, seed=0)
    return caught.value


async def test_a_lasting_failure_names_model_endpoint_and_reason(endpoint: FakeEndpoint, client: OpenAIClient) -> None:
    endpoint.faults = [Fault(503, "overloaded")] * 3
    error = await failed(client, model(endpoint))
    assert f"model 'small' at {endpoint.url} answered 503" in str(error) and error.unavailable


async def test_a_refused_request_is_not_taken_for_a_refused_n(endpoint: FakeEndpoint, client: OpenAIClient) -> None:
    endpoint.faults = [Fault(400, "prompt too long")] * 4
    assert not (await failed(client, model(endpoint), 8)).unavailable
    again = await client.complete(model(endpoint), PROMPT, Sampling(), start=0, samples=8, seed=0)
    assert len(again.samples) == 8
    # Once the server has been seen to take 8, a refusal of more ends too.
    endpoint.faults = [Fault(400, "prompt too long")] * 50
    assert "prompt too long" in str(await failed(client, model(endpoint), 50))
    assert len(endpoint.requests) < 20


@pytest.mark.parametrize("body", ["<html>hello</html>", "not json", '{"choices": []}'])
async def test_an_answer_that_is_no_completion_is_an_endpoint_error(
    endpoint: FakeEndpoint, client: OpenAIClient, body: str
) -> None:
    endpoint.faults = [Fault(200, body)] * 3
    assert "at http://127.0.0.1" in str(await failed(client, model(endpoint)))


async def test_a_client_serves_several_event_loops_in_turn(endpoint: FakeEndpoint) -> None:
    reused = OpenAIClient(max_in_flight=2, max_retries=0)

    async def load() -> None:
        purchases = [reused.complete(model(endpoint), PROMPT, Sampling(), start=0, samples=1, seed=i) for i in range(8)]
        assert len(await asyncio.gather(*purchases)) == 8
        await reused.close()

    for _ in range(2):
        await asyncio.to_thread(asyncio.run, load())


async def test_check_lists_what_is_served(endpoint: FakeEndpoint, client: OpenAIClient) -> None:
    await client.check([model(endpoint), model(endpoint, "large")])
    with pytest.raises(ConfigError, match="does not serve the model 'huge'; it serves small, large"):
        await client.check([model(endpoint, "huge")])


async def test_check_names_an_endpoint_that_cannot_be_reached(client: OpenAIClient) -> None:
    hasty = client.with_limits(timeout_s=5, max_retries=0)
    with pytest.raises(EndpointError, match="cannot reach http://127.0.0.1:9/v1, the endpoint of model 'm'"):
        await hasty.check([Model("m", 1e9, base_url="http://127.0.0.1:9/v1")])
    await hasty.close()


async def test_a_missing_key_is_named(client: OpenAIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="set the environment variable MY_KEY"):
        await client.check([Model("m", 1e9, api_key_env="MY_KEY")])


async def test_a_key_is_sent_and_never_shown(
    endpoint: FakeEndpoint, client: OpenAIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    keyed = Model("small", 1e9, base_url=endpoint.url, api_key_env="MY_KEY")
    endpoint.faults = [Fault(401, "bad key sk-very-secret")]
    error = await failed(client, keyed)
    assert endpoint.authorizations == ["Bearer sk-very-secret"]
    assert "sk-very-secret" not in str(error)


def test_urls_are_shown_without_secrets() -> None:
    assert shown_url("http://me:hunter2@host:8000/v1?key=hunter2") == "http://host:8000/v1"
