"""The simulated server through the real client: every task from end to end, the protocol, its label, its faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agenttts.db import Store
from agenttts.environments import LiveEnvironment, RecordedEnvironment, environment
from agenttts.environments.tasks.chatdev.program import cosine
from agenttts.errors import ConfigError, EndpointError
from agenttts.execution.prompts import render
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import SubtaskInput
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits, SearchResult
from agenttts.searching.recording import record
from agenttts.simulation import ANSWERERS, Faults, Simulation, SimulationServer
from agenttts.simulation.embeddings import SHARED
from agenttts.simulation.skill import SKILLS
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import cost_model
from agenttts.study.evaluation import Evaluation
from tests.endpoint import FakeEndpoint
from tests.environments.tasks.data import OWN, SAMPLES

LABEL = "simulated models; no LLM runs"
ALLOCATION = Allocation({"retrieve": ("Qwen2.5-7B", 4), "answer": ("Llama-3.1-8B", 5)})
Serve = Callable[..., SimulationServer]
DATA = {
    **{task: OWN / f"{task}.jsonl" for task in SKILLS},
    "taskbench": OWN / "taskbench" / "data_dailylifeapis",
    "chatdev": OWN / "srdd.csv",
}
FAULTS = {
    "rate_limit": 0.05,
    "retry_after_s": 0.01,
    "error": 0.05,
    "cut": 0.05,
    "slow": 0.05,
    "slow_s": 0.01,
    "most_n": 3,
}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server of a task on our own examples, with these faults."""
    running: list[SimulationServer] = []

    def start(task: str = "hotpotqa", data: Path | None = None, **faults: Any) -> SimulationServer:
        simulation = Simulation(task, str(data or DATA[task]), faults=Faults(**faults))
        running.append(SimulationServer(simulation).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__(None, None, None)


def asking(server: SimulationServer, task: str = "hotpotqa", data: Path | None = None) -> LiveEnvironment:
    found = environment(task, data=str(data or DATA[task]))
    assert isinstance(found, LiveEnvironment)
    found.client = OpenAIClient(timeout_s=20, max_retries=8)
    models = (*found.pipeline.models, *([found.embedder] if found.embedder else []))
    found.route({model.name: server.url for model in models})
    return found


async def evaluate(server: SimulationServer) -> Evaluation:
    async with asking(server) as found:
        return await found.evaluate(ALLOCATION)


async def searched(found: LiveEnvironment, store: Store, trials: int = 6) -> SearchResult:
    assert found.default_budget is not None
    space = SearchSpace(found.pipeline, cost_model(found.default_budget.cost_model), found.default_budget.amount)
    agent = searcher("agent", llm="none")
    return await search(found, agent, space, store, study_name="s", limits=Limits(trials=trials), parallel=2)


@pytest.mark.parametrize(
    "task", [pytest.param(each, marks=[pytest.mark.slow] * (each == "chatdev")) for each in ANSWERERS]
)
async def test_a_task_is_searched_from_end_to_end_through_faults(task: str, serve: Serve, store: Store) -> None:
    found = asking(serve(task, **FAULTS), task)
    result = await searched(found, store, trials=4)
    assert len(result.archive.trials) == 4 and result.best.evaluation.score > 0.25
    assert result.study.details["recorded"] == LABEL
    evaluation = result.best.evaluation
    assert not [
        r.error for trial in result.archive.trials for r in trial.evaluation.results if "http" in (r.error or "")
    ]
    assert all(score > 0.2 for score in evaluation.subtask_scores.values())
    for subtask in found.pipeline.subtasks:
        used = evaluation.usage[subtask.name]
        if used.samples:  # a program that runs is not mended
            declared = subtask.lengths(subtask.models[0])
            assert declared.prompt / 8 < used.prompt_tokens < declared.prompt * 4
            assert 10 < used.completion_tokens < declared.completion * 2


@pytest.mark.parametrize("domain", ["multimedia", "huggingface"])
async def test_the_other_domains_of_taskbench_are_simulated_too(domain: str, serve: Serve) -> None:
    data = OWN / "taskbench" / f"data_{domain}"
    async with asking(serve("taskbench", data), "taskbench", data) as found:
        evaluation = await found.evaluate(each(found, "Llama-3.1-70B", 3))
    assert evaluation.failures == 0 and evaluation.score > 0.2


async def test_simulated_programs_are_real_and_differ(serve: Serve) -> None:
    async with asking(serve("chatdev"), "chatdev") as found:
        small = await found.evaluate(each(found, "Llama-3.2-3B", 1))
    assert {result.subtask_scores["coding"] for result in small.results} == {0.0, 1.0}
    assert small.usage["dynamic_testing"].samples > 0, "no program failed in the sandbox"
    assert len({result.score for result in small.results}) == len(small.results)
    assert all("def part_" in result.output for result in small.results)


async def test_simulated_embeddings_alone_make_the_scores_simulated(serve: Serve, endpoint: FakeEndpoint) -> None:
    real = environment("chatdev", data=str(DATA["chatdev"]))
    assert isinstance(real, LiveEnvironment) and real.embedder is not None
    endpoint.models = [model.served_name for model in real.pipeline.models]
    real.route({model.name: endpoint.url for model in real.pipeline.models})
    real.route({real.embedder.name: serve("chatdev").url})
    async with real as entered:
        assert entered.recorded == LABEL and real.recorded == ""


def test_embeddings_are_those_of_the_rule(serve: Serve) -> None:
    server = serve("chatdev")
    inputs = ["select_image now", "Select an IMAGE", "quite another"]
    request: dict[str, Any] = {"model": "text-embedding-ada-002", "input": inputs}
    answer = httpx.post(f"{server.url}/embeddings", json=request, timeout=20)
    same, alike, other = (each["embedding"] for each in answer.json()["data"])
    assert answer.headers["x-simulation"] == "agenttts-simulation" and answer.json()["simulation"] is True
    assert cosine(same, same) == pytest.approx(1) and SHARED - 0.1 < cosine(same, other) < SHARED + 0.1
    assert cosine(same, alike) == pytest.approx(SHARED + (1 - SHARED) * 2 / 6**0.5)  # two words of three, and of two
    assert answer.json()["usage"]["prompt_tokens"] == 4 + 4 + 4
    unknown, empty = {**request, "model": "gpt-9"}, {**request, "input": []}
    for wrong, status in [(unknown, 404), (empty, 400)]:
        assert httpx.post(f"{server.url}/embeddings", json=wrong, timeout=20).status_code == status
    assert httpx.post(f"{serve().url}/embeddings", json=request, timeout=20).status_code == 404


@pytest.mark.parametrize(("task", "prompt", "message"), [
    ("taskbench", "Hello", "none of its task's prompts"),
    ("taskbench", "Now this one:\nrequest: Fly me to the moon.\nReply:", "no example with the request 'Fly me"),
    ("chatdev", "Hello", "no example with the description"),
    ("chatdev", "Description: A chess clock.\n\nHello", "no example with the description 'A chess"),
])  # fmt: skip
def test_other_prompts_of_plans_and_programs_are_refused(task: str, prompt: str, message: str, serve: Serve) -> None:
    model = "meta-llama/Llama-3.1-70B-Instruct"
    answer = post(serve(task), model=model, messages=[{"role": "user", "content": prompt}])
    assert answer.status_code == 400 and message in answer.json()["error"]["message"]


def each(found: LiveEnvironment, model: str, samples: int) -> Allocation:
    return Allocation({subtask.name: (model, samples) for subtask in found.pipeline.subtasks})


@pytest.mark.parametrize(("task", "file"), [
    ("hotpotqa", "hotpotqa_100chunks"), ("2wikimultihopqa", "2wikimultihopqa"), ("cwq", "cwq"), ("webqsp", "webqsp"),
])  # fmt: skip
async def test_public_samples_take_about_the_papers_lengths(task: str, file: str, serve: Serve) -> None:
    data = SAMPLES / f"{file}.jsonl"
    if not data.is_file():
        pytest.skip("no samples of the public datasets: set AGENTTTS_SHARED_DATA to their folder")
    found = asking(serve(task, data), task, data)
    async with found:
        evaluation = await found.evaluate(ALLOCATION, found.examples[:30])
    assert evaluation.failures <= 1 and evaluation.score > 0.1
    for subtask in found.pipeline.subtasks:
        used = evaluation.usage[subtask.name]
        print(task, subtask.name, used)
        declared = subtask.lengths(subtask.models[0])
        assert declared.prompt / 4 < used.prompt_tokens < declared.prompt * 8
        assert declared.completion / 4 < used.completion_tokens < declared.completion * 2


async def test_simulated_and_real_models_share_neither_study_nor_samples(serve: Serve, store: Store) -> None:
    found = asking(serve())
    before = found.fingerprint
    result = await searched(found, store, trials=2)
    async with found as entered:
        assert result.study.spec.fingerprint == entered.fingerprint != before == found.fingerprint
        assert {model.revision for model in entered.pipeline.models} == {LABEL}
    # As if a real server stood there: its study would be another one, with other fingerprints.
    real = environment("hotpotqa", data=str(OWN / "hotpotqa.jsonl"))
    assert real.fingerprint == before


async def test_a_table_of_simulated_outcomes_says_so(serve: Serve, tmp_path: Path) -> None:
    found, path = asking(serve()), tmp_path / "table.csv"
    await record(found, [ALLOCATION], str(tmp_path / "record.db"), path)
    assert RecordedEnvironment(found.pipeline, path).recorded == "recorded outcomes of simulated models; no LLM runs"


def body(**changes: Any) -> dict[str, Any]:
    found = environment("hotpotqa", data=str(OWN / "hotpotqa.jsonl"))
    assert isinstance(found, LiveEnvironment)
    messages = render(found.pipeline.subtasks[0], SubtaskInput(found.example("own-hotpot-01")))
    return {"model": "Qwen/Qwen2.5-7B-Instruct-AWQ", "messages": messages, "seed": 7, "temperature": 0.9, **changes}


def post(server: SimulationServer, **changes: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/chat/completions", json=body(**changes), timeout=20)


def texts(server: SimulationServer, **changes: Any) -> list[str]:
    return [choice["message"]["content"] for choice in post(server, **changes).json()["choices"]]


def test_choices_follow_their_seeds(serve: Serve) -> None:
    server = serve()
    many = texts(server, n=12)
    assert many == texts(server, n=12) and len(set(many)) > 1
    assert many[3:6] == texts(server, n=3, seed=10)
    assert len({text for seed in range(8) for text in texts(server, temperature=0, seed=seed)}) == 1


def test_numbers_are_those_of_the_prompt(serve: Serve) -> None:
    (message,) = body()["messages"]
    content = re.sub(r"(?m)^\[(\d+)\]", lambda found: f"[{int(found[1]) + 50}]", message["content"])
    shifted = [{**message, "content": content}]
    before, after = texts(serve(), n=4), texts(serve(), n=4, messages=shifted)
    assert all(int(number) > 50 for text in after for number in re.findall(r"^\[(\d+)\]", text))
    assert before != after


def test_tokens_are_four_characters(serve: Serve) -> None:
    server = serve()
    answer = post(server, n=3).json()
    usage, prompt = answer["usage"], body()["messages"][0]["content"]
    assert usage["prompt_tokens"] == -(-len(prompt) // 4) + 4
    assert usage["completion_tokens"] == sum(-(-len(c["message"]["content"]) // 4) for c in answer["choices"])
    (cut,) = post(server, max_tokens=2).json()["choices"]
    assert len(cut["message"]["content"]) == 8 and cut["finish_reason"] == "length"


def test_everything_says_that_it_is_simulated(serve: Serve) -> None:
    server = serve()
    listing, answer = httpx.get(f"{server.url}/models"), post(server)
    assert {model["owned_by"] for model in listing.json()["data"]} == {"agenttts-simulation"}
    assert listing.json()["simulation"] is answer.json()["simulation"] is True
    assert answer.json()["system_fingerprint"] == "agenttts-simulation"
    assert listing.headers["x-simulation"] == answer.headers["x-simulation"] == "agenttts-simulation"


@pytest.mark.parametrize(("changes", "status", "message"), [
    ({"model": "gpt-9"}, 404, "does not serve 'gpt-9'"),
    ({"messages": [{"role": "user", "content": "Hello"}]}, 400, "none of its task's prompts"),
    ({"messages": []}, 400, "not a request for completions"),
    ({"n": 0}, 400, "not a request for completions"),
])  # fmt: skip
def test_other_requests_are_refused(serve: Serve, changes: dict[str, Any], status: int, message: str) -> None:
    answer = post(serve(), **changes)
    assert answer.status_code == status and message in answer.json()["error"]["message"]


async def test_a_prompt_about_another_question_is_refused(serve: Serve) -> None:
    messages = body()["messages"]
    messages[0]["content"] = messages[0]["content"].replace("On which island", "In which town")
    answer = post(serve(), messages=messages)
    assert answer.status_code == 400 and "no example with the question 'In which town" in answer.text


@pytest.mark.parametrize("fault", [
    {"rate_limit": 0.3, "retry_after_s": 0.05}, {"error": 0.2}, {"slow": 0.3, "slow_s": 0.05}, {"cut": 0.2},
    {"most_n": 1}, {"most_n": 3},
])  # fmt: skip
async def test_faults_are_lived_through_and_change_no_answer(fault: dict[str, Any], serve: Serve) -> None:
    whole, troubled = await evaluate(serve()), await evaluate(serve(**fault))
    assert [result.score for result in troubled.results] == [result.score for result in whole.results]
    assert troubled.usage["answer"].samples == whole.usage["answer"].samples == 50


@pytest.mark.slow
async def test_broken_json_fails_the_example_or_where_it_is_frequent_the_trial(serve: Serve) -> None:
    with pytest.raises(EndpointError, match="answered something that is not JSON"):
        await evaluate(serve(garbled=1.0))


async def test_a_server_that_always_refuses_is_one_sentence(serve: Serve) -> None:
    server = serve(error=1.0)
    found = asking(server)
    found.client = OpenAIClient(max_retries=0)
    found.route({model.name: server.url for model in found.pipeline.models})
    async with found:
        with pytest.raises(EndpointError, match="500: .*agenttts-simulation: a fault on request"):
            await found.evaluate(ALLOCATION)


def test_what_cannot_be_simulated_is_one_sentence() -> None:
    for given, message in [
        (["rain=0.1"], "a fault is KIND=SHARE, as in error=0.1, with a kind of rate_limit, error"),
        (["error=often"], "not 'error=often'"),
        (["error=1.5"], "the share of 'error' faults must be from 0 to 1, not 1.5"),
        (["error=0.6", "cut=0.6"], "together are over 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Faults.parse(given)
    with pytest.raises(ConfigError, match="the largest n must be at least 1, not 0"):
        Faults.parse([], most_n=0)
    with pytest.raises(ConfigError, match="there is no simulation of 'minihop'; there is of 2wikimultihopqa"):
        Simulation("minihop", None)
    simulation = Simulation("cwq", str(OWN / "cwq.jsonl"))
    with SimulationServer(simulation) as server, pytest.raises(ConfigError, match="cannot listen on port"):
        SimulationServer(simulation, port=int(server.url.split(":")[2].removesuffix("/v1")))
