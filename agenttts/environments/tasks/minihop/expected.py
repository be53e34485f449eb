"""The true expected score of any allocation of minihop, from its recorded samples.

A search sees one order of the samples; which score an allocation has over all orders is what its regret is measured
against. The recording (64 retrieve and 32 answer samples of every model) stands for the models here: every estimate is
an average over random orders of it, so its standard error is that of the drawn orders, and the choice of the recorded
samples themselves is no part of it. Samples are drawn without replacement: with all 64 or 32 only one draw is possible.

Answers were recorded for the facts that the recorded order of some model keeps. Another order may keep other facts: on
average in 0.1 % (l), 0.4 % (m), 3 % (s) and 17 % (xs) of the draws. Where a needed fact is missing, the answer then
counts as wrong (of the recorded answers to such facts 0.1 % are right); where none is, the recorded facts that hold all
needed ones and differ least in the others stand in. Left out in turn, recorded facts are so predicted with a mean error
below 0.006, for at most 7 % of the draws (xs): the bias is below 0.0005, and with the standard error every score is
known to +-0.003.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agenttts.environments.tasks.minihop import world
from agenttts.environments.tasks.minihop.pipeline import EXAMPLES, HELD_OUT, HERE, pipeline
from agenttts.errors import ConfigError
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.cost import FlopsCost

ORDERS = 400
"""Random orders that each stage is averaged over."""

Facts = frozenset[int]


class ExpectedScore(NamedTuple):
    """An expected score."""

    score: float
    standard_error: float
    """Of the average over random orders."""


def expected_score(
    allocation: Allocation, examples: Sequence[str] | None = None, *, orders: int = ORDERS, seed: int = 0
) -> ExpectedScore:
    """The mean score of an allocation of minihop (retrieve stage `union`) over random orders of the recorded samples.

    Takes a second or two; what allocations share is kept, so that many of them take much less each.

    Args:
        allocation: At most 64 samples of `retrieve` and 32 of `answer`.
        examples: Ids of minihop's examples; all 400 when None.
        orders: Random orders that each stage is averaged over.
        seed: Of the orders.

    Raises:
        ConfigError: When the recording has no such model, fewer samples, or no such example.
    """
    recording = _recording()
    # No budget: what is left of the space are its models and numbers of samples, which are those recorded.
    if faults := SearchSpace(pipeline(), FlopsCost(), 1e12).faults(allocation):
        raise ConfigError(f"no expected score of {allocation}: {'; '.join(faults)}")
    for name in examples or ():
        if name not in recording.indices:
            raise ConfigError(f"minihop has no example {name!r}")
    indices = [recording.indices[name] for name in (recording.indices if examples is None else examples)]
    scores = [_example_score(index, allocation, orders, seed) for index in indices]
    variance = sum(each.standard_error**2 for each in scores)
    return ExpectedScore(float(np.mean([each.score for each in scores])), float(variance**0.5 / len(scores)))


def _example_score(index: int, allocation: Allocation, orders: int, seed: int) -> ExpectedScore:
    """One example's expected score: over the facts that the retrieve stage keeps, the chance that the vote is right."""
    kept = _kept_facts(index, allocation["retrieve"], orders, seed)
    weights = np.array(list(kept.values()))
    right = np.array([_chance_right(index, facts, allocation["answer"], orders, seed) for facts in kept])
    score = float(weights @ right)
    # The two stages' orders are independent: their variances add up.
    of_facts = float(weights @ (right - score) ** 2)
    of_votes = float(weights**2 @ (right * (1 - right)))
    return ExpectedScore(score, ((of_facts + of_votes) / orders) ** 0.5)


@cache
def _kept_facts(index: int, retrieve: Choice, orders: int, seed: int) -> dict[Facts, float]:
    """Facts that the retrieve stage may keep, with the share of random draws in which it does."""
    quotes = _recording().quotes[index, retrieve.model]
    drawn = quotes[_draws(len(quotes), retrieve.samples, orders, [seed, index])].any(axis=1)
    rows, counts = np.unique(drawn, axis=0, return_counts=True)
    return {
        frozenset(int(fact) for fact in np.flatnonzero(row)): float(count) / orders
        for row, count in zip(rows, counts, strict=True)
    }


@cache
def _chance_right(index: int, facts: Facts, answer: Choice, orders: int, seed: int) -> float:
    """Share of random draws in which the right value wins the vote: the most frequent, the first drawn among equals.

    See the module for facts without recorded answers.
    """
    recording = _recording()
    needed, recorded = recording.needed[index], recording.kept[index]
    if facts not in recorded:
        if not needed <= facts:
            return 0.0
        holding = [other for other in recorded if needed <= other]
        nearest = min(holding, key=lambda other: (len(other ^ facts), sorted(other)))
        return _chance_right(index, nearest, answer, orders, seed)
    votes = recording.votes[index, facts, answer.model]
    drawn = votes[_draws(len(votes), answer.samples, orders, [seed, index, *sorted(facts)])]
    values = [0, *np.unique(votes[votes > 0])]
    counts = np.stack([(drawn == value).sum(axis=1) for value in values], axis=1)
    firsts = np.stack([(drawn == value).argmax(axis=1) for value in values], axis=1)
    # Counts decide; among equals, the earlier first vote adds less than one vote's worth.
    ranks = counts - firsts / answer.samples
    return float(((ranks.argmax(axis=1) == 0) & (counts[:, 0] > 0)).mean())


def _draws(recorded: int, samples: int, orders: int, seed: list[int]) -> NDArray[np.int64]:
    """Positions of `samples` of the recorded samples in each of many random orders, shape (orders, samples)."""
    ranks = np.random.default_rng(seed).random((orders, recorded))
    return ranks.argsort(axis=1)[:, :samples]


@dataclass(frozen=True, kw_only=True)
class _Recording:
    """The recorded samples, parsed."""

    indices: dict[str, int]
    """Id of an example -> its number."""
    needed: list[Facts]
    """Example -> the facts that its answer needs."""
    quotes: dict[tuple[int, str], NDArray[np.bool_]]
    """(example, model) -> which facts each retrieve sample quotes, shape (samples, facts)."""
    votes: dict[tuple[int, Facts, str], NDArray[np.int64]]
    """(example, kept facts, model) -> value of each answer sample: 0 the right one, -1 none, others numbered."""
    kept: list[list[Facts]]
    """Example -> the kept facts that answers were recorded for."""


@cache
def _recording() -> _Recording:
    examples: list[dict[str, Any]] = [world.make_example(index) for index in (*EXAMPLES, *HELD_OUT)]
    recording = _Recording(
        indices={example["id"]: index for index, example in enumerate(examples)},
        needed=[frozenset(example["needed"]) for example in examples],
        quotes={},
        votes={},
        kept=[[] for _ in examples],
    )
    with lzma.open(HERE / "pools.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            _add(recording, examples, json.loads(line))
    return recording


def _add(recording: _Recording, examples: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    """One line of the recording: see `recorded.ReplayClient`."""
    index = recording.indices[entry["example"]]
    example, order = examples[index], np.array(entry["order"])
    if entry["stage"] == "retrieve":
        quoted = np.zeros((len(entry["texts"]), len(example["facts"])), dtype=bool)
        for row, text in zip(quoted, entry["texts"], strict=True):
            row[world.quoted_facts(text, example["facts"])] = True
        recording.quotes[index, entry["model"]] = quoted[order]
        return
    facts = frozenset(entry["facts"])
    answers = [world.parse_answer(text) for text in entry["texts"]]
    numbered = {value: place for place, value in enumerate(dict.fromkeys([example["answer"], *answers]))}
    codes = np.array([-1 if value is None else numbered[value] for value in answers])
    recording.votes[index, facts, entry["model"]] = codes[order]
    if facts not in recording.kept[index]:
        recording.kept[index].append(facts)
