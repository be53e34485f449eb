"""The evaluation examples, typed, and the seeds they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from zoo import tokenizer
from zoo.worldfile import world

EVALUATION_SEED = 0
"""Seed of the examples of the pools, which training never sees."""
EVALUATION_EXAMPLES = 400
DEVELOPMENT_SEED = 1
"""Seed of the examples on which checkpoints are chosen."""


@dataclass(frozen=True)
class Example:
    """What `world.make_example` returns."""

    name: str
    facts: list[str]
    question: str
    needed: tuple[int, ...]
    """Indices into `facts`, in list order."""
    answer: int

    def retrieve_ids(self) -> list[int]:
        """Return the prompt of the retrieve stage."""
        return tokenizer.chat_ids("retrieve", world.retrieve_prompt(self.facts, self.question))

    def answer_ids(self, kept: tuple[int, ...]) -> list[int]:
        """Return the prompt of the answer stage for kept facts, given in list order."""
        facts = [self.facts[index] for index in kept]
        return tokenizer.chat_ids("answer", world.answer_prompt(facts, self.question))


def make_examples(seed: int, count: int) -> list[Example]:
    """Generate the first `count` examples of a seed."""
    return [_typed(world.make_example(index, seed=seed)) for index in range(count)]


def evaluation_examples() -> list[Example]:
    """Generate the examples of the pools."""
    return make_examples(EVALUATION_SEED, EVALUATION_EXAMPLES)


def _typed(raw: dict[str, object]) -> Example:
    return Example(
        name=str(raw["id"]),
        facts=cast("list[str]", raw["facts"]),
        question=str(raw["question"]),
        needed=tuple(sorted(cast("list[int]", raw["needed"]))),
        answer=cast("int", raw["answer"]),
    )
