"""Synthetic problems of operators: the truth that is promised, and which operator is best where."""

from __future__ import annotations

import asyncio
import math
from itertools import product

import pytest

import agenttts as at
from agenttts.environments.synthetic_operators import OPERATOR_FAMILIES, OperatorFamily, OperatorProblem
from agenttts.execution.pool import SamplePool
from agenttts.execution.run import ExampleRun
from agenttts.pipeline import Pipeline
from agenttts.testing import ScriptedClient

BUDGET = 1e7


def space(problem: OperatorProblem, budget: float = BUDGET) -> at.SearchSpace:
    return at.SearchSpace(problem.pipeline, at.cost_model("flops"), budget)


@pytest.mark.parametrize("family", OPERATOR_FAMILIES.values(), ids=list(OPERATOR_FAMILIES))
def test_scores_are_draws_of_the_truth(family: OperatorFamily) -> None:
    problem = OperatorProblem(family, 1)
    best = problem.optimum(space(problem))
    truth, score = problem.true_score(best), asyncio.run(problem.evaluate(best)).score
    assert abs(score - truth) < 4 * math.sqrt(truth * (1 - truth) / len(problem.examples))


@pytest.mark.parametrize("operator", ["", "best-of(verifier=judge)", "weighted-vote(verifier=judge)", "cascade"])
@pytest.mark.parametrize("samples", [2, 3])
def test_the_truth_is_what_the_operator_makes_of_every_sequence_of_samples(operator: str, samples: int) -> None:
    """Of two wrong answers, under each thing that the judge may say of each."""
    family = OperatorFamily(name="t", skills=(-0.3, 0.1, 0.5), wrong=2, sees_right=0.8, sees_wrong=0.3, spread=0.0)
    problem = OperatorProblem(family, 1)
    (named,) = [each.operator_name for each in problem.pipeline.subtask("answer").pairings
                if each.model.name == "m1" and each.operator_name.partition("(to")[0] == operator]  # fmt: skip
    chance = {name: float(each[0]) for name, each in problem.chances.items()}
    texts = {"right": chance["m1"], "wrong0": (1 - chance["m1"]) / 2, "wrong1": (1 - chance["m1"]) / 2}
    says_yes = {"right": 0.8, "wrong0": 0.3, "wrong1": 0.3}
    subtask = problem.pipeline.subtask("answer")
    alone = Pipeline(
        "p", (at.Subtask("s", subtask.models, "x", operators=subtask.operators),), metric=problem.pipeline.metric
    )
    total = 0.0
    for said in product(texts, repeat=samples):
        for yes in product((True, False), repeat=3):
            verdicts = dict(zip(texts, yes, strict=True))
            likely = math.prod(texts[text] for text in said)
            likely *= math.prod(says_yes[t] if verdicts[t] else 1 - says_yes[t] for t in texts)

            def reply(model: at.Model, messages: object, position: int, said: tuple[str, ...] = said,
                      verdicts: dict[str, bool] = verdicts) -> str:  # fmt: skip
                if model.name == "judge":
                    return "Yes" if verdicts[str(messages).rpartition("\\n")[2].strip("'}]")] else "No"
                return "escalated" if model.name == "m3" else said[position]

            allocation = at.Allocation({"s": ("m1", samples, named)})
            walk = ExampleRun(alone, allocation, {"id": "1"}, ScriptedClient(reply), SamplePool()).walk()
            output = asyncio.run(walk)
            total += likely * (chance["m3"] if output == "escalated" else output == "right")
    assert problem.expected(at.Choice("m1", samples, named))[0] == pytest.approx(total)


@pytest.mark.parametrize(
    ("family", "best"), [("votes", ""), ("verifier", "verifier=judge"), ("guesses", ""), ("cascade", "cascade")]
)
def test_each_family_has_the_best_operator_that_it_promises(family: str, best: str) -> None:
    problem = OperatorProblem(OPERATOR_FAMILIES[family], 1)
    searched = space(problem)
    found = problem.optimum(searched)
    assert best in found["answer"].operator and bool(best) == bool(found["answer"].operator)
    listed = [problem.true_score(each) for each in searched.enumerate()]
    assert problem.true_score(found) == max(listed) and len(listed) == searched.size
