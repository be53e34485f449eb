"""Replay every allocation of a grid from the sample pools: stage accuracies, end-to-end scores, costs.

Retrieve samples are taken in draw order (the answer pools exist for these contexts), answer votes are averaged
over random orders of the recorded samples. Cost is the package's `flops` cost model in MFLOP per question, attention
included, with each model's own mean token counts, the prompt read once per stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from agenttts.pipeline import Model, Subtask
from agenttts.space.cost import FlopsCost
from zoo import tokenizer
from zoo.config import CONFIGS
from zoo.contexts import Kept, Rule, kept_facts
from zoo.examples import Example, evaluation_examples
from zoo.model import Llama
from zoo.pools import drawn, example_number, read_lines
from zoo.worldfile import world

MODELS: tuple[str, ...] = tuple(config.name for config in CONFIGS.values())
RETRIEVE_COUNTS = (1, 2, 4, 8, 16, 32, 64)
ANSWER_COUNTS = (1, 2, 4, 8, 16, 32)
ORDERS = 40
"""Random orders that votes and retrieve accuracies are averaged over."""


class Choice(NamedTuple):
    """A model and a number of samples for one stage."""

    model: str
    samples: int


class Allocation(NamedTuple):
    """A choice for each stage, its end-to-end score and its cost in MFLOP."""

    retrieve: Choice
    answer: Choice
    score: float
    cost: float


def parameters(model: str) -> int:
    """Return a model's parameter count."""
    config = next(config for config in CONFIGS.values() if config.name == model)
    return Llama(config, len(tokenizer.vocabulary())).parameter_count()


def majority(values: Sequence[int | None]) -> int | None:
    """Return the most frequent number, the first seen among equals; what is no number is no vote."""
    counts = Counter(value for value in values if value is not None)
    return counts.most_common(1)[0][0] if counts else None


@dataclass(frozen=True)
class Pools:
    """The recorded samples, parsed."""

    quotes: dict[tuple[int, str], list[list[int]]]
    """(example, model) -> quoted facts of each retrieve sample."""
    answers: dict[tuple[int, Kept, str], list[int | None]]
    """(example, kept facts, model) -> number of each answer sample."""
    lengths: dict[tuple[str, str], tuple[float, float]]
    """(stage, model) -> mean prompt tokens and mean generated tokens; answer: over the exactly needed facts."""

    @cached_property
    def examples(self) -> list[Example]:
        """The evaluation examples."""
        return evaluation_examples()

    @cached_property
    def _answer_scores(self) -> dict[tuple[int, Kept, str], np.ndarray]:
        """Mean score of a vote over each of ANSWER_COUNTS samples."""
        rng = Random("minihop-landscape")
        scores = {}
        for key, numbers in self.answers.items():
            truth = self.examples[key[0]].answer
            hits = np.zeros(len(ANSWER_COUNTS))
            for _ in range(ORDERS):
                order = world.shuffled(rng, numbers)
                hits += [majority(order[:count]) == truth for count in ANSWER_COUNTS]
            scores[key] = hits / ORDERS
        return scores

    def answer_scores(self, model: str) -> np.ndarray:
        """Return examples x ANSWER_COUNTS scores, given exactly the needed facts."""
        return np.array([self._answer_scores[i, self.examples[i].needed, model] for i in range(len(self.examples))])

    def retrieve_scores(self, model: str, rule: Rule) -> np.ndarray:
        """Return examples x RETRIEVE_COUNTS: share of random orders in which all needed facts are kept."""
        rng = Random("minihop-retrieve")
        return np.array(
            [
                np.mean(
                    [
                        [set(self.examples[i].needed) <= set(kept_facts(rule, order[:n])) for n in RETRIEVE_COUNTS]
                        for order in (world.shuffled(rng, self.quotes[i, model]) for _ in range(ORDERS))
                    ],
                    axis=0,
                )
                for i in range(len(self.examples))
            ]
        )

    def extra_facts(self, model: str, rule: Rule) -> np.ndarray:
        """Return the mean number of kept facts that are not needed, per RETRIEVE_COUNTS."""
        counts = [
            [
                len(set(kept_facts(rule, self.quotes[i, model][:n])) - set(self.examples[i].needed))
                for n in RETRIEVE_COUNTS
            ]
            for i in range(len(self.examples))
        ]
        return np.mean(counts, axis=0)  # type: ignore[no-any-return]

    @cached_property
    def _allocations(self) -> dict[Rule, list[Allocation]]:
        return {}

    def example_scores(self, allocation: Allocation, rule: Rule) -> np.ndarray:
        """Return one allocation's score on every example."""
        retrieve, answer = allocation[:2]
        column = ANSWER_COUNTS.index(answer.samples)
        return np.array(
            [
                self._answer_scores[i, self._kept(rule, retrieve, i), answer.model][column]
                for i in range(len(self.examples))
            ]
        )

    def _kept(self, rule: Rule, retrieve: Choice, example: int) -> Kept:
        return kept_facts(rule, self.quotes[example, retrieve.model][: retrieve.samples])

    def stage_cost(self, stage: str, choice: Choice) -> float:
        """Return the cost of one stage in MFLOP."""
        config = next(config for config in CONFIGS.values() if config.name == choice.model)
        prompt, generated = self.lengths[stage, choice.model]
        model = Model(config.name, parameters(config.name), layers=config.layers, hidden_size=config.width)
        subtask = Subtask(stage, (model,), "", prompt_tokens=prompt, completion_tokens=generated)
        return float(FlopsCost().cost(subtask, model, choice.samples))

    def allocations(self, rule: Rule) -> list[Allocation]:
        """Score every allocation of the grid."""
        if rule not in self._allocations:
            self._allocations[rule] = self._score_grid(rule)
        return self._allocations[rule]

    def _score_grid(self, rule: Rule) -> list[Allocation]:
        found = []
        for retrieve in (Choice(model, n) for model in MODELS for n in RETRIEVE_COUNTS):
            kept = [self._kept(rule, retrieve, i) for i in range(len(self.examples))]
            for model in MODELS:
                scores = np.mean([self._answer_scores[i, facts, model] for i, facts in enumerate(kept)], axis=0)
                for count, score in zip(ANSWER_COUNTS, scores, strict=True):
                    answer = Choice(model, count)
                    cost = self.stage_cost("retrieve", retrieve) + self.stage_cost("answer", answer)
                    found.append(Allocation(retrieve, answer, float(score), cost))
        return found


def load_pools(path: Path) -> Pools:
    """Read and parse the pool file."""
    quotes: dict[tuple[int, str], list[list[int]]] = {}
    answers: dict[tuple[int, Kept, str], list[int | None]] = {}
    tokens: dict[tuple[str, str], list[tuple[float, float]]] = {}
    examples = evaluation_examples()
    for line in read_lines(path):
        index, model = example_number(line), line["model"]
        if line["stage"] == "retrieve":
            quoted = [world.quoted_facts(text, examples[index].facts) for text in line["texts"]]
            quotes[index, model] = drawn(line, quoted)
        else:
            kept = tuple(line["facts"])
            answers[index, kept, model] = drawn(line, [world.parse_answer(text) for text in line["texts"]])
            if kept != examples[index].needed:
                continue
        generated = float(np.mean(drawn(line, line["completion_tokens"])))
        tokens.setdefault((line["stage"], model), []).append((line["prompt_tokens"], generated))
    return Pools(quotes, answers, {key: _mean_pair(pairs) for key, pairs in tokens.items()})


def _mean_pair(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    first, second = np.mean(pairs, axis=0)
    return float(first), float(second)
