"""What the order of requests is worth where a GPU does not hold all models at once.

    python benchmarks/swapping.py --weights WEIGHTS --out benchmarks/results/swapping
    python benchmarks/swapping.py --weights WEIGHTS --serve sglang --arguments="--attention-backend triton" --out FILE

Two models of minihop (xs retrieves, l answers) are served by vLLM or SGLang on one GPU whose memory is taken for so
small that only one of them may be awake, with the smallest KV cache that is planned (4 sequences of full context).
Examples are evaluated with an empty sample pool: the first twenty example by example, as one would without a scheduler,
and all at once, which the turns of the serving make stage-major. The figure is the share of the wall time in which a
server had requests; the rest went into swaps. WEIGHTS holds a folder minihop-xs and a folder minihop-l in Hugging
Face's format (`python -m zoo.huggingface`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from repeated import command

from agenttts.environments import LiveEnvironment
from agenttts.environments.tasks.minihop import pipeline
from agenttts.environments.tasks.minihop.world import make_example
from agenttts.errors import AgentTTSError, ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.pipeline import Pipeline
from agenttts.serving import SglangServing, VllmServing
from agenttts.serving.gpu_servers import GpuServing
from agenttts.serving.gpus import found_cards, parse_cards
from agenttts.serving.placement import USABLE, Card, Demand
from agenttts.space.allocation import Allocation

MODELS = ("minihop-xs", "minihop-l")
SERVERS: dict[str, type[GpuServing]] = {"vllm": VllmServing, "sglang": SglangServing}
ONE_BY_ONE = 20
ALLOCATION = Allocation({"retrieve": ("minihop-xs", 16), "answer": ("minihop-l", 4)})


def two_models() -> Pipeline:
    """minihop with two models, one for each stage of the allocation."""
    whole = pipeline()
    return replace(
        whole,
        subtasks=tuple(
            replace(subtask, models=tuple(model for model in subtask.models if model.name in MODELS))
            for subtask in whole.subtasks
        ),
    )


def too_small(card: Card, demands: Sequence[Demand]) -> Card:
    """The card with so much memory that either model may be awake while the other sleeps, but not both."""
    shared = [each.shared_gib(1) for each in demands]
    needed = sum(each.engine_gib for each in demands) + (max(shared) + sum(shared)) / 2
    return replace(card, free_gib=needed / USABLE)


async def measure(environment: LiveEnvironment, serving: GpuServing, *, at_once: bool) -> dict[str, float]:
    """One way through the examples."""
    pool = SamplePool()
    turns = serving.turns
    if turns is None:
        raise ConfigError("the models fit at once: there is nothing to measure")
    before = (turns.swaps, turns.swapping_s, turns.generating_s)
    started = time.perf_counter()
    batches = [list(environment.examples)] if at_once else [[name] for name in environment.examples[:ONE_BY_ONE]]
    evaluations = [await environment.evaluate(ALLOCATION, batch, pool=pool) for batch in batches]
    wall = time.perf_counter() - started
    results = [result for evaluation in evaluations for result in evaluation.results]
    return {
        "examples": len(results),
        "wall_s": wall,
        "swaps": turns.swaps - before[0],
        "swapping_s": turns.swapping_s - before[1],
        "generating_s": turns.generating_s - before[2],
        "generating_share": (turns.generating_s - before[2]) / wall,
        "score": sum(result.score for result in results) / len(results),
        "failures": sum(result.error is not None for result in results),
    }


async def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both ways on the same servers."""
    among = two_models()
    cards = parse_cards(arguments.pretend) if arguments.pretend else found_cards()
    weights = {name: str(arguments.weights / name) for name in MODELS}
    demands = [each.demand for each in VllmServing(among, weights=weights, cards=cards).placement.placed]
    card = too_small(cards[0], demands)
    serving = SERVERS[arguments.serve](
        among,
        weights=weights,
        cards=[card],
        arguments=arguments.arguments.split(),
        logs=arguments.logs,
        tell=lambda said: print(said, file=sys.stderr, flush=True),
    )
    environment = LiveEnvironment(among, [make_example(index) for index in range(arguments.examples)])
    environment.serve(serving)
    started = time.perf_counter()
    async with environment:
        up = time.perf_counter() - started
        naive = await measure(environment, serving, at_once=False)
        ours = await measure(environment, serving, at_once=True)
    return {
        "engine": serving.engine.name,
        "budget_gib": card.free_gib,
        "swap": serving.placement.swap,
        "allocation": str(ALLOCATION),
        "servers_up_s": up,
        "example_by_example": naive,
        "stage_major": ours,
        "times_faster": naive["wall_s"] / naive["examples"] / (ours["wall_s"] / ours["examples"]),
        "command": command(),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder with a folder for each model")
    parser.add_argument("--examples", type=int, default=400)
    parser.add_argument("--serve", default="vllm", choices=SERVERS)
    parser.add_argument("--arguments", default="", help="of its servers, in one word")
    parser.add_argument("--logs", type=Path)
    parser.add_argument("--pretend", metavar="COUNTxGIB", help="rehearse without a GPU, with a program that plays vLLM")
    parser.add_argument("--out", type=Path, help="where the figures go, without suffix")
    arguments = parser.parse_args()
    try:
        result = asyncio.run(compare(arguments))
    except AgentTTSError as error:
        raise SystemExit(f"error: {error}") from error
    print(json.dumps(result, indent=1))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
