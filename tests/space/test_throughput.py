"""Throughput from measured runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.errors import ConfigError
from agenttts.pipeline import Pipeline
from agenttts.space.cost import GpuSecondsCost
from agenttts.space.throughput import Measurement, Throughput, throughput, with_throughput


def run(prompt: float, completion: float, prefill: float = 1000.0, decode: float = 100.0) -> Measurement:
    return Measurement(
        prompt_tokens=prompt, completion_tokens=completion, seconds=prompt / prefill + completion / decode
    )


@given(st.floats(10, 1e6), st.floats(10, 1e6))
def test_exact_runs_give_back_the_throughput_they_were_made_with(prefill: float, decode: float) -> None:
    runs = [run(1000, 10, prefill, decode), run(1000, 500, prefill, decode), run(50, 800, prefill, decode)]
    found = throughput(runs)
    assert found.prefill_tokens_per_s == pytest.approx(prefill, rel=1e-4)
    assert found.decode_tokens_per_s == pytest.approx(decode, rel=1e-4)


@pytest.mark.parametrize("runs", [[], [run(10, 10)], [run(10, 10), run(20, 20)]])
def test_runs_that_do_not_tell_the_two_apart_are_refused(runs: list[Measurement]) -> None:
    with pytest.raises(ConfigError, match="at least two runs"):
        throughput(runs)


def test_contradicting_runs_are_refused() -> None:
    short = Measurement(prompt_tokens=10, completion_tokens=10, seconds=10)
    long = Measurement(prompt_tokens=10, completion_tokens=1000, seconds=1)
    with pytest.raises(ConfigError, match="contradict"):
        throughput([short, long])


def test_a_calibrated_pipeline_is_priced_in_seconds(toy_pipeline: Pipeline) -> None:
    measured = {"small": Throughput(prefill_tokens_per_s=100, decode_tokens_per_s=10)}
    calibrated = with_throughput(toy_pipeline, measured)
    find = calibrated.subtask("find")  # prompts of 10 tokens, samples of 5
    assert GpuSecondsCost().cost(find, find.model("small"), 2) == pytest.approx(10 / 100 + 2 * 5 / 10)
    with pytest.raises(ConfigError, match="needs prefill_tokens_per_s of model 'large'"):
        GpuSecondsCost().cost(find, find.model("large"), 2)
    assert calibrated.fingerprint == toy_pipeline.fingerprint
