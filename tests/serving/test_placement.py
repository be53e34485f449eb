"""Which model goes on which GPU: the paper's models on cases worked out by hand, and what holds of every plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.environments.tasks.models import LLAMA_3B, LLAMA_8B, LLAMA_70B, QWEN_7B, QWEN_32B, QWEN_72B
from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline, Sampling, Subtask
from agenttts.pipeline.aggregators import Fuse
from agenttts.pipeline.metrics import equal
from agenttts.serving.gpus import parse_cards
from agenttts.serving.placement import GIB, LEAST_SEQUENCES, Card, Demand, Placement, contexts, demand, place

PAPER = (QWEN_7B, QWEN_32B, QWEN_72B, LLAMA_3B, LLAMA_8B, LLAMA_70B)
CONTEXT = 4096
HOST = 1000.0


def paper(bits: int) -> list[Demand]:
    """All models of a task, in bf16 (16) or AWQ (4)."""
    return [demand(replace(model, weight_bits=bits), CONTEXT) for model in PAPER]


def plan(gpus: str, bits: int, host: float = HOST) -> Placement:
    return place(paper(bits), parse_cards(gpus), host_gib=host)


@pytest.mark.parametrize(
    ("model", "bits", "published_gb"),
    [  # sizes of the safetensors files on the Hub
        (QWEN_7B, 16, 15.2), (QWEN_32B, 16, 65.5), (QWEN_72B, 16, 145.4),
        (QWEN_7B, 4, 5.6), (QWEN_32B, 4, 19.3), (QWEN_72B, 4, 41.6),
        (LLAMA_3B, 16, 6.4), (LLAMA_8B, 16, 16.1), (LLAMA_70B, 16, 141.1),
    ],
)  # fmt: skip
def test_estimated_weights_are_those_published_or_a_little_more(model: Model, bits: int, published_gb: float) -> None:
    estimated = demand(replace(model, weight_bits=bits), CONTEXT).weights_gib * GIB / 1e9
    assert published_gb <= estimated < 1.1 * published_gb


def test_kv_cache_of_a_sequence_by_hand() -> None:
    # Llama-3.1-8B: 2 (keys, values) x 32 layers x 1,024 wide x 2 bytes = 128 KiB per token.
    assert demand(LLAMA_8B, 8192).sequence_gib == 1.0
    assert demand(replace(LLAMA_8B, kv_width=None), 8192).sequence_gib == 4.0


@pytest.mark.parametrize(
    ("gpus", "bits", "shifts", "swap", "cards"),
    [
        # 72B and 70B take 62 of 74 GiB each, alone; what is left goes in a third shift, 32B with the small ones.
        ("1x80", 4, 3, "sleep", {"Qwen2.5-72B": (0,), "Llama-3.1-70B": (0,), "Llama-3.2-3B": (0,)}),
        ("2x80", 4, 1, "none", {"Qwen2.5-72B": (0,), "Llama-3.1-70B": (1,)}),
        ("8x80", 4, 1, "none", {"Qwen2.5-72B": (0,), "Llama-3.1-70B": (1,), "Qwen2.5-32B": (2,)}),
        # bf16: 72B and 70B need two cards each; together with all that sleeps they are over 2 x 74 GiB.
        ("2x80", 16, 3, "restart", {"Qwen2.5-72B": (0, 1), "Llama-3.1-70B": (0, 1), "Qwen2.5-32B": (0,)}),
        ("8x80", 16, 1, "none", {"Qwen2.5-72B": (0, 1), "Llama-3.1-70B": (2, 3), "Qwen2.5-32B": (4,)}),
    ],
)
def test_the_papers_models_go_where_they_should(
    gpus: str, bits: int, shifts: int, swap: str, cards: dict[str, tuple[int, ...]]
) -> None:
    placement = plan(gpus, bits)
    where = {each.demand.name: each.cards for each in placement.placed}
    assert (placement.shifts, placement.swap) == (shifts, swap)
    assert {name: where[name] for name in cards} == cards


@pytest.mark.parametrize(
    ("gpus", "bits", "message"),
    [
        ("1x80", 16, r"model 'Qwen2.5-72B' does not fit: it needs 143.4 GiB on a card .*: 69.8 GiB are missing"),
        ("1x24", 16, r"model 'Qwen2.5-72B' does not fit: .* 121.3 GiB are missing"),
        ("2x24", 16, r"model 'Qwen2.5-72B' does not fit: .* on each of 2 cards .*: 51.0 GiB are missing on each"),
        ("1x24", 4, r"model 'Qwen2.5-72B' does not fit: .* which has 22.1 GiB to give: 25.1 GiB are missing"),
    ],
)
def test_too_little_memory_says_for_which_model_and_how_much(gpus: str, bits: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(gpus, bits)


def test_the_small_ones_share_a_small_card() -> None:
    small = [demand(replace(model, weight_bits=4), CONTEXT) for model in (QWEN_7B, LLAMA_3B)]
    placement = place(small, parse_cards("1x24"), host_gib=HOST)
    assert [each.cards for each in placement.placed] == [(0,), (0,)] and placement.shifts == 1


def test_without_room_for_their_weights_in_the_host_models_are_restarted() -> None:
    assert plan("1x80", 4, host=1.0).swap == "restart"


def test_no_gpu_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="there is no GPU to serve models on"):
        place(paper(4), [], host_gib=HOST)


def test_a_model_of_unknown_shape_cannot_be_placed() -> None:
    with pytest.raises(ConfigError, match="memory of model 'x' cannot be worked out: declare layers and hidden_size"):
        demand(Model("x", 1e9), CONTEXT)


def test_the_context_holds_long_prompts_completions_and_fusions() -> None:
    sampling = Sampling(max_tokens=1000)
    alone = Subtask("a", (QWEN_7B,), "q", prompt_tokens=1000, completion_tokens=100, sampling=sampling)
    fused = Subtask("b", (QWEN_32B,), "q", prompt_tokens=1000, completion_tokens=1000, aggregator=Fuse())
    found = contexts(Pipeline("p", (alone, fused), metric=equal("gold")))
    assert found[QWEN_7B] == 4096  # 2 x 1,000 + 1,000
    assert found[QWEN_32B] == 65536  # the fusion reads 16 drafts of 1,000


@pytest.mark.parametrize("text", ["", "80", "0x80", "2x0", "2x-1", "axb", "1x80x2"])
def test_bad_gpus_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--gpus takes COUNTxGIB"):
        parse_cards(text)


demands = st.lists(
    st.builds(
        Demand,
        name=st.integers(0, 99).map(lambda number: f"m{number}"),
        context=st.just(CONTEXT),
        weights_gib=st.floats(0, 200),
        sequence_gib=st.floats(0.001, 3),
        engine_gib=st.floats(0.1, 4),
    ),
    min_size=1,
    max_size=7,
    unique_by=lambda each: each.name,
)
free_memory = st.lists(st.floats(4, 140), min_size=1, max_size=8)


@given(demands, free_memory, st.floats(0, 500))
def test_no_plan_is_over_a_cards_memory_and_every_model_is_placed_once(
    wanted: list[Demand], free: list[float], host: float
) -> None:
    cards = [Card(index, gib * 1.1, gib) for index, gib in enumerate(free)]
    try:
        placement = place(wanted, cards, host_gib=host)
    except ConfigError as error:
        assert "are missing" in str(error)
        return
    assert [each.demand for each in placement.placed] == wanted
    assert placement == place(list(wanted), list(cards), host_gib=host)
    for card in cards:
        for shift in range(placement.shifts):
            assert placement.used_gib(card.index, shift) <= card.usable_gib + 1e-9
    for each in placement.placed:
        assert len(set(each.cards)) == len(each.cards) and len(each.cards).bit_count() == 1
        assert each.sequences >= LEAST_SEQUENCES
    if placement.swap == "sleep":
        assert sum(each.weights_gib for each in wanted) <= host
