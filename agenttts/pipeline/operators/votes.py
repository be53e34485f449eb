"""Operators that vote: over all samples, over as many as it takes, over samples of two models.

    Vote           the most frequent answer
    AdaptiveVote   draws until the leading answer is unlikely to be overtaken (adaptive consistency, arXiv 2305.11860)
    WindowVote     draws until all of a window agree (early-stopping self-consistency, arXiv 2401.10480)
    Cascade        asks a dearer model only where the samples disagree (FrugalGPT, arXiv 2305.05176; 2310.03094)
    Mix            samples of two models in one vote (OSCA, arXiv 2410.22480)

How many samples the first two draw depends on the query. Their loads are means under the prior of the stopping rule
itself: two answers, and a chance of the first that is uniform in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from agenttts._util.checks import COUNT, FRACTION, PLAIN_FUNCTION, Kind, instance, require_fields
from agenttts.pipeline.ballots import Key, ballots, winner
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.model import Model
from agenttts.pipeline.operator import Amount, Drawn, Lengths, Load, Operator, SubtaskRun, named, usable_of

_SHARE = Kind("a number over 0 and under 1", lambda share: FRACTION.holds(share) and 0 < share < 1)
_MODEL = instance(Model, "a Model")
_EXACT_UP_TO = 512
"""Samples up to which means of a stopping rule are worked out; from there on, every further sample is drawn."""


@identified("operators.vote", version=1)
@dataclass(frozen=True)
class Vote(Operator):
    """The most frequent answer; among equals the one drawn first.

    Examples:
        >>> at.operators.Vote(key=str.lower).name
        'vote(key=lower)'
    """

    key: Key | None = None
    """Answer -> what makes it equal to others; the answer itself when None."""

    def __post_init__(self) -> None:
        require_fields(self, "Vote", {"key": PLAIN_FUNCTION.or_none})

    @property
    def name(self) -> str:
        return named("vote", key=self.key)

    async def run(self, stage: SubtaskRun) -> Any:
        return winner(_values(await stage.usable()), self.key)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return [Load(1, lengths.prompt, samples, lengths.completion)]


@identified("operators.adaptive_vote", version=2)
@dataclass(frozen=True, kw_only=True)
class AdaptiveVote(Operator):
    """A vote that stops drawing when its leader is unlikely to be overtaken: the allocation's samples are the most.

    With a votes for the leading answer and b for the second, it stops when the chance that the first is the more
    frequent one, 1 - I_0.5(a + 1, b + 1), is at least `confidence` (arXiv 2305.11860, section 3).

    Examples:
        >>> vote = at.operators.AdaptiveVote(confidence=0.95)
        >>> [round(float(load.requests * load.choices), 1) for load in vote.loads(16, at.operators.Lengths(100, 20))]
        [6.7]
    """

    confidence: float = 0.95
    """Probability of the majority at which drawing stops."""
    window: int = 4
    """Samples of one request: the rule is applied after each."""
    key: Key | None = None
    """As of `Vote`."""

    def __post_init__(self) -> None:
        require_fields(self, "AdaptiveVote", {"confidence": _SHARE, "window": COUNT, "key": PLAIN_FUNCTION.or_none})

    @property
    def least_samples(self) -> int:
        return self.window + 1

    @property
    def name(self) -> str:
        settings = {"confidence": (self.confidence, 0.95), "window": (self.window, 4), "key": (self.key, None)}
        return named("adaptive-vote", **{name: each for name, (each, usual) in settings.items() if each != usual})

    async def run(self, stage: SubtaskRun) -> Any:
        drawn: list[Drawn] = []
        for count in [*range(self.window, stage.samples, self.window), stage.samples]:
            drawn = await stage.sample(samples=count)
            votes = sorted(ballots(_values(filter(_is_whole, drawn)), self.key).values())
            first, second = [0, 0, *votes][-1], [0, 0, *votes][-2]
            if leads(int(first), int(second)) >= self.confidence:
                break
        return winner(_values(stage.require_usable(drawn)), self.key)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        requests, drawn = _means(_adaptive_windows(self.confidence, self.window), self.window, samples)
        return [Load(requests, lengths.prompt, drawn / requests, lengths.completion)]

    def worst_loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return _all_windows(self.window, samples, lengths)


@identified("operators.window_vote", version=2)
@dataclass(frozen=True, kw_only=True)
class WindowVote(Operator):
    """A vote that stops drawing when all samples of a window agree: the allocation's samples are the most.

    Examples:
        >>> at.operators.WindowVote(window=5).name
        'window-vote(window=5)'
    """

    window: int = 5
    """Samples that must agree."""
    key: Key | None = None
    """As of `Vote`."""

    def __post_init__(self) -> None:
        require_fields(self, "WindowVote", {"window": COUNT, "key": PLAIN_FUNCTION.or_none})

    @property
    def least_samples(self) -> int:
        return self.window + 1

    @property
    def name(self) -> str:
        return named("window-vote", window=self.window, key=self.key)

    async def run(self, stage: SubtaskRun) -> Any:
        drawn: list[Drawn] = []
        for count in [*range(self.window, stage.samples, self.window), stage.samples]:
            before, drawn = len(drawn), await stage.sample(samples=count)
            fresh = drawn[before:]
            if all(map(_is_whole, fresh)) and len(ballots(_values(fresh), self.key)) == 1:
                break
        return winner(_values(stage.require_usable(drawn)), self.key)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        requests, drawn = _means(_unanimous_windows(self.window), self.window, samples)
        return [Load(requests, lengths.prompt, drawn / requests, lengths.completion)]

    def worst_loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return _all_windows(self.window, samples, lengths)


@identified("operators.cascade", version=2, unscored=("share",))
@dataclass(frozen=True, kw_only=True)
class Cascade(Operator):
    """The stage's model where its samples agree; else a vote over samples of a dearer one.

    Examples:
        >>> cascade = at.operators.Cascade(to=large, samples=4, agree=0.75)
        >>> cascade.name, [load.model.name for load in cascade.loads(2, at.operators.Lengths(100, 20))[1:]]
        ('cascade(to=large,samples=4,agree=0.75)', ['large'])
    """

    to: Model
    """The model that is asked where the samples disagree."""
    samples: int = 1
    """Samples of the dearer model."""
    agree: float = 0.6
    """Share of the usable samples that must give one answer for it to be taken."""
    share: float = 0.5
    """Queries, as a share, that are expected to reach the dearer model: it prices the operator, and decides nothing."""
    key: Key | None = None
    """As of `Vote`."""

    def __post_init__(self) -> None:
        kinds = {"to": _MODEL, "samples": COUNT, "agree": FRACTION, "share": FRACTION, "key": PLAIN_FUNCTION.or_none}
        require_fields(self, "Cascade", kinds)

    @property
    def least_samples(self) -> int:
        return 2

    @property
    def name(self) -> str:
        return named("cascade", to=self.to, samples=self.samples, agree=self.agree, key=self.key)

    async def run(self, stage: SubtaskRun) -> Any:
        cheap = _values(usable_of(await stage.sample()))
        if cheap and max(ballots(cheap, self.key).values()) >= self.agree * len(cheap):
            return winner(cheap, self.key)
        return winner(_values(await stage.usable(self.samples, model=self.to)), self.key)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return self._loads(samples, lengths, self.share)

    def worst_loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return self._loads(samples, lengths, 1.0)

    def _loads(self, samples: Amount, lengths: Lengths, share: float) -> Sequence[Load]:
        theirs = lengths.of(self.to)
        return [
            Load(1, lengths.prompt, samples, lengths.completion),
            Load(share, theirs.prompt, self.samples, theirs.completion, self.to),
        ]


@identified("operators.mix", version=1)
@dataclass(frozen=True, kw_only=True)
class Mix(Operator):
    """One vote over samples of two models: `share` of them of the other one.

    Examples:
        >>> mix = at.operators.Mix(other=large, share=0.25)
        >>> [int(load.choices) for load in mix.loads(8, at.operators.Lengths(100, 20))]
        [6, 2]
    """

    other: Model
    """The second model."""
    share: float = 0.5
    """Of the samples that the second model draws."""
    key: Key | None = None
    """As of `Vote`."""

    def __post_init__(self) -> None:
        require_fields(self, "Mix", {"other": _MODEL, "share": _SHARE, "key": PLAIN_FUNCTION.or_none})

    @property
    def least_samples(self) -> int:
        return 2

    @property
    def name(self) -> str:
        return named("mix", other=self.other, share=self.share, key=self.key)

    async def run(self, stage: SubtaskRun) -> Any:
        others = int(self._others(stage.samples))
        drawn = await stage.sample(samples=stage.samples - others) if others < stage.samples else []
        drawn += await stage.sample(samples=others, model=self.other) if others else []
        return winner(_values(stage.require_usable(drawn)), self.key)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        others = self._others(samples)
        own, theirs = np.asarray(samples) - others, lengths.of(self.other)
        return [
            Load(np.minimum(own, 1), lengths.prompt, own, lengths.completion),
            Load(np.minimum(others, 1), theirs.prompt, others, theirs.completion, self.other),
        ]

    def _others(self, samples: Amount) -> Amount:
        return np.floor(np.asarray(samples) * self.share + 0.5).astype(int)


def leads(first: int, second: int) -> float:
    """The chance that the leading of two answers is the more frequent one, after so many votes for each.

    1 - I_0.5(first + 1, second + 1) for a chance that is uniform beforehand (arXiv 2305.11860).

    Examples:
        >>> at.operators.leads(4, 0), at.operators.leads(5, 1)
        (0.96875, 0.9375)
    """
    votes = first + second + 1
    return float(1 - sum(math.comb(votes, k) for k in range(second + 1)) / 2**votes)


def _values(drawn: Iterable[Drawn]) -> list[Any]:
    return [each.value for each in drawn]


def _is_whole(drawn: Drawn) -> bool:
    """Whether it can be used, and was not cut off: what was stops no drawing."""
    return drawn.value is not None and not drawn.ended


def _all_windows(window: int, samples: Amount, lengths: Lengths) -> Sequence[Load]:
    requests = np.ceil(np.asarray(samples) / window)
    return [Load(requests, lengths.prompt, samples / requests, lengths.completion)]


def _means(going_on: tuple[float, ...], window: int, samples: Amount) -> tuple[Any, Any]:
    """Mean requests and samples, where `going_on[i]` is the chance that more is drawn after i windows."""
    counts = np.asarray(samples)
    chances = np.asarray(going_on)
    chances = np.concatenate([chances, np.full(max(int(counts.max()) // window + 2 - len(chances), 0), chances[-1])])
    before = np.concatenate([[0.0], np.cumsum(chances)])
    full, rest = counts // window, counts % window
    requests = before[full] + chances[full] * (rest > 0)
    return requests, before[full] * window + chances[full] * rest


@lru_cache
def _adaptive_windows(confidence: float, window: int) -> tuple[float, ...]:
    """The chance that the adaptive vote goes on after 0, 1, 2, ... windows.

    Beforehand every split of the votes is as likely as any other (Polya's urn).
    """
    going_on, alive, coins = [1.0], np.ones(1), np.full(2, 0.5)
    for votes in range(1, _EXACT_UP_TO + 1):
        first = np.arange(1, votes + 1) / (votes + 1)  # the chance that the next vote is for the first answer
        alive = np.append(alive * (1 - first), 0.0) + np.append(0.0, alive * first)
        coins = (np.append(coins, 0.0) + np.append(0.0, coins)) / 2  # heads among one more coin than votes
        if votes % window == 0:
            behind = np.minimum(np.arange(votes + 1), np.arange(votes, -1, -1))
            alive = np.where(1 - np.cumsum(coins)[behind] >= confidence, 0.0, alive)
            going_on.append(float(alive.sum()))
    return tuple(going_on)


@lru_cache
def _unanimous_windows(window: int) -> tuple[float, ...]:
    """The chance that no window was unanimous among the first 0, 1, 2, ..., for a uniform chance of two answers."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    chance = (nodes + 1) / 2
    unanimous = chance**window + (1 - chance) ** window
    return tuple(float(weights @ (1 - unanimous) ** count) / 2 for count in range(_EXACT_UP_TO // window + 1))
