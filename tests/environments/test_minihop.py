"""minihop: real models behind a real llama.cpp server, and the recorded pools that replay them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenttts.db import Store
from agenttts.environments.tasks.minihop import (
    MODELS,
    VERIFIER,
    minihop,
    minihop_operators,
    minihop_operators_recorded,
    minihop_recorded,
    pipeline,
)
from agenttts.environments.tasks.minihop.pipeline import HERE, operators
from agenttts.errors import ConfigError, EndpointError
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits
from agenttts.serving import LlamaCppServing
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.cost import FlopsCost


def both(retrieve: tuple[str, int], answer: tuple[str, int]) -> Allocation:
    return Allocation(
        {"retrieve": (f"minihop-{retrieve[0]}", retrieve[1]), "answer": (f"minihop-{answer[0]}", answer[1])}
    )


async def test_a_real_search_from_end_to_end(store: Store) -> None:
    environment = minihop()
    environment.examples, environment.held_out = environment.examples[:12], environment.held_out[:12]
    space = SearchSpace(environment.pipeline, FlopsCost(), 700)
    result = await search(
        environment, searcher("agent", llm="none"), space, store, study_name="s", limits=Limits(trials=10), parallel=2
    )
    assert len(result.archive.trials) == 10 and all(t.evaluation.failures == 0 for t in result.archive.trials)
    assert result.best.evaluation.score > 0.4
    assert result.validation is not None and result.validation.failures == 0
    spend = result.spend
    assert spend.prompt_tokens > 1000 and spend.completion_tokens > 1000 and spend.reused_tokens > 0
    retrieve = result.archive.trials[0].evaluation.usage["retrieve"]
    assert 60 < retrieve.prompt_tokens < 200 and 8 < retrieve.completion_tokens < 60


@pytest.mark.slow
async def test_live_models_agree_with_their_recording() -> None:
    allocation = both(("l", 1), ("m", 1))
    recorded = await minihop_recorded().evaluate(allocation)
    async with minihop() as live:
        evaluation = await live.evaluate(allocation)
    assert evaluation.failures == 0
    difference = abs(evaluation.score - recorded.score)
    assert difference < 4 * (evaluation.standard_error**2 + recorded.standard_error**2) ** 0.5
    for name in ("retrieve", "answer"):
        assert evaluation.usage[name].prompt_tokens == pytest.approx(recorded.usage[name].prompt_tokens, rel=0.1)
        assert evaluation.usage[name].completion_tokens == pytest.approx(
            recorded.usage[name].completion_tokens, rel=0.2
        )


def judged(retrieve: tuple[str, int], answer: tuple[str, int], operator: str) -> Allocation:
    plain = both(retrieve, answer)["answer"]
    (name,) = (each.name for each in operators() if operator in each.name)
    return Allocation({**both(retrieve, answer), "answer": Choice(plain.model, plain.samples, name)})


async def test_the_recorded_verifier_tells_right_answers_from_wrong_ones() -> None:
    environment = minihop_operators_recorded()
    vote = await environment.evaluate(both(("m", 5), ("s", 4)), environment.held_out)
    for operator in ("best-of", "weighted-vote"):
        chosen = await environment.evaluate(judged(("m", 5), ("s", 4), operator), environment.held_out)
        assert chosen.score > vote.score + 0.05


async def test_the_live_verifier_agrees_with_its_recording() -> None:
    allocation = judged(("l", 1), ("xs", 4), "best-of")
    recorded = await minihop_operators_recorded().evaluate(allocation)
    async with minihop_operators() as live:
        evaluation = await live.evaluate(allocation, live.examples[:40])
    assert evaluation.failures == 0
    difference = abs(evaluation.score - recorded.score)
    assert difference < 4 * (evaluation.standard_error**2 + recorded.standard_error**2) ** 0.5


async def test_the_recording_holds_the_whole_landscape() -> None:
    environment = minihop_recorded()
    everything = [*environment.examples, *environment.held_out]
    assert len(everything) == 400
    for allocation in (both(("xs", 64), ("l", 32)), both(("s", 7), ("xs", 3)), both(("l", 64), ("m", 16))):
        evaluation = await environment.evaluate(allocation, everything)
        assert evaluation.failures == 0


async def test_more_than_was_recorded_is_an_error_not_an_invention() -> None:
    environment = minihop_recorded()
    with pytest.raises(EndpointError, match="holds 64 samples of model 'minihop-xs' for this prompt, not 65"):
        await environment.evaluate(both(("xs", 65), ("xs", 1)))


@pytest.mark.slow
async def test_the_landscape_rewards_mixing_models() -> None:
    environment = minihop_recorded()
    everything = [*environment.examples, *environment.held_out]
    mixed = await environment.evaluate(both(("s", 3), ("m", 1)), everything)
    space = SearchSpace(environment.pipeline, FlopsCost(), 700)
    alike = [
        both((size, space.most_samples(both((size, 1), (size, answers)), "retrieve")), (size, answers))
        for size in ("xs", "s", "m")
        for answers in (1, 2, 4, 8)
        if both((size, 1), (size, answers)) in space
    ]
    scores = [(await environment.evaluate(allocation, everything)).score for allocation in alike]
    assert mixed.score > max(scores) + 0.08


def test_parameter_counts_are_those_of_the_weights() -> None:
    for model in (*MODELS, VERIFIER):
        size = (HERE / "weights" / f"{model.name}.gguf").stat().st_size
        assert (
            model.parameters and 1.0 < size / model.parameters < 1.7
        )  # Q8_0 takes 34 bytes for 32 weights, plus the tokenizer


async def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model file"):
        await LlamaCppServing({"m": tmp_path / "none.gguf"}).start()


async def test_a_broken_model_file_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(EndpointError, match="the llama.cpp server of 'm' did not start"):
        await LlamaCppServing({"m": broken}).start()


_PARENT = """
import asyncio
from agenttts.environments.tasks.minihop import minihop

async def main():
    serving = minihop().serving
    await serving.start()
    print(*(child.pid for child in serving._children), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_servers_die_with_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 4 and all(_alive(pid) for pid in children)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in children)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    # An orphan that has ended may wait for its new parent to notice.
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_the_vote_is_a_visible_choice() -> None:
    union, vote = pipeline(), pipeline("vote")
    assert union.fingerprint != vote.fingerprint
    names = [each.subtask("retrieve").aggregator for each in (union, vote)]
    assert [each.name for each in names if each is not None] == ["union", "vote"]
