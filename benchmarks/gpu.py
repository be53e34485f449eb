"""Everything that needs a GPU and vLLM, one after the other, with the figures kept: about eight minutes on an H100.

    python benchmarks/gpu.py --weights WEIGHTS --out benchmarks/results
    python benchmarks/gpu.py --weights WEIGHTS --out benchmarks/results --parts engine calibrate
    python benchmarks/gpu.py --weights WEIGHTS --out FOLDER --parts engine --samples 1 --runs 5 --seconds 20 --limit 420

The last one, once for each S of 1, 8 and 32, measures the engine as long as it takes to tell it from a loop.

WEIGHTS holds a folder for each of minihop-xs, -s, -m and -l in Hugging Face's format, 21 MB in all, made by
`for s in xs s m l; do python -m zoo.huggingface --size $s --out WEIGHTS/minihop-$s; done`. Needs nvidia-ml-py and vLLM.

    search     `agenttts search minihop --serve vllm`, a real search on four servers
    swapping   benchmarks/swapping.py
    steps      benchmarks/steps.py: step search, whose reward model is served for pooling
    engine     benchmarks/engine.py on a server that this script starts through `VllmServing`
    calibrate  `agenttts calibrate` of two models, whose servers this script starts the same way, once for both parts

A part that fails is told, and does not stop the others; the exit code is the number of parts that failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from agenttts.environments import LiveEnvironment
from agenttts.environments.tasks.minihop import pipeline
from agenttts.environments.tasks.minihop.world import make_example
from agenttts.pipeline import Pipeline
from agenttts.serving import VllmServing
from agenttts.serving.gpus import found_cards, parse_cards

HERE = Path(__file__).parent
ENGINE_MODEL = "minihop-s"
SERVED = (ENGINE_MODEL, "minihop-l")
"""The models of the servers that `engine` and `calibrate` share."""
CLI = [sys.executable, "-c", "from agenttts.cli import main; main()"]


def served_pipeline() -> Pipeline:
    """minihop's pipeline, of the models that are served."""
    full = pipeline()
    subtasks = (replace(each, models=tuple(m for m in each.models if m.name in SERVED)) for each in full.subtasks)
    return replace(full, subtasks=tuple(subtasks))


def served_minihop() -> LiveEnvironment:
    """What `agenttts calibrate benchmarks/gpu.py:served_minihop` measures: its prompts are made of these examples."""
    return LiveEnvironment(served_pipeline(), [make_example(index) for index in range(100)], name="minihop")


def search(arguments: argparse.Namespace) -> None:
    """A search from the command line."""
    store = arguments.out / "gpu_search.db"
    command = [*CLI, "search", "minihop", "--serve", "vllm", "--weights", str(arguments.weights), "--llm", "none",
               "--trials", "10", "--store", str(store)]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=arguments.limit, check=True)
    print(done.stdout)
    (arguments.out / "gpu_search.txt").write_text(done.stdout)


def swapping(arguments: argparse.Namespace) -> None:
    """Two models on a card that is taken for too small."""
    command = [sys.executable, str(HERE / "swapping.py"), "--weights", str(arguments.weights),
               "--out", str(arguments.out / "swapping")]  # fmt: skip
    command += ["--pretend", arguments.pretend] if arguments.pretend else []
    subprocess.run(command, timeout=arguments.limit, check=True)


def steps(arguments: argparse.Namespace) -> None:
    """Step search on two servers, one of them for pooling."""
    command = [sys.executable, str(HERE / "steps.py"), "--weights", str(arguments.weights),
               "--out", str(arguments.out / "steps_vllm.md")]  # fmt: skip
    command += ["--pretend", arguments.pretend] if arguments.pretend else []
    subprocess.run(command, timeout=arguments.limit, check=True)


def engine(arguments: argparse.Namespace, urls: Mapping[str, str]) -> None:
    """The live environment against others on one server."""
    command = [sys.executable, str(HERE / "engine.py"), "--url", urls[ENGINE_MODEL], "--model", ENGINE_MODEL,
               "--tokenizer", str(arguments.weights / ENGINE_MODEL), "--prompts", str(arguments.prompts),
               "--samples", *map(str, arguments.samples), "--runs", str(arguments.runs),
               "--seconds", str(arguments.seconds), "--out", str(arguments.out / "engine_vllm")]  # fmt: skip
    subprocess.run(command, timeout=arguments.limit, check=True)


def calibrate(arguments: argparse.Namespace, urls: Mapping[str, str]) -> None:
    """Prefill and decode throughput of each model and number of requests at once, as a user measures them."""
    from engine import card, versions  # not there when `calibrate` loads this file for `served_minihop`

    words = [
        "calibrate",
        f"{os.path.relpath(__file__)}:served_minihop",
        "--output",
        str(arguments.out / "calibrate_vllm.yaml"),
    ]
    words += [word for name, url in urls.items() for word in ("--endpoint", f"{name}={url}")]
    started = time.perf_counter()
    done = subprocess.run(
        [*CLI, *words, "--json"], stdout=subprocess.PIPE, text=True, timeout=arguments.limit, check=True
    )
    kept = {
        "machine": card(),
        "versions": versions(),
        "command": " ".join(["agenttts", *words]),
        "seconds": round(time.perf_counter() - started, 1),
        "rows": json.loads(done.stdout),
    }
    print(done.stdout)
    (arguments.out / "calibrate_vllm.json").write_text(json.dumps(kept, indent=1) + "\n")


@asynccontextmanager
async def servers(arguments: argparse.Namespace) -> AsyncIterator[dict[str, str]]:
    """The servers of `SERVED`: model -> where it is asked."""
    serving = VllmServing(
        served_pipeline(),
        weights={name: str(arguments.weights / name) for name in SERVED},
        cards=parse_cards(arguments.pretend) if arguments.pretend else found_cards(),
        # Access logs of thousands of small requests would be measured too.
        arguments=["--disable-uvicorn-access-log"],
        tell=lambda said: print(said, file=sys.stderr, flush=True),
    )
    urls = await serving.start()
    try:
        yield urls
    finally:
        await serving.stop()


ALONE = {"search": search, "swapping": swapping, "steps": steps}
"""Parts that start their own servers: first, while the card is empty."""
ON_SERVERS = {"engine": engine, "calibrate": calibrate}
PARTS = (*ALONE, *ON_SERVERS)


@contextmanager
def attempted(name: str, kept: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Whether a part failed and how long it took, told and kept."""
    started = time.perf_counter()
    try:
        yield
    except Exception as error:  # the other parts are worth having, whatever this one met
        kept["failed"][name] = f"{type(error).__name__}: {error}"
    kept["seconds"][name] = round(time.perf_counter() - started, 1)
    print(f"{name}: {kept['failed'].get(name, 'done')} in {kept['seconds'][name]} s", file=sys.stderr, flush=True)


async def run(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The parts that are wanted, each in a thread: the servers are watched meanwhile."""
    kept: dict[str, dict[str, Any]] = {"seconds": {}, "failed": {}}
    for name, alone in ALONE.items():
        if name in arguments.parts:
            with attempted(name, kept):
                await asyncio.to_thread(alone, arguments)
    if wanted := [name for name in ON_SERVERS if name in arguments.parts]:
        with attempted("servers, and the parts on them", kept):
            async with servers(arguments) as urls:
                for name in wanted:
                    with attempted(name, kept):
                        await asyncio.to_thread(ON_SERVERS[name], arguments, urls)
    return kept


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder with a folder for each model")
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--prompts", type=int, default=128, help="prompts of engine.py")
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 8, 32], help="S of engine.py")
    parser.add_argument("--runs", type=int, default=3, help="rounds of engine.py")
    parser.add_argument("--seconds", type=float, default=4, help="load of each run of engine.py")
    parser.add_argument("--limit", type=float, default=300, help="most seconds of a part")
    parser.add_argument("--pretend", metavar="COUNTxGIB", help="rehearse without a GPU (not the part search)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = asyncio.run(run(arguments))
    (arguments.out / "gpu.json").write_text(json.dumps(kept, indent=1) + "\n")
    sys.exit(len(kept["failed"]))


if __name__ == "__main__":
    main()
