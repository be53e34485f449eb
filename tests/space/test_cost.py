"""Cost models: the paper's numbers exactly, and what every model must satisfy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Subtask
from agenttts.pipeline.aggregators import BestOf, Fuse, MajorityVote
from agenttts.space.cost import COST_MODELS, CostModel, FlopsCost, PaperCost, cost_model, paper_cost, paper_samples

QWEN = {"7B": 7e9, "32B": 32e9, "72B": 72e9}
LLAMA = {"3B": 3e9, "8B": 8e9, "70B": 70e9}

# paper.md, section 2.4: stage, parameters, Np, Nd, and the cost at S = 1, 10, 50.
PAPER_TABLE = [
    ("2Wiki retrieval", 7e9, 2048, 128, 77.33, 119.33, 306.00),
    ("2Wiki retrieval", 32e9, 2048, 128, 360.67, 552.67, 1406.00),
    ("2Wiki retrieval", 72e9, 2048, 128, 814.00, 1246.00, 3166.00),
    ("2Wiki QA", 3e9, 256, 64, 3.00, 12.00, 52.00),
    ("2Wiki QA", 8e9, 256, 64, 11.33, 35.33, 142.00),
    ("2Wiki QA", 70e9, 256, 64, 114.67, 324.67, 1258.00),
    ("CWQ retrieval", 7e9, 1024, 64, 37.67, 58.67, 152.00),
    ("CWQ retrieval", 72e9, 1024, 64, 406.00, 622.00, 1582.00),
    ("CWQ QA", 8e9, 256, 64, 11.33, 35.33, 142.00),
    ("CWQ QA", 70e9, 256, 64, 114.67, 324.67, 1258.00),
    ("WebQSP QA", 8e9, 128, 64, 6.00, 30.00, 136.67),
    ("WebQSP QA", 70e9, 128, 64, 68.00, 278.00, 1211.33),
    ("TaskBench decomposition", 8e9, 1024, 64, 43.33, 67.33, 174.00),
    ("TaskBench decomposition", 70e9, 1024, 64, 394.67, 604.67, 1538.00),
    ("TaskBench tool selection", 8e9, 1024, 256, 51.33, 147.33, 574.00),
    ("TaskBench tool selection", 70e9, 1024, 256, 464.67, 1304.67, 5038.00),
    ("TaskBench parameters", 8e9, 1024, 2048, 126.00, 894.00, 4307.33),
    ("TaskBench parameters", 70e9, 1024, 2048, 1118.00, 7838.00, 37704.67),
    ("ChatDev coding", 3e9, 1024, 1024, 30.00, 174.00, 814.00),
    ("ChatDev coding", 70e9, 1024, 1024, 744.67, 4104.67, 19038.00),
    ("ChatDev static test", 3e9, 1024, 512, 22.00, 94.00, 414.00),
    ("ChatDev static test", 70e9, 1024, 512, 558.00, 2238.00, 9704.67),
    ("ChatDev dynamic test", 3e9, 1024, 256, 18.00, 54.00, 214.00),
    ("ChatDev dynamic test", 70e9, 1024, 256, 464.67, 1304.67, 5038.00),
]

FULL = Model(
    "full",
    7e9,
    usd_per_million_prompt_tokens=0.3,
    usd_per_million_completion_tokens=0.6,
    layers=28,
    hidden_size=3584,
    prefill_tokens_per_s=20_000,
    decode_tokens_per_s=2_000,
)


def subtask(**options: object) -> Subtask:
    return Subtask("stage", (FULL,), "x", **options)  # type: ignore[arg-type]  # the tests' own options


@pytest.mark.parametrize(("stage", "parameters", "np_", "nd", "one", "ten", "fifty"), PAPER_TABLE)
def test_the_papers_table(
    stage: str, parameters: float, np_: int, nd: int, one: float, ten: float, fifty: float
) -> None:
    costs = paper_cost(parameters, np_, nd, np.array([1, 10, 50]))
    assert costs == pytest.approx([one, ten, fifty], abs=0.005)


def test_the_papers_worked_examples() -> None:
    assert paper_cost(72e9, 2048, 128, 1) == 814
    assert paper_cost(3e9, 256, 64, 50) == 52
    assert paper_cost(3e9, 128, 64, 1) == 1
    assert paper_samples(814, 7e9, 2048, 128) == pytest.approx(158.857, abs=1e-3)


def test_default_budgets_are_one_pass_of_the_largest_models() -> None:
    assert paper_cost(72e9, 2048, 128, 1) + paper_cost(70e9, 256, 64, 1) == pytest.approx(928.67, abs=0.005)
    assert sum(paper_cost(70e9, 1024, nd, 1) for nd in (64, 256, 2048)) == pytest.approx(1977.33, abs=0.005)


def test_flops_by_hand() -> None:
    dense = Model("dense", 1e6)
    stage = Subtask("stage", (dense,), "x", prompt_tokens=100, completion_tokens=10)
    assert FlopsCost().cost(stage, dense, 5) == pytest.approx(2 * 1e6 * (100 + 50) / 1e6)


def test_flops_count_attention_where_the_shape_is_known() -> None:
    shaped = Model("shaped", 1e6, layers=2, hidden_size=16)
    stage = Subtask("stage", (shaped,), "x", prompt_tokens=100, completion_tokens=10)
    attention = 2 * 32 * 100**2 + 5 * 4 * 32 * (100 * 10 + 10**2 / 2)
    assert FlopsCost().cost(stage, shaped, 5) == pytest.approx((2 * 1e6 * 150 + attention) / 1e6)


def test_fusion_is_not_free() -> None:
    free, fused = subtask(aggregator=MajorityVote()), subtask(aggregator=Fuse())
    flops = FlopsCost()
    assert flops.cost(fused, FULL, 1) == flops.cost(free, FULL, 1)  # one sample is passed on as it is
    extra = flops.cost(fused, FULL, 8) - flops.cost(free, FULL, 8)
    fusing = Subtask("fusing", (FULL,), "x", prompt_tokens=1024 + 8 * 256, completion_tokens=256)
    assert extra == pytest.approx(flops.cost(fusing, FULL, 1))


def test_usd_by_hand() -> None:
    stage = subtask(prompt_tokens=1000, completion_tokens=100)
    assert cost_model("usd").cost(stage, FULL, 10) == pytest.approx((1000 * 0.3 + 10 * 100 * 0.6) / 1e6)


def test_gpu_seconds_by_hand() -> None:
    stage = subtask(prompt_tokens=1000, completion_tokens=100)
    assert cost_model("gpu_seconds").cost(stage, FULL, 10) == pytest.approx(1000 / 20_000 + 1000 / 2_000)


@pytest.mark.parametrize("name", ["usd", "gpu_seconds"])
def test_a_missing_figure_is_named(name: str) -> None:
    bare = Model("bare", 1e9)
    with pytest.raises(ConfigError, match="'bare'"):
        cost_model(name).cost(Subtask("s", (bare,), "x"), bare, 1)


def test_an_unknown_cost_model_is_named() -> None:
    with pytest.raises(ConfigError, match="'watts'.*paper, flops, usd, gpu_seconds"):
        cost_model("watts")


@pytest.mark.parametrize("name", COST_MODELS)
@pytest.mark.parametrize("aggregator", [MajorityVote(), Fuse(), BestOf()])
@given(cost=st.floats(0.5, 1e9), prompt=st.floats(1, 5000), completion=st.floats(1, 3000))
def test_inverse_is_the_most_samples_within_a_cost(
    name: str, aggregator: MajorityVote | Fuse | BestOf, cost: float, prompt: float, completion: float
) -> None:
    model = cost_model(name)
    stage = subtask(prompt_tokens=prompt, completion_tokens=completion, aggregator=aggregator)
    samples = math.floor(model.inverse(stage, FULL, cost) + 1e-9)
    tolerance = 1e-6 * max(1.0, cost)
    if samples >= 1:
        assert model.cost(stage, FULL, samples) <= cost + tolerance
    assert model.cost(stage, FULL, samples + 1) > cost - tolerance


@pytest.mark.parametrize("model", [each() for each in COST_MODELS.values()], ids=list(COST_MODELS))
@given(st.lists(st.integers(1, 500), min_size=2, max_size=20))
def test_vectorised_costs_agree_with_single_ones_and_never_fall(model: CostModel, counts: list[int]) -> None:
    stage = subtask(aggregator=Fuse())
    ascending = np.array(sorted(counts))
    costs = model.cost(stage, FULL, ascending)
    assert costs == pytest.approx([float(model.cost(stage, FULL, int(count))) for count in ascending])
    assert (np.diff(costs) >= 0).all()


def test_paper_cost_ignores_the_aggregator() -> None:
    assert PaperCost().cost(subtask(aggregator=Fuse()), FULL, 9) == PaperCost().cost(subtask(), FULL, 9)


def test_kinetics_by_hand() -> None:
    # One layer of hidden size 8 and KV width 4: computation 2 * (2 * 100 * 10 + 2 * 8 * (2 * 20 + 10) * 10) = 20,000;
    # memory 2 * 4 * (2 * 20 + 2 * 10) * 10 = 4,800 bytes.
    model = Model("m", 100, layers=1, hidden_size=8, kv_width=4)
    subtask = Subtask("s", (model,), "p", prompt_tokens=20, completion_tokens=10)
    assert cost_model("kinetics").cost(subtask, model, 2) == pytest.approx((20_000 + 4_800 * 562.5) / 1e6)
    multi_head = replace(model, kv_width=None)
    assert cost_model("kinetics").cost(subtask, multi_head, 2) == pytest.approx((20_000 + 9_600 * 562.5) / 1e6)
    with pytest.raises(ConfigError, match="'kinetics' needs layers of model 'bare'"):
        cost_model("kinetics").cost(subtask, Model("bare", 1e9), 1)
