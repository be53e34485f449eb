"""What a choice of operators brings over models and numbers of samples alone, on minihop's recorded samples.

    python benchmarks/operators.py --seeds 3 --trials 40 --jobs 6 > benchmarks/results/operators.md

The samples are real, of the tiny models of minihop; no model runs. At each budget, first what there is to gain: the
best allocation of models and samples, and the best that may also choose an operator of `minihop-operators` (early
stopping, a cascade, a trained verifier), each chosen on half of the 400 examples and scored on the other, both ways.
Then what is found: the agent, planned by rules, searches both spaces on 100 examples, with and without counterfactual
trials, and what it recommends is scored on the 300 held-out ones. Gains are paired by example, with their 95 %
interval over examples.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from repeated import made

import agenttts as at
from agenttts.pipeline import Pipeline
from agenttts.searching import SearchResult
from agenttts.space.allocation import Allocation

BUDGETS = (300, 500, 700, 1000, 2000)
COUNTS = (1, 2, 4, 8, 16)
"""Numbers of samples among which the best is looked for."""
PART = 20
"""Allocations that a process scores at a time."""
SPACES = {False: "minihop-recorded", True: "minihop-operators-recorded"}


def live(*, operators: bool) -> at.LiveEnvironment:
    environment = at.environment(SPACES[operators])
    assert isinstance(environment, at.LiveEnvironment)
    return environment


# --- what there is to gain -----------------------------------------------------------------------------------


def on_grid(pipeline: Pipeline) -> Pipeline:
    """The pipeline with few numbers of samples."""
    stages = [replace(stage, max_samples=None, sample_counts=COUNTS) for stage in pipeline.subtasks]
    return replace(pipeline, subtasks=tuple(stages))


def landscape(pool: Executor, *, operators: bool) -> tuple[list[Allocation], np.ndarray, np.ndarray]:
    """Allocations within the largest budget, their costs, and their scores on every example."""
    space = at.SearchSpace(on_grid(live(operators=operators).pipeline), at.cost_model("flops"), BUDGETS[-1])
    allocations = list(space.enumerate())
    parts = [allocations[start : start + PART] for start in range(0, len(allocations), PART)]
    scores = [row for rows in pool.map(partial(scored, operators), parts) for row in rows]
    return allocations, np.array([space.cost(one) for one in allocations]), np.array(scores)


def scored(operators: bool, allocations: Sequence[Allocation]) -> list[list[float]]:
    """Their scores on every example."""

    async def scores() -> list[list[float]]:
        environment = live(operators=operators)
        examples = [*environment.examples, *environment.held_out]
        return [[each.score for each in (await environment.evaluate(one, examples)).results] for one in allocations]

    return asyncio.run(scores())


def best_on_halves(costs: np.ndarray, scores: np.ndarray, budget: float) -> tuple[np.ndarray, list[int]]:
    """Scores by example of the best within a budget, each half's chosen on the other; and which those are."""
    even = np.arange(scores.shape[1]) % 2 == 0
    found, chosen = np.zeros(scores.shape[1]), []
    for half in (even, ~even):
        best = int(np.where(costs <= budget, scores[:, ~half].mean(axis=1), -1).argmax())
        found[half] = scores[best, half]
        chosen.append(best)
    return found, list(dict.fromkeys(chosen))


def print_best(pool: Executor) -> None:
    print("## What there is to gain\n")
    print(
        "| MFLOP per query | models and samples | with operators | gain | best with operators |\n|---|---|---|---|---|"
    )
    plain, rich = [landscape(pool, operators=operators) for operators in SPACES]
    for budget in BUDGETS:
        before, _ = best_on_halves(*plain[1:], budget)
        after, chosen = best_on_halves(*rich[1:], budget)
        names = "; ".join(str(rich[0][each]) for each in chosen)
        print(
            f"| {budget:,} | {before.mean():.3f} | {after.mean():.3f} | {gained(after - before)} | {names} |",
            flush=True,
        )


def gained(differences: Sequence[float] | np.ndarray) -> str:
    values = np.asarray(differences)
    return f"{values.mean():+.3f} ± {1.96 * values.std(ddof=1) / math.sqrt(len(values)):.3f}"


# --- what is found -------------------------------------------------------------------------------------------


async def searched(budget: float, seed: int, trials: int, *, operators: bool, counterfactuals: bool) -> SearchResult:
    environment = live(operators=operators)
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), budget)
    agent, limits = at.searcher("agent", llm="none", seed=seed), at.Limits(trials=trials)
    plan = at.SearchPlan(
        environment, agent, space, at.Store(), study_name="s", seed=seed, limits=limits, counterfactuals=counterfactuals
    )
    return await at.search(plan)


VARIANTS = {
    "models and samples": {"operators": False, "counterfactuals": False},
    "and counterfactual trials": {"operators": False, "counterfactuals": True},
    "operators": {"operators": True, "counterfactuals": False},
    "operators and counterfactual trials": {"operators": True, "counterfactuals": True},
}


@dataclass(frozen=True)
class Found:
    """What one search ends with."""

    best: str
    held_out: dict[str, float]
    """Example -> score."""
    tokens: int
    free: int
    """Counterfactual trials."""


def found(budget: float, name: str, seed: int, trials: int) -> Found:
    """What a search of one of `VARIANTS` ends with."""
    result = asyncio.run(searched(budget, seed, trials, **VARIANTS[name]))
    assert result.validation is not None
    scores = {each.example: each.score for each in result.validation.results}
    return Found(str(result.best.allocation), scores, result.spend.tokens, len(result.archive.untried))


def print_found(budget: float, by_variant: Mapping[str, Sequence[Found]]) -> None:
    """A row for each variant; gains over the first."""
    first = next(iter(by_variant.values()))
    for name, ends in by_variant.items():
        pairs = list(zip(first, ends, strict=True))
        gains = [[b.held_out[key] - a.held_out[key] for key in a.held_out] for a, b in pairs]
        gain = "" if ends is first else gained(np.mean(gains, axis=0))  # the seeds share their examples
        score = np.mean([list(each.held_out.values()) for each in ends])
        tokens, free = (np.mean([getattr(each, what) for each in ends]) for what in ("tokens", "free"))
        chosen = "; ".join(dict.fromkeys(each.best for each in ends))
        print(f"| {budget:,} | {name} | {score:.3f} | {gain} | {tokens:,.0f} | {free:.0f} | {chosen} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    asked = parser.parse_args()
    print(f"# Operators on minihop\n\n{made()}\n\nRecorded samples of real models; no model runs.\n")
    with ProcessPoolExecutor(asked.jobs) as pool:
        ends = {
            (budget, name, seed): pool.submit(found, budget, name, seed, asked.trials)
            for budget in BUDGETS
            for name in VARIANTS
            for seed in range(asked.seeds)
        }
        print_best(pool)
        print("\n## What is found\n")
        print(
            f"{asked.seeds} seeds of {asked.trials} trials each; scores on 300 held-out examples, means over seeds.\n"
        )
        print("| MFLOP per query | searched | held out | gain | tokens | counterfactual trials | found |")
        print("|---|---|---|---|---|---|---|")
        for budget in BUDGETS:
            seeds = range(asked.seeds)
            print_found(budget, {name: [ends[budget, name, seed].result() for seed in seeds] for name in VARIANTS})


if __name__ == "__main__":
    main()
