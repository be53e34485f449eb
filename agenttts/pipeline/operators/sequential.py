"""Operators whose samples build on one another.

Revise   chains of attempts, each of which sees the last four (Snell et al., arXiv 2408.03314)
Refine   rounds that show the best and the worst attempt so far (Review, Refine, Repeat, arXiv 2504.01931)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenttts._util.checks import COUNT, PLAIN_FUNCTION, require_fields
from agenttts.pipeline.ballots import Key, winner
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.model import Message, Model, Sampling
from agenttts.pipeline.operator import Amount, Drawn, Lengths, Load, Operator, SubtaskRun, named
from agenttts.pipeline.operators.verify import BestOf, Check, Verifier

_SHOWN = 4
"""Attempts that a revision sees: the last ones (arXiv 2408.03314, section 6)."""
_REVISE = (
    "Your earlier attempts at this request follow, the last one at the end. They may be wrong. Look for mistakes, and "
    "write a better response in the form that the request asks for, without mentioning the attempts."
)
_REFINE = (
    "The best and the worst attempt at this request so far follow. Work out what parts them and what is still wrong in "
    "the better one, and write a better response in the form that the request asks for, without mentioning them."
)


@identified("operators.revise", version=1, unscored=("verifier",))
@dataclass(frozen=True, kw_only=True)
class Revise(Operator):
    """`width` chains that share the samples; every attempt but the first sees the last four of its chain.

    The output is a vote over all attempts, or, with a verifier, the best of all within and across the chains: the last
    one alone would often have turned a right answer wrong.

    Examples:
        >>> revise = at.operators.Revise(width=2)
        >>> [int(load.requests) for load in revise.loads(6, at.operators.Lengths(100, 20))]
        [1, 2, 2, 0, 0]
    """

    writes_anew = True

    width: int = 1
    """Chains, side by side."""
    key: Key | None = None
    """As of `Vote`."""
    verifier: Model | Verifier | Check | Sequence[Model | Verifier | Check] | None = None
    """As of `BestOf`."""

    def __post_init__(self) -> None:
        require_fields(self, "Revise", {"width": COUNT, "key": PLAIN_FUNCTION.or_none})
        if self.verifier is not None:
            BestOf(self.verifier)  # checks it

    def _identity(self) -> dict[str, Any]:
        """One with a verifier counts by it; others count as they did before there were any."""
        return {} if self.verifier is None else {"verifier": self.verifier}

    @property
    def _best(self) -> BestOf | None:
        return None if self.verifier is None else BestOf(self.verifier, key=self.key)

    @property
    def least_samples(self) -> int:
        return self.width + 1

    @property
    def name(self) -> str:
        return named("revise", width=self.width, key=self.key, verifier=self.verifier)

    async def run(self, stage: SubtaskRun) -> Any:
        chains = [[first] for first in await stage.sample(samples=min(self.width, stage.samples))]
        left = stage.samples - len(chains)
        while left > 0:
            going_on = chains[:left]
            prompts = [attempts_shown(stage, _REVISE, [each.text for each in chain[-_SHOWN:]]) for chain in going_on]
            for chain, attempt in zip(going_on, await one_each(stage, prompts), strict=True):
                chain.append(attempt)
            left -= len(chains)
        usable = stage.require_usable([attempt for chain in chains for attempt in chain])
        if self._best is not None:
            return await self._best.choose(stage, usable)
        return winner([each.value for each in usable], self.key)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        counts = np.asarray(samples)
        first = Load(1, lengths.prompt, np.minimum(counts, self.width), lengths.completion)
        later = [
            Load(
                np.maximum(counts - seen * self.width, 0) if seen == _SHOWN
                else np.clip(counts - seen * self.width, 0, self.width),
                lengths.prompt + seen * lengths.completion,
                1,
                lengths.completion,
            )
            for seen in range(1, _SHOWN + 1)
        ]  # fmt: skip
        return [first, *later, *(self._best.loads(samples, lengths)[1:] if self._best else ())]


async def one_each(
    stage: SubtaskRun, prompts: Sequence[Sequence[Message]], *, sampling: Sampling | None = None, parse: bool = True
) -> list[Drawn]:
    """One sample for each prompt; those that are the same share a request, and get different samples.

    Args:
        stage: The stage's handle.
        prompts: One for each sample.
        sampling: As of `SubtaskRun.sample`.
        parse: As of `SubtaskRun.sample`.

    Examples:
        >>> prompt = [{"role": "user", "content": "What is the capital of Norway?"}]
        >>> [each.text for each in asyncio.run(at.operators.one_each(handle, [prompt, prompt]))]
        ['Oslo', 'Rome']
    """
    alike = [[i for i, other in enumerate(prompts) if other == prompt] for prompt in prompts]
    groups = [group for i, group in enumerate(alike) if group[0] == i]
    drawn = await asyncio.gather(
        *(stage.sample(prompts[group[0]], len(group), sampling=sampling, parse=parse) for group in groups)
    )
    left = {group[0]: iter(samples) for group, samples in zip(groups, drawn, strict=True)}
    return [next(left[group[0]]) for group in alike]


@identified("operators.refine", version=2)
@dataclass(frozen=True)
class Refine(Operator):
    """Rounds of `width` samples; each round but the first sees the best and the worst attempt so far.

    A verifier says which these are, and which attempt of all is the output.

    Examples:
        >>> at.operators.Refine(large, width=2).name
        'refine(verifier=large,width=2)'
    """

    writes_anew = True

    verifier: Model | Verifier | Check | Sequence[Model | Verifier | Check]
    """As of `BestOf`."""
    width: int = 1
    """Samples of a round."""

    def __post_init__(self) -> None:
        BestOf(self.verifier)  # checks it
        require_fields(self, "Refine", {"width": COUNT})

    @property
    def least_samples(self) -> int:
        return self.width + 1

    @property
    def name(self) -> str:
        return named("refine", verifier=self.verifier, width=self.width)

    async def run(self, stage: SubtaskRun) -> Any:
        attempts: list[tuple[float, Drawn]] = []
        drawn = await stage.sample(samples=min(self.width, stage.samples))
        used = len(drawn)
        while True:
            usable = [each for each in drawn if each.value is not None]
            scores = await asyncio.gather(*(BestOf(self.verifier).score(stage, each) for each in usable))
            attempts += zip(scores, usable, strict=True)
            if used >= stage.samples:
                break
            count = min(self.width, stage.samples - used)
            if attempts:
                drawn = await stage.sample(attempts_shown(stage, _REFINE, _best_and_worst(attempts)), count)
            else:  # nothing to show: more samples of the same prompt
                drawn = (await stage.sample(samples=used + count))[used:]
            used += count
        return best_attempt(stage, attempts)

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        counts = np.asarray(samples)
        first = np.minimum(counts, self.width)
        rounds = np.ceil((counts - first) / self.width)
        drawn = np.divide(counts - first, rounds, out=np.zeros(np.shape(counts)), where=rounds > 0)
        verdicts = BestOf(self.verifier).loads(counts, lengths)[1:]
        return [
            Load(1, lengths.prompt, first, lengths.completion),
            Load(rounds, lengths.prompt + 2 * lengths.completion, drawn, lengths.completion),
            *(each._replace(requests=counts) for each in verdicts),
        ]


def best_attempt(stage: SubtaskRun, attempts: Sequence[tuple[float, Drawn]]) -> Any:
    """The value of the attempt with the highest score, of those that can be used."""
    usable = {id(each) for each in stage.require_usable([each for _, each in attempts])}
    return max((pair for pair in attempts if id(pair[1]) in usable), key=lambda pair: pair[0])[1].value


def _best_and_worst(attempts: Sequence[tuple[float, Drawn]]) -> list[str]:
    ranked = sorted(attempts, key=lambda pair: -pair[0])
    texts = [f"Best so far:\n{ranked[0][1].text}", f"Worst so far:\n{ranked[-1][1].text}"]
    return texts if len(ranked) > 1 else texts[:1]


def attempts_shown(stage: SubtaskRun, instruction: str, shown: Sequence[str]) -> list[Message]:
    """The stage's prompt again, with earlier attempts."""
    listed = "\n\n".join(f"[{number}]\n{text}" for number, text in enumerate(shown, start=1))
    return [*stage.messages, {"role": "user", "content": f"{instruction}\n\n{listed}"}]
