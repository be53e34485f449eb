"""Everything that needs a GPU and vLLM, one after the other, with the figures kept: about seven minutes on an H100.

    python benchmarks/gpu.py --weights WEIGHTS --out benchmarks/results

WEIGHTS holds a folder for each of minihop-xs, -s, -m and -l in Hugging Face's format, 21 MB in all, made by
`for s in xs s m l; do python -m zoo.huggingface --size $s --out WEIGHTS/minihop-$s; done`. Needs nvidia-ml-py and vLLM.

    search    `agenttts search minihop --serve vllm`, a real search on four servers
    swapping  benchmarks/swapping.py
    engine    benchmarks/engine.py on a server that this script starts through `VllmServing`

A part that fails is told, and does not stop the others; the exit code is the number of parts that failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agenttts.environments.serving import VllmServing
from agenttts.environments.serving.gpus import found_cards, parse_cards
from agenttts.environments.tasks.minihop import MODELS, pipeline

HERE = Path(__file__).parent
ENGINE_MODEL = "minihop-s"
CLI = [sys.executable, "-c", "from agenttts.cli import main; main()"]


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


def engine(arguments: argparse.Namespace) -> None:
    """The live environment against others on one server."""
    asyncio.run(_engine(arguments))


async def _engine(arguments: argparse.Namespace) -> None:
    serving = VllmServing(
        pipeline(),
        elsewhere=[model.name for model in MODELS if model.name != ENGINE_MODEL],
        weights={ENGINE_MODEL: str(arguments.weights / ENGINE_MODEL)},
        cards=parse_cards(arguments.pretend) if arguments.pretend else found_cards(),
        # Access logs of thousands of small requests would be measured too.
        arguments=["--disable-uvicorn-access-log"],
        tell=lambda said: print(said, file=sys.stderr, flush=True),
    )
    urls = await serving.start()
    try:
        command = [sys.executable, str(HERE / "engine.py"), "--url", urls[ENGINE_MODEL], "--model", ENGINE_MODEL,
                   "--tokenizer", str(arguments.weights / ENGINE_MODEL), "--prompts", str(arguments.prompts),
                   "--out", str(arguments.out / "engine_vllm")]  # fmt: skip
        await asyncio.to_thread(subprocess.run, command, timeout=arguments.limit, check=True)
    finally:
        await serving.stop()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder with a folder for each model")
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--parts", nargs="+", default=["search", "swapping", "engine"])
    parser.add_argument("--prompts", type=int, default=128, help="prompts of engine.py")
    parser.add_argument("--limit", type=float, default=300, help="most seconds of a part")
    parser.add_argument("--pretend", metavar="COUNTxGIB", help="rehearse without a GPU (not the part search)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[argparse.Namespace], None]] = {"search": search, "swapping": swapping, "engine": engine}
    failed = {}
    seconds = {}
    for name in arguments.parts:
        started = time.perf_counter()
        try:
            parts[name](arguments)
        except Exception as error:  # the other parts are worth having, whatever this one met
            failed[name] = f"{type(error).__name__}: {error}"
        seconds[name] = round(time.perf_counter() - started, 1)
        print(f"{name}: {failed.get(name, 'done')} in {seconds[name]} s", file=sys.stderr, flush=True)
    (arguments.out / "gpu.json").write_text(json.dumps({"seconds": seconds, "failed": failed}, indent=1) + "\n")
    sys.exit(len(failed))


if __name__ == "__main__":
    main()
