"""What Ray costs per example, and what a second worker brings, on an endpoint that is not the bottleneck.

    python benchmarks/ray_scaling.py --output benchmarks/results/ray_scaling.md

No model runs: a server on this machine answers "text" after a scripted delay, however many ask. A pipeline of two
stages is evaluated on fresh examples, in this process and on 1 and 2 workers of a local Ray, each with a store of its
own. Delay 0 shows the overhead; a delay that outweighs it shows how throughput grows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import agenttts as at
from agenttts.db import Store
from agenttts.environments import LiveEnvironment, environment
from agenttts.environments.ray import IN_FLIGHT, LOCAL, RayEnvironment
from agenttts.execution.pool import SamplePool

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.endpoint import FakeEndpoint  # noqa: E402

WARM_UP = 128
"""Examples that start workers and connections, before the clock runs."""
PIPELINE = """
import agenttts as at

model = at.Model("small", 1e6, base_url="URL")
find = at.Subtask("find", (model,), "find {{ question }}", prompt_tokens=5, completion_tokens=2)
answer = at.Subtask("answer", (model,), "{{ question }} {{ find }}", prompt_tokens=6, completion_tokens=2)
rows = [{"id": str(i), "question": f"q{i}", "gold": "text"} for i in range(COUNT)]
environment = at.LiveEnvironment(at.Pipeline("two", (find, answer), at.metrics.exact_match("gold")), rows)
"""


async def timed(
    workers: int, examples: int, *, warm_up: int = WARM_UP, address: str = LOCAL, store: str | None = None
) -> float:
    """Examples per second; 0 workers are this process."""
    name, store = "two.py:environment", store or f"{time.monotonic_ns()}.db"
    found = environment(name)
    assert isinstance(found, LiveEnvironment)
    opened = Store(store)
    space = at.SearchSpace(found.pipeline, at.cost_model("flops"), 1e6)
    study = opened.start("s", at.SearchPlan(found, at.searcher("random"), space, opened, study_name="s").spec(found))
    allocation = at.Allocation({"find": ("small", 1), "answer": ("small", 1)})
    pool = SamplePool(opened.samples, study_id=study.id)
    where = RayEnvironment(found, address, store=store, name=name, workers=workers) if workers else found
    async with where as entered:
        await entered.evaluate(allocation, found.examples[:warm_up], pool=pool)
        started = time.perf_counter()
        await entered.evaluate(allocation, found.examples[warm_up : warm_up + examples], pool=pool)
        seconds = time.perf_counter() - started
    opened.close()
    return examples / seconds


def rows(delays: list[float], examples: int) -> list[str]:
    """Lines of the table."""
    lines = ["| delay of an answer | run by | examples/s | ms per example |", "| --- | --- | --- | --- |"]
    with FakeEndpoint() as endpoint:
        endpoint.models, endpoint.reply = ["small"], lambda messages, seed: "text"
        Path("two.py").write_text(PIPELINE.replace("URL", endpoint.url).replace("COUNT", str(WARM_UP + examples)))
        for delay in delays:
            endpoint.delay_s = delay
            for workers in (0, 1, 2):
                speed = asyncio.run(timed(workers, examples))
                who = f"{workers} Ray worker{'s' * (workers > 1)}" if workers else "this process"
                lines.append(f"| {delay:g} s | {who} | {speed:.1f} | {1e3 / speed:.1f} |")
                print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delays", default="0,3", help="Seconds, comma-separated.")
    parser.add_argument("--examples", type=int, default=384)
    parser.add_argument("--output")
    given = parser.parse_args()
    output = Path(given.output).resolve() if given.output else None
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        lines = rows([float(delay) for delay in given.delays.split(",")], given.examples)
        os.chdir("/")
    machine = f"Ray {version('ray')}, Python {platform.python_version()}, {os.cpu_count()} cores"
    about = f"{machine}, load {os.getloadavg()[0]:.1f}; at most {IN_FLIGHT} examples in flight per worker."
    if output is not None:
        output.write_text("\n".join([about, "", *lines, ""]))


if __name__ == "__main__":
    main()
