"""A searched pipeline is put to work: from Python, in LangGraph and over HTTP, also when a model is down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import httpx
import pytest
import yaml
from openai import OpenAI

import agenttts as at
from agenttts._util.web import WebServer
from agenttts.db import Store
from agenttts.deployment import deployed
from agenttts.deployment.answer import PipelineAnswer
from agenttts.deployment.answering import DeployedPipeline, MissingField
from agenttts.deployment.application import application
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError, EndpointError
from agenttts.pipeline import Message, Model, Pipeline, Subtask, SubtaskInput
from agenttts.report import recommendation
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits, SearchResult
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost
from agenttts.testing import ScriptedClient
from tests.conftest import toy_reply
from tests.endpoint import FakeEndpoint, Fault

CHOSEN = Allocation({"find": ("large", 2), "answer": ("small", 3)})


def reply(messages: Any, seed: int) -> str:
    """Find says "fact"; answer repeats what it was told."""
    return "fact" if messages[-1]["content"].startswith("find") else messages[-1]["content"]


def make_pipeline(url: str, large_url: str | None = None, *, prompt: str = "find {{ question }}") -> Pipeline:
    models = (Model("small", 1e6, base_url=url), Model("large", 8e6, base_url=large_url or url))
    find = Subtask("find", models, prompt, prompt_tokens=5, completion_tokens=2, max_samples=6)
    answer = Subtask("answer", models, answer_prompt, prompt_tokens=6, completion_tokens=2, max_samples=6)
    return Pipeline("mine", (find, answer), metric=at.metrics.exact_match("gold"))


def answer_prompt(given: SubtaskInput) -> str:
    return f"{given.inputs['find']} for {given.example['who']}"


@pytest.fixture
def down() -> Iterator[FakeEndpoint]:
    """A second endpoint, to be taken down."""
    with FakeEndpoint() as server:
        server.reply = reply
        yield server


def deploy(pipeline: Pipeline, *, budget: float = 400, timeout_s: float = 20) -> DeployedPipeline:
    return DeployedPipeline(CHOSEN, SearchSpace(pipeline, FlopsCost(), budget), timeout_s=timeout_s)


GIVEN = {"question": "q", "who": "Ann"}


def test_one_input_is_answered_with_the_allocations_samples(endpoint: FakeEndpoint) -> None:
    endpoint.reply = reply
    answer = deploy(make_pipeline(endpoint.url))(GIVEN)
    assert (answer.text, answer.outputs, answer.degraded) == (
        "fact for Ann",
        {"find": "fact", "answer": "fact for Ann"},
        (),
    )
    assert answer.allocation == CHOSEN
    assert [(name, used.model, used.samples) for name, used in answer.stages.items()] == [
        ("find", "large", 2), ("answer", "small", 3),
    ]  # fmt: skip
    assert sum(body.get("n", 1) for body in endpoint.requests) == 5
    counted = answer.stages.values()
    assert answer.spend.prompt_tokens == sum(used.prompt_tokens for used in counted) == 2 + 3
    assert answer.spend.completion_tokens == sum(used.completion_tokens for used in counted) == 2 + 9


async def test_the_winner_of_a_search_is_deployed_by_name(
    toy_environment: LiveEnvironment, toy_space: SearchSpace
) -> None:
    agent = searcher("agent", llm="none")
    result = await search(toy_environment, agent, toy_space, Store(), study_name="s", limits=Limits(trials=6))
    winner = deployed(result.best, toy_environment, space=toy_space)
    async with winner:
        answers = [await winner.answer("1?"), await winner.answer({"question": "1?"})]
    assert [answer.text for answer in answers] == ["yes", "yes"] and answers[0].allocation == result.best.allocation
    with pytest.raises(ConfigError, match="an event loop is running: use `await"):
        winner("1?")


def test_answers_at_once_share_what_was_started(endpoint: FakeEndpoint) -> None:
    endpoint.reply, endpoint.delay_s = reply, 0.05
    pipeline = deploy(make_pipeline(endpoint.url))

    async def several() -> list[PipelineAnswer]:
        return await asyncio.gather(*(pipeline.answer({"question": "q", "who": who}) for who in "abc"))

    for _ in range(2):  # in two event loops
        assert [answer.text for answer in asyncio.run(several())] == ["fact for a", "fact for b", "fact for c"]


async def test_a_deployed_pipeline_is_a_langgraph_node_and_a_graph(endpoint: FakeEndpoint) -> None:
    from langgraph.graph import END, START, StateGraph

    class State(TypedDict, total=False):
        question: str
        who: str
        reply: str

    endpoint.reply = reply
    pipeline = deploy(make_pipeline(endpoint.url))
    graph = StateGraph(State)
    graph.add_node("mine", pipeline.node(into="reply"))
    graph.add_edge(START, "mine")
    graph.add_edge("mine", END)
    assert await graph.compile().ainvoke({"question": "q", "who": "Bob"}) == {
        "question": "q", "who": "Bob", "reply": "fact for Bob",
    }  # fmt: skip
    whole = await pipeline.graph().ainvoke({"input": GIVEN})
    assert whole["answer"].text == "fact for Ann" and whole["answer"].allocation == CHOSEN


async def test_the_graph_shows_stage_by_stage_what_was_chosen_and_used(endpoint: FakeEndpoint) -> None:
    endpoint.reply = reply
    graph = deploy(make_pipeline(endpoint.url)).graph()
    drawn = {(edge.source, edge.target) for edge in graph.get_graph().edges}
    assert drawn == {("__start__", "input"), ("input", "find"), ("find", "answer"), ("answer", "__end__")}
    streamed = [update async for update in graph.astream({"input": GIVEN}, stream_mode="updates")]
    assert [node for update in streamed for node in update] == ["input", "find", "answer"]
    find, answer = streamed[1]["find"], streamed[2]["answer"]
    assert find["outputs"] == {"find": "fact"} and "answer" not in find
    assert (find["stages"]["find"].model, find["stages"]["find"].samples) == ("large", 2)
    assert answer["answer"].stages == {**find["stages"], **answer["stages"]}


async def test_the_graph_degrades_and_fails_as_the_call_does(endpoint: FakeEndpoint) -> None:
    endpoint.reply, endpoint.faults = reply, [None, *[Fault(500)] * 50]
    graph = deploy(make_pipeline(endpoint.url)).graph()
    answer = (await graph.ainvoke({"input": GIVEN}))["answer"]
    assert answer.output == "fact" and "cut short after subtask 'find'" in answer.degraded[-1]
    endpoint.faults = [Fault(500)] * 50
    with pytest.raises(EndpointError, match="answered 500"):
        await deploy(make_pipeline(endpoint.url)).graph().ainvoke({"input": GIVEN})
    with pytest.raises(MissingField):
        await graph.ainvoke({"input": {}})


async def test_stages_that_need_not_wait_for_one_another_are_side_by_side_in_the_graph() -> None:
    small = Model("small", 1e6)
    names: dict[str, tuple[str, ...]] = {"input": (), "b": (), "c": ("b",), "d": ("input", "c")}
    stages = [
        Subtask(name, (small,), "{{ q }}", prompt_tokens=5, completion_tokens=2, after=after)
        for name, after in names.items()
    ]
    space = SearchSpace(Pipeline("p", tuple(stages), metric=at.metrics.exact_match("gold")), FlopsCost(), 400)
    chosen = Allocation({name: ("small", 1) for name in names})
    graph = DeployedPipeline(chosen, space, client=ScriptedClient(toy_reply)).graph()
    edges = {(edge.source, edge.target) for edge in graph.get_graph().edges}
    assert edges >= {("input_", "input"), ("input_", "b"), ("b", "c"), ("input", "d"), ("c", "d")}
    found = await graph.ainvoke({"input": {"q": "1?"}})
    assert found["outputs"] == dict(found["answer"].outputs) and set(found["outputs"]) == set(names)


# When a model is down


def test_another_model_stands_in_within_the_budget_and_the_answer_says_so(
    endpoint: FakeEndpoint, down: FakeEndpoint
) -> None:
    endpoint.reply = reply
    pipeline = deploy(make_pipeline(endpoint.url, down.url), budget=200)
    down.faults = [Fault(503)] * 100
    answer = pipeline(GIVEN)
    assert answer.text == "fact for Ann"
    assert answer.allocation["find"].model == "small" and answer.allocation in pipeline.space
    more = answer.allocation.replaced("find", "small", answer.allocation["find"].samples + 1)
    assert more not in pipeline.space  # as many as fit
    (said,) = answer.degraded
    assert said.startswith("subtask 'find' used small x") and "instead of large x2: model 'large' at" in said
    asked = len(down.requests)
    assert "failed less than 30 s ago" in pipeline(GIVEN).degraded[0] and len(down.requests) == asked


def test_a_server_that_is_gone_is_stood_in_for(endpoint: FakeEndpoint) -> None:
    endpoint.reply = reply
    answer = deploy(make_pipeline(endpoint.url, "http://127.0.0.1:1/v1"))(GIVEN)
    assert answer.text == "fact for Ann" and "instead of large" in answer.degraded[0]


def test_without_any_model_left_the_answer_is_what_there_is(endpoint: FakeEndpoint) -> None:
    endpoint.reply, endpoint.faults = reply, [None, *[Fault(500)] * 50]
    answer = deploy(make_pipeline(endpoint.url))(GIVEN)
    assert answer.output == "fact" and set(answer.outputs) == {"find"}
    assert answer.degraded[-1].startswith("cut short after subtask 'find', whose output this is: model")
    endpoint.faults = [Fault(500)] * 50
    with pytest.raises(EndpointError, match="answered 500"):
        deploy(make_pipeline(endpoint.url))(GIVEN)


def test_when_the_time_is_up_the_answer_is_what_there_is(endpoint: FakeEndpoint, down: FakeEndpoint) -> None:
    def slow(messages: Any, seed: int) -> str:
        if not messages[-1]["content"].startswith("find"):
            time.sleep(2)
        return reply(messages, seed)

    endpoint.reply = down.reply = slow
    answer = deploy(make_pipeline(endpoint.url, down.url), timeout_s=1)(GIVEN)
    assert answer.output == "fact" and "cut short after subtask 'find'" in answer.degraded[-1]


# The allocation file


async def searched(environment: LiveEnvironment, store: Store) -> SearchResult:
    space = SearchSpace(environment.pipeline, FlopsCost(), 400)
    random = searcher("random")
    return await search(environment, random, space, store, study_name="s", limits=Limits(trials=4))


@pytest.fixture
async def file(endpoint: FakeEndpoint, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An allocation file of a search whose endpoint has a user and a key."""
    endpoint.reply = reply
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    secret_url = endpoint.url.replace("http://", "http://me:hunter2@")
    environment = LiveEnvironment(make_pipeline(secret_url), [{**GIVEN, "gold": "fact for Ann"}] * 1)
    result = await searched(environment, store)
    path = tmp_path / "allocation.yaml"
    path.write_text(yaml.safe_dump(recommendation(store, result.study), sort_keys=False))
    return path


def test_the_file_is_readable_and_holds_no_secret(file: Path, endpoint: FakeEndpoint) -> None:
    text = file.read_text()
    assert "hunter2" not in text and "sk-secret" not in text and endpoint.url in text
    content = yaml.safe_load(text)
    assert content["pipeline"] == "mine"
    assert set(content["fingerprints"]) == {"subtask 'find'", "subtask 'answer'", "the identity scheme"}
    assert content["searched"]["score"] == 1 and content["cost"]["unit"] == "MFLOP"


def test_the_file_is_all_that_deployment_needs_besides_the_pipeline(file: Path, endpoint: FakeEndpoint) -> None:
    pipeline = make_pipeline("http://127.0.0.1:1/v1")  # where the models are is in the file
    with pytest.raises(ConfigError, match="asks the model 'small' at .*, the code at .*: give --endpoint small=URL"):
        at.deployed(file, pipeline)
    found = at.deployed(file, pipeline, trust=True)
    assert found.allocation.as_dict() == yaml.safe_load(file.read_text())["allocation"]
    assert found(GIVEN).text == "fact for Ann" and not found(GIVEN).degraded


def test_a_file_of_another_pipeline_is_one_sentence(file: Path, endpoint: FakeEndpoint, tmp_path: Path) -> None:
    other = make_pipeline(endpoint.url, prompt="find quickly {{ question }}")
    with pytest.raises(ConfigError, match=r"another version of pipeline 'mine': subtask 'find' changed"):
        at.deployed(file, other)
    toy = Pipeline("toy", (Subtask("s", (Model("m", 1e6),), "x"),), metric=at.metrics.exact_match("gold"))
    with pytest.raises(ConfigError, match="is for pipeline 'mine', not for 'toy'"):
        at.deployed(file, toy)
    with pytest.raises(ConfigError, match="does not say where pipeline 'mine' is"):
        at.deployed(file)
    broken = tmp_path / "broken.yaml"
    for content, message in [("{", "is not YAML"), ("pipeline: p", "not one that `agenttts best` wrote: fingerprints")]:
        broken.write_text(content)
        with pytest.raises(ConfigError, match=message):
            at.deployed(broken)
    with pytest.raises(ConfigError, match="cannot read the allocation file"):
        at.deployed(tmp_path / "none.yaml")


def test_the_measure_may_change_and_the_models_may_move(file: Path, endpoint: FakeEndpoint, down: FakeEndpoint) -> None:
    pipeline = make_pipeline(endpoint.url)
    changed = Pipeline(pipeline.name, pipeline.subtasks, metric=at.metrics.exact_match("label"))
    moved = at.deployed(file, changed, endpoints={"small": down.url, "large": down.url})
    before = len(endpoint.requests)
    assert moved(GIVEN).text == "fact for Ann" and len(endpoint.requests) == before and down.requests


async def test_recorded_samples_are_deployed_as_such(store: Store) -> None:
    environment = at.environment("minihop-recorded")
    assert isinstance(environment, LiveEnvironment)
    space = SearchSpace(environment.pipeline, FlopsCost(), 700)
    chosen = Allocation({"retrieve": ("minihop-s", 3), "answer": ("minihop-m", 1)})
    example = environment.example(environment.examples[0])
    given = {name: example[name] for name in ("facts", "question")}
    async with deployed(chosen, environment, space=space) as pipeline:
        answer = await pipeline.answer(given)
    assert answer.recorded == "recorded samples of real models; no model runs"


# The endpoint


@pytest.fixture
def served(endpoint: FakeEndpoint) -> Iterator[WebServer]:
    endpoint.reply = reply
    pipeline = deploy(make_pipeline(endpoint.url))
    with WebServer(application(pipeline), within=pipeline) as server:
        yield server


def post(server: WebServer, content: Any, **changes: Any) -> httpx.Response:
    text = content if isinstance(content, str) else json.dumps(content)
    body = {"model": "mine", "messages": [{"role": "user", "content": text}], **changes}
    return httpx.post(f"{server.url}/chat/completions", json=body, timeout=30)


def test_the_official_client_asks_the_pipeline(served: WebServer) -> None:
    with OpenAI(base_url=served.url, api_key="none") as client:
        assert [model.id for model in client.models.list()] == ["mine"]
        messages: Any = [{"role": "system", "content": "x"}, {"role": "user", "content": json.dumps(GIVEN)}]
        answer = client.chat.completions.create(model="mine", messages=messages)
    assert answer.choices[0].message.content == "fact for Ann"
    assert answer.usage is not None and answer.usage.prompt_tokens == 5 and answer.usage.total_tokens == 16
    told: Any = answer.model_extra
    assert told["agenttts"]["allocation"] == CHOSEN.as_dict() and told["agenttts"]["degraded"] == []
    assert told["agenttts"]["stages"]["answer"]["samples"] == 3


@pytest.mark.parametrize("counted", [True, False])
def test_the_official_client_streams_the_pipeline(served: WebServer, counted: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if counted else {}
    messages: Any = [{"role": "user", "content": json.dumps(GIVEN)}]
    with OpenAI(base_url=served.url, api_key="none") as client:
        chunks = list(client.chat.completions.create(model="mine", messages=messages, stream=True, **options))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "fact for Ann"
    assert choices[0].delta.role == "assistant" and choices[-1].finish_reason == "stop"
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([16] if counted else [])
    told: Any = chunks[-1].model_extra
    assert told["agenttts"]["allocation"] == CHOSEN.as_dict() and len({chunk.id for chunk in chunks}) == 1


def test_the_official_clients_stream_helper_puts_the_answer_together(served: WebServer) -> None:
    messages: Any = [{"role": "user", "content": json.dumps(GIVEN)}]
    with (
        OpenAI(base_url=served.url, api_key="none") as client,
        client.chat.completions.stream(model="mine", messages=messages) as stream,
    ):
        assert stream.get_final_completion().choices[0].message.content == "fact for Ann"


@pytest.mark.parametrize(("content", "changes", "status", "message"), [
    ("q", {}, 400, "the input lacks the field 'who', which the pipeline reads; it has question"),
    ({"who": "Ann"}, {}, 400, "the prompt of subtask 'find' names 'question', which the input lacks; it has who"),
    (GIVEN, {"model": "gpt"}, 404, "there is no model 'gpt' here; there is 'mine'"),
    (GIVEN, {"n": 2}, 400, "leave n out"),
    ("q", {"stream": True}, 400, "the input lacks the field 'who'"),
    (GIVEN, {"messages": []}, 400, "not a chat completion request: messages: "),
    (GIVEN, {"messages": [{"role": "system", "content": "x"}]}, 400, "there is no user message"),
])  # fmt: skip
def test_what_cannot_be_answered_is_one_sentence(
    served: WebServer, content: Any, changes: dict[str, Any], status: int, message: str
) -> None:
    answer = post(served, content, **changes)
    assert answer.status_code == status and message in answer.json()["error"]["message"]


def test_a_model_that_is_down_shows_in_the_response(endpoint: FakeEndpoint, served: WebServer) -> None:
    endpoint.faults = [None, *[Fault(500)] * 50]
    told = post(served, GIVEN).json()
    assert told["choices"][0]["message"]["content"] == "fact" and "cut short" in told["agenttts"]["degraded"][-1]
    refused = post(served, GIVEN)
    assert refused.status_code == 503 and "no model answered" in refused.json()["error"]["message"]


def test_no_text_of_a_users_exception_leaves_the_server(endpoint: FakeEndpoint) -> None:
    def broken(given: SubtaskInput) -> list[Message]:
        raise RuntimeError("a secret")

    subtask = Subtask("s", (Model("small", 1e6),), broken, prompt_tokens=5, completion_tokens=2)
    space = SearchSpace(Pipeline("p", (subtask,), metric=at.metrics.exact_match("gold")), FlopsCost(), 400)
    client = ScriptedClient(toy_reply)
    with WebServer(application(DeployedPipeline(Allocation({"s": ("small", 1)}), space, client=client))) as server:
        answer = post(server, {}, model="p")
    assert answer.status_code == 500 and answer.json()["error"]["message"] == (
        "a function of the pipeline failed with RuntimeError"
    )


async def test_an_allocation_outside_of_the_budget_is_refused(endpoint: FakeEndpoint) -> None:
    with pytest.raises(ConfigError, match="cannot be deployed on pipeline 'mine': it costs"):
        deploy(make_pipeline(endpoint.url), budget=100)
    with pytest.raises(MissingField):
        await deploy(make_pipeline(endpoint.url)).answer({})
