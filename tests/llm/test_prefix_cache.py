"""What vLLM servers count of their prefix caches, and that prompts are written so that they are of use."""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import Any

import pytest

from agenttts.environments import environment
from agenttts.llm.prefix_cache import CacheUse, read_metrics
from agenttts.pipeline import SubtaskInput
from tests.vllm_standin import metrics

DATA = Path(__file__).parents[1] / "data"
TWO = """# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 100.0
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 1.5e+03
vllm:prefix_cache_queries_total{engine="0",model_name="other"} 7.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 40.0
vllm:prefix_cache_hits_total{engine="1",model_name="m"} 1000.0
vllm:prefix_cache_hits_total{engine="0",model_name="other"} 7.0
vllm:external_prefix_cache_hits_total{engine="0",model_name="m"} 5.0
"""

OF_SGLANG = """# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="m",tp_rank="0"} 1000.0
sglang:cached_tokens_total{cache_source="device",model_name="m",tp_rank="0"} 600.0
sglang:cached_tokens_total{cache_source="host",model_name="m",tp_rank="0"} 30.0
"""


def test_counters_are_added_over_engines_and_kept_apart_by_model() -> None:
    assert read_metrics(TWO, "m") == CacheUse(1600, 1040)
    assert read_metrics(TWO, "other") == CacheUse(7, 7)
    assert read_metrics(TWO, "third") is None
    assert read_metrics(metrics("org/m"), "an-alias-of-the-only-model") == CacheUse(0, 0)
    assert read_metrics('{"object": "list"}', "m") is None
    assert read_metrics(OF_SGLANG, "m") == CacheUse(1000, 630)


def test_a_server_that_was_started_again_counts_from_then_on() -> None:
    assert CacheUse(1600, 1040).since(CacheUse(1000, 640)) == CacheUse(600, 400)
    assert CacheUse(30, 10).since(CacheUse(1000, 640)) == CacheUse(30, 10)
    assert str(CacheUse(1600, 1040)) == "65% of 1,600 prompt tokens"


@pytest.mark.parametrize("domain", ["data_dailylifeapis", "data_multimedia"])
def test_stages_and_examples_of_taskbench_begin_with_the_same_tools(domain: str) -> None:
    found: Any = environment("taskbench", data=str(DATA / "taskbench" / domain))
    before: dict[str, Any] = {
        "decomposition": {"task_steps": []},
        "tool_selection": {"task_nodes": [], "task_links": []},
    }
    prompts = [
        [subtask.prompt(SubtaskInput(found.example(name), before)) for name in found.examples]
        for subtask in found.pipeline.subtasks
    ]
    for stage in prompts:
        assert os.path.commonprefix(stage).endswith("Now this one:\nrequest: ")  # all but the example itself
    tools = prompts[0][0].partition("\n\n")[0]
    assert len(tools) > 200
    assert all(prompt.startswith(tools) for stage in prompts for prompt in stage)


def test_what_two_trials_keep_first_is_the_same_prefix() -> None:
    found: Any = environment("hotpotqa", data=str(DATA / "hotpotqa.jsonl"))
    answer, example = found.pipeline.subtask("answer"), found.example(found.examples[0])
    few, more = (answer.prompt(SubtaskInput(example, {"retrieve": kept})) for kept in ((1, 3), (1, 3, 4)))
    assert os.path.commonprefix([few, more]).startswith(few.partition("Question:")[0].rstrip("\n"))
