"""An operator: of the usable samples, the longest; and an environment that uses it."""

from dataclasses import dataclass
from typing import Any

import agenttts as at
from agenttts.pipeline.operators import Lengths, Load, Operator, SubtaskRun
from agenttts.testing import ScriptedClient


@dataclass(frozen=True)
class Longest(Operator):
    """Takes the longest of the samples that could be parsed."""

    @property
    def name(self) -> str:
        return "longest"

    async def run(self, stage: SubtaskRun) -> Any:
        return max((each.value for each in await stage.usable()), key=lambda value: len(str(value)))

    def loads(self, samples: Any, lengths: Lengths) -> tuple[Load, ...]:
        return (Load(requests=1, prompt=lengths.prompt, completion=lengths.completion, choices=samples),)


def longest() -> at.LiveEnvironment:
    """Answers of different length, scripted; with real models, leave the client out."""
    models = [at.Model("small", 1e6), at.Model("large", 4e6)]
    stage = at.Subtask("answer", models, "{{ question }}", operators=[at.operators.Vote(), Longest()],
                       prompt_tokens=5, completion_tokens=3, max_samples=4)  # fmt: skip
    rows = [{"id": str(n), "question": f"question {n}", "gold": "yes it is"} for n in range(20)]
    client = ScriptedClient(lambda model, messages, position: "yes it is" if position % 3 == 2 else "yes")
    pipeline = at.Pipeline("longest", [stage], metric=at.metrics.exact_match("gold"))
    budget = at.Budget(150, "flops")
    return at.LiveEnvironment(pipeline, rows[:10], held_out=rows[10:], client=client, default_budget=budget,
                              recorded="scripted answers; no model runs")  # fmt: skip
