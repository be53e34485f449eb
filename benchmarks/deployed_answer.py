"""Our own CPU time for one answer of a deployed pipeline: two stages, voted on, from models that answer at once.

    python benchmarks/deployed_answer.py

The models are a function in this process (SIMULATED), so what is measured is ours: rendering, the sample pool, parsing,
voting. CPU time of the process over `ANSWERS` answers, repeated; median with a 95 % interval by Student's t.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

import agenttts as at
from agenttts._util.stats import student_quantile
from agenttts.pipeline import Message
from agenttts.testing import ScriptedClient

ANSWERS, REPEATS, SAMPLES = 300, 7, 8
ROWS = [
    {"id": str(number), "question": f"What is {number} + {number}?", "gold": str(2 * number)} for number in range(20)
]


def environment() -> at.LiveEnvironment:
    """A lookup and an answer, of one model each."""
    model = at.Model("m", 1e9)
    find = at.Subtask("find", (model,), "Facts for: {{ question }}", max_samples=SAMPLES)
    answer = at.Subtask("answer", (model,), "{{ find }} {{ question }}", parser=at.parsers.number, max_samples=SAMPLES)

    def reply(model: at.Model, messages: Sequence[Message], position: int) -> str:
        return f"The sum is {position % 3}."

    pipeline = at.Pipeline("sums", (find, answer), metric=at.metrics.equal("gold"))
    return at.LiveEnvironment(pipeline, ROWS, client=ScriptedClient(reply))


async def milliseconds() -> float:
    """CPU time of one answer."""
    found = environment()
    space = at.SearchSpace(found.pipeline, at.cost_model("flops"), 1e12)
    allocation = at.Allocation({"find": ("m", SAMPLES), "answer": ("m", SAMPLES)})
    async with at.deployed(allocation, found, space=space) as deployed:
        await deployed.answer("What is 1 + 1?")
        started = time.process_time()
        for number in range(ANSWERS):
            await deployed.answer(f"What is {number} + {number}?")
        return (time.process_time() - started) / ANSWERS * 1000


def main() -> None:
    """Measure, and print."""
    runs = [asyncio.run(milliseconds()) for _ in range(REPEATS)]
    half = student_quantile(REPEATS - 1) * statistics.stdev(runs) / REPEATS**0.5
    print(f"{statistics.median(runs):.2f} ms of CPU per answer (median of {REPEATS} runs, +- {half:.2f})")


if __name__ == "__main__":
    main()
