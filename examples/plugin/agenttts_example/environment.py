"""An environment: scores that need no model, by throwing dice."""

import random
from collections.abc import Sequence

import agenttts as at
from agenttts.execution.pool import SamplePool


class Dice(at.Environment):
    """Each sample of the large model is right more often; one right sample is enough."""

    name = "dice"
    recorded = "simulated dice; no model runs"  # shown with every result
    default_budget = at.Budget(800, "flops")

    def __init__(self) -> None:
        models = [at.Model("small", 1e6), at.Model("large", 4e6)]
        stage = at.Subtask("throw", models, "not asked", prompt_tokens=50, completion_tokens=20, max_samples=16)
        self.pipeline = at.Pipeline("dice", [stage], metric=at.metrics.equal("gold"))
        self.examples = tuple(f"throw {number}" for number in range(40))
        self.held_out = tuple(f"check {number}" for number in range(40))

    async def evaluate(
        self, allocation: at.Allocation, examples: Sequence[str] | None = None, *, pool: SamplePool | None = None
    ) -> at.Evaluation:
        names = self.examples if examples is None else examples
        unknown = set(names) - {*self.examples, *self.held_out}
        if unknown:
            raise at.ConfigError(f"environment 'dice' has no example {min(unknown)!r}")
        chance = {"small": 0.1, "large": 0.35}[allocation["throw"].model]
        throws = {name: random.Random(f"{name}, {allocation.key}") for name in names}
        return at.Evaluation(
            results=tuple(
                at.ExampleResult(
                    example=name, score=float(any(dice.random() < chance for _ in range(allocation["throw"].samples)))
                )
                for name, dice in throws.items()
            )
        )
