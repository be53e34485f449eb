"""The benchmark takes short cuts through the pool and the parsers: its scores must be those of the environment."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from agenttts.environments.tasks.minihop import minihop_recorded
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "best_of_minihop.py"
LINE = re.compile(
    r"(0\.\d{3}) \((0\.\d{3}) to (0\.\d{3})\)  cost +([\d.]+)  retrieve: (\S+) x(\d+), answer: (\S+) x(\d+)"
)


async def test_the_best_allocations_are_ranked_by_their_real_scores() -> None:
    environment = minihop_recorded()
    everything = SearchSpace(environment.pipeline, FlopsCost(), 1e9)
    # A budget with room for a few allocations, whatever the models weigh.
    space = SearchSpace(environment.pipeline, FlopsCost(), round(1.4 * everything.cost(everything.cheapest)))
    command = [sys.executable, str(SCRIPT), "--budget", str(space.budget)]
    heading, *lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert heading == f"{space.size} allocations within {space.budget:g} MFLOP, 300 held-out examples"
    found = [match.groups() for line in lines if (match := LINE.fullmatch(line))]
    assert len(found) == len(lines) == min(space.size, 10)
    assert [float(row[0]) for row in found] == sorted((float(row[0]) for row in found), reverse=True)
    score, low, high, cost, retrieve, quotes, answer, votes = found[0]
    best = Allocation({"retrieve": (retrieve, int(quotes)), "answer": (answer, int(votes))})
    evaluation = await environment.evaluate(best, environment.held_out)
    assert float(score) == round(evaluation.score, 3) and float(cost) == round(space.cost(best), 1) <= space.budget
    assert (float(low), float(high)) == tuple(round(bound, 3) for bound in evaluation.interval)
