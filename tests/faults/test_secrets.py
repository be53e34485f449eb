"""What was sent to a server, or typed for a store, is shown by no error, in whatever form it comes back."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from urllib.parse import quote

import pytest

import agenttts as at
from agenttts.db import Store
from agenttts.errors import EndpointError, StoreError
from agenttts.llm.chat import ChatModel
from agenttts.llm.endpoint import shown_url
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Model, Sampling
from agenttts.testing import ScriptedClient
from tests.endpoint import FakeEndpoint, Fault
from tests.faults.commands import run
from tests.faults.server import RawServer, completion, prompt

USER, PASSWORD, TOKEN, KEY = "robot77", "p@ss/w:rd!", "tok en+1", "sk-very-secret-1"
HEADER = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
ECHOES = [
    KEY, PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD, safe="").lower(), HEADER, f"Basic {HEADER.rstrip('=')}",
    TOKEN, quote(TOKEN), TOKEN.replace(" ", "+"), f"{USER}:{PASSWORD}", base64.b64encode(PASSWORD.encode()).decode(),
    base64.urlsafe_b64encode(KEY.encode()).decode(), f"?token={quote(TOKEN)}", PASSWORD.replace("/", "\\/"),
]  # fmt: skip
SECRETS = [USER, "ss/w:rd", "ss%2fw", HEADER[:12], "tok en", "tok%20en", "tok+en", KEY, "very-secret",
           base64.b64encode(PASSWORD.encode()).decode()[:10]]  # fmt: skip


def hides(text: str) -> bool:
    return not any(secret.lower() in text.lower() for secret in SECRETS)


@pytest.mark.parametrize("echo", ECHOES)
async def test_a_server_that_echoes_what_it_was_sent_shows_none_of_it(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, echo: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    url = endpoint.url.replace("http://", f"http://{USER}:{quote(PASSWORD, safe='')}@") + f"?token={quote(TOKEN)}"
    fault = Fault(400, f"bad request: {echo} :(", {"x-request-id": echo.replace(" ", "_")})
    endpoint.faults = [fault] * 8
    with pytest.raises(EndpointError) as asked:
        await ChatModel("small", base_url=url).ask("q", system="s")
    client, sampling = OpenAIClient(max_retries=0), Sampling()
    with pytest.raises(EndpointError) as drawn:
        await client.complete(
            Model("small", 1e6, base_url=url), [{"role": "user", "content": "q"}], sampling, start=0, samples=1, seed=0
        )
    await client.close()
    for caught in (asked, drawn):
        assert hides(str(caught.value)) and "bad request" in str(caught.value)


async def test_a_key_in_an_answer_or_its_usage_is_neither_kept_nor_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    long = "a-long-password"
    basic = base64.b64encode(f"{USER}:{long}".encode()).decode()
    echo = f"you sent {KEY}, {long} and {basic}; word"
    answer = completion(echo, usage={"prompt_tokens": f"{KEY} {PASSWORD} {HEADER}"}, id=KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with RawServer(lambda asked, number: answer) as server:
        url = server.url.replace("http://", f"http://{USER}:{long}@")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        client, model = OpenAIClient(max_retries=0), Model("small", 1e6, base_url=url)
        drawn = await client.complete(model, prompt(), Sampling(max_tokens=64), start=0, samples=1, seed=0)
        await client.close()
        said = (await ChatModel("small", base_url=url).ask("q", system="s")).text
    assert drawn.samples[0].text == said == "you sent ***, *** and ***; word"
    assert "a usage that cannot be" in caplog.text and KEY not in caplog.text


@pytest.mark.parametrize("key", ["EMPTY", "word", "sk-no-key-required"])
async def test_a_word_that_is_a_key_stays_in_an_answer(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with RawServer(lambda asked, number: completion(f"it is {key}")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        client, model = OpenAIClient(max_retries=0), Model("small", 1e6)
        drawn = await client.complete(model, prompt(), Sampling(max_tokens=64), start=0, samples=1, seed=0)
        await client.close()
    assert drawn.samples[0].text == f"it is {key}"


async def test_a_list_of_models_that_echoes_a_key_shows_none_of_it(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    endpoint.models = [f"for-{KEY}", "other"]
    with pytest.raises(at.ConfigError) as caught:
        await ChatModel("small", base_url=endpoint.url).check()
    assert hides(str(caught.value)) and "other" in str(caught.value)


@pytest.mark.parametrize("url", [
    "http://robot77:tok+en@host/v1?key=tok+en", "http://host/v1?key=a@tok+en", "http://host?x=1@tok+en",
    "http://robot77:tok+en@host#tok+en", "http://robot77@host/v1?a=b&c=tok+en@d", "robot77:tok+en@host/v1",
    "http://ro/robot77:tok+en@host/v1", "http:/robot77:tok+en@host/v1", "http://host/v1#tok+en",
])  # fmt: skip
def test_a_url_is_shown_without_user_password_and_query(url: str) -> None:
    assert hides(shown_url(url))


@pytest.mark.parametrize("url", [
    "postgresql:u:hunter2@host/db", "postgres//u:hunter2@h", "postgresql:/u:hunter2@h", "u:hunter2@host/db",
    "postgresql:///u:hunter2@h/db", "postgresql;//u:hunter2@h", "Postgres:u:hunter2@h", "//u:hunter2@h/db",
    "postgresql+psycopg:u:hunter2@h/db", "://u:hunter2@h", "http://u:hunter2@h/db", "sqlite://u:hunter2@h/x",
    "postgresql://u:pa@hunter2@h/db", "postgresql://us/er:hunter2@h/db", "postgresql://u:hunter2@h:port/db",
    "postgresql://u:hunter2@127.0.0.1:1/db?sslmode=hunter2", "postgresql://127.0.0.1:1/db?password=hunter2",
])  # fmt: skip
def test_a_stores_mistyped_url_is_neither_shown_nor_made_a_file(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert "hunter2" not in str(caught.value)
    for command in (f"studies --store '{url}'", f"search minihop-recorded --trials 1 --method random --store '{url}'"):
        ended = run(command, monkeypatch)
        assert ended.code == 4 and "hunter2" not in ended.err + ended.out and "Traceback" not in ended.err, ended
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a.db", "./x:y@z.db", "postgres.db", "me@home.db", "sqlite:///me@home.db"])
def test_the_path_of_a_file_stays_one(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Store(path).close()
    assert Path(path.removeprefix("sqlite:///")).is_file()


def refused(output: object, example: object) -> float:
    raise ValueError(f"401: Incorrect API key provided: {KEY}; gateway {os.environ['GATEWAY']}")


async def test_a_key_in_an_error_of_a_users_function_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", KEY)
    monkeypatch.setenv("GATEWAY", "a-value-of-a-header")
    model = Model("m", 1e6, headers={"X-Gateway": "GATEWAY"})
    rows = [{"id": "1", "question": "?"}]
    pipeline = at.Pipeline("p", (at.Subtask("s", (model,), "{{ question }}"),), metric=refused)
    searched = at.LiveEnvironment(pipeline, rows, client=ScriptedClient(lambda model, messages, position: "x"))
    async with searched:
        evaluation = await searched.evaluate(at.Allocation({"s": ("m", 1)}))
    assert evaluation.results[0].error == "ValueError: 401: Incorrect API key provided: ***; gateway ***"


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [("environment", 2, "failed with OSError: refused with ***"), ("broken", 1, "OSError: refused with ***")],
)
def test_an_error_of_a_plug_in_shows_no_key(
    environment: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_TOKEN", KEY)
    (tmp_path / "plug.py").write_text(_PLUG_IN)
    ended = run(f"search plug.py:{environment} --method random --budget 1e9 --store s.db", monkeypatch)
    assert ended.code == code and said in ended.err and hides(ended.err + ended.out)


_PLUG_IN = """
import os
import agenttts as at
from agenttts.protocols import Environment
class PlugIn(Environment):
    def __init__(self):
        model = at.Model("m", 1e6)
        metric = at.metrics.equal("gold")
        self.name, self.pipeline = "plug-in", at.Pipeline("p", (at.Subtask("s", (model,), "x"),), metric)
        self.examples = ("a", "b")
    async def evaluate(self, allocation, examples=None, *, pool=None):
        raise OSError("refused with " + os.environ["SOME_TOKEN"])
class Broken(PlugIn):
    async def prefix_caches(self):
        raise OSError("refused with " + os.environ["SOME_TOKEN"])
environment, broken = PlugIn(), Broken()
"""


@pytest.mark.parametrize("request_", [
    {"api_key": KEY}, {"litellm_params": {"apiKey": KEY}}, {"extra_headers": {"Authorization": f"Bearer {KEY}"}},
    {"tools": [{"auth_token": KEY}]}, {"X-Api-Key": KEY},
])  # fmt: skip
def test_a_key_among_the_fields_of_a_request_is_refused(request_: dict[str, object]) -> None:
    for make in (
        lambda: Model("m", 1e6, request=request_),
        lambda: at.Subtask("s", (Model("m", 1e6),), "x", sampling=Sampling(extra=request_)),
    ):
        with pytest.raises(at.ConfigError, match="what is asked is kept and shown: name the environment var") as caught:
            make()
        assert hides(str(caught.value))


def test_what_is_named_like_a_secret_and_holds_none_stays() -> None:
    schema = {"type": "object", "properties": {"password": {"type": "string"}}, "required": ["password"]}
    tools = [{"type": "function", "function": {"name": "log_in", "parameters": schema}}]
    request = {"tools": tools, "max_tokens": 5, "token_budget": 3, "prompt_cache_key": "a", "add_special_tokens": True}
    assert Model("m", 1e6, request=request).request == request
