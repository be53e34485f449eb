"""What a store costs a search: the same evaluation with its samples in SQLite, and in a PostgreSQL that is far away.

    PYTHONPATH=. python benchmarks/store_latency.py --output benchmarks/results/store_latency.md

An endpoint answers every request after 200 ms, 256 requests are in flight, and every prompt is new. The stores take
turns (A B C A B C), each time in a process of its own with an empty store: a dictionary, a SQLite file, a PostgreSQL of
this machine, and the same behind a wire that adds 20 ms to each round trip. Medians, with the interval that holds them
with 95 % by the order of the runs; CPU seconds and peak memory are those of the process that searches.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import platform
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endpoint import MODEL, endpoint, wire
from repeated import command, in_turns, interval, shown

import agenttts as at
from agenttts.execution.pool import SamplePool
from agenttts.llm.openai import OpenAIClient
from tests.postgresql import PostgreSQL, find_programs

DELAY_S, IN_FLIGHT = 0.2, 256
STORES = ("dictionary", "sqlite", "postgresql", "postgresql far away")


@dataclass(frozen=True)
class Load:
    """What is asked."""

    examples: int
    samples: int


def environment(url: str, load: Load) -> at.LiveEnvironment:
    """One stage, every example with a prompt of its own."""
    model = at.Model(MODEL, 1e9, base_url=url)
    answer = at.Subtask("answer", (model,), "{{ question }}", prompt_tokens=60, completion_tokens=24, max_samples=64)
    rows = [{"id": str(i), "question": f"What is {i} plus {i}, step by step?"} for i in range(load.examples)]
    pipeline = at.Pipeline("load", (answer,), metric=lambda output, example: 1.0)
    return at.LiveEnvironment(pipeline, rows, client=OpenAIClient(max_in_flight=IN_FLIGHT))


async def evaluate(url: str, store: str, load: Load) -> dict[str, float]:
    """One evaluation with an empty pool: seconds, CPU seconds, peak memory."""
    opened = None if store == "dictionary" else at.Store(store)
    study = None if opened is None else opened.start("load", _spec(url, load)).id
    pool = SamplePool(None if opened is None else opened.samples, study_id=study)
    async with environment(url, load) as searched:
        started, cpu = time.perf_counter(), time.process_time()
        found = await searched.evaluate(at.Allocation({"answer": (MODEL, load.samples)}), pool=pool)
        seconds, used = time.perf_counter() - started, time.process_time() - cpu
    assert found.score == 1 and not found.missing
    if opened is not None:
        assert opened.samples.count() == load.examples * load.samples
        opened.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"per_s": load.examples / seconds, "cpu_ms": 1e3 * used / load.examples, "peak_mb": peak}


def _spec(url: str, load: Load) -> Any:
    searched = environment(url, load)
    space = at.SearchSpace(searched.pipeline, at.cost_model("flops"), 1e9)
    plan = at.SearchPlan(searched, at.searcher("random"), space, "", study_name="load")
    return plan.spec(searched)


def alone(url: str, store: str, load: Load) -> dict[str, float]:
    """The same in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        where = f"{folder}/load.db" if store == "sqlite" else store
        command = [sys.executable, __file__, "--url", url, "--store", where]
        command += ["--examples", str(load.examples), "--samples", str(load.samples)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(load: Load, runs: int, latency_s: float) -> str:
    """Each store in turn, as a table."""
    with ExitStack() as stack:
        url = stack.enter_context(endpoint(DELAY_S))
        programs = find_programs()
        if programs is None:
            raise SystemExit("PostgreSQL is not installed: its initdb and pg_ctl were not found")
        server = stack.enter_context(PostgreSQL(programs))
        port = stack.enter_context(wire(server._port, latency_s / 2))

        def one(store: str) -> dict[str, float]:
            where = server.new_database() if store.startswith("postgresql") else store
            return alone(url, where.replace(f":{server._port}/", f":{port}/") if "far" in store else where, load)

        found = in_turns(STORES, one, runs)
    return table(found)


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """One line a store."""
    lines = ["| samples in | requests/s | of SQLite's | CPU ms a request | peak MB |", "|" + " --- |" * 5]
    for store, runs in found.items():
        ratio = interval([mine["per_s"] / other["per_s"] for mine, other in zip(runs, found["sqlite"], strict=True)])
        figures = [shown(interval([run[name] for run in runs]), form) for name, form in _COLUMNS]
        lines.append(f"| {store} | {figures[0]} | {shown(ratio, '.2f')} | {figures[1]} | {figures[2]} |")
    return "\n".join(lines)


_COLUMNS = (("per_s", ",.0f"), ("cpu_ms", ".2f"), ("peak_mb", ",.0f"))


def profiled(url: str, store: str, load: Load) -> None:
    """Where the CPU goes, by function."""
    profile = cProfile.Profile()
    profile.runcall(lambda: asyncio.run(evaluate(url, store, load)))
    pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    pstats.Stats(profile).sort_stats("cumtime").print_stats(70)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=3000)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.02, help="seconds that the wire adds to a round trip")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--profile", metavar="STORE", help="show where the CPU goes with this store instead")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    given = parser.parse_args()
    load = Load(given.examples, given.samples)
    if given.store:
        print(json.dumps(asyncio.run(evaluate(given.url, given.store, load))))
        return
    if given.profile:
        with endpoint(DELAY_S) as url, tempfile.TemporaryDirectory() as folder:
            profiled(url, f"{folder}/load.db" if given.profile == "sqlite" else given.profile, load)
        return
    text = compare(load, given.runs, given.latency)
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    head = f"{load.examples:,} requests of {load.samples} sample(s), {given.runs} runs each; {where}.\n\n"
    head += f"`{command()}`\n\n"
    print(head + text)
    if given.output:
        given.output.write_text(f"{head}{text}\n")


if __name__ == "__main__":
    main()
