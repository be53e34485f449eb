"""What a choice of operators brings over models and numbers of samples alone, on minihop's recorded samples.

    python benchmarks/operators.py --seeds 3 --trials 40 > benchmarks/results/operators.md

The samples are real, of the four tiny models of minihop; no model runs. At each budget the agent, planned by rules,
searches the space of models and samples, and the space in which the answer stage may also stop early or escalate: with
and without counterfactual trials. What each recommends is scored on 300 held-out examples; gains over the first are
paired by example, with their 95 % interval over examples.
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


async def searched(budget: float, seed: int, trials: int, *, operators: bool, counterfactuals: bool) -> SearchResult:
    environment = at.environment("minihop-recorded")
    assert isinstance(environment, at.LiveEnvironment)
    if operators:
        environment.pipeline = with_operators(environment.pipeline)
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), budget)
    agent, limits = at.searcher("agent", llm="none", seed=seed), at.Limits(trials=trials)
    plan = at.SearchPlan(
        environment, agent, space, at.Store(), study_name="s", seed=seed, limits=limits, counterfactuals=counterfactuals
    )
    return await at.search(plan)


def held_out(result: SearchResult) -> dict[str, float]:
    assert result.validation is not None
    return {each.example: each.score for each in result.validation.results}


VARIANTS = {
    "models and samples": {"operators": False, "counterfactuals": False},
    "and counterfactual trials": {"operators": False, "counterfactuals": True},
    "operators": {"operators": True, "counterfactuals": False},
    "operators and counterfactual trials": {"operators": True, "counterfactuals": True},
}


async def print_rows(budget: float, seeds: int, trials: int) -> None:
    first: list[dict[str, float]] = []
    for name, options in VARIANTS.items():
        results = [await searched(budget, seed, trials, **options) for seed in range(seeds)]
        scores = [held_out(each) for each in results]
        first = first or scores
        pairs = list(zip(first, scores, strict=True))
        gains = np.mean([[b[key] - a[key] for key in a] for a, b in pairs], axis=0)  # the seeds share their examples
        half = 1.96 * gains.std(ddof=1) / math.sqrt(len(gains))
        score = np.mean([list(each.values()) for each in scores])
        tokens = np.mean([each.spend.tokens for each in results])
        free = np.mean([len(each.archive.untried) for each in results])
        chosen = "; ".join(dict.fromkeys(str(each.best.allocation) for each in results))
        gain = "" if scores is first else f"{gains.mean():+.3f} ± {half:.3f}"
        print(f"| {budget:,} | {name} | {score:.3f} | {gain} | {tokens:,.0f} | {free:.0f} | {chosen} |", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40)
    asked = parser.parse_args()
    print("# Operators on minihop\n\nRecorded samples of real models; no model runs.")
    print(f"{asked.seeds} seeds of {asked.trials} trials each; scores on 300 held-out examples, means over seeds.\n")
    print("| MFLOP per query | searched | held out | gain | tokens | counterfactual trials | found |")
    print("|---|---|---|---|---|---|---|")
    for budget in BUDGETS:
        await print_rows(budget, asked.seeds, asked.trials)


if __name__ == "__main__":
    asyncio.run(main())
