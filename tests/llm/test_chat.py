"""One chat model behind a real HTTP endpoint: its check, its answers, its faults; keys and URLs never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.chat import ChatModel
from agenttts.llm.endpoint import shown_url
from tests.endpoint import FakeEndpoint, Fault

SCHEMA = {"type": "object"}
SECRET = "sk-very-secret"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.llm.asking._FIRST_PAUSE_S", 0.01)


def model(endpoint: FakeEndpoint, name: str = "small") -> ChatModel:
    return ChatModel(name, base_url=endpoint.url)


async def test_an_answer_is_counted(endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda messages, seed: " ".join(message["content"] for message in messages)
    answer = await model(endpoint).ask("one two", system="be brief")
    assert answer.text == "be brief one two"
    spend = answer.spend
    assert (spend.requests, spend.prompt_tokens, spend.completion_tokens, spend.usd) == (1, 4, 4, 0)
    assert endpoint.requests[0]["model"] == "small" and "response_format" not in endpoint.requests[0]


async def test_a_server_without_schemas_is_learned_once(endpoint: FakeEndpoint) -> None:
    endpoint.refuses_schema = True
    asked = model(endpoint)
    for _ in range(2):
        assert (await asked.ask("q", system="s", schema=SCHEMA)).text == "text0"
    assert ["response_format" in request for request in endpoint.requests] == [True, False, False]


async def test_a_prompt_that_is_refused_says_nothing_of_schemas(endpoint: FakeEndpoint) -> None:
    asked = model(endpoint)
    endpoint.faults = [Fault(400, "prompt too long")]
    with pytest.raises(EndpointError, match="'small' at .* answered 400: .*prompt too long"):
        await asked.ask("q", system="s", schema=SCHEMA)
    await asked.ask("q", system="s", schema=SCHEMA)
    assert endpoint.requests[-1]["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_the_check_asks_for_a_token_only_where_no_list_settles_it(endpoint: FakeEndpoint) -> None:
    await model(endpoint).check()
    assert endpoint.requests == []
    endpoint.tells_models = False
    await model(endpoint).check()
    assert [(request["model"], request["max_tokens"]) for request in endpoint.requests] == [("small", 1)]
    with pytest.raises(ConfigError, match="does not serve the model 'wise'; it does not list what it serves"):
        await model(endpoint, "wise").check()


async def test_the_check_lists_what_is_served(endpoint: FakeEndpoint) -> None:
    with pytest.raises(ConfigError, match="does not serve the model 'wise'; it serves small, large"):
        await model(endpoint, "wise").check()


async def test_the_check_names_an_endpoint_that_is_not_there() -> None:
    with pytest.raises(EndpointError, match="cannot reach http://127.0.0.1:9/v1, the endpoint of the planner's model"):
        await ChatModel("wise", base_url="http://127.0.0.1:9/v1").check()


async def test_a_key_that_is_not_accepted_is_not_shown(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.key = "another"
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    for asking in (model(endpoint).check(), model(endpoint).ask("q", system="s")):
        with pytest.raises(EndpointError, match="'small' at .* answered 401: .*incorrect key") as caught:
            await asking
        assert SECRET not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    await model(endpoint).check()


def test_openais_own_endpoint_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="'o3-mini' needs a key: set OPENAI_API_KEY, or OPENAI_BASE_URL"):
        ChatModel()


@pytest.mark.parametrize("body", ["<html>hello</html>", "not json", "{}", '{"choices": []}', '{"choices": null}', "[]"])
async def test_an_answer_that_is_no_completion_is_an_endpoint_error(endpoint: FakeEndpoint, body: str) -> None:
    endpoint.faults = [Fault(200, body)] * 6
    with pytest.raises(EndpointError, match="the planner's model 'small' at http://127.0.0.1"):
        await model(endpoint).ask("q", system="s")


async def test_what_cannot_be_stored_is_replaced(endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda messages, seed: "a\ud800b"
    assert (await model(endpoint).ask("q", system="s")).text == "a\\ud800b"


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=4).filter(lambda text: "://" not in text))
def test_no_password_is_shown(password: str) -> None:
    shown = shown_url(f"http://me:{password}@host:8000/v1")
    # With an @ behind what may begin a query, nobody can tell which part is the host.
    assert shown in ("http://host:8000/v1", "http://***")
    assert shown == "http://host:8000/v1" or set(password) & set("/?#")


def test_a_url_without_a_scheme_is_shown_as_it_is() -> None:
    assert shown_url("localhost:8000/v1?key=hunter2") == "localhost:8000/v1"
