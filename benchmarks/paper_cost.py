"""What the paper's searches would cost on real models, by our own cost models: FLOP, GPU hours, US dollars.

    python benchmarks/paper_cost.py [--flops-per-second 2e14]
    python benchmarks/paper_cost.py --data hotpotqa=hotpot_dev_distractor_v1.json --data chatdev=srdd.csv

A search is 50 trials on the examples that are searched and one check on those held out; every query is priced as one
with the largest model of each stage once, which is the paper's budget: cheaper allocations, racing and samples that are
used again make a search cheaper than that. FLOP are those of the cost model `flops` (attention and fusion included),
GPU hours what they take at a throughput that you state; US dollars those of `usd`, at the prices per token of Together
AI that the paper lists. Lengths are the paper's (table 4); for a task with --data they are measured, with the simulated
models of `agenttts.simulation` on its first examples, at four characters a token.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agenttts.environments import LiveEnvironment, environment
from agenttts.environments.tasks import chatdev, cwq, hotpotqa, rows, webqsp
from agenttts.environments.tasks.chatdev.pipeline import HELD_OUT as CHATDEV_HELD_OUT
from agenttts.environments.tasks.taskbench.pipeline import SEARCHED as TASKBENCH_SEARCHED
from agenttts.environments.tasks.taskbench.pipeline import pipeline as taskbench
from agenttts.environments.tasks.taskbench.tools import ToolGraph
from agenttts.errors import AgentTTSError, ConfigError
from agenttts.pipeline import Pipeline
from agenttts.simulation import SimulatedClient, Simulation
from agenttts.space.allocation import Allocation
from agenttts.space.cost import cost_model

TRIALS = 50
MEASURED = 20
FLOPS_PER_SECOND = 2e14
"""About a fifth of an H100's dense bf16 peak of 9.9e14; what batched serving reaches hangs on lengths and load."""
_MFLOP = 1e6


@dataclass(frozen=True)
class Task:
    """The paper's setting of one task."""

    pipeline: Callable[[], Pipeline]
    searched: int = rows.SEARCHED
    held_out: int = rows.HELD_OUT


TASKS: Mapping[str, Task] = {
    "2wikimultihopqa": Task(lambda: hotpotqa.pipeline("2wikimultihopqa")),
    "hotpotqa": Task(hotpotqa.pipeline),
    "cwq": Task(cwq.pipeline),
    "webqsp": Task(webqsp.pipeline),
    "taskbench": Task(lambda: taskbench(ToolGraph((), temporal=True)), TASKBENCH_SEARCHED),
    "chatdev": Task(chatdev.pipeline, held_out=CHATDEV_HELD_OUT),
}


def largest_once(pipeline: Pipeline) -> Allocation:
    """The largest model of each stage, one sample."""
    return Allocation({s.name: (max(s.models, key=lambda model: model.parameters).name, 1) for s in pipeline.subtasks})


async def measured(task: str, data: str) -> Pipeline:
    """The pipeline with the lengths of its first examples."""
    found = environment(task, data=data)
    assert isinstance(found, LiveEnvironment)
    found.client = SimulatedClient(Simulation(task, data))
    evaluation = await found.evaluate(largest_once(found.pipeline), found.examples[:MEASURED])
    # A stage that nothing called for keeps its declared lengths.
    return found.pipeline.with_lengths({name: both for name, both in evaluation.lengths.items() if all(both)})


def line(name: str, pipeline: Pipeline, *, flops_per_second: float) -> str:
    """One line of the table."""
    task = TASKS[name]
    flop, usd = _cost(pipeline, "flops") * _MFLOP, _cost(pipeline, "usd")
    queries = TRIALS * task.searched + task.held_out
    hours = flop * queries / flops_per_second / 3600
    lengths = "; ".join(f"{s.prompt_tokens:,.0f} + {s.completion_tokens:,.0f}" for s in pipeline.subtasks)
    return (
        f"| {name} | {lengths} | {queries:,} | {flop:.2e} | {flop * queries:.1e} | {hours:.1f} "
        f"| {usd:.4f} | {usd * queries:.2f} |"
    )


def _cost(pipeline: Pipeline, unit: str) -> float:
    """Of one query under the largest allocation."""
    chosen, model = largest_once(pipeline), cost_model(unit)
    stages = ((s, next(m for m in s.models if m.name == chosen[s.name].model)) for s in pipeline.subtasks)
    return sum(float(model.cost(subtask, largest, 1)) for subtask, largest in stages)


def parsed(given: Sequence[str]) -> dict[str, str]:
    """Task -> data."""
    pairs = [text.partition("=")[::2] for text in given]
    for task, data in pairs:
        if task not in TASKS or not data:
            raise ConfigError(f"--data takes TASK=PATH, with a task of {', '.join(TASKS)}, not {task + '=' + data!r}")
    return dict(pairs)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", default=[], metavar="TASK=PATH", help="measure its lengths")
    parser.add_argument("--flops-per-second", type=float, default=FLOPS_PER_SECOND, help="what one GPU reaches")
    arguments = parser.parse_args()
    try:
        data = parsed(arguments.data)
        pipelines = {name: task.pipeline() for name, task in TASKS.items() if name in data or not data}
        pipelines |= {task: asyncio.run(measured(task, path)) for task, path in data.items()}
    except AgentTTSError as error:
        parser.error(str(error))
    print("| task | tokens by stage (in + out) | queries | FLOP/query | FLOP | GPU hours | USD/query | USD |")
    print("|---|---|---|---|---|---|---|---|")
    for name, pipeline in pipelines.items():
        print(line(name, pipeline, flops_per_second=arguments.flops_per_second))


if __name__ == "__main__":
    main()
