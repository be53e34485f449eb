"""Search over steps, against a STAND-IN of vLLM: no model; its answers have the shapes that vLLM documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import compress, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agenttts as at
from agenttts.db import Store
from agenttts.errors import AgentTTSError, ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.execution.run import ExampleRun
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.samples import Spend
from agenttts.pipeline.operator import Lengths, Load, Operator
from agenttts.pipeline.operators import StepSearch
from agenttts.pipeline.operators.widths import Prefix, shares, worth_their_cache
from agenttts.testing import OperatorSuite
from tests.endpoint import FakeEndpoint, Fault

QUESTION = "What is it?"


class StandIn(FakeEndpoint):
    """Continues what an assistant has begun, up to the stop text and with it; `/pooling` gives a row for each step.

    As in vLLM's chat completions (`continue_final_message`, `include_stop_str_in_output`) and its pooling API.
    """

    def __init__(self) -> None:
        super().__init__()
        self.models = ["small", "prm"]
        self.step: Callable[[str, int], str] = lambda begun, seed: "Answer: 1"
        """(what has been said, seed) -> what is said next, in full."""
        self.judge: Callable[[str], Any] = lambda text: [0.5, 0.5]
        """A step -> its row."""

    def answer(self, body: dict[str, Any], authorization: str) -> Fault | dict[str, Any]:
        last = body["messages"][-1]
        begun = last["content"] if last["role"] == "assistant" else ""
        if body["model"] == "prm":
            self.requests.append(body)
            rows = [self.judge(step) for step in begun.split("<s>")[:-1] or [begun]]
            tokens = sum(len(message["content"].split()) for message in body["messages"])
            usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
            data = [{"index": 0, "object": "pooling", "data": rows}]
            return {"id": "pool-1", "object": "list", "created": 0, "model": "prm", "data": data, "usage": usage}
        goes_on = bool(body.get("continue_final_message")) and not body.get("add_generation_prompt", True)
        if goes_on != bool(begun):
            return Fault(400, "continue_final_message goes with a last message of the assistant")
        self.reply = lambda messages, seed: _until(self.step(begun, seed), body)
        answer = super().answer(body, authorization)
        if isinstance(answer, Fault):
            return answer
        for choice in answer["choices"]:
            words = choice["message"]["content"].split(" ")
            if len(words) > body["max_tokens"]:
                choice["message"]["content"] = " ".join(words[: body["max_tokens"]])
                choice["finish_reason"] = "length"
        answer["usage"]["completion_tokens"] = sum(
            len(each["message"]["content"].split()) for each in answer["choices"]
        )
        return answer


def _until(text: str, body: dict[str, Any]) -> str:
    for stop in body["stop"]:
        head, found, _ = text.partition(stop)
        text = head + (found if body.get("include_stop_str_in_output") else "")
    return text


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as endpoint:
        yield endpoint


def searched(server: StandIn, samples: int, store: Store | None = None, **fields: Any) -> tuple[Any, Spend]:
    small, prm = (at.Model(name, 1e9, base_url=server.url) for name in ("small", "prm"))
    operator = StepSearch(prm, **{"mark": "<s>", **fields})
    parser = at.parsers.tagged("Answer:")
    subtask = at.Subtask("s", (small,), "{{ question }}", parser=parser, operators=(operator,))
    pipeline = at.Pipeline("p", (subtask,), metric=at.metrics.equal("question"))

    async def run() -> tuple[Any, Spend]:
        client, pool = OpenAIClient(timeout_s=5, max_retries=0), SamplePool(store.samples if store else None)
        try:
            allocation = at.Allocation({"s": ("small", samples)})
            walk = ExampleRun(pipeline, allocation, {"id": "1", "question": QUESTION}, client, pool)
            return await walk.walk(), walk.spend
        finally:
            await client.close()

    return asyncio.run(run())


def good_or_bad(begun: str, seed: int) -> str:
    """Every other step is good; who has taken two bad ones, or one after another, is wrong."""
    if begun.count("\n\n") < 2:
        return ("good", "bad", "bad", "worse")[seed % 4] + f" step {seed % 8}\n\nand more"
    return "Answer: " + ("right" if begun.count("good") == 2 else "wrong")


def trust(step: str) -> list[float]:
    good = 0.9 if "good" in step or "right" in step else 0.2
    return [1 - good, good]


def test_steps_that_the_reward_model_likes_are_gone_on_with_and_a_replay_asks_nothing(server: StandIn) -> None:
    server.step, server.judge, store = good_or_bad, trust, Store()
    assert searched(server, 8, store)[0] == "right"
    drawn = [body for body in server.requests if body["model"] == "small"]
    assert drawn[0]["n"] == 8 and drawn[0]["stop"] == ["\n\n"] and drawn[0]["include_stop_str_in_output"] is True
    assert "continue_final_message" not in drawn[0]
    begun = [body["messages"][-1]["content"] for body in drawn[1:]]
    assert begun and all("good" in each and each.endswith("\n\n") for each in begun)
    assert all(body["max_tokens"] == 256 and body["add_generation_prompt"] is False for body in drawn[1:])
    assert {path for path, body in zip(server.paths, server.requests, strict=True) if body["model"] == "prm"} == {
        "/pooling"
    }
    asked = len(server.requests)
    said, spend = searched(server, 8, store)
    assert said == "right" and len(server.requests) == asked and spend.tokens == 0 < spend.reused_tokens


def test_trees_are_searched_apart_and_each_goes_on_with_its_best_step(server: StandIn) -> None:
    """As DVTS: of the four trees of two samples, each keeps its better one, though others have better ones."""
    server.step, server.judge = lambda begun, seed: f"step {seed % 8}\n\n" if not begun else "Answer: 1", trust
    server.judge = lambda step: [int(step.split()[-1]) / 10 if "step" in step else 0.5]
    searched(server, 8, width=2, temperature=0)
    begun = [body["messages"][-1]["content"] for body in server.requests if body.get("continue_final_message")]
    assert len(begun) == 4 and all(body["n"] == 2 for body in server.requests if body.get("continue_final_message"))


@pytest.mark.parametrize(
    ("fields", "gone_on_with"),
    [
        ({}, {"good 0": 2, "good 1": 1, "bad 2": 1}),
        ({"sharing": 2}, {"good 0": 4}),
        ({"sharing": 2, "diversity": 1, "alike": lambda step: step.split()[0]}, {"good 0": 3, "bad 2": 1}),
    ],
)
def test_steps_that_are_not_worth_their_cache_get_no_samples(
    server: StandIn, fields: dict[str, Any], gone_on_with: dict[str, int]
) -> None:
    """As ETS, by hand: REBASE's widths are 2, 1, 1, 0; with sharing 2, each of the tree's 5 nodes costs .4."""
    trusted, store = {"good 0": 0.6, "good 1": 0.55, "bad 2": 0.5, "bad 3": 0.1}, Store()
    server.step = lambda begun, seed: f"{list(trusted)[seed % 4]}\n\n" if not begun else "Answer: 1"
    server.judge = lambda step: [trusted.get(step.strip(), 0.5)]
    said, _ = searched(server, 4, store, temperature=1, **fields)
    begun = [body for body in server.requests if body.get("continue_final_message")]
    assert {body["messages"][-1]["content"].strip(): body.get("n", 1) for body in begun} == gone_on_with
    asked = len(server.requests)
    assert searched(server, 4, store, temperature=1, **fields)[0] == said == "1" and len(server.requests) == asked


TREES = st.integers(1, 3).flatmap(
    lambda depth: st.lists(
        st.tuples(st.tuples(*[st.sampled_from("abc")] * depth), st.integers(0, 4), st.sampled_from("xyz")),
        min_size=1,
        max_size=7,
        unique_by=lambda leaf: leaf[0],
    ).filter(lambda leaves: any(width for _, width, _ in leaves))
)


@given(TREES, st.floats(0, 4))
def test_what_is_kept_is_the_best_of_all_choices(leaves: list[tuple[Prefix, int, str]], sharing: float) -> None:
    prefixes, widths = [leaf[0] for leaf in leaves], [leaf[1] for leaf in leaves]

    def value(chosen: Sequence[Prefix]) -> float:
        worth = sum(width for prefix, width, _ in leaves if prefix in chosen) / sum(widths)
        return worth - sharing * len(nodes(chosen)) / len(nodes(prefixes))

    choices = [list(compress(prefixes, each)) for each in product((False, True), repeat=len(prefixes)) if any(each)]
    kept = worth_their_cache(prefixes, widths, sharing=sharing)
    assert value(sorted(kept)) == pytest.approx(max(map(value, choices)))


def nodes(leaves: Sequence[Prefix]) -> set[Prefix]:
    return {leaf[:length] for leaf in leaves for length in range(len(leaf) + 1)}


@given(TREES, st.floats(0, 4), st.floats(0, 4))
def test_without_a_price_all_are_kept_and_at_any_price_one(
    leaves: list[tuple[Prefix, int, str]], sharing: float, diversity: float
) -> None:
    prefixes, widths, clusters = zip(*leaves, strict=True)
    assert worth_their_cache(prefixes, widths, sharing=0, diversity=diversity, clusters=clusters) == set(prefixes)
    kept = worth_their_cache(prefixes, widths, sharing=sharing, diversity=diversity, clusters=clusters)
    assert kept and kept <= set(prefixes)
    every = worth_their_cache(prefixes, widths, sharing=sharing, diversity=100, clusters=clusters)
    assert {cluster for prefix, _, cluster in leaves if prefix in every} == set(clusters)


@pytest.mark.parametrize(("steps", "samples"), [(1, 4), (3, 2), (4, 5)])
def test_the_price_is_what_samples_that_share_no_step_take(server: StandIn, steps: int, samples: int) -> None:
    def step(begun: str, seed: int) -> str:
        number = begun.count("\n\n") + 1
        return f"of step{number} {seed}\n\n" if number < steps else f"Answer: 1 {seed}"

    server.step = step
    _, spend = searched(server, samples, mark="")
    taken = {"prompt": spend.prompt_tokens, "completion": spend.completion_tokens}
    operator = StepSearch(at.Model("prm", 1e9), tokens=3)
    loads = operator.loads(samples, Lengths(len(QUESTION.split()), 3 * steps))
    assert taken == tokens_of(loads)
    # At its worst, every sample takes all its steps.
    worst = StepSearch(at.Model("prm", 1e9), depth=steps, step_tokens=3, tokens=1).worst_loads(samples, Lengths(3, 5))
    assert taken == tokens_of(worst)


def tokens_of(loads: Sequence[Load]) -> dict[str, float]:
    prompt = sum(float(load.requests * load.prompt) for load in loads)
    return {
        "prompt": prompt,
        "completion": sum(float(load.requests * load.choices * load.completion) for load in loads),
    }


def test_a_step_that_is_cut_is_gone_on_with(server: StandIn) -> None:
    server.step = lambda begun, seed: "\nAnswer: 1" if begun else "so many words as these"
    assert searched(server, 2, step_tokens=3, tokens=3)[0] == "1"
    assert [body["messages"][-1]["content"] for body in server.requests][-1] == "so many words<s>\nAnswer: 1<s>"


def test_depth_ends_what_does_not_end(server: StandIn) -> None:
    server.step = lambda begun, seed: "on and on\n\n"
    with pytest.raises(AgentTTSError, match="none of 3 samples could be parsed"):
        searched(server, 3, depth=4)
    assert max(body["messages"][-1]["content"].count("on and") for body in server.requests) == 4


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([1.7], "reward model 'prm' gave 1.7, where only scores from 0 to 1 will do"),
        (["high"], "'high' for a number"),
        ([], "without"),
    ],
)
def test_rewards_that_cannot_be_are_named(server: StandIn, row: list[Any], said: str) -> None:
    server.judge = lambda step: row
    with pytest.raises(AgentTTSError, match=said):
        searched(server, 2)


@pytest.mark.parametrize(
    ("scores", "temperature", "expected"),
    [
        ([0.5, 0.5, 0.5, 0.5], 0.2, [1, 1, 1, 1]),
        ([0.9, 0.1, 0.1, 0.1], 0.2, [4, 0, 0, 0]),
        ([0.9, 0.8, 0.1, 0.0], 0.0, [4, 0, 0, 0]),
        ([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 0.2, [4, 2, 1, 1, 0, 0, 0, 0]),
        ([0.5], 0.2, [1]),
    ],
)
def test_samples_are_shared_out_as_in_rebase(scores: list[float], temperature: float, expected: list[int]) -> None:
    """Worked out by hand: ceil(left exp(s / T) / sum over those that are left), in descending score."""
    assert shares(scores, temperature) == expected


class TestOfSteps(OperatorSuite):
    """Of samples that take several steps."""

    replies = ("0.5\n\n", "0.25\n\n", "0.5\n\n", "0.75", "0.5", "1\n\n", "1", "0")

    def make(self) -> Operator:
        return StepSearch(at.Model("prm", 1e9), depth=3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reward": "prm"}, "StepSearch: reward must be a Model, not 'prm'"),
        ({"width": 0}, "StepSearch: width must be a whole number >= 1 or None, not 0"),
        ({"sharing": -1}, "StepSearch: sharing must be a number >= 0, not -1"),
        ({"diversity": 1}, "StepSearch: alike decides nothing without diversity, and diversity nothing without"),
        ({"separator": ""}, "StepSearch: separator must be a text that is not empty, not ''"),
        ({"tokens": 300}, "StepSearch: tokens=300, the mean of a step, must not be over step_tokens=256, the most"),
    ],
)
def test_settings_that_cannot_be_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        StepSearch(**{"reward": at.Model("prm", 1e9), **fields})
