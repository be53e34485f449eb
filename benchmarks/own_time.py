"""How long the agent itself takes to propose, to race and to recommend, by the number of trials: no model runs.

    python benchmarks/own_time.py --output benchmarks/results/own_time.md

The space is as large as ChatDev's in the paper: three stages, two models each, 1 to 100 samples, about 10^6 feasible
allocations; and the same where every stage also chooses among four operators, under a budget that as many fit. The
archives hold random trials on 20 examples, without and with scores of two stages' own. Every figure is seconds of CPU
with one thread of linear algebra, about what an idle machine takes: the median of five runs and their extremes, on an
archive object of its own, as after every trial of a search. Other work beside it, the load, makes them longer.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is loaded; threads that wait count as CPU

import argparse
import asyncio
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from repeated import command, interval, shown

import agenttts as at
from agenttts.posterior import recommend
from agenttts.protocols import Searcher
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Archive, Trial

SIZES = "500,2000,10000"
REPEATS = 5
EXAMPLES = 20
OPERATORS_BUDGET = 2.2e8
"""MFLOP."""
WORLDS = {
    "one operator": (False, ()),
    "one operator, two stages scored": (False, ("code", "review")),
    "four operators": (True, ()),
    "four operators, two stages scored": (True, ("code", "review")),
}
"""What a stage chooses among -> whether there are operators, and which stages have scores of their own."""


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


@cache
def agent() -> Searcher:
    """One for all, as a search has one."""
    return at.searcher("agent", llm="none")


def propose(trials: Archive, searched: at.SearchSpace) -> None:
    """The agent's next proposal, planned by rules."""
    assert asyncio.run(agent().propose(trials, searched, 1))


def race(trials: Archive, searched: at.SearchSpace) -> None:
    """Which trial is to see another look."""
    at.Racing().worth_another(trials, searched.pipeline.sizes, 5 * EXAMPLES, 1)


def recommended(trials: Archive, searched: at.SearchSpace) -> None:
    """The trial that a search ends with."""
    recommend(searched.pipeline.sizes, trials.trials, trials.untried, budget=searched.budget)


def seconds(work: Callable[[Archive, at.SearchSpace], None], trials: Archive, searched: at.SearchSpace) -> float:
    """CPU of one call; what an archive has worked out before is not known to it."""
    fresh = replace(trials)
    started = time.process_time()
    work(fresh, searched)
    return time.process_time() - started


def main() -> None:
    """Time it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default=SIZES, help="trials, comma-separated")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    lines = ["| a stage chooses among | trials | propose, s | race, s | recommend, s | load |", "|" + " --- |" * 6]
    for name, (operators, judged) in WORLDS.items():
        searched = space(operators)
        propose(archive(searched, 20, judged), searched)  # imports what it needs
        for count in map(int, given.sizes.split(",")):
            trials = archive(searched, count, judged)
            runs = [[seconds(w, trials, searched) for w in (propose, race, recommended)] for _ in range(REPEATS)]
            cells = [shown(interval(column), ".2f") for column in zip(*runs, strict=True)]
            lines.append(f"| {name} | {count:,} | {' | '.join(cells)} | {os.getloadavg()[0]:.1f} |")
            print(lines[-1], flush=True)
    about = f"`{command()}`; seconds of CPU; Python {platform.python_version()}, {os.cpu_count()} cores."
    if given.output:
        given.output.write_text("\n".join([about, "", *lines, ""]))


if __name__ == "__main__":
    main()
