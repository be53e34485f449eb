"""Variants of a served model, and models whose size nobody publishes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import agenttts as at
from agenttts.errors import ConfigError
from agenttts.execution.pool import SamplePool, sample_key
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Model, Pipeline, Sampling, Subtask
from agenttts.pipeline.fingerprint import describe
from agenttts.pipeline.metrics import equal
from agenttts.space import SearchSpace
from agenttts.space.cost import COST_MODELS, FlopsCost, UsdCost, cost_model
from tests.endpoint import FakeEndpoint

untyped: Any = at
PROMPT = [{"role": "user", "content": "q"}]
MINI = Model("gpt-5-mini", usd_per_million_prompt_tokens=0.25, usd_per_million_completion_tokens=2.0)


def stage(*models: Model) -> Subtask:
    return Subtask("answer", models, "{{ question }}")


def pipeline(*models: Model) -> Pipeline:
    return Pipeline("p", (stage(*models),), metric=equal("gold"))


def test_efforts_are_variants_of_one_served_model() -> None:
    low, medium, high = MINI.efforts("low", "medium", "high")
    assert [each.name for each in (low, medium, high)] == ["gpt-5-mini-low", "gpt-5-mini-medium", "gpt-5-mini-high"]
    assert {each.served_name for each in (low, medium, high)} == {"gpt-5-mini"}
    assert high.own_fields == {"reasoning_effort": "high"} and high.usd_per_million_completion_tokens == 2.0
    assert stage(low, medium, high).sizes == {low.name: 1.0, medium.name: 2.0, high.name: 4.0}
    assert len({low, medium, high, replace(low)}) == 3  # a model is hashable, whatever its fields


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MINI.efforts(), "model 'gpt-5-mini': efforts() takes at least one"),
        (lambda: MINI.efforts("low", "low"), "model 'gpt-5-mini' is given the effort 'low' twice"),
        (lambda: MINI.efforts("very high"), "model name 'gpt-5-mini-very high' must be non-empty, without spaces"),
        (lambda: untyped.Model("m", effort=3), "model 'm': effort must be text without NUL or half"),
        (lambda: untyped.Model("m", request=["effort"]), "model 'm': request must be a mapping, not ['effort']"),
        (lambda: Model("m", request={"n": 2}), "model 'm': 'n' is decided with each request"),
        (lambda: untyped.Model("m", headers={"api-key": 1}), "header 'api-key' must be the name of an environment"),
    ],
)
def test_what_is_no_variant_is_one_sentence(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


async def test_a_variants_fields_are_sent_and_replace_those_of_the_stage(endpoint: FakeEndpoint) -> None:
    own = Model("small", base_url=endpoint.url, effort="high", request={"temperature": 0.2, "top_p": None})
    client, pool = OpenAIClient(), SamplePool()
    await pool.draw(client, own, PROMPT, Sampling(temperature=0.9, max_tokens=5), 1)
    await pool.draw(client, replace(own, name="other", effort="low"), PROMPT, Sampling(max_tokens=5), 1)
    await client.close()
    first, second = endpoint.requests
    assert (first["temperature"], first["reasoning_effort"], first["max_tokens"]) == (0.2, "high", 5)
    assert "top_p" not in first and second["reasoning_effort"] == "low"


def test_a_variant_has_samples_and_an_identity_of_its_own() -> None:
    kinds = [MINI, *MINI.efforts("low", "high"), replace(MINI, request={"thinking": {"budget_tokens": 8}})]
    assert len({sample_key("search", each, PROMPT, Sampling()) for each in kinds}) == 4
    assert len({describe(replace(each, name="m")) for each in kinds}) == 4
    same = replace(MINI, headers={"api-key": "A"}, api_key_env="B", parameters=8e9)
    assert describe(same) == describe(MINI)
    assert sample_key("search", same, PROMPT, Sampling()) == sample_key("search", MINI, PROMPT, Sampling())


def test_a_model_without_fields_of_its_own_is_what_it_was() -> None:
    """Studies and samples of models that are no variants stay valid."""
    assert sample_key("search", Model("m", 1e9), PROMPT, Sampling()) == "b19d5131de5146ba71861eeb5eaedaf0"
    assert "variant" not in describe(Model("m", 1e9)) and "request" not in describe(Model("m", 1e9))


UNKNOWN, CHEAP, DEAR = Model("unknown"), replace(MINI, name="cheap"), replace(MINI, name="dear")
DEAR = replace(DEAR, usd_per_million_completion_tokens=10.0)


@pytest.mark.parametrize(
    ("models", "order"),
    [
        ((Model("b", 8e9), Model("a", 3e9)), "ab"),
        ((DEAR, CHEAP), ["cheap", "dear"]),
        ((UNKNOWN, CHEAP), ["unknown", "cheap"]),
        ((Model("b", 8e9), UNKNOWN, Model("a", 3e9)), ["b", "unknown", "a"]),
        ((Model("b", 8e9), *Model("a", 3e9).efforts("low", "high")), ["a-low", "a-high", "b"]),
        ((*MINI.efforts("low", "high"), DEAR), ["gpt-5-mini-low", "gpt-5-mini-high", "dear"]),
    ],
)
def test_the_larger_model_is_the_one_of_more_parameters_else_the_dearer_else_the_later(models: Any, order: Any) -> None:
    sizes = stage(*models).sizes
    assert sorted(sizes, key=sizes.__getitem__) == list(order) and list(sizes) == [model.name for model in models]


@pytest.mark.parametrize("name", COST_MODELS)
def test_a_cost_that_needs_a_size_says_so(name: str) -> None:
    known = Model("m", layers=1, hidden_size=1, prefill_tokens_per_s=1, decode_tokens_per_s=1,
                  usd_per_million_prompt_tokens=1, usd_per_million_completion_tokens=1)  # fmt: skip
    if name in ("usd", "gpu_seconds"):
        assert SearchSpace(pipeline(known), cost_model(name), 1e9).size > 0
        return
    with pytest.raises(
        ConfigError, match=f"'{name}' needs parameters of model 'm': declare .*, or take a budget in USD"
    ):
        SearchSpace(pipeline(known), cost_model(name), 1e9)


@pytest.mark.parametrize("method", ["agent", "random", "grid", "tpe", "evolution", "coordinate", "halving"])
async def test_efforts_are_searched_like_models(method: str, endpoint: FakeEndpoint) -> None:
    """Only with much effort is the answer right; a model of unknown size is beside it."""
    endpoint.models = ["gpt-5-mini", "small"]
    served = replace(MINI, base_url=endpoint.url)
    small = replace(served, name="small", served_name="small", usd_per_million_completion_tokens=0.1)
    models = (small, *served.efforts("low", "high"))
    subtask = Subtask("answer", models, "{{ question }}", max_samples=2)

    def reply(messages: Any, seed: int) -> str:
        return "yes" if endpoint.requests[-1].get("reasoning_effort") == "high" else "no"

    endpoint.reply = reply
    rows = [{"id": str(i), "question": f"q{i}", "gold": "yes"} for i in range(4)]
    environment = at.LiveEnvironment(
        Pipeline("p", (subtask,), metric=equal("gold")), rows, client=OpenAIClient(max_in_flight=1)
    )
    space = SearchSpace(environment.pipeline, UsdCost(), 1.0)
    result = await at.search(
        environment, at.searcher(method, llm="none"), space, at.Store(), study_name="s", limits=at.Limits(trials=6)
    )
    assert result.best.allocation["answer"].model == "gpt-5-mini-high" and result.best.evaluation.score == 1


def test_flops_of_models_of_known_size_need_no_price() -> None:
    assert SearchSpace(pipeline(*Model("m", 1e6).efforts("low", "high")), FlopsCost(), 1e6).size > 0
