"""The PyPI package agentopt-py on one synthetic problem, in a Python environment of its own that has both packages.

    python -m venv peer && peer/bin/pip install . agentopt-py
    python benchmarks/search_efficiency.py --peer peer/bin/python

It is given every (model, samples) of a stage as a candidate of that stage. It knows no budget, so an allocation over
it scores 0 and costs it an evaluation, as it would cost money; the share of those is reported. It recommends once, at
its own end, whatever that takes. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import time
from functools import cache
from typing import Any

import numpy as np
from agentopt import ModelSelector

import agenttts as at
from agenttts.environments.synthetic import FAMILIES, SyntheticEnvironment


class Peer:
    """The problem as an agent class for agentopt-py, with its evaluations counted."""

    def __init__(self, problem: SyntheticEnvironment) -> None:
        budget = problem.default_budget
        self.space = at.SearchSpace(problem.pipeline, at.cost_model(budget.cost_model), budget.amount)
        self.problem, self.evaluations, self.over_budget = problem, 0, 0

    @property
    def candidates(self) -> dict[str, list[str]]:
        """Stage -> its options, each as one name."""
        return {
            subtask.name: [f"{model.name} {count}" for model in subtask.models for count in subtask.sample_counts or ()]
            for subtask in self.problem.pipeline.subtasks
        }

    @cache  # noqa: B019  (one problem a process)
    def scores(self, key: str) -> Any:
        """Every example's score under an allocation; None over the budget."""
        allocation = at.Allocation.from_key(key)
        if allocation not in self.space:
            return None
        return self.problem.scores(allocation)

    def score(self, key: str, example: int) -> float:
        """One example evaluation."""
        self.evaluations += 1
        scores = self.scores(key)
        self.over_budget += scores is None
        return 0.0 if scores is None else float(scores[example])


def allocation_of(combination: dict[str, str]) -> at.Allocation:
    """What a combination of candidates stands for."""
    return at.Allocation({name: (option.split()[0], int(option.split()[1])) for name, option in combination.items()})


def main() -> None:
    """Run one selection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("selector", help="method of agentopt.ModelSelector, as in auto or hill_climbing")
    parser.add_argument("family", choices=list(FAMILIES))
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    peer = Peer(SyntheticEnvironment(FAMILIES[arguments.family], arguments.seed))

    class Agent:
        def __init__(self, models: dict[str, str]) -> None:
            self._key = allocation_of(models).key

        def run(self, example: int) -> float:
            return peer.score(self._key, example)

    np.random.seed(arguments.seed)
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        selector = ModelSelector(
            agent=Agent,
            models=peer.candidates,
            eval_fn=lambda expected, actual: actual,
            dataset=[(i, "") for i in range(len(peer.problem.examples))],
            method=arguments.selector,
        )
        best = selector.select_best(parallel=False).get_best_combo()
    chosen = allocation_of(best)
    true = peer.problem.true_score(chosen) if chosen in peer.space else 0.0
    print(
        json.dumps(
            {
                "regret": peer.problem.optimum(peer.space) - true,
                "evaluations": peer.evaluations,
                "over_budget": peer.over_budget,
                "seconds": time.perf_counter() - started,
            }
        )
    )


if __name__ == "__main__":
    main()
