"""Throughput measured on real servers, kept in a file, and what a pipeline is priced by."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

import agenttts as at
from agenttts.calibration.file import read_throughput, write_throughput
from agenttts.calibration.measure import Measured, measure
from agenttts.environments import LiveEnvironment, environment
from agenttts.errors import ConfigError
from agenttts.space.throughput import Throughput, with_throughput
from tests.endpoint import FakeEndpoint

FIGURES = Throughput(prefill_tokens_per_s=2000, decode_tokens_per_s=100, prefill_error=0.1, decode_error=0.2)


def served(pipeline: at.Pipeline, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> LiveEnvironment:
    """The toy pipeline at an endpoint that takes half a millisecond per prompt word and two per generated one."""
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)

    def reply(messages: Sequence[dict[str, str]], seed: int) -> str:
        tokens = endpoint.requests[-1]["max_tokens"]  # the same in all of a run
        time.sleep(0.0005 * len(messages[-1]["content"].split()) + 0.002 * tokens)
        return " ".join(["word"] * tokens)

    endpoint.reply = reply
    return LiveEnvironment(pipeline, [{"question": f"what is {i}?", "gold": "yes"} for i in range(20)])


async def test_every_model_is_measured_at_every_batch(
    toy_pipeline: at.Pipeline, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = served(toy_pipeline, endpoint, monkeypatch)
    told: list[Measured] = []
    measured = await measure(found, [1, 3], repeats=2, on_measured=told.append)
    assert told == measured
    assert [(each.model, each.requests_at_once, each.runs, each.gpus) for each in measured] == [
        (model, batch, 6, 1) for model in ("small", "large") for batch in (1, 3)
    ]
    assert all(each.throughput.prefill_error and each.throughput.decode_error for each in measured)


async def test_prompts_are_new_differ_in_length_and_are_answered_to_the_end(
    toy_pipeline: at.Pipeline, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):  # a second calibration of the same server must not find the first one's prompts in its cache
        await measure(served(toy_pipeline, endpoint, monkeypatch), [2], repeats=1)
    prompts = [body["messages"][-1]["content"] for body in endpoint.requests]
    assert len({prompt[:40] for prompt in prompts}) == len(prompts)
    assert len({len(prompt.split()) for prompt in prompts}) > 2
    assert {body["max_tokens"] for body in endpoint.requests} == {1, 16}
    assert all(body["ignore_eos"] for body in endpoint.requests)
    assert len({body["cache_salt"] for body in endpoint.requests}) == len(prompts)


async def test_as_many_requests_as_said_are_under_way(
    toy_pipeline: at.Pipeline, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = served(toy_pipeline, endpoint, monkeypatch)
    together, alone = threading.Barrier(4), endpoint.reply

    def reply(messages: Sequence[dict[str, str]], seed: int) -> str:
        if len(messages[-1]["content"].split()) != 32:  # all but the first request of a model
            together.wait(timeout=30)
        return alone(messages, seed)

    endpoint.reply = reply
    await measure(found, [4], repeats=1)
    assert not together.broken


async def test_runs_that_give_no_throughput_name_the_model(
    toy_pipeline: at.Pipeline, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = served(toy_pipeline, endpoint, monkeypatch)
    endpoint.reply = lambda messages, seed: ""
    with pytest.raises(ConfigError, match=r"model 'small', 2 at once: a throughput needs .*, or more \(--repeats\)"):
        await measure(found, [2], repeats=1)


@pytest.mark.parametrize("batch", [0, 65])
async def test_more_at_once_than_a_search_has_is_refused(toy_environment: LiveEnvironment, batch: int) -> None:
    with pytest.raises(ConfigError, match=f"{batch} requests at once cannot be measured: give 1 to 64"):
        await measure(toy_environment, [1, batch])


async def test_what_no_model_answers_is_not_measured() -> None:
    with pytest.raises(ConfigError, match="'minihop-recorded' has nothing to measure: its answers are recorded"):
        await measure(environment("minihop-recorded"))  # type: ignore[arg-type]


@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="llama.cpp is not installed: pip install 'agenttts[local]'")
async def test_real_models_are_measured_on_llama_cpp(tmp_path: Path) -> None:
    found = environment("minihop")
    assert isinstance(found, LiveEnvironment)
    measured = await measure(found, [2], repeats=2)
    assert [each.model for each in measured] == [model.name for model in found.pipeline.models]
    write_throughput(tmp_path / "t.yaml", measured, environment="minihop", command="agenttts calibrate minihop")
    read = read_throughput(tmp_path / "t.yaml", found.pipeline, at_most=64)
    for each in measured:
        figure = read.throughputs[each.model].decode_tokens_per_s
        assert figure == pytest.approx(each.throughput.decode_tokens_per_s, rel=1e-3)


def written(folder: Path, *rows: tuple[str, int, int]) -> Path:
    """A file of these (model, requests at once, GPUs), faster with more requests."""
    measured = []
    for model, batch, gpus in rows:
        figures = replace(FIGURES, decode_tokens_per_s=FIGURES.decode_tokens_per_s * batch)
        measured.append(Measured(model=model, gpus=gpus, requests_at_once=batch, runs=9, throughput=figures))
    path = folder / "throughput.yaml"
    write_throughput(path, measured, environment="toy", command="agenttts calibrate toy")
    return path


@pytest.mark.parametrize(("at_most", "used"), [(1, 1), (4, 4), (15, 4), (64, 16)])
def test_the_nearest_batch_at_or_below_is_used(
    tmp_path: Path, toy_pipeline: at.Pipeline, at_most: int, used: int
) -> None:
    rows = [(model, batch, 1) for model in ("small", "large", "other") for batch in (1, 4, 16)]
    found = read_throughput(written(tmp_path, *rows, ("small", 32, 1)), toy_pipeline, at_most=at_most)
    assert (found.requests_at_once, found.throughputs["small"].decode_tokens_per_s) == (used, 100 * used)
    assert set(found.throughputs) == {"small", "large"}
    assert f"measured with {used} requests at once (the search has at most {at_most})" in str(found)


def test_a_server_on_several_gpus_costs_each_of_them(tmp_path: Path, toy_pipeline: at.Pipeline) -> None:
    found = read_throughput(written(tmp_path, ("small", 1, 1), ("large", 1, 4)), toy_pipeline, at_most=9)
    find = with_throughput(toy_pipeline, found.throughputs).subtask("find")  # prompts of 10 tokens, samples of 5
    cost = at.cost_model("gpu_seconds")
    assert cost.unit == "GPU s"
    assert cost.cost(find, find.model("small"), 2) == pytest.approx(10 / 2000 + 2 * 5 / 100)
    assert cost.cost(find, find.model("large"), 2) == pytest.approx(4 * (10 / 2000 + 2 * 5 / 100))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot read the throughput file .*No such file"),
        ("a: [", "is not YAML"),
        ("", "is not one that `agenttts calibrate` wrote: it holds no fields"),
        ("models: 3", "is not one that `agenttts calibrate` wrote: models"),
        ("models: {small: {measured: []}}", "is not one that `agenttts calibrate` wrote: models.small.measured"),
        ("models: {}", "has no model 'small', it has none: measure"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, toy_pipeline: at.Pipeline, text: str | None, sentence: str
) -> None:
    path = tmp_path / "throughput.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=sentence) as refused:
        read_throughput(path, toy_pipeline, at_most=8)
    assert "\n" not in str(refused.value)


def test_a_file_of_other_models_or_batches_is_refused(tmp_path: Path, toy_pipeline: at.Pipeline) -> None:
    with pytest.raises(ConfigError, match="has no model 'large', it has small"):
        read_throughput(written(tmp_path, ("small", 1, 1)), toy_pipeline, at_most=8)
    with pytest.raises(ConfigError, match="no number of requests at once, up to the 8 of this search"):
        read_throughput(written(tmp_path, ("small", 16, 1), ("large", 16, 1)), toy_pipeline, at_most=8)
    with pytest.raises(ConfigError, match="no number of requests at once"):
        read_throughput(written(tmp_path, ("small", 1, 1), ("large", 2, 1)), toy_pipeline, at_most=8)
