"""Aggregators: the parsed samples of one subtask -> its one output.

    First          the first usable sample
    MajorityVote   the most frequent value
    IdVote         the paper's retrieval rule (section A.4): vote on the list's length, then on its members
    Union          whatever some sample lists
    Fuse           the subtask's own model merges the samples into one answer (the paper's eq. 1)
    BestOf         the subtask's own model judges which sample is best

Fuse and BestOf call a model: `extra_tokens` tells the cost models what that takes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenttts.errors import ParseError
from agenttts.pipeline.ballots import winner
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.model import Message, Sampling
from agenttts.pipeline.operator import SubtaskRun, request_text
from agenttts.pipeline.subtask import MAJORITY_VOTE

__all__ = ["BestOf", "First", "Fuse", "IdVote", "MajorityVote", "Union"]

_FUSE = (
    "Several candidate responses to the same request follow. Some may be wrong. Weigh them critically and write the "
    "single best response to the request, in the form that the request asks for, without mentioning the candidates."
)
_JUDGE = (
    "Several candidate responses to the same request follow. Judge which one answers the request best. "
    "Reply with the number of that candidate alone."
)
_JUDGE_TOKENS = 8
_MOST_READ = 100
"""Characters of a verdict."""


class _Free:
    """An aggregator without calls of its own."""

    def extra_tokens(self, samples: Any, prompt_tokens: float, completion_tokens: float) -> tuple[Any, Any]:
        zero = np.zeros_like(np.asarray(samples, dtype=float))
        return zero, zero


@identified("aggregators.first", version=1, unscored=("name",))
@dataclass(frozen=True)
class First(_Free):
    """The first usable sample.

    Examples:
        >>> asyncio.run(at.aggregators.First().aggregate(["Rome", "Oslo", "Oslo"], handle))
        'Rome'
    """

    name: str = "first"
    """Shown in tables."""

    async def aggregate(self, parsed: Sequence[Any], run: SubtaskRun) -> Any:
        return parsed[0]


@identified(MAJORITY_VOTE.name, version=MAJORITY_VOTE.version, unscored=("name",))
@dataclass(frozen=True)
class MajorityVote(_Free):
    """The most frequent value; among equals the one drawn first.

    Examples:
        >>> asyncio.run(at.aggregators.MajorityVote().aggregate(["Rome", "Oslo", "Oslo"], handle))
        'Oslo'
    """

    name: str = "majority"
    """Shown in tables."""

    async def aggregate(self, parsed: Sequence[Any], run: SubtaskRun) -> Any:
        return winner(parsed)


@identified("aggregators.id_vote", version=1, unscored=("name",))
@dataclass(frozen=True)
class IdVote(_Free):
    """The paper's vote on lists of ids: the most frequent length k, then the k ids with most votes.

    Fixed against the authors' code: an id counts once per sample, ids that do not exist never enter (the parser
    drops them), ties go to the shorter list and to the lower id, so that the result does not depend on the order.

    Examples:
        >>> asyncio.run(at.aggregators.IdVote().aggregate([(1, 2), (2, 1), (2, 3)], handle))
        (1, 2)
    """

    name: str = "vote"
    """Shown in tables."""

    async def aggregate(self, parsed: Sequence[Sequence[int]], run: SubtaskRun) -> tuple[int, ...]:
        lists = [tuple(dict.fromkeys(sample)) for sample in parsed]
        lengths = Counter(len(sample) for sample in lists)
        size = min(lengths, key=lambda length: (-lengths[length], length))
        votes = Counter(member for sample in lists for member in sample)
        return tuple(sorted(sorted(votes, key=lambda member: (-votes[member], member))[:size]))


@identified("tasks.minihop.union", version=1, unscored=("name",))  # where it was declared first
@dataclass(frozen=True)
class Union(_Free):
    """Whatever some sample lists, in ascending order.

    Examples:
        >>> asyncio.run(at.aggregators.Union().aggregate([(3, 1), (2, 1)], handle))
        (1, 2, 3)
    """

    name: str = "union"
    """Shown in tables."""

    async def aggregate(self, parsed: Sequence[Iterable[Any]], run: SubtaskRun) -> tuple[Any, ...]:
        return tuple(sorted({member for sample in parsed for member in sample}))


@identified("aggregators.fuse", version=1, unscored=("name",))
@dataclass(frozen=True)
class Fuse:
    """The subtask's model reads its own samples and writes one answer; a single sample is passed on as it is.

    Examples:
        >>> asyncio.run(at.aggregators.Fuse().aggregate(["Oslo", "in Norway"], handle))  # asks the subtask's model
        'Oslo, Norway'
    """

    writes_anew = True
    """Its output is a text of its own."""
    name: str = "fuse"
    """Shown in tables."""
    instruction: str = _FUSE
    """Precedes the samples in the prompt."""
    sampling: Sampling = Sampling(temperature=0.3)
    """Of the fused answer."""

    async def aggregate(self, parsed: Sequence[Any], run: SubtaskRun) -> Any:
        if len(parsed) == 1:
            return parsed[0]
        (fused,) = await run.draw(_candidates(run, self.instruction, parsed), 1, sampling=self.sampling)
        try:
            value = run.subtask.parser(fused, run.input)
        except ParseError:
            value = None
        if value is None:
            run.count_unparsable()
            value = run.subtask.default
        if value is None:
            raise ParseError(f"subtask {run.subtask.name!r}: the fused answer could not be parsed")
        return value

    def extra_tokens(self, samples: Any, prompt_tokens: float, completion_tokens: float) -> tuple[Any, Any]:
        many = np.asarray(samples, dtype=float) > 1
        return many * (prompt_tokens + np.multiply(samples, completion_tokens)), many * completion_tokens


@identified("aggregators.best_of", version=1, unscored=("name",))
@dataclass(frozen=True)
class BestOf:
    """The subtask's model names the best of its own samples.

    A verdict that names no candidate is a counted unparsable sample, and the first candidate is taken.

    Examples:
        >>> asyncio.run(at.aggregators.BestOf().aggregate(["Rome", "Oslo"], handle))  # the model names the second
        'Oslo'
    """

    name: str = "best-of"
    """Shown in tables."""
    instruction: str = _JUDGE
    """Precedes the samples in the prompt."""
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=_JUDGE_TOKENS)
    """Of the judgement."""

    async def aggregate(self, parsed: Sequence[Any], run: SubtaskRun) -> Any:
        if len(parsed) == 1:
            return parsed[0]
        (verdict,) = await run.draw(_candidates(run, self.instruction, parsed), 1, sampling=self.sampling)
        named = re.search(r"\d+", verdict[:_MOST_READ])
        if named and 1 <= int(named[0]) <= len(parsed):
            return parsed[int(named[0]) - 1]
        run.count_unparsable()
        return parsed[0]

    def extra_tokens(self, samples: Any, prompt_tokens: float, completion_tokens: float) -> tuple[Any, Any]:
        many = np.asarray(samples, dtype=float) > 1
        return many * (prompt_tokens + np.multiply(samples, completion_tokens)), many * float(_JUDGE_TOKENS)


def _candidates(run: SubtaskRun, instruction: str, parsed: Sequence[Any]) -> list[Message]:
    request = request_text(run)
    listing = "\n\n".join(f"[{number}] {_shown(value)}" for number, value in enumerate(parsed, start=1))
    return [
        {"role": "system", "content": instruction},
        {"role": "user", "content": f"Request:\n{request}\n\nCandidates:\n{listing}"},
    ]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
