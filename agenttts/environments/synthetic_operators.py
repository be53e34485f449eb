"""Synthetic problems in which it matters what is done with samples, with a known optimum. No model runs.

Two stages, "find" and "answer": an example is right where both are. A sample of model m on example e is right with the
chance 1 / (1 + exp(difficulty_e - skill_m)), else one of some wrong answers, each as likely as another; behind a wrong
"find" no answer is right. The judge says Yes of a right answer with one chance, of a wrong one with another. "find"
votes; "answer" may vote, take the best by the judge's verdicts, weigh the vote by them, or escalate to the largest
model.

The operators themselves run, on samples that are drawn from these chances (`LiveEnvironment`): all that a search does
with operators is at work. The expected score of every allocation is worked out exactly, from the numbers of votes that
samples can come to.

    votes      wrong answers scatter, the judge guesses: a vote is best, other operators bring nothing
    verifier   wrong answers are one and the same, and the judge knows: the best by its verdicts is best
    guesses    the same, and the judge guesses: other operators bring nothing
    cascade    half of the examples are easy for all, the others for the largest model alone
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from agenttts.environments.live import LiveEnvironment
from agenttts.llm.samples import Completions, Sample
from agenttts.pipeline import Message, Model, Operator, Pipeline, Sampling, Subtask
from agenttts.pipeline.metrics import equal
from agenttts.pipeline.operators import BestOf, Cascade, Verifier, Vote, WeightedVote
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice

Floats = NDArray[np.float64]
_SIZES = (1e9, 4e9, 16e9)
_NARROW = (0.3, 0.6, 0.9)
_RIGHT = "right"
_PROMPT_TOKENS = {"find": 100, "answer": 150, "verdict": 230}
_TOKENS = {"find": 30, "answer": 60, "verdict": 20}
_ASKED = re.compile(r"(find|answer) e(\d+)(?: after (\w+))?")
_PROPOSED = re.compile(r"Proposed response:\n(\w+)")
EXAMPLES, HELD_OUT = 60, 240


@dataclass(frozen=True, kw_only=True)
class OperatorFamily:
    """A kind of problem."""

    name: str
    skills: tuple[float, float, float]
    """Of the models, from the smallest to the largest."""
    wrong: int = 4
    """How many wrong answers there are."""
    easy: float = 0.0
    """Share of the examples that is easy for every model."""
    spread: float = 0.3
    """Standard deviation of the others' difficulty."""
    sees_right: float = 0.5
    """The chance that the judge says Yes of a right answer."""
    sees_wrong: float = 0.5
    """And of a wrong one."""


OPERATOR_FAMILIES: Mapping[str, OperatorFamily] = {
    family.name: family
    for family in (
        OperatorFamily(name="votes", skills=(-0.4, 0.2, 0.8)),
        OperatorFamily(name="verifier", skills=_NARROW, wrong=1, spread=0.5, sees_right=0.95, sees_wrong=0.05),
        OperatorFamily(name="guesses", skills=_NARROW, wrong=1, spread=0.5),
        OperatorFamily(name="cascade", skills=(-3.0, -2.0, 2.5), easy=0.5),
    )
}


class OperatorProblem(LiveEnvironment):
    """One problem of a family; `true_score` and `optimum` are what a search cannot see.

    Args:
        family: What kind of problem.
        seed: Which one.
    """

    def __init__(self, family: OperatorFamily, seed: int) -> None:
        rng = np.random.default_rng([20261129, seed])
        count = EXAMPLES + HELD_OUT
        difficulty = rng.normal(0, family.spread, count) - 8.0 * (rng.random(count) < family.easy)
        skills = np.array(family.skills) + rng.normal(0, 0.1, len(_SIZES))
        models = tuple(Model(f"m{i + 1}", size, revision=f"{family.name}-{seed}") for i, size in enumerate(_SIZES))
        self.chances = {
            model.name: 1 / (1 + np.exp(difficulty - skill)) for model, skill in zip(models, skills, strict=True)
        }
        self.family = family
        rows = [{"id": f"e{i}", "gold": _RIGHT} for i in range(count)]
        super().__init__(
            _pipeline(models, f"{family.name}-{seed}"),
            rows[:EXAMPLES],
            held_out=rows[EXAMPLES:],
            client=_Client(family, seed, self.chances),
            name=f"operators-{family.name}-{seed}",
            recorded="synthetic problem; no model runs",
        )

    def true_score(self, allocation: Allocation) -> float:
        """The expected score over all examples."""
        found, answered = (self.expected(allocation[name]) for name in ("find", "answer"))
        return float((found * answered).mean())

    def expected(self, choice: Choice) -> Floats:
        """The chance of a right output, for each example."""
        operator = next((each for each in _operators(self.pipeline) if each.name == choice.operator), Vote())
        chance, total = self.chances[choice.model], np.zeros(EXAMPLES + HELD_OUT)
        for right, wrong, ways in _splits(choice.samples, self.family.wrong):
            likely = ways * chance**right * ((1 - chance) / self.family.wrong) ** sum(wrong)
            total += likely * self._won(operator, right, wrong)
        return total

    def _won(self, operator: Operator, right: int, wrong: Sequence[int]) -> float | Floats:
        """The chance that an operator's output is right, after so many votes for the right and for each wrong answer.

        Samples are as likely in one order as in another: of answers with equally many votes, each is as often the
        first, and the first sample of some answers is of one of them as often as its share of their votes says.
        """
        votes = (right, *wrong)
        if isinstance(operator, Cascade):
            agreed = max(votes) >= operator.agree * sum(votes)
            return _vote(right, wrong) if agreed else self.chances[operator.to.name]
        if not isinstance(operator, BestOf | WeightedVote) or len(votes) == 1 or not right:
            return _vote(right, wrong)
        chosen = _first if isinstance(operator, BestOf) else _vote
        return _judged(chosen, right, wrong, self.family.sees_right, self.family.sees_wrong)

    def optimum(self, space: SearchSpace) -> Allocation:
        """The allocation of the highest expected score within a budget."""
        return max(space.enumerate(), key=self.true_score)


def _vote(right: int, wrong: Sequence[int]) -> float:
    """The chance that the most frequent answer, the first of them among equals, is right."""
    most = max((right, *wrong))
    return 1 / (right, *wrong).count(most) if right == most else 0.0


def _first(right: int, wrong: Sequence[int]) -> float:
    """The chance that the first sample of these is right."""
    return right / (right + sum(wrong))


def _judged(
    chosen: Callable[[int, Sequence[int]], float],
    right: int,
    wrong: Sequence[int],
    sees_right: float,
    sees_wrong: float,
) -> float:
    """The chance that what is chosen of the answers with a Yes is right, over all that the judge may say of each."""
    total = 0.0
    for yes, *others in product((True, False), repeat=1 + len(wrong)):
        chance = sees_right if yes else 1 - sees_right
        for other in others:
            chance *= sees_wrong if other else 1 - sees_wrong
        trusted = [votes for votes, other in zip(wrong, others, strict=True) if other]
        if yes:
            total += chance * chosen(right, trusted)
        elif not trusted:  # nothing parts them: the first sample
            total += chance * _first(right, wrong)
    return total


@lru_cache
def _splits(samples: int, wrong: int) -> tuple[tuple[int, tuple[int, ...], float], ...]:
    """Votes for the right answer, votes for the wrong ones in descending order, and how many sequences lead there."""
    found: dict[tuple[int, tuple[int, ...]], float] = {(0, ()): 1.0}
    for _ in range(samples):
        longer: dict[tuple[int, tuple[int, ...]], float] = {}
        for (right, votes), ways in found.items():
            nexts = [((right + 1, votes), 1.0)]
            nexts += [((right, _ranked(votes, i)), 1.0) for i in range(len(votes))]
            nexts += [((right, (*votes, 1)), float(wrong - len(votes)))] if len(votes) < wrong else []
            for split, times in nexts:
                longer[split] = longer.get(split, 0.0) + ways * times
        found = longer
    return tuple((right, votes, ways) for (right, votes), ways in found.items())


def _ranked(votes: Sequence[int], more: int) -> tuple[int, ...]:
    counted = [count + (i == more) for i, count in enumerate(votes)]
    return tuple(sorted(counted, reverse=True))


def _pipeline(models: tuple[Model, ...], name: str) -> Pipeline:
    verifier = Verifier(
        Model("judge", 2e9, revision=name),
        prompt_tokens=_PROMPT_TOKENS["verdict"],
        tokens=_TOKENS["verdict"],
    )
    operators = (Vote(), BestOf(verifier), WeightedVote(verifier), Cascade(to=models[-1], agree=0.75))
    stages = {"find": ("find {{ id }}", (1, 2, 4, 8), (Vote(),)),
              "answer": ("answer {{ id }} after {{ find }}", (1, 2, 4, 8, 16), operators)}  # fmt: skip
    subtasks = tuple(
        Subtask(stage, models, prompt, operators=used, sample_counts=counts, max_samples=None,
                prompt_tokens=_PROMPT_TOKENS[stage], completion_tokens=_TOKENS[stage])
        for stage, (prompt, counts, used) in stages.items()
    )  # fmt: skip
    return Pipeline(name, subtasks, metric=equal("gold"))


def _operators(pipeline: Pipeline) -> list[Operator]:
    return [pairing.operator for subtask in pipeline.subtasks for pairing in subtask.pairings]


class _Client:
    """Draws samples from the family's chances: the same ones for the same position of the same prompt."""

    def __init__(self, family: OperatorFamily, seed: int, chances: Mapping[str, Floats]) -> None:
        self._family, self._seed, self._chances = family, seed, chances

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        """See `llm.protocols.Completer.complete`."""
        asked = str(messages[-1]["content"])
        kind = "verdict" if _PROPOSED.search(asked) else asked.partition(" ")[0]
        texts = [self._said(model, asked, f"{self._seed} {seed} {p}") for p in range(start, start + samples)]
        return Completions(tuple(Sample(text, _TOKENS[kind]) for text in texts), _PROMPT_TOKENS[kind])

    def _said(self, model: Model, asked: str, which: str) -> str:
        luck = random.Random(f"{model.name} {asked} {which}").random()
        if proposed := _PROPOSED.search(asked):
            says_yes = self._family.sees_right if proposed[1] == _RIGHT else self._family.sees_wrong
            return "Yes" if luck < says_yes else "No"
        found = _ASKED.search(asked)
        assert found is not None
        chance = float(self._chances[model.name][int(found[2])]) if found[3] in (None, _RIGHT) else 0.0
        return _RIGHT if luck < chance else f"wrong{int((luck - chance) / (1 - chance) * self._family.wrong)}"

    def route(self, urls: Mapping[str, str]) -> None:
        """There is no endpoint."""

    async def check(self, models: Sequence[Model]) -> str:
        """Every model can be asked."""
        return ""

    async def close(self) -> None:
        """Nothing to close."""
