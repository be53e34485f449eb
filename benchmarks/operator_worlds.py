"""What a choice of operators brings over models and samples alone, where the best of both is known. No model runs.

    python benchmarks/operator_worlds.py --seeds 3 --trials 10 --jobs 2 > benchmarks/results/operator_worlds.md

The problems are synthetic (`environments.synthetic_operators`): four families, three budgets. First what there is to
gain: the expected score of the best allocation with operators, less that without. Then what methods find of it: the
expected score of what each recommends with operators, less what it recommends without, after as many trials, in the
mean over problems with its 95 % interval over them. Expected scores are exact: no luck is in them but the search's.
"All three" takes each problem at each budget as one more problem.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from problems import OPERATOR_BUDGETS, Problem, operators
from repeated import made

import agenttts as at
from agenttts._util.stats import student_quantile
from agenttts.environments.synthetic_operators import OPERATOR_FAMILIES

METHODS = ("agent", "tpe", "random")


async def recommended(problem: Problem, method: str, trials: int) -> float:
    """The expected score of what a search ends with."""
    searcher = at.searcher(method, llm="none") if method == "agent" else at.searcher(method)
    limits = at.Limits(trials=trials)
    plan = at.SearchPlan(problem.environment, searcher, problem.space, at.Store(), study_name="s", limits=limits,
                         counterfactuals=False, validate=False)  # fmt: skip
    return problem.true_score((await at.search(plan)).best.allocation)


def interval(values: Sequence[float] | np.ndarray) -> str:
    """Mean and half its 95 % interval."""
    array = np.array(values)
    half = student_quantile(len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array)) if len(array) > 1 else 0.0
    return f"{array.mean():+.3f} ± {half:.3f}"


def found(family: str, budget: float, seed: int, trials: int) -> list[float]:
    """The best score without operators and with them, then what each method finds of the two."""
    alone, chosen = (operators(family, seed, budget, chosen=chosen) for chosen in (False, True))
    scores = [alone.optimum, chosen.optimum]
    for method in METHODS:
        scores += [asyncio.run(recommended(each, method, trials)) for each in (alone, chosen)]
    return scores


def line(family: str, budget: str, rows: Sequence[Sequence[float]]) -> str:
    """One line of the table."""
    scores = np.array(rows).T
    cells = [f"{scores[0].mean():.3f}", interval(scores[1] - scores[0])]
    for alone, chosen in zip(scores[2::2], scores[3::2], strict=True):
        cells += [f"{chosen.mean():.3f}", interval(chosen - alone)]
    return "| " + " | ".join([family, budget, *cells]) + " |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="problems of each family")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--families", nargs="+", default=list(OPERATOR_FAMILIES), choices=list(OPERATOR_FAMILIES))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    asked = parser.parse_args()
    print(f"# Operators where the best is known\n\n{made()}\n\nSynthetic problems; no model runs.")
    print(f"{asked.seeds} problems of each family, {asked.trials} trials a search.\n")
    heads = [head for method in METHODS for head in (f"{method} finds", "more than without")]
    heads = ["family", "TFLOP per query", "best without operators", "there is to gain", *heads]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|", flush=True)
    problems = [(family, budget, seed) for family in asked.families for budget in OPERATOR_BUDGETS
                for seed in range(asked.seeds)]  # fmt: skip
    with ProcessPoolExecutor(asked.jobs) as pool:
        rows = pool.map(found, *zip(*problems, strict=True), [asked.trials] * len(problems))
        for family in asked.families:
            everything: list[list[float]] = []
            for budget in OPERATOR_BUDGETS:
                some = [next(rows) for _ in range(asked.seeds)]
                print(line(family, f"{budget / 1e6:g}", some), flush=True)
                everything += some
            print(line(family, "all three", everything), flush=True)


if __name__ == "__main__":
    main()
