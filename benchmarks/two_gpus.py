"""Two GPUs and vLLM: models spread over both, one split over both, turns, a search, and a server killed in the middle.

    python benchmarks/two_gpus.py --weights WEIGHTS --out benchmarks/results/two_gpus

Everything is placed by `VllmServing`:

    spread   minihop's four models (WEIGHTS as of `gpu.py`) on two cards; an allocation that uses both, the same again
             while one of its servers is killed (SIGKILL) in the middle, and a search
    split    a model of the shape of Llama 3 8B on cards that are taken for too small for it alone: one server on both,
             tensor-parallel
    turns    three such models on two cards that are taken for too small for a third: stage-major turns

The large models have minihop's tokenizer and random weights (vLLM's `--load-format dummy`): their work is real, what
they say means nothing, and every sample has 128 tokens.

A load is an allocation on so many examples, with an empty sample pool. "Busy" is the share of its wall time in which
requests were under way (turns), and what NVML says of each card, sampled ten times a second: the share of the last
moments in which a kernel ran on it. Tokens are what the servers count themselves (`/metrics`); one that was started
again counts anew, and is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

from engine import card, versions
from repeated import command

import agenttts as at
from agenttts.environments import LiveEnvironment
from agenttts.environments.tasks.minihop import pipeline
from agenttts.environments.tasks.minihop.world import make_example
from agenttts.execution.pool import SamplePool
from agenttts.pipeline import Pipeline
from agenttts.serving import VllmServing
from agenttts.serving.gpus import found_cards, parse_cards
from agenttts.serving.placement import Card

BOTH = at.Allocation({"retrieve": ("minihop-m", 16), "answer": ("minihop-l", 16)})
LARGE = ("large-a", "large-b", "large-c")
SHAPE = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8, "head_dim": 128}  # fmt: skip
FREE_GIB = {"split": 14, "turns": 26}
"""What each card is taken to have: less than the weights of one large model, and than those of two."""
PORT = 8300
_COUNTED = re.compile(r"^vllm:(prompt_tokens|generation_tokens|prefix_cache_hits)_total\{[^}]*\} (\S+)$", re.M)


def any_answer(output: object, example: at.Example) -> float:
    """What a model of random weights says is neither right nor wrong."""
    return 1.0


def of_large_models(*names: str) -> Pipeline:
    """Two stages, each sample of 128 tokens."""
    models = [at.Model(name, 7e9, layers=32, hidden_size=4096, kv_width=1024) for name in names]
    sampling = at.Sampling(temperature=1.0, max_tokens=128, extra={"ignore_eos": True})
    first, second = (
        at.Subtask(stage, models, "{{ question }}", sampling=sampling, prompt_tokens=20, completion_tokens=128,
                   max_samples=16)
        for stage in ("first", "second")
    )  # fmt: skip
    return Pipeline("large", (first, second), metric=any_answer)


def with_large_models(weights: Path) -> None:
    """Folders of the large models, without weights."""
    for name in LARGE:
        folder = weights / name
        folder.mkdir(exist_ok=True)
        for file in (weights / "minihop-m").glob("*.json"):
            (folder / file.name).write_text(file.read_text())
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | SHAPE))


def smaller(cards: Sequence[Card], part: str) -> list[Card]:
    """The first two cards with so much memory as a part takes them to have."""
    return [replace(each, free_gib=FREE_GIB[part]) for each in cards[:2]]


class Servers:
    """An environment on its servers, and what they say."""

    def __init__(self, environment: LiveEnvironment, serving: VllmServing) -> None:
        self.environment, self.serving = environment, serving
        self.examples = [*environment.examples, *environment.held_out]

    def counted(self) -> dict[str, dict[str, float]]:
        """Model -> what its server has counted so far."""
        found = {}
        for place, placed in enumerate(self.serving.placement.placed):
            url = f"http://127.0.0.1:{PORT + place}/metrics"
            with suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
                said = _COUNTED.findall(answer.read().decode())
                found[placed.demand.name] = {what: float(number) for what, number in said}
        return found

    async def load(self, allocation: at.Allocation) -> dict[str, Any]:
        """One evaluation of all examples with an empty pool."""
        before, turns = self.counted(), self.serving.turns
        generated = turns.generating_s if turns else 0.0
        started = time.perf_counter()
        with watched_cards() as busy:
            evaluation = await self.environment.evaluate(allocation, self.examples, pool=SamplePool())
        wall = time.perf_counter() - started
        after = self.counted()
        told = {
            name: {what: count - before[name][what] for what, count in counts.items()}
            for name, counts in after.items()
            if name in before and all(count >= before[name][what] for what, count in counts.items())
        }
        row = {
            "allocation": str(allocation),
            "examples": len(self.examples),
            "wall_s": round(wall, 2),
            "score": evaluation.score,
            "failures": sum(result.error is not None for result in evaluation.results),
            "missing": len(self.examples) - len(evaluation.results),
            "counted_by_servers": told,
            "cards_busy": busy,
        }
        if told.keys() == before.keys():
            row["tokens_per_s"] = round(sum(each.get("generation_tokens", 0) for each in told.values()) / wall)
        return row | ({"turns": turns.swaps, "busy": (turns.generating_s - generated) / wall} if turns else {})


@contextmanager
def watched_cards() -> Iterator[dict[str, float]]:
    """Filled at the end with each card's mean utilisation; empty where NVML is not."""
    found: dict[str, float] = {}
    try:
        import pynvml
    except ImportError:
        yield found
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # a rehearsal without a GPU
        yield found
        return
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    seen: list[list[int]] = []
    over = Event()

    def look() -> None:
        while not over.wait(0.1):
            seen.append([pynvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in handles])

    looking = Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()
        found.update({f"card {index}": round(sum(each) / len(each) / 100, 3)
                      for index, each in enumerate(zip(*seen, strict=True))})  # fmt: skip


@asynccontextmanager
async def serving(
    arguments: argparse.Namespace, among: Pipeline, cards: Sequence[Card], *words: str
) -> AsyncIterator[Servers]:
    """The models of a pipeline on these cards."""
    names = [model.name for model in among.models]
    started = VllmServing(
        among,
        weights={name: str(arguments.weights / name) for name in names},
        cards=cards,
        port=PORT,
        logs=arguments.logs,
        arguments=["--disable-uvicorn-access-log", *words],
        tell=lambda said: print(said, file=sys.stderr, flush=True),
    )
    rows = [make_example(index) for index in range(arguments.examples)]
    environment = LiveEnvironment(among, rows[: len(rows) // 2], held_out=rows[len(rows) // 2 :], name="minihop")
    environment.serve(started)
    async with environment:
        yield Servers(environment, started)


def placed(on: Servers) -> dict[str, Any]:
    """Who is where."""
    placement = on.serving.placement
    return {
        "cards_free_gib": [round(each.free_gib, 2) for each in on.serving.cards],
        "placed": {each.demand.name: {"cards": each.cards, "shift": each.shift} for each in placement.placed},
        "swap": placement.swap,
    }


async def spread(arguments: argparse.Namespace, cards: Sequence[Card]) -> dict[str, Any]:
    """Four models on two cards."""
    started = time.perf_counter()
    async with serving(arguments, pipeline(), cards) as on:
        kept = placed(on) | {"up_s": round(time.perf_counter() - started, 1), "load": await on.load(BOTH)}

        async def kill() -> None:
            await asyncio.sleep(kept["load"]["wall_s"] / 2)
            subprocess.run(["pkill", "-KILL", "-f", "--", "--served-model-name minihop-l "], check=True)

        kept["load_with_a_kill"], _ = await asyncio.gather(on.load(BOTH), kill())
        space = at.SearchSpace(on.environment.pipeline, at.cost_model("flops"), 700)
        began = time.perf_counter()
        plan = at.SearchPlan(on.environment, at.searcher("agent", llm="none"), space, at.Store(), study_name="two",
                             limits=at.Limits(trials=10))  # fmt: skip
        found = await at.search(plan)
        seconds = round(time.perf_counter() - began, 1)
        held_out = found.validation.score if found.validation else None
        kept["search"] = {"seconds": seconds, "best": str(found.best.allocation), "held_out": held_out}
        return kept


async def split(arguments: argparse.Namespace, cards: Sequence[Card]) -> dict[str, Any]:
    """One model over both."""
    return await of_large(arguments, cards, "split", {"first": (LARGE[0], 16), "second": (LARGE[0], 16)}, LARGE[0])


async def turns(arguments: argparse.Namespace, cards: Sequence[Card]) -> dict[str, Any]:
    """Three models where two fit, one on each card."""
    return await of_large(arguments, cards, "turns", {"first": (LARGE[0], 16), "second": (LARGE[2], 16)}, *LARGE)


async def of_large(
    arguments: argparse.Namespace, cards: Sequence[Card], part: str, choices: Mapping[str, Any], *names: str
) -> dict[str, Any]:
    """A load on large models."""
    with_large_models(arguments.weights)
    started, among = time.perf_counter(), of_large_models(*names)
    async with serving(arguments, among, smaller(cards, part), "--load-format", "dummy") as on:
        up = round(time.perf_counter() - started, 1)
        return placed(on) | {"up_s": up, "load": await on.load(at.Allocation(choices))}


PARTS = {"spread": spread, "turns": turns, "split": split}


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parts that are wanted; what fails is told, and does not stop the others."""
    cards = parse_cards(arguments.pretend) if arguments.pretend else found_cards()
    kept: dict[str, Any] = {}
    for name in arguments.parts:
        try:
            kept[name] = await PARTS[name](arguments, cards)
        except Exception as error:
            kept[name] = {"failed": f"{type(error).__name__}: {error}"}
        print(name, json.dumps(kept[name], indent=1), flush=True)
        keep(arguments, kept)
    return kept


def keep(arguments: argparse.Namespace, kept: Mapping[str, Any]) -> None:
    """Write what there is."""
    head = {"machine": card(), "versions": versions(), "command": command()}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps({**head, **kept}, indent=1) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder with a folder for each model")
    parser.add_argument("--out", type=Path, required=True, help="where the figures go, without suffix")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--examples", type=int, default=300, help="of a load")
    parser.add_argument("--logs", type=Path, default=Path("vllm-logs"))
    parser.add_argument("--pretend", metavar="COUNTxGIB", help="rehearse without a GPU, with a stand-in for vLLM")
    arguments = parser.parse_args()
    kept = asyncio.run(run(arguments))
    sys.exit(sum("failed" in each for each in kept.values()))


if __name__ == "__main__":
    main()
