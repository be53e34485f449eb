"""Every provider that people use works at once, or says in one sentence what is wrong.

| provider | its shape | must be |
|---|---|---|
| OpenAI | as it is | one request for all samples |
| OpenAI, o-series, GPT-5 | refuses max_tokens, temperature, top_p, n; one account has both kinds | each learned once |
| Azure | deployment in the path, `?api-version=`, `api-key`, no list | one token tells; the query is kept |
| Anthropic | refuses temperature with top_p, n; the list lacks aliases | top_p is left out |
| Gemini | list of `models/...`, unknown fields in a list, no usage | seed is left out, tokens counted by length |
| OpenRouter | 330 models, errors with status 200, one choice, reasoning | works; 502 in an answer is retried |
| Together | a bare list | works |
| Mistral | seed refused with nested `loc`, content in parts | works |
| LiteLLM | no right to list, refuses in its own words | works |
| Ollama | tags, no key, one choice | works |
| TGI | refuses top_p=1 with a bare text, lists another name | works |
| vLLM | thoughts in the text | only what follows them is the answer |
| llama.cpp | `n` refused with 500, serves any name | single requests |
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import AgentTTSError, ConfigError, EndpointError
from agenttts.llm.chat import ChatModel
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.samples import Completions
from agenttts.pipeline import Model, Pipeline, Sampling, Subtask
from agenttts.pipeline.metrics import equal
from agenttts.report.terminal.lines import spent
from agenttts.space import Allocation
from tests.llm.providers import KEY, SHAPES, Provider, Said, completion, listing, refusal

WORD = "paris"
PROMPT = [{"role": "user", "content": f"repeat {WORD}"}]
CLASSIC = SHAPES["openai"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.llm.asking._FIRST_PAUSE_S", 0.01)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROVIDER_KEY", KEY)


def model(provider: Provider, **fields: Any) -> Model:
    shape = provider.shape
    key = {"api_key_env": "PROVIDER_KEY"} if shape.header == "authorization" else {}
    return Model(**{"name": shape.model, "base_url": provider.url, **key, **shape.fields, **fields})


def environment(*models: Model, sampling: Sampling | None = None, retries: int = 2) -> LiveEnvironment:
    rows = [{"id": f"e{i}", "question": f"word{i}", "gold": f"word{i}"} for i in range(6)]
    answer = Subtask("answer", models, "repeat {{ question }}", sampling=sampling or Sampling(max_tokens=32))
    client = OpenAIClient(timeout_s=5, max_retries=retries)
    return LiveEnvironment(Pipeline("repeat", (answer,), metric=equal("gold")), rows, client=client)


async def score(searched: LiveEnvironment, samples: int = 4) -> float:
    async with searched:
        name = searched.pipeline.models[0].name
        return (await searched.evaluate(Allocation({"answer": (name, samples)}))).score


async def drawn(asked: Model, sampling: Sampling | None = None, *, samples: int = 1, retries: int = 1) -> Completions:
    client = OpenAIClient(timeout_s=5, max_retries=retries)
    try:
        return await client.complete(asked, PROMPT, sampling or Sampling(), start=0, samples=samples, seed=7)
    finally:
        await client.close()


async def fault(asked: Model, **options: Any) -> str:
    """What is said of a draw that fails."""
    with pytest.raises(AgentTTSError) as caught:
        await drawn(asked, **options)
    return str(caught.value)


def told(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.message for record in caplog.records if words in record.message]


@pytest.mark.parametrize("name", SHAPES)
async def test_a_provider_works_at_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with Provider(SHAPES[name]) as provider:
        assert await score(environment(model(provider))) == 1
        known = len(provider.requests)
        assert await score(environment(model(provider), retries=0), 1) == 1  # what is refused is no failure
    assert known <= 6 * 4 + 8
    fields = [message.split(" does not take ")[1].split("=")[0] for message in told(caplog, "does not take")]
    expected = {"openai reasoning": ["max_tokens", "temperature", "top_p"], "anthropic": ["top_p"], "gemini": ["seed"],
                "mistral": ["seed"], "litellm": ["seed", "top_p"], "tgi": ["top_p"]}  # fmt: skip
    assert sorted(set(fields)) == sorted(expected.get(name, []))


async def test_a_filter_that_a_server_does_not_take_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with Provider(SHAPES["sglang"]) as provider:
        found = await drawn(model(provider), Sampling(extra={"top_k": 0, "min_p": 0.0}))
    assert len(found.samples) == 1 and ["top_k" in each for each in told(caplog, "does not take")] == [True]


@pytest.mark.parametrize("name", SHAPES)
async def test_the_planners_model_works_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Provider(SHAPES[name]) as provider:
        key = "PROVIDER_KEY" if SHAPES[name].header == "authorization" else None
        headers = SHAPES[name].fields.get("headers")
        async with ChatModel(SHAPES[name].model, base_url=provider.url, api_key_env=key, headers=headers) as planner:
            assert (await planner.ask(f"say {WORD}", system="s", schema={"type": "object"})).text.strip() == WORD


async def test_one_account_may_have_both_kinds_of_models(caplog: pytest.LogCaptureFixture) -> None:
    with Provider(CLASSIC) as provider:
        client = OpenAIClient(timeout_s=5)
        both = [model(provider, name=name) for name in ("gpt-5-mini", "gpt-4o-mini", "gpt-5-mini", "gpt-4o-mini")]
        for each in both:
            await client.complete(each, PROMPT, Sampling(max_tokens=5), start=0, samples=1, seed=0)
        await client.close()
        sent = [(body["model"], "temperature" in body) for body in provider.requests[-2:]]
        assert sent == [("gpt-5-mini", False), ("gpt-4o-mini", True)]
        assert provider.requests[-2]["max_completion_tokens"] == 5
    assert len(told(caplog, "does not take")) == 3 and all("gpt-5" in each for each in told(caplog, "does not take"))


# Complaints.

TEXT = "parameter not supported here: {}"
FORMS: dict[str, Callable[[str], Any]] = {
    "error.message": lambda name: {"error": {"message": f"Unknown parameter: '{name}'."}},
    "error.param": lambda name: {"error": {"message": "Unrecognized request argument supplied", "param": name}},
    "error a text": lambda name: {"error": f"unexpected field `{name}`"},
    "error true": lambda name: {"error": True, "message": f"{name} is not allowed"},
    "message": lambda name: {"message": f"property '{name}' is unsupported", "type": "invalid_request_error"},
    "detail a text": lambda name: {"detail": f"unsupported parameter: {name}"},
    "detail with loc": lambda name: {"detail": [{"loc": ["body", name], "msg": "extra fields not permitted"}]},
    "detail in message": lambda name: {"message": {"detail": [{"loc": ["body", name], "msg": "not permitted"}]}},
    "a list": lambda name: [{"error": {"message": f'Unknown name "{name}": Cannot find field.'}}],
    "errors": lambda name: {"errors": [{"message": f"{name}: extra input"}]},
    "JSON in a text": lambda name: {"error": {"message": json.dumps({"error": {"message": f"bad `{name}`"}})}},
    "Python in a text": lambda name: {"message": f"[{{'loc': ('body', '{name}'), 'msg': 'not permitted'}}]"},
    "raw of a provider": lambda name: {"error": {"message": "no", "metadata": {"raw": f"'{name}' is unsupported"}}},
    "at the end": lambda name: {"code": "an invalid argument", "error": f"Not supported on this model: {name}"},
    "a pointer": lambda name: {"errors": [{"source": {"pointer": f"/body/{name}"}, "detail": "is not permitted"}]},
    "a text": lambda name: f"invalid value for {name}",
    "HTML": lambda name: f"<html><head><title>Bad Request</title></head><body>{name} is not taken</body></html>",
}
FIELDS = ("temperature", "top_p", "max_tokens", "seed", "stop")


@pytest.mark.parametrize("status", [400, 424, 500])
@pytest.mark.parametrize("form", FORMS)
async def test_a_refused_field_is_left_out_whatever_the_complaint_looks_like(form: str, status: int) -> None:
    def chat(body: dict[str, Any]) -> Said:
        bad = next((name for name in FIELDS if name in body), None)
        return completion(body) if bad is None else Said(FORMS[form](bad), status)

    with Provider(replace(CLASSIC, chat=chat)) as provider:
        found = await drawn(model(provider), Sampling(stop=("\n",)), retries=0)
        assert found.samples[0].text == WORD
        assert set(provider.requests[-1]) == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (Said({"detail": "Not enough cheese"}, 400), "400: Not enough cheese"),
        (Said({"error": "no cheese"}, 400), "400: no cheese"),
        (Said([{"error": {"code": 400, "message": "no cheese left"}}], 400), "400: no cheese left"),
        (Said({"detail": [{"loc": ["body", "cheese"], "msg": "required"}]}, 422), "422: body.cheese: required"),
        (Said("<html><head><title>413 Too big</title></head><body></body></html>", 413), "413: 413 Too big (a page of"),
        (Said({"fault": {"faultstring": "odd"}}, 400), '400: {"fault": {"faultstring": "odd"}}'),
        (Said("", 400), "400: no reason given"),
        (Said({"error": {"message": "Provider returned error", "code": 403, "metadata": {"raw": "flagged"}}}),
         "403: Provider returned error: flagged"),
        (Said({"error": {"message": "is moved"}}, 308, {"Location": "https://elsewhere/v1/chat"}),
         "it redirects to https://elsewhere/v1/chat"),
    ],
)  # fmt: skip
async def test_what_the_server_says_is_shown(said: Said, shown: str) -> None:
    with Provider(replace(CLASSIC, chat=lambda body: said)) as provider:
        assert shown in await fault(model(provider), retries=0)


@pytest.mark.parametrize(
    "text", ["maximum context length is 8192 tokens, max_tokens is 32", "max_tokens is too large: 32"]
)
async def test_a_prompt_that_is_too_long_changes_nothing(text: str) -> None:
    with Provider(replace(CLASSIC, chat=lambda body: refusal(text, param="max_tokens"))) as provider:
        assert text in await fault(model(provider), retries=0)
        assert len(provider.requests) == 1


async def test_what_makes_a_variant_is_never_left_out() -> None:
    with Provider(SHAPES["vllm"]) as provider:
        assert "400: " in await fault(model(provider, effort="high"), retries=0)
    with Provider(CLASSIC) as provider:
        own = model(provider, name="gpt-5-mini", request={"temperature": 0.3})
        assert "'temperature' does not support 0.3" in await fault(own, retries=0)


async def test_a_stop_that_is_not_taken_is_applied_here() -> None:
    def chat(body: dict[str, Any]) -> Said:
        return refusal("'stop' is not supported") if "stop" in body else completion(body, content="one\ntwo")

    with Provider(replace(CLASSIC, chat=chat)) as provider:
        assert (await drawn(model(provider), Sampling(stop=("\n",)))).samples[0].text == "one"


# Several choices.

NO_N = {
    "400": refusal("n must be at most 1"),
    "422": Said({"detail": [{"loc": ["body", "n"], "msg": "must be 1"}]}, 422),
    "500": Said({"error": {"message": "Only one completion choice is allowed"}}, 500),
    "500 without a word": Said("", 500),
    "501": Said({"error": "not implemented"}, 501),
}


@pytest.mark.parametrize("kind", NO_N)
async def test_a_server_without_n_is_asked_one_by_one(kind: str) -> None:
    def chat(body: dict[str, Any]) -> Said:
        return NO_N[kind] if body.get("n", 1) > 1 else completion(body)

    with Provider(replace(CLASSIC, chat=chat)) as provider:
        assert await score(environment(model(provider), retries=0)) == 1
        several = [body["n"] for body in provider.requests if "n" in body]
    assert len(several) <= 2


async def test_a_fault_of_the_moment_is_not_taken_for_a_refused_n() -> None:
    left = [Said("", 500)]

    with Provider(replace(CLASSIC, chat=lambda body: left.pop() if left else completion(body))) as provider:
        client = OpenAIClient()
        for start in range(2):
            await client.complete(model(provider), PROMPT, Sampling(), start=start, samples=4, seed=0)
        await client.close()
        assert [body.get("n", 1) for body in provider.requests] == [4, 1, 4]


async def test_a_probe_that_fails_is_shared_by_all_who_wait() -> None:
    def chat(body: dict[str, Any]) -> Said:
        time.sleep(0.3)  # the others come meanwhile
        return Said("", 503)

    with Provider(replace(CLASSIC, chat=chat)) as provider:
        searched = environment(model(provider), retries=1)
        async with searched:
            with pytest.raises(EndpointError, match="every example failed"):
                await searched.evaluate(Allocation({"answer": ("gpt-4o-mini", 4)}))
        assert len(provider.requests) == 2


# Lists of models.

LISTS = {
    "a bare list": Said([{"id": "first"}, {"id": "second"}]),
    "names": Said(["first", "second"]),
    "models": Said({"models": [{"name": "first", "model": "first"}]}),
    "401": Said({"error": {"message": "Missing scopes: api.model.read"}}, 401),
    "403": Said({"error": {"message": "no"}}, 403),
    "404": None,
    "500": Said("", 500),
    "empty": listing(),
    "null": Said({"object": "list", "data": None}),
    "HTML": Said("<html>console</html>"),
    "others": listing("second", "third"),
}


@pytest.mark.parametrize("kind", LISTS)
async def test_a_model_that_answers_is_served_whatever_the_list_says(kind: str) -> None:
    with Provider(replace(CLASSIC, models=LISTS[kind])) as provider:
        assert await score(environment(model(provider, name="first")), 1) == 1
        asked = [body for body in provider.requests if body["messages"][-1]["content"] == "ready"]
        assert len(asked) == (kind not in ("a bare list", "names", "models"))


@pytest.mark.parametrize(
    "said",
    [
        refusal("The model `gpt-4o-mni` does not exist or you do not have access to it.", 404, code="model_not_found"),
        refusal("gpt-4o-mni is not a valid model ID"),
        Said({"detail": "Unknown model"}, 422),
        refusal("Project does not have access to model gpt-4o-mni", 403),
    ],
)
async def test_of_many_models_the_closest_is_suggested_and_five_are_shown(said: Said) -> None:
    names = [*(f"vendor/model-{i}" for i in range(329)), "openai/gpt-4o-mini"]
    with Provider(replace(CLASSIC, chat=lambda body: said, models=listing(*names))) as provider:
        with pytest.raises(ConfigError) as caught:
            await score(environment(model(provider, name="gpt-4o-mni")))
    text = str(caught.value)
    assert (
        "does not serve the model 'gpt-4o-mni': is 'openai/gpt-4o-mini' meant? It serves openai/gpt-4o-mini, " in text
    )
    assert text.count("vendor/model-") == 4 and "and 325 others" in text


@pytest.mark.parametrize(
    "said", [refusal("Could not finish: max_tokens or model output limit was reached"), Said("", 503)]
)
async def test_a_token_that_is_refused_for_another_reason_says_nothing_of_the_model(said: Said) -> None:
    def chat(body: dict[str, Any]) -> Said:
        return said if body["messages"][-1]["content"] == "ready" else completion(body)

    with Provider(replace(CLASSIC, chat=chat, models=None)) as provider:
        assert await score(environment(model(provider)), 1) == 1


# Addresses and keys.


@pytest.mark.parametrize(
    "write",
    [
        lambda provider: provider.url + "/",
        lambda provider: f" {provider.url}\n",
        lambda provider: provider.url + "/chat/completions",
        lambda provider: provider.url + "/chat/completions/",
        lambda provider: provider.url + "/models",
        lambda provider: provider.url.removeprefix("http://"),
        lambda provider: provider.host,
        lambda provider: provider.host + "/",
    ],
)
async def test_an_address_is_corrected_where_it_is_plain_what_is_meant(write: Callable[[Provider], str]) -> None:
    with Provider(CLASSIC) as provider:
        assert await score(environment(model(provider, base_url=write(provider)))) == 1


@pytest.mark.parametrize("url", ["ftp://host/v1", "http://", "http://host:port/v1", "http://a b/v1", "://x"])
async def test_an_address_that_is_none_is_one_sentence(url: str) -> None:
    assert "it must be like http://localhost:8000/v1" in await fault(Model("m", base_url=url))


async def test_a_wrong_path_says_how_it_usually_ends() -> None:
    with Provider(CLASSIC) as provider:
        with pytest.raises(ConfigError, match="404: Not Found; a base URL usually ends in /v1"):
            await score(environment(model(provider, base_url=provider.host + "/api")))


async def test_extra_headers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Provider(SHAPES["azure"]) as provider:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai-0123456789")
        assert await score(environment(model(provider))) == 1
        assert {head["api-key"] for head in provider.heads} == {KEY}
        assert not any("authorization" in head for head in provider.heads)
        monkeypatch.delenv("PROVIDER_KEY")
        before = len(provider.heads)
        with pytest.raises(ConfigError, match="the header 'api-key': set the environment variable PROVIDER_KEY"):
            await score(environment(model(provider)))
        assert len(provider.heads) == before


async def test_a_key_variable_that_is_not_set_is_named_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROVIDER_KEY")
    with Provider(SHAPES["ollama"]) as free, Provider(CLASSIC) as paid:
        with pytest.raises(
            ConfigError, match="model 'gpt-4o-mini' needs a key for .*: set the environment variable PROV"
        ):
            await score(environment(model(free), model(paid)))
        assert free.heads == paid.heads == []


@pytest.mark.parametrize("around", ["{}\n", " {} ", "{}\r\n"])
async def test_a_key_is_stripped(around: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_KEY", around.format(KEY))
    with Provider(CLASSIC) as provider:
        assert (await drawn(model(provider))).samples[0].text == WORD


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk-“quoted”"])
async def test_a_key_that_cannot_be_sent_is_one_sentence(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_KEY", key)
    with Provider(CLASSIC) as provider:
        text = await fault(model(provider))
    assert "the value of PROVIDER_KEY cannot be sent" in text and "sk-" not in text


@pytest.mark.parametrize("key", [f'"{KEY}"', f"Bearer {KEY}", f"'{KEY}'\r\n"])
async def test_what_is_round_a_key_by_mistake_is_left_out(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_KEY", key)
    with Provider(CLASSIC) as provider:
        assert (await drawn(model(provider))).samples[0].text == WORD


def test_a_key_where_its_variable_should_be_named_is_refused_and_not_shown() -> None:
    for fields in ({"api_key_env": KEY}, {"headers": {"api-key": KEY}}):
        with pytest.raises(ConfigError, match="must be the name of an environment variable") as caught:
            Model("m", **fields)
        assert "sk-" not in str(caught.value)
    with pytest.raises(ConfigError, match="must be the name of an environment variable"):
        ChatModel("m", base_url="http://localhost:1/v1", api_key_env=KEY)
    with pytest.raises(ConfigError, match="is no name of a header"):
        Model("m", headers={"x\ny": "PROVIDER_KEY"})


async def test_openais_key_goes_only_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Provider(CLASSIC) as provider:
        other = Model("gpt-4o-mini", base_url=provider.url)
        text = await fault(other, retries=0)
        assert "no key was sent (OPENAI_API_KEY is for https://api.openai.com/v1): name the variable" in text
        assert not any("authorization" in head for head in provider.heads)
        await drawn(replace(other, api_key_env="OPENAI_API_KEY"))
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        await drawn(other)
        await drawn(Model("gpt-4o-mini"))
        assert [head["authorization"] for head in provider.heads[1:]] == [f"Bearer {KEY}"] * 3


@pytest.mark.parametrize(
    ("key", "url", "title"),
    [
        ("EMPTY", None, "agent-rules"),
        ("none", None, "agent-rules"),
        ("sk-no-key-required", None, "agent-rules"),
        ("", None, "agent-rules"),
        ("sk-proj-0123456789", "http://localhost:8000/v1", "agent-rules"),
        ("sk-proj-0123456789", None, "agent-o3-mini"),
        ("sk-proj-0123456789", "https://api.openai.com/v1", "agent-o3-mini"),
    ],
)
def test_a_key_for_a_server_of_ones_own_asks_no_paid_planner(
    key: str, url: str | None, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    if url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert at.searcher("agent").title == title


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/v1", "nothing listens there (connection refused)"),
        ("http://no-such-host.invalid/v1", "no server is known by the name 'no-such-host.invalid' (DNS)"),
        ("https://127.0.0.1:{port}/v1", "it does not speak TLS"),
    ],
)
async def test_a_connection_that_fails_says_what_it_is(url: str, reason: str) -> None:
    with Provider(CLASSIC) as provider:
        asked = Model("m", base_url=url.format(port=provider.host.rpartition(":")[2]))
        assert reason in await fault(asked, retries=0)
        with pytest.raises(EndpointError) as caught:
            await score(environment(asked, retries=0))
        assert reason in str(caught.value) and "cannot reach" in str(caught.value)


# Failures.


@pytest.mark.parametrize(
    "said",
    [
        refusal("You exceeded your current quota", 429, code="insufficient_quota"),
        Said({"error": {"message": "This request requires more credits", "code": 402}}, 402),
        Said({"error": {"message": "Insufficient credits", "code": 402}}),
        Said({"type": "error", "error": {"message": "Your credit balance is too low to access the API."}}, 400),
    ],
)
async def test_an_account_that_is_used_up_is_not_asked_again(said: Said) -> None:
    with Provider(replace(CLASSIC, chat=lambda body: said)) as provider:
        with pytest.raises(EndpointError, match="its account is used up: fill it up and run again to go on") as caught:
            await score(environment(model(provider), retries=5), 1)
        assert caught.value.final and len(provider.requests) <= 6


@pytest.mark.parametrize(("code", "tries"), [(502, 3), (429, 3), ("rate_limited", 3), (400, 1), ("400", 1)])
async def test_the_code_of_an_error_with_status_200_decides_about_a_retry(code: int | str, tries: int) -> None:
    error = Said({"error": {"message": "no", "code": code}})
    with Provider(replace(CLASSIC, chat=lambda body: error)) as provider:
        await fault(model(provider), sampling=Sampling(top_p=None, temperature=None), retries=2)
        assert len([body for body in provider.requests if "seed" in body]) == tries


async def test_an_error_in_a_choice_is_none() -> None:
    left = [{"code": 502, "message": "upstream"}]

    def chat(body: dict[str, Any]) -> Said:
        found = completion(body)
        if left:
            found.body["choices"][0] |= {"error": left.pop(), "finish_reason": "error"}
        return found

    with Provider(replace(CLASSIC, chat=chat)) as provider:
        assert (await drawn(model(provider))).samples[0].text == WORD
        assert len(provider.requests) == 2


async def test_while_it_retries_a_line_says_what_and_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agenttts.llm.pulse.TOLD_AFTER_S", 0.2)
    left = [Said({"error": "the queue is full"}, 429, {"Retry-After": "1"})]
    with Provider(replace(CLASSIC, chat=lambda body: left.pop() if left else completion(body))) as provider:
        await drawn(model(provider))
    (line,) = told(caplog, "waiting for model 'gpt-4o-mini'")
    assert "answered 429: the queue is full" in line


async def test_a_server_of_one_request_at_a_time_is_asked_for_fewer() -> None:
    """Sixteen requests at once would each wait for longer than a request may take."""
    gate = threading.Lock()

    def chat(body: dict[str, Any]) -> Said:
        with gate:
            time.sleep(0.1)
            return completion(body)

    rows = [{"id": f"e{i}", "question": f"word{i}", "gold": f"word{i}"} for i in range(16)]
    with Provider(replace(CLASSIC, chat=chat)) as provider:
        subtask = Subtask("answer", (model(provider),), "repeat {{ question }}")
        client = OpenAIClient(timeout_s=1.0, max_retries=12)
        searched = LiveEnvironment(Pipeline("repeat", (subtask,), metric=equal("gold")), rows, client=client)
        async with searched:
            evaluation = await searched.evaluate(Allocation({"answer": ("gpt-4o-mini", 1)}))
    assert evaluation.whole and evaluation.score == 1


async def test_a_time_out_names_the_options() -> None:
    def chat(body: dict[str, Any]) -> Said:
        time.sleep(0.5)
        return completion(body)

    with Provider(replace(CLASSIC, chat=chat)) as provider:
        client = OpenAIClient(timeout_s=0.2, max_retries=0)
        with pytest.raises(
            EndpointError, match="within 0.2 s; more time .* --timeout, .* --max-in-flight, .* --retries"
        ):
            await client.complete(model(provider), PROMPT, Sampling(), start=0, samples=1, seed=0)
        await client.close()


# Answers.

THOUGHTS = {
    "closed": ("<think>Answer: 5?</think>\n\nparis", "paris", ""),
    "closed, in capitals": ("<THINK>no</THINK> paris", "paris", ""),
    "begun by the template": ("I wonder.\n</think>\nparis", "paris", ""),
    "in the midst": ("so <think>hm</think>paris", "so paris", ""),
    "of another spelling": ("<seed:think>hm</seed:think>paris", "paris", ""),
    "in brackets": ("[THINK]hm[/THINK]paris", "paris", ""),
    "in channels": ("<|channel|>analysis<|message|>rome<|end|><|channel|>final<|message|>paris<|return|>", "paris", ""),
    "in channels, cut": ("<|channel|>analysis<|message|>Answer: rome", "", "cut"),
    "twice": ("<think>a</think><think>b</think>paris", "paris", ""),
    "cut": ("<think>Answer: paris", "", "cut"),
    "cut after a word": ("paris <think>Answer: rome", "", "cut"),
    "nothing after it": ("<think>Answer: paris</think>", "", "empty"),
    "none": ("paris", "paris", ""),
}


@pytest.mark.parametrize("kind", THOUGHTS)
async def test_thoughts_are_never_the_answer(kind: str) -> None:
    text, answer, ended = THOUGHTS[kind]
    with Provider(replace(CLASSIC, chat=lambda body: completion(body, content=text))) as provider:
        (sample,) = (await drawn(model(provider))).samples
        assert (sample.said, sample.ended) == (answer, ended)
        planner = ChatModel("gpt-4o-mini", base_url=provider.url, api_key_env="PROVIDER_KEY")
        assert (await planner.ask("q", system="s")).text == answer


@pytest.mark.parametrize(
    ("choice", "said", "ended"),
    [
        ({"message": {"content": [{"type": "reasoning", "text": "hm"}, {"text": "paris"}]}}, "paris", ""),
        ({"message": {"content": "par"}, "finish_reason": "MAX_TOKENS"}, "par", "unfinished"),
        ({"message": {"content": None}, "finish_reason": "max_output_tokens"}, "", "cut"),
        ({"message": {"content": None}, "finish_reason": "SAFETY"}, "", "refused"),
        ({"finish_reason": "content_filter"}, "", "refused"),
        ({"message": {"content": ""}, "finish_reason": "refusal"}, "", "refused"),
    ],
)
async def test_a_choice_is_understood_whatever_the_provider_calls_its_end(
    choice: dict[str, Any], said: str, ended: str
) -> None:
    with Provider(replace(CLASSIC, chat=lambda body: Said({"choices": [choice]}))) as provider:
        (sample,) = (await drawn(model(provider))).samples
    assert (sample.said, sample.ended) == (said, ended)


async def test_a_stream_of_events_is_put_together() -> None:
    parts = [{"choices": [{"index": 0, "delta": {"content": each}}]} for each in ("pa", "ris")]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    stream = (
        ": processing\n\n"
        + "".join(f"data: {json.dumps(each)}\n\n" for each in [*parts, end, usage])
        + "data: [DONE]\n\n"
    )
    with Provider(replace(CLASSIC, chat=lambda body: Said(stream))) as provider:
        found = await drawn(model(provider))
    assert (found.samples[0].text, found.prompt_tokens, found.samples[0].completion_tokens) == ("paris", 5, 2)


async def test_what_is_none_is_not_sent() -> None:
    with Provider(CLASSIC) as provider:
        sampling = Sampling(temperature=None, top_p=None, max_tokens=None, extra={"top_k": 5, "min_p": None})
        await drawn(model(provider), sampling)
        assert set(provider.requests[0]) == {"model", "messages", "seed", "top_k"}


# Usage.


@pytest.mark.parametrize(
    ("usage", "billed", "reasoning"),
    [
        ({"completion_tokens": 60, "completion_tokens_details": {"reasoning_tokens": 50}}, 60, 50),  # OpenAI
        (
            {"completion_tokens": 10, "total_tokens": 69, "completion_tokens_details": {"reasoning_tokens": 50}},
            60,
            50,
        ),  # xAI
        ({"completion_tokens": 10, "total_tokens": 69}, 60, 0),  # Gemini tells its thoughts in the total only
        ({"completion_tokens": 10, "total_tokens": 10**12}, 10, 0),
        ({"completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": -4}}, 10, 0),
    ],
)
async def test_reasoning_is_counted_as_it_is_billed(usage: dict[str, Any], billed: int, reasoning: int) -> None:
    body = {"prompt_tokens": 9, "total_tokens": 9 + usage["completion_tokens"], **usage}
    with Provider(replace(CLASSIC, chat=lambda asked: completion(asked, usage=body))) as provider:
        found = await drawn(model(provider), Sampling(max_tokens=16))
    assert (found.samples[0].completion_tokens, found.reasoning_tokens) == (billed, reasoning)


async def test_cached_prompt_tokens_have_their_own_price_and_what_is_estimated_says_so(store: Store) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 80}}
    prices = {"usd_per_million_prompt_tokens": 10.0, "usd_per_million_cached_prompt_tokens": 1.0,
              "usd_per_million_completion_tokens": 100.0}  # fmt: skip
    with Provider(replace(CLASSIC, chat=lambda asked: completion(asked, usage=usage))) as provider:
        searched = environment(model(provider, **prices))
        space = at.SearchSpace(searched.pipeline, at.cost_model("usd"), 1.0)
        limits = at.Limits(trials=1)
        result = await at.search(searched, at.searcher("grid"), space, store, study_name="s", limits=limits)
    paid = result.spend
    assert paid.cached_prompt_tokens == 0.8 * paid.prompt_tokens and paid.estimated_tokens == 0
    expected = (20 * 10 + 80 * 1) * paid.requests + 100 * paid.completion_tokens
    assert paid.usd == pytest.approx(expected / 1e6)
    with Provider(replace(CLASSIC, chat=lambda asked: completion(asked, usage=None))) as provider:
        again = environment(model(provider, name="gpt-4o", **prices))
        space = at.SearchSpace(again.pipeline, at.cost_model("usd"), 1.0)
        other = await at.search(again, at.searcher("grid"), space, store, study_name="t", limits=limits)
    assert other.spend.estimated_tokens == other.spend.tokens > 0 and other.spend.usd > 0
    assert f"tokens ({other.spend.tokens:,} of them estimated)" in spent(other.spend, [], other.own)


TOKENIZERS: dict[str, Callable[[dict[str, Any]], Said]] = {
    "vllm": lambda body: Said({"count": len(body["prompt"]), "tokens": [*range(len(body["prompt"]))]}),
    "llama.cpp": lambda body: Said({"tokens": [*range(len(body["content"]))]}),
    "tgi": lambda body: Said([{"id": 1, "text": each} for each in body["inputs"]]),
    "broken": lambda body: Said({"count": "many"}),
}
"""Of servers that have a token for each character, and of one that fails."""


@pytest.mark.parametrize("kind", TOKENIZERS)
async def test_without_a_usage_the_servers_tokenizer_counts(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    shape = replace(CLASSIC, chat=lambda body: completion(body, usage=None, content="four"), tokenize=TOKENIZERS[kind])
    with Provider(shape) as provider:
        found = await drawn(model(provider), samples=2)
    counts = [sample.completion_tokens for sample in found.samples]
    length = len(f"repeat {WORD}")
    assert (found.prompt_tokens, counts) == ((length, [4, 4]) if kind != "broken" else (length // 3, [2, 2]))
    assert found.estimated_tokens == found.prompt_tokens + sum(counts)
    way = "by length" if kind == "broken" else "by its server's tokenizer"
    assert len(told(caplog, f"tells no usage: its tokens are counted {way}")) == 1


async def test_how_many_samples_were_cut_is_told_at_the_end() -> None:
    def chat(body: dict[str, Any]) -> Said:
        found = completion(body)
        for each in found.body["choices"][1:]:
            each["finish_reason"] = "length"
        return found

    with Provider(replace(CLASSIC, chat=chat)) as provider:
        searched = environment(model(provider, parameters=1e6))
        space = at.SearchSpace(searched.pipeline, at.cost_model("flops"), 1e9)
        limits = at.Limits(trials=2)
        result = await at.search(searched, at.searcher("grid"), space, at.Store(), study_name="s", limits=limits)
    drawn_ = [trial.evaluation.usage["answer"] for trial in result.archive.trials]
    cut, samples = sum(each.cut for each in drawn_), sum(each.samples for each in drawn_)
    assert cut and f"subtask 'answer': {cut} of {samples} samples were cut at max_tokens" in result.stopped
    assert result.best.evaluation.score == 1


# One bad candidate.


@pytest.mark.parametrize(
    ("status", "method"), [(400, "grid"), (403, "random"), (404, "agent"), (422, "tpe"), (410, "grid"), (451, "random")]
)
async def test_one_bad_candidate_is_not_the_end(status: int, method: str, tmp_path: Path) -> None:
    """It is listed, and refuses whatever it is asked."""

    def chat(body: dict[str, Any]) -> Said:
        return refusal("this model takes no chat", status) if body["model"] == "bad" else completion(body)

    async def search(trials: int) -> at.SearchResult:
        known = [model(provider, name=name, parameters=size) for name, size in (("good", 1e6), ("bad", 2e6))]
        searched = environment(*known, retries=0)
        space = at.SearchSpace(searched.pipeline, at.cost_model("flops"), 1e9)
        how = at.searcher(method, llm="none")
        limits = at.Limits(trials=trials)
        return await at.search(searched, how, space, path, study_name="s", limits=limits, parallel=2)

    path = str(tmp_path / "runs.db")
    with Provider(replace(CLASSIC, chat=chat, models=listing("good", "bad"))) as provider:
        result = await search(5)
        failed = [trial for trial in result.archive.trials if trial.evaluation.refused]
        assert result.best.allocation["answer"].model == "good" and result.best.evaluation.score == 1
        assert all(trial.allocation["answer"].model == "bad" and trial.evaluation.failures for trial in failed)
        again = await search(7)
    assert len(again.archive.trials) == 7 and len(failed) <= 2  # both of one round, at most
    later = [trial for trial in again.archive.trials if trial.evaluation.refused]
    assert len(later) <= 2
    if failed:
        assert (
            "model 'bad' was ruled out for subtask 'answer' (model 'bad' of subtask 'answer' refused" in result.stopped
        )
        assert "this model takes no chat" in result.stopped and "was ruled out" in again.stopped


async def test_a_study_without_any_good_candidate_says_why() -> None:
    with Provider(replace(CLASSIC, chat=lambda body: refusal("takes no chat", 404))) as provider:
        searched = environment(model(provider, parameters=1e6), retries=0)
        space = at.SearchSpace(searched.pipeline, at.cost_model("flops"), 1e9)
        with pytest.raises(
            EndpointError, match="every model of subtask 'answer' is ruled out: model 'gpt-4o-mini' .*takes"
        ):
            await at.search(searched, at.searcher("grid"), space, at.Store(), study_name="s")
