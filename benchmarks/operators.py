"""What a choice of operators brings over models and numbers of samples alone, on minihop's recorded samples.

    python benchmarks/operators.py --seeds 3 --trials 40 > benchmarks/results/operators.md

The samples are real, of the four tiny models of minihop; no model runs. At each budget the agent, planned by rules,
searches the space of models and samples, and the space in which the answer stage may also stop early or escalate. What
each recommends is scored on 300 held-out examples; gains are paired by example, with their 95 % interval over examples
and seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from dataclasses import replace

import numpy as np

import agenttts as at
from agenttts.environments.tasks.minihop.pipeline import MODELS
from agenttts.pipeline import Pipeline
from agenttts.pipeline.operators import AdaptiveVote, Cascade, Vote, WindowVote
from agenttts.searching import SearchResult

BUDGETS = (300, 500, 700, 1000, 2000)
LARGEST = max(MODELS, key=lambda model: model.parameters)
OPERATORS = (
    Vote(),
    AdaptiveVote(),
    AdaptiveVote(confidence=0.8, window=2),
    WindowVote(window=3),
    Cascade(to=LARGEST, samples=1, agree=0.75),
    Cascade(to=LARGEST, samples=5, agree=0.75),
)


def with_operators(pipeline: Pipeline) -> Pipeline:
    """The pipeline, whose answer stage may choose."""
    retrieve, answer = pipeline.subtasks
    return replace(pipeline, subtasks=(retrieve, replace(answer, aggregator=None, operators=OPERATORS)))


async def searched(budget: float, seed: int, trials: int, *, operators: bool) -> SearchResult:
    environment = at.environment("minihop-recorded")
    assert isinstance(environment, at.LiveEnvironment)
    if operators:
        environment.pipeline = with_operators(environment.pipeline)
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), budget)
    agent, limits = at.searcher("agent", llm="none", seed=seed), at.Limits(trials=trials)
    return await at.search(environment, agent, space, at.Store(), study_name="s", seed=seed, limits=limits)


def held_out(result: SearchResult) -> dict[str, float]:
    assert result.validation is not None
    return {each.example: each.score for each in result.validation.results}


async def row(budget: float, seeds: int, trials: int) -> str:
    plain = [await searched(budget, seed, trials, operators=False) for seed in range(seeds)]
    wider = [await searched(budget, seed, trials, operators=True) for seed in range(seeds)]
    scores = [np.mean([list(held_out(each).values()) for each in results]) for results in (plain, wider)]
    pairs = [(held_out(a), held_out(b)) for a, b in zip(plain, wider, strict=True)]
    gains = np.mean([[b[name] - a[name] for name in a] for a, b in pairs], axis=0)  # the seeds share their examples
    half = 1.96 * gains.std(ddof=1) / math.sqrt(len(gains))
    tokens = [np.mean([each.spend.tokens for each in results]) for results in (plain, wider)]
    chosen = "; ".join(dict.fromkeys(str(each.best.allocation) for each in wider))
    return (
        f"| {budget:,} | {scores[0]:.3f} | {scores[1]:.3f} | {gains.mean():+.3f} ± {half:.3f} | "
        f"{tokens[0]:,.0f} | {tokens[1]:,.0f} | {chosen} |"
    )


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40)
    asked = parser.parse_args()
    print("# Operators on minihop\n\nRecorded samples of real models; no model runs.")
    print(f"{asked.seeds} seeds of {asked.trials} trials each; scores on 300 held-out examples, means over seeds.\n")
    heads = (
        "MFLOP per query | models and samples | and operators | gain, paired | tokens | tokens with operators | found"
    )
    print(f"| {heads} |")
    print("|---|---|---|---|---|---|---|")
    for budget in BUDGETS:
        print(await row(budget, asked.seeds, asked.trials), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
