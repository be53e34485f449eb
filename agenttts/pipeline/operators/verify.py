"""Operators that judge candidates: the verified best one, and the vote that verification weighs.

    BestOf         the candidate that a verifier likes best (best-of-n; GenRM, arXiv 2408.15240)
    WeightedVote   the answer whose samples have most of the verifier's trust

A verifier is a function of the user's (unit tests, a reward function, a program that is run), or a model that is asked
whether a candidate is right: `Verifier`, which a model alone is short for. Its verdicts count as said, or, with
`Verifier(logprobs=True)`, by how probable Yes was against No. The pool keeps the log probabilities with the verdicts:
a replay gives the same.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from agenttts._util.checks import COUNT, FRACTION, PLAIN_FUNCTION, POSITIVE, TEXT, Kind, instance, require_fields
from agenttts.errors import ConfigError
from agenttts.pipeline.ballots import Key, identity, winner
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.model import Message, Model, Sampling
from agenttts.pipeline.operator import (
    Amount,
    Drawn,
    Lengths,
    Load,
    Operator,
    SubtaskRun,
    TokenLogprobs,
    named,
    request_text,
)

if TYPE_CHECKING:
    from agenttts.pipeline.handles import SubtaskInput

_ASKED = (
    "A request and a proposed response follow. Check whether the response is correct: reason step by step, briefly. "
    "End with a line that says Yes if it is correct, and No if it is not."
)
_ALTERNATIVES = 5
"""Tokens beside a verdict's of which the log probability is asked: spellings of both words."""
_YES_OR_NO = re.compile(
    r"\b(yes|no(?![^\S\n]+(?!(?:it|this|that|the|because|since|as|but|and)\b)[^\W\d_]))\b", re.IGNORECASE
)
"""A verdict: a no that belongs to the next word (no errors) is none."""
_ALONE = re.compile(r"\W*(?:yes|no)\W*", re.IGNORECASE)

VerifierPrompt = Callable[["SubtaskInput", str], Sequence[Message]]
"""What the stage sees, and a candidate's text -> the messages that ask whether it is right."""
Check = Callable[[Any, "SubtaskInput"], float | Awaitable[float]]
"""A candidate's parsed value, and what the stage sees -> how good it is; the higher, the better."""


@identified("operators.verifier", version=2, unscored=("prompt_tokens", "tokens", "logprobs"))
@dataclass(frozen=True)
class Verifier:
    """A model that is asked whether a candidate is right, and answers Yes or No at the end.

    Examples:
        >>> at.operators.Verifier(small, tokens=64).name, at.operators.Verifier(small, logprobs=True).name
        ('small', 'small+logprobs')
    """

    model: Model
    """Who judges."""
    prompt: VerifierPrompt | None = None
    """Asks for a verdict; in general words when None."""
    prompt_tokens: float | None = None
    """Mean length of that prompt; the stage's prompt, a sample, and 60 more when None."""
    tokens: int = 128
    """Mean length of a verdict; `sampling` bounds it."""
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=512)
    """How verdicts are sampled."""
    logprobs: bool = False
    """Whether a verdict counts by how probable its Yes was against its No (GenRM), for which log probabilities are
    asked. One without any counts as it says; a server that tells none, or refuses the field, is named in the log."""

    def __post_init__(self) -> None:
        kinds = {
            "model": instance(Model, "a Model"),
            "prompt": PLAIN_FUNCTION.or_none,
            "prompt_tokens": POSITIVE.or_none,
        }
        more = {
            "tokens": COUNT,
            "sampling": instance(Sampling, "a Sampling"),
            "logprobs": instance(bool, "True or False"),
        }
        require_fields(self, "Verifier", {**kinds, **more})

    def _identity(self) -> dict[str, Any]:
        """One that asks for log probabilities counts by it; others count as they did before there were any."""
        return {"logprobs": True} if self.logprobs else {}

    @property
    def name(self) -> str:
        """As in the names of operators."""
        return f"{self.model.name}+logprobs" if self.logprobs else self.model.name

    def messages(self, stage: SubtaskRun, candidate: str) -> Sequence[Message]:
        """The request for a verdict on a candidate."""
        if self.prompt is not None:
            return self.prompt(stage.input, candidate)
        asked = f"Request:\n{request_text(stage)}\n\nProposed response:\n{candidate}"
        return [{"role": "system", "content": _ASKED}, {"role": "user", "content": asked}]

    async def score(self, stage: SubtaskRun, candidate: Drawn, votes: int) -> float:
        """The mean of the verdicts, 1 for yes; one that says neither, or is cut off, is unparsable, and half a yes."""
        asked = {"logprobs": True, "top_logprobs": _ALTERNATIVES} if self.logprobs else {}
        sampling = replace(self.sampling, extra={**self.sampling.extra, **asked})
        drawn = await stage.sample(
            self.messages(stage, candidate.text), votes, model=self.model, sampling=sampling, parse=False
        )
        return sum(_verdict(each, stage) for each in drawn) / len(drawn)

    def load(self, candidates: Amount, lengths: Lengths, votes: int) -> Load:
        """What verdicts on so many candidates take."""
        prompt = self.prompt_tokens or lengths.prompt + lengths.completion + 60
        return Load(candidates, prompt, votes, self.tokens, self.model)


def _verdict(drawn: Drawn, stage: SubtaskRun) -> float:
    said = _YES_OR_NO.findall(drawn.text)
    if not said or (drawn.ended == "unfinished" and not _ALONE.fullmatch(drawn.text)):
        stage.count_unparsable()
        return 0.5
    verdict = said[-1].lower()
    where: TokenLogprobs = next((each for each in reversed(drawn.logprobs) if _word(each[0][0]) == verdict), ())
    yes, no = (_chance(where, word) for word in ("yes", "no"))
    return yes / (yes + no) if yes + no else float(verdict == "yes")


def _chance(told: TokenLogprobs, word: str) -> float:
    """How probable a word was at a place: the sum over its spellings."""
    return sum(math.exp(each) for token, each in dict(told).items() if _word(token) == word)


def _word(token: str) -> str:
    return "".join(filter(str.isalpha, token)).lower()


_VERIFIER = Kind(
    "a Model, a Verifier, or a function of a candidate's value and the stage's input, or a list of these",
    lambda given: all(map(_verifies, given)) and bool(given) if type(given) in (tuple, list) else _verifies(given),
)


def _verifies(given: Any) -> bool:
    return isinstance(given, Model | Verifier) or (callable(given) and not isinstance(given, type))


@dataclass(frozen=True)
class _Verified(Operator):
    """What operators with a verifier share: distinct candidates are scored once each."""

    verifier: Model | Verifier | Check | Sequence[Model | Verifier | Check]
    """Of several, the mean of their scores counts: tests that are run and a judge's verdict together, as R2E-Gym's
    hybrid verifiers (arXiv 2504.07164)."""
    votes: int = 1
    """Verdicts on each candidate, where the verifier is a model."""
    key: Key | None = None
    """As of `Vote`: candidates that it makes equal are one."""
    distinct: float = 1.0
    """Candidates that are expected to be scored, as a share of the samples (none is where all agree): it prices the
    operator, and decides nothing."""

    def __post_init__(self) -> None:
        where = type(self).__name__
        kinds = {"verifier": _VERIFIER, "votes": COUNT, "key": PLAIN_FUNCTION.or_none, "distinct": FRACTION}
        require_fields(self, where, kinds)
        if self.votes > 1 and not self._models:
            raise ConfigError(f"{where}: votes={self.votes} takes a model as the verifier: a function is asked once")

    @property
    def least_samples(self) -> int:
        return 2

    async def run(self, stage: SubtaskRun) -> Any:
        return await self.choose(stage, await stage.usable())

    async def choose(self, stage: SubtaskRun, usable: Sequence[Drawn]) -> Any:
        """The output, of samples that can be used."""
        candidates = {identity(each.value, self.key): each for each in reversed(usable)}  # the first of equal ones
        if len(candidates) == 1:
            return usable[0].value
        scores = await asyncio.gather(*(self.score(stage, each) for each in candidates.values()))
        scored = dict(zip(candidates, scores, strict=True))
        return self._chosen(usable, [scored[identity(each.value, self.key)] for each in usable])

    @abstractmethod
    def _chosen(self, usable: Sequence[Drawn], scores: Sequence[float]) -> Any:
        """The output, of samples with the scores of their answers."""

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return self._loads(samples, lengths, self.distinct)

    def worst_loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return self._loads(samples, lengths, 1.0)

    def _loads(self, samples: Amount, lengths: Lengths, distinct: float) -> Sequence[Load]:
        own = Load(1, lengths.prompt, samples, lengths.completion)
        scored = distinct * np.asarray(samples) * (np.asarray(samples) > 1)
        return [own, *(each.load(scored, lengths, self.votes) for each in self._models)]

    @property
    def _verifiers(self) -> list[Verifier | Check]:
        """All of them; a model alone is short for a verifier."""
        given = self.verifier
        listed = [given] if isinstance(given, Model | Verifier) or callable(given) else given
        return [Verifier(each) if isinstance(each, Model) else each for each in listed]

    @property
    def _models(self) -> list[Verifier]:
        return [each for each in self._verifiers if isinstance(each, Verifier)]

    async def score(self, stage: SubtaskRun, candidate: Drawn) -> float:
        """What the verifiers say of a candidate, in the mean."""
        scores = await asyncio.gather(*(self._said(each, stage, candidate) for each in self._verifiers))
        return sum(scores) / len(scores)

    async def _said(self, verifier: Verifier | Check, stage: SubtaskRun, candidate: Drawn) -> float:
        if isinstance(verifier, Verifier):
            return await verifier.score(stage, candidate, self.votes)
        found = verifier(candidate.value, stage.input)
        score = float(await found if inspect.isawaitable(found) else found)
        if math.isnan(score):
            raise ConfigError(f"subtask {stage.subtask.name!r}: the verifier of {self.name} gave NaN: give a number")
        return score

    def _named(self, kind: str) -> str:
        return named(kind, verifier=self.verifier, votes=self.votes if self.votes > 1 else None, key=self.key)


@identified("operators.best_of", version=1, unscored=("distinct",))
@dataclass(frozen=True)
class BestOf(_Verified):
    """The candidate that the verifier scores highest; among equals the one drawn first.

    Examples:
        >>> at.operators.BestOf(large, votes=2).name
        'best-of(verifier=large,votes=2)'
        >>> [int(load.requests) for load in at.operators.BestOf(large).loads(4, at.operators.Lengths(100, 20))]
        [1, 4]
    """

    @property
    def name(self) -> str:
        return self._named("best-of")

    def _chosen(self, usable: Sequence[Drawn], scores: Sequence[float]) -> Any:
        return max(zip(usable, scores, strict=True), key=lambda pair: pair[1])[0].value


@identified("operators.weighted_vote", version=1, unscored=("distinct",))
@dataclass(frozen=True)
class WeightedVote(_Verified):
    """A vote in which every sample counts as much as the verifier trusts its answer.

    Examples:
        >>> at.operators.WeightedVote(large).name
        'weighted-vote(verifier=large)'
    """

    @property
    def name(self) -> str:
        return self._named("weighted-vote")

    def _chosen(self, usable: Sequence[Drawn], scores: Sequence[float]) -> Any:
        return winner([each.value for each in usable], self.key, scores)


@identified("operators.listwise", version=1)
@dataclass(frozen=True, kw_only=True)
class Listwise(Operator):
    """A judge reads all candidates at once, in shuffled order, and names the best one.

    The order is drawn from the candidates themselves: the same for the same samples, and without a favoured place.
    A verdict that names no candidate is a counted unparsable sample, and the answer with most votes is taken.

    Examples:
        >>> at.operators.Listwise(judge=large).name
        'listwise(judge=large)'
    """

    judge: Model | None = None
    """Who judges; the stage's own model when None."""
    instruction: str = (
        "Several candidate responses to the same request follow. Judge which one answers the request best. "
        "Reply with the number of that candidate alone."
    )
    """Precedes the candidates in the prompt."""
    key: Key | None = None
    """As of `Vote`."""

    def __post_init__(self) -> None:
        judge = instance(Model, "a Model").or_none
        require_fields(self, "Listwise", {"judge": judge, "instruction": TEXT, "key": PLAIN_FUNCTION.or_none})

    @property
    def least_samples(self) -> int:
        return 2

    @property
    def name(self) -> str:
        return named("listwise", judge=self.judge, key=self.key)

    async def run(self, stage: SubtaskRun) -> Any:
        usable = await stage.usable()
        distinct = list({identity(each.value, self.key): each for each in reversed(usable)}.values())
        if len(distinct) == 1:
            return usable[0].value
        shuffled = _shuffled(distinct)
        (verdict,) = await stage.sample(
            self._messages(stage, shuffled), 1, model=self.judge, sampling=_VERDICT, parse=False
        )
        said = re.search(r"\d+", verdict.text[:_MOST_READ])
        if said and 1 <= int(said[0]) <= len(shuffled):
            return shuffled[int(said[0]) - 1].value
        stage.count_unparsable()
        return winner([each.value for each in usable], self.key)

    def _messages(self, stage: SubtaskRun, candidates: Sequence[Drawn]) -> Sequence[Message]:
        listed = "\n\n".join(f"[{number}] {each.text}" for number, each in enumerate(candidates, start=1))
        asked = f"Request:\n{request_text(stage)}\n\nCandidates:\n{listed}"
        return [{"role": "system", "content": self.instruction}, {"role": "user", "content": asked}]

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        prompt = lengths.prompt + np.multiply(samples, lengths.completion)
        many = np.asarray(samples) > 1
        return [
            Load(1, lengths.prompt, samples, lengths.completion),
            Load(many * 1.0, prompt, 1, _VERDICT.max_tokens, self.judge),
        ]


_VERDICT = Sampling(temperature=0.0, max_tokens=8)
_MOST_READ = 100


def _shuffled(candidates: Sequence[Drawn]) -> list[Drawn]:
    """In an order that is a function of the candidates' texts."""
    seed = [ord(character) for each in candidates for character in each.text]
    order = np.random.default_rng(seed or [0]).permutation(len(candidates))
    return [candidates[int(i)] for i in order]
