"""The landscapes of the paper's six tasks, as problems of known optimum: tables of what SIMULATED models score.

    PYTHONPATH=. nice python benchmarks/landscapes.py            # makes the tables anew, in ten minutes of one core

No LLM answered: the models are those of `agenttts.simulation`, calibrated to what the paper published, and the examples
are made up (`tests/simulation/rehearsal.py`). A table, `landscapes/TASK.csv.gz`, holds the score of every example, and
of its stages, under every allocation on a grid of samples that fits the paper's budget of the task. A problem is such a
table: a search sees the half of the examples that its seed draws, and an allocation's true score is its mean over all.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean

import numpy as np

import agenttts as at
from agenttts.environments.table import RecordedOutcome, read_table, write_table
from agenttts.environments.tasks import cwq, hotpotqa, webqsp
from agenttts.environments.tasks.chatdev.pipeline import BUDGET as CHATDEV_BUDGET
from agenttts.environments.tasks.chatdev.pipeline import pipeline as chatdev
from agenttts.environments.tasks.taskbench.pipeline import BUDGET as TASKBENCH_BUDGET
from agenttts.environments.tasks.taskbench.pipeline import pipeline as taskbench
from agenttts.environments.tasks.taskbench.tools import ToolGraph

TABLES = Path(__file__).parent / "landscapes"
_PIPELINES: Mapping[str, tuple[Callable[[], at.Pipeline], float]] = {
    "2wikimultihopqa": (hotpotqa.pipeline, hotpotqa.BUDGET),
    "hotpotqa": (hotpotqa.pipeline, hotpotqa.BUDGET),
    "cwq": (cwq.pipeline, cwq.BUDGET),
    "webqsp": (webqsp.pipeline, webqsp.BUDGET),
    "taskbench": (lambda: taskbench(ToolGraph((), True)), TASKBENCH_BUDGET),
    "chatdev": (chatdev, CHATDEV_BUDGET),
}
TASKS = tuple(_PIPELINES)
_LEVELS = {2: (1, 2, 5, 10, 20, 50), 3: (1, 4, 16)}
"""Stages -> numbers of samples that each may have."""
_EXAMPLES = 200
"""At most; of ChatDev there are 45."""


class Landscape:
    """One task's landscape: its space, and what is true of it.

    Args:
        task: One of `TASKS`.
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self.pipeline, budget = pipeline_of(task)
        self.space = at.SearchSpace(self.pipeline, at.cost_model("paper"), budget)
        found = defaultdict(list)
        for outcome in read_table(table_of(task), self.pipeline):
            found[outcome.allocation].append(outcome.score)
        self.scores: Mapping[at.Allocation, float] = {allocation: mean(each) for allocation, each in found.items()}
        self._whole = at.RecordedEnvironment(self.pipeline, table_of(task))
        if set(self.scores) != set(self.space.enumerate()):
            raise RuntimeError(f"{table_of(task)} lacks allocations: make it anew")

    def environment(self, seed: int) -> at.RecordedEnvironment:
        """A search sees the half of the examples that this seed draws."""
        made = copy(self._whole)
        made.name = f"{self.task}-simulated-{seed}"
        made.pipeline = self.pipeline  # every combination within the budget is recorded
        drawn = np.random.default_rng([20251129, seed]).permutation(len(made.examples))[: len(made.examples) // 2]
        made.examples = tuple(made.examples[index] for index in sorted(drawn))
        return made


@cache
def landscape(task: str) -> Landscape:
    """The landscape of this task, read once."""
    return Landscape(task)


def table_of(task: str) -> Path:
    """Where its table is."""
    return TABLES / f"{task}.csv.gz"


def pipeline_of(task: str) -> tuple[at.Pipeline, float]:
    """The task's pipeline on the grid, whose prompts say nothing; and its budget, in the paper's unit."""
    made, budget = _PIPELINES[task]
    whole = made()
    counts = _LEVELS[len(whole.subtasks)]
    stages = [
        replace(each, prompt="simulated", run=None, sample_counts=counts, max_samples=None) for each in whole.subtasks
    ]
    return replace(whole, name=task, subtasks=tuple(stages)), budget


def outcomes(task: str) -> Iterator[RecordedOutcome]:
    """What the simulated models score on made-up examples, allocation by allocation."""
    from tests.simulation.rehearsal import Rehearsal, descriptions, questions, requests

    write = {"taskbench": requests, "chatdev": descriptions}
    pipeline, budget = pipeline_of(task)
    grid = at.SearchSpace(pipeline, at.cost_model("paper"), budget).enumerate()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        rehearsal = Rehearsal(task, write[task](path) if task in write else questions(task, path))
        names = rehearsal.names[:_EXAMPLES]
        # Largest numbers of samples first: the others then find theirs in the pool.
        for allocation in sorted(grid, key=lambda each: -sum(choice.samples for choice in each.values())):
            for result in asyncio.run(rehearsal.environment.evaluate(allocation, names)).results:
                stages = {name: round(score, 3) for name, score in result.subtask_scores.items()}
                yield RecordedOutcome(
                    allocation=allocation,
                    example=result.example,
                    score=round(result.score, 3),
                    subtask_scores=stages,
                    simulated=True,
                )


def main() -> None:
    """Make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    for task in parser.parse_args().tasks:
        TABLES.mkdir(exist_ok=True)
        write_table(table_of(task), pipeline_of(task)[0], outcomes(task))
        made = landscape(task)
        print(f"{task}: {made.space.size} allocations, the best scores {max(made.scores.values()):.3f}", flush=True)


if __name__ == "__main__":
    main()
