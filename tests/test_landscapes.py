"""benchmarks/landscapes.py: the tables of the paper's six tasks are whole, and pose problems of known optimum."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TASKS = ("2wikimultihopqa", "hotpotqa", "cwq", "webqsp", "taskbench")
POSED = """
import json, sys
from problems import problem

posed, other = (problem(sys.argv[1], seed) for seed in (0, 1))
regrets = [posed.regret(allocation) for allocation in posed.space.enumerate()]
seen = [each.environment.examples for each in (posed, other)]
told = [posed.environment.recorded, len(regrets), min(regrets), max(regrets)]
print(json.dumps([*told, *map(len, seen), seen[0] == seen[1]]))
"""


@pytest.mark.parametrize("task", ["chatdev", *(pytest.param(task, marks=pytest.mark.slow) for task in TASKS)])
def test_every_allocation_of_a_task_has_a_regret_and_the_seed_draws_what_a_search_sees(task: str) -> None:
    command = [sys.executable, "-c", POSED, task]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    recorded, allocations, least, most, seen, as_many, same = json.loads(done.stdout)
    assert recorded == "recorded outcomes of simulated models; no LLM runs"
    assert allocations >= 70 and least == 0 < most < 1
    assert seen == as_many and not same
