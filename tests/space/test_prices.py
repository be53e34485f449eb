"""What is kept of prices says of every allocation what the space itself would say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.pipeline.aggregators import Fuse
from agenttts.pipeline.metrics import equal
from agenttts.space import SearchSpace
from agenttts.space.cost import COST_MODELS, cost_model
from agenttts.space.prices import price_list, price_rows, read_prices

MODELS = tuple(
    Model(
        name, size, layers=4, hidden_size=64, usd_per_million_prompt_tokens=size / 1e7,
        usd_per_million_completion_tokens=size / 1e6, prefill_tokens_per_s=1e9 / size, decode_tokens_per_s=1e8 / size,
    )
    for name, size in (("small", 1e6), ("large", 8e6))
)  # fmt: skip
PIPELINE = Pipeline(
    "priced",
    (
        Subtask("write", MODELS, "{{ question }}", aggregator=Fuse(), prompt_tokens=30, completion_tokens=20,
                max_samples=9),
        Subtask("judge", MODELS, "{{ write }}", prompt_tokens=12, completion_tokens=4, sample_counts=(1, 3, 7)),
    ),
    metric=equal("gold"),
)  # fmt: skip


@pytest.mark.parametrize("name", list(COST_MODELS))
def test_the_parts_of_every_stage_add_up_to_the_cost(name: str) -> None:
    dearest = max(
        SearchSpace(PIPELINE, cost_model(name), 1e9).enumerate(), key=lambda a: sum(c.samples for c in a.values())
    )
    space = SearchSpace(PIPELINE, cost_model(name), SearchSpace(PIPELINE, cost_model(name), 1e9).cost(dearest) * 0.8)
    prices = read_prices(json.loads(json.dumps(price_rows(price_list(space)))))
    for allocation in space.sample(np.random.default_rng(0), 40):
        parts = {stage: prices[stage][choice.model].parts(choice.samples) for stage, choice in allocation.items()}
        assert {stage: pytest.approx(sum(each)) for stage, each in parts.items()} == space.subtask_costs(allocation)
        assert (parts["write"].aggregation > 0) == (name != "paper" and allocation["write"].samples > 1)
        for stage, choice in allocation.items():
            left = space.budget - sum(sum(each) for other, each in parts.items() if other != stage)
            assert prices[stage][choice.model].fitting(left)[-1] == space.most_samples(allocation, stage)


def test_a_model_of_which_not_one_sample_fits_has_no_price() -> None:
    space = SearchSpace(PIPELINE, cost_model("flops"), 200)
    assert {stage: list(models) for stage, models in price_list(space).items()} == {
        "write": ["small"],
        "judge": ["small"],
    }
