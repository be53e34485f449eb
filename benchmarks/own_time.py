"""How long the agent itself takes to propose, by the number of trials in the archive: no model runs.

    python benchmarks/own_time.py

The space is as large as ChatDev's in the paper: three stages, two models each, 1 to 100 samples, about 10^6 feasible
allocations; and the same where every stage also chooses among four operators, under a budget that as many fit. Prints
the space's size, and the median and the longest of five proposals on archives of 50 to 500 trials, without and with
scores of the stages' own.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime

import numpy as np

import agenttts as at
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Archive, Trial

SIZES = (50, 120, 250, 500)
REPEATS = 5
EXAMPLES = 20
OPERATORS_BUDGET = 2.2e8
"""MFLOP."""


def space(operators: bool = False) -> at.SearchSpace:
    """ChatDev's stages and models (paper, table 4), a budget of 2,000 units; with operators, in PFLOP."""
    small, large = at.Model("llama-3b", 3e9), at.Model("llama-70b", 70e9)
    vote, kinds = at.operators.Vote(), (at.operators.AdaptiveVote(), at.operators.Revise(), at.operators.BestOf(large))
    stages = [("code", 1024), ("review", 512), ("test", 256)]
    subtasks = tuple(
        at.Subtask(
            name,
            (small, large),
            "synthetic",
            prompt_tokens=1024,
            completion_tokens=length,
            max_samples=100,
            operators=(vote, *kinds) if operators else (vote,),
        )
        for name, length in stages
    )
    pipeline = at.Pipeline("chatdev-sized", subtasks, metric=lambda output, example: 0.0)
    cost, budget = ("flops", OPERATORS_BUDGET) if operators else ("paper", 2000)
    return at.SearchSpace(pipeline, at.cost_model(cost), budget)


def archive(space: at.SearchSpace, count: int, judged: tuple[str, ...]) -> Archive:
    """Random trials; their scores, and those of the judged stages, are coins, as only the time matters."""
    rng = np.random.default_rng(0)
    allocations = list(dict.fromkeys(space.sample(rng, 2 * count)))[:count]
    return Archive(
        trials=tuple(
            Trial(
                number=number,
                allocation=allocation,
                cost=space.cost(allocation),
                evaluation=Evaluation(
                    results=tuple(
                        ExampleResult(
                            example=str(i),
                            score=float(right),
                            subtask_scores={name: float(rng.random() < 0.7) for name in judged},
                        )
                        for i, right in enumerate(rng.random(EXAMPLES) < 0.6)
                    )
                ),
                searcher="random",
                rationale="",
                round=number - 1,
                created=datetime.now(UTC),
            )
            for number, allocation in enumerate(allocations, start=1)
        ),
        examples=EXAMPLES,
    )


def main() -> None:
    """Time it."""
    for operators, judged in ((False, ()), (False, ("code", "review")), (True, ())):
        searched = space(operators)
        ways = "four operators a stage" if operators else "one operator"
        print(f"{searched.size:,} feasible allocations, {ways}; scores of the stages: {', '.join(judged) or 'none'}")
        for count in SIZES:
            trials, seconds = archive(searched, count, judged), []
            for _ in range(REPEATS):
                started = time.perf_counter()
                asyncio.run(at.searcher("agent", llm="none").propose(trials, searched, 1))
                seconds.append(time.perf_counter() - started)
            print(f"{count} trials: {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
