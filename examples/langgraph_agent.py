"""An agent written in LangGraph, `shop_agent.py`, is searched as it is: only its models are exchanged.

The models are SIMULATED, no LLM runs; with `--smollm` a real one does, of 135M parameters on this CPU. For others, give
models with their server's `base_url` in place of those of `asked_models`.
"""

import asyncio
import random
import re
from collections.abc import Mapping
from typing import Any

from models import asked_models
from shop_agent import CALL, PRICES, TOTAL, build

import agenttts as at
from agenttts.adapters.langgraph import step_model

graph = build(planner=step_model("plan"), writer=step_model("write"))


async def run(example: Mapping[str, Any], steps: Mapping[str, at.StepRun]) -> str:
    return str((await graph.ainvoke({"order": example["order"]}))["total"])


def reply(model: str, prompt: str, luck: random.Random) -> str:
    """Either step goes wrong by chance, with another number each time, so that a vote helps the smaller model too."""
    asked = re.search(r"Order: (\d+) (\w+)", prompt)
    number = int(asked[1]) if asked else int((re.findall(r"costs (\d+)", prompt) or [0])[0])
    right = luck.random() < {"8b": (0.5, 0.9), "70b": (0.8, 0.95)}[model][0 if asked else 1]
    said = number if right else number + luck.randrange(1, 9)
    return f"Call: price({said}, {asked[2]})" if asked else f"Thank you! Total: {said} USD"


def last(pattern: str) -> Any:
    """A parser that takes the last match, as the agent does."""

    def parse(text: str, given: at.SubtaskInput) -> str:
        found = [match[0] for match in re.finditer(pattern, text)]
        if not found:
            raise at.ParseError(f"nothing like {pattern}")
        return found[-1]

    return parse


orders = [(number, item) for item in PRICES for number in range(2, 12)]
rows = [{"order": f"{n} {item}", "total": f"{n * PRICES[item]} USD", "id": f"{n} {item}"} for n, item in orders]
with asked_models(reply) as asked:
    stages = tuple(
        at.Subtask(name, asked.models, parser=last(pattern), default="unknown", sampling=at.Sampling(max_tokens=32),
                   prompt_tokens=200, completion_tokens=16, max_samples=8)
        for name, pattern in (("plan", CALL), ("write", TOTAL))
    )  # fmt: skip
    pipeline = at.Pipeline("shop", stages, metric=at.metrics.exact_match("total"), run=run)
    rows = rows[: asked.rows]
    environment = at.LiveEnvironment(pipeline, rows[::2], held_out=rows[1::2], serving=asked.serving)
    space = at.SearchSpace(pipeline, at.cost_model("flops"), asked.budget)
    agent = at.searcher("agent", llm="none")  # plans by rules
    limits = at.Limits(trials=asked.trials)
    result = asyncio.run(at.search(environment, agent, space, at.Store(), study_name="shop", limits=limits))

print(f"{result.study.details['recorded'] or 'a real model'}; {space.size} allocations fit the budget")
for trial in result.archive.trials:
    print(f"trial {trial.number}  score {trial.evaluation.score:.2f}  cost {trial.cost:10,.0f}  {trial.allocation}")
print(f"recommended: {result.best.allocation}")
assert result.validation is not None  # there is one wherever examples are held out
print(f"on {len(result.validation.results)} held-out examples: {result.validation.score:.2f}")
