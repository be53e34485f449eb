"""What could be found in `minihop-recorded`: every allocation within the budget, on the examples no search sees.

    python benchmarks/best_of_minihop.py [--budget 700] [--all]

Replays the recorded samples of the real models for each allocation on the 300 held-out examples (with --all on all
400), and prints the best ten with 95 % Wilson intervals: about a minute for the default space. The best of several
hundred means is a little too good to be true; a difference smaller than the intervals is none.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agenttts.environments.tasks.minihop import minihop_recorded
from agenttts.environments.tasks.minihop.pipeline import DEFAULT_BUDGET
from agenttts.errors import ConfigError, ParseError
from agenttts.execution.pool import Draw, SamplePool
from agenttts.llm.protocols import ChatClient
from agenttts.llm.samples import Spend
from agenttts.pipeline import Message, Model, Sampling, Subtask, SubtaskInput
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import cost_model
from agenttts.study.evaluation import Evaluation

SHOWN = 10


class Recording(SamplePool):
    """A pool that keeps nothing: the recording answers faster than a store would."""

    async def draw(
        self, client: ChatClient, model: Model, messages: Sequence[Message], sampling: Sampling, samples: int
    ) -> Draw:
        drawn = await client.complete(model, messages, sampling, start=0, samples=samples, seed=0)
        return Draw(f"{model.name} {messages}", drawn.samples, drawn.prompt_tokens, Spend())


def parsing_once(subtask: Subtask) -> Subtask:
    """The subtask with a parser that reads each text of an example once: allocations share most of their samples."""
    known: dict[tuple[str, str], Any] = {}

    def parse(text: str, given: SubtaskInput) -> Any:
        key = (given.example["id"], text)
        if key not in known:
            try:
                known[key] = subtask.parser(text, given)
            except ParseError:
                known[key] = None
        return known[key]

    return replace(subtask, parser=parse)


async def evaluate_all(space: SearchSpace, *, everything: bool) -> list[tuple[Allocation, Evaluation]]:
    """Every allocation of the space with its evaluation, the best score first, the cheaper of equals."""
    environment = minihop_recorded()
    subtasks = tuple(parsing_once(subtask) for subtask in environment.pipeline.subtasks)
    environment.pipeline = replace(environment.pipeline, subtasks=subtasks)
    pool = Recording()
    examples = [*environment.examples, *environment.held_out] if everything else environment.held_out
    scored = [(each, await environment.evaluate(each, examples, pool=pool)) for each in space.enumerate()]
    return sorted(scored, key=lambda pair: (-pair[1].score, space.cost(pair[0])))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=DEFAULT_BUDGET.amount, help="MFLOP per query")
    parser.add_argument("--all", action="store_true", help="on all 400 examples, those searched on included")
    arguments = parser.parse_args()
    try:
        space = SearchSpace(minihop_recorded().pipeline, cost_model(DEFAULT_BUDGET.cost_model), arguments.budget)
    except ConfigError as error:
        parser.error(str(error))
    ranked = asyncio.run(evaluate_all(space, everything=arguments.all))
    which = "all" if arguments.all else "held-out"
    unit = space.cost_model.unit
    print(f"{len(ranked)} allocations within {space.budget:g} {unit}, {len(ranked[0][1].results)} {which} examples")
    for allocation, evaluation in ranked[:SHOWN]:
        low, high = evaluation.interval
        print(f"{evaluation.score:.3f} ({low:.3f} to {high:.3f})  cost {space.cost(allocation):6.1f}  {allocation}")


if __name__ == "__main__":
    main()
