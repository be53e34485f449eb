"""Search over the steps of reasoning, led by a process reward model, against a vLLM server.

REBASE (arXiv 2408.00724, section 3) draws a first step of every sample, and has a reward model score what is written
so far; the samples are then shared out anew: a step is gone on with as often as the softmax of its score says. With
`width`, trees of so many samples are searched apart from one another, as in DVTS (search-and-learn); `temperature=0`
goes on with the best step of each tree alone. With `sharing`, only steps that are worth their share of the server's
cache of prefixes are gone on with, as in ETS (arXiv 2502.13575; `widths`).

A step is gone on with by vLLM's `continue_final_message`, and ends with `separator`, which vLLM leaves in the text
(`include_stop_str_in_output`): a sample that ends otherwise has said all. Scores are given by vLLM's `/pooling`
(`SubtaskRun.reward`). Both are kept in the sample pool.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np

from agenttts._util.checks import COUNT, NOT_NEGATIVE, PLAIN_FUNCTION, POSITIVE, TEXT, Kind, instance, require_fields
from agenttts.errors import ConfigError
from agenttts.pipeline.ballots import Key, identity, winner
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.model import Message, Model
from agenttts.pipeline.operator import Amount, Drawn, Lengths, Load, Operator, SubtaskRun, named
from agenttts.pipeline.operators.sequential import one_each
from agenttts.pipeline.operators.widths import shares, worth_their_cache
from agenttts.pipeline.pairing import sampling_with

_KEPT = {"include_stop_str_in_output": True}
_GONE_ON_WITH = {"continue_final_message": True, "add_generation_prompt": False}
_ETS = ("sharing", "diversity", "alike")
_SEPARATOR = Kind("a text that is not empty", lambda text: TEXT.holds(text) and text != "")


@dataclass(frozen=True)
class _Chain:
    """What one sample has said so far."""

    tree: int
    steps: tuple[str, ...] = ()
    ended: bool = False
    score: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.steps).lstrip()


@identified("operators.step_search", version=1, unscored=("tokens", *_ETS))
@dataclass(frozen=True)
class StepSearch(Operator):
    """The samples are drawn step by step, and shared out among the steps that a reward model likes (REBASE).

    The output is a vote in which every sample counts as its reward. Needs vLLM, with a chat template that keeps the end
    of a message that is gone on with (`--chat-template`), and a model that does not think in `<think>` tags.

    Examples:
        >>> search = at.operators.StepSearch(at.Model("prm", 7e9), depth=4, tokens=50)
        >>> search.name
        'step-search(reward=prm,depth=4)'
        >>> [float(load.requests) for load in search.loads(8, at.operators.Lengths(100, 150))]
        [1.0, 16.0, 24.0]
    """

    writes_anew = True

    reward: Model
    """A process reward model that vLLM serves for pooling (`--runner pooling`), asked at `/pooling`: the last number of
    its last row scores the last step, from 0 to 1. Further fields, as a task, are those of `Model.request`."""
    _: KW_ONLY
    width: int | None = None
    """Samples of one tree; the allocation's samples share one when None."""
    depth: int = 25
    """Most steps of a sample."""
    temperature: float = 0.2
    """Of the softmax over scores; 0 goes on with the best step alone."""
    step_tokens: int = 256
    """Most tokens of a step."""
    tokens: float = 64
    """Mean tokens of a step: they price the operator, and decide nothing."""
    separator: str = "\n\n"
    """How a step ends that is not the last."""
    mark: str = ""
    """What the reward model reads after each step, as "<extra_0>" of Qwen2.5-Math-PRM."""
    sharing: float = 0.0
    """What the whole tree's cache counts against all of REBASE's widths (ETS's first lambda, 1 there): steps whose part
    of it is not worth theirs are dropped, and the others get their samples. What is drawn, and the price, stay the
    same: the cache that it saves is not priced."""
    diversity: float = 0.0
    """What it counts that steps of all kinds go on (ETS's second lambda, 1.5 there with 16 samples)."""
    alike: Callable[[str], Any] | None = None
    """A step -> its kind: equal values are one kind. Its words when None: ETS itself clusters the steps' embeddings."""
    key: Key | None = None
    """As of `Vote`."""

    def __post_init__(self) -> None:
        kinds = {"reward": instance(Model, "a Model"), "width": COUNT.or_none, "temperature": NOT_NEGATIVE}
        more = dict.fromkeys(("depth", "step_tokens"), COUNT) | {"tokens": POSITIVE, "key": PLAIN_FUNCTION.or_none}
        ets = {"sharing": NOT_NEGATIVE, "diversity": NOT_NEGATIVE, "alike": PLAIN_FUNCTION.or_none}
        require_fields(self, "StepSearch", {**kinds, **more, **ets, "separator": _SEPARATOR, "mark": TEXT})
        if (self.diversity and not self.sharing) or (self.alike and not self.diversity):
            raise ConfigError(
                "StepSearch: alike decides nothing without diversity, and diversity nothing without sharing: set "
                "sharing and diversity above 0, or leave them out"
            )
        if self.tokens > self.step_tokens:
            raise ConfigError(
                f"StepSearch: tokens={self.tokens:g}, the mean of a step, must not be over "
                f"step_tokens={self.step_tokens}, the most"
            )

    def _identity(self) -> dict[str, Any]:
        """One that drops steps counts by how; others count as they did before there was a choice."""
        if not self.sharing:
            return {}
        return {"sharing": float(self.sharing), "diversity": float(self.diversity), "alike": self.alike}

    @property
    def least_samples(self) -> int:
        return 2 if self.width is None else self.width + 1

    @property
    def name(self) -> str:
        usual = {"depth": 25, "temperature": 0.2, "step_tokens": 256, "sharing": 0, "diversity": 0}
        changed = {name: getattr(self, name) for name, each in usual.items() if getattr(self, name) != each}
        return named("step-search", reward=self.reward, width=self.width, **changed, alike=self.alike, key=self.key)

    async def run(self, stage: SubtaskRun) -> Any:
        width = self.width or stage.samples
        chains = [_Chain(sample // width) for sample in range(stage.samples)]
        said: list[_Chain] = []
        for level in range(1, self.depth + 1):
            chains = await self._scored(stage, await self._drawn(stage, chains, first=level == 1))
            said += [chain for chain in chains if chain.ended or level == self.depth]
            chains = self._shared_out([chain for chain in chains if not chain.ended])
            if not chains:
                break
        answers = [(stage.parse(chain.text), chain) for chain in said]
        stage.require_usable([Drawn(chain.text, value, 0) for value, chain in answers])
        usable = [(value, chain.score) for value, chain in answers if value is not None]
        return winner([value for value, _ in usable], self.key, [score for _, score in usable])

    async def _drawn(self, stage: SubtaskRun, chains: Sequence[_Chain], *, first: bool) -> list[_Chain]:
        """Every chain with one step more."""
        usual = sampling_with(stage.subtask.sampling, stage.input.options)
        sampling = replace(
            usual,
            max_tokens=min(usual.max_tokens or self.step_tokens, self.step_tokens),
            stop=(*usual.stop, self.separator),
            extra={**usual.extra, **_KEPT, **({} if first else _GONE_ON_WITH)},
        )
        # A copy of the stage's prompt: a step must not be measured as one of its samples.
        prompts = [[*stage.messages] if first else _going_on(stage, chain.text) for chain in chains]
        drawn = await one_each(stage, prompts, sampling=sampling, parse=False)
        return [
            replace(chain, steps=(*chain.steps, step.text), ended=not self._goes_on(step))
            for chain, step in zip(chains, drawn, strict=True)
        ]

    def _goes_on(self, step: Drawn) -> bool:
        return step.ended == "unfinished" or (step.text.endswith(self.separator) and not step.ended)

    async def _scored(self, stage: SubtaskRun, chains: Sequence[_Chain]) -> list[_Chain]:
        scores = await asyncio.gather(*(self._score(stage, chain) for chain in chains))
        return [replace(chain, score=score) for chain, score in zip(chains, scores, strict=True)]

    async def _score(self, stage: SubtaskRun, chain: _Chain) -> float:
        if not chain.text:
            return 0.0
        marked = "".join(step + self.mark for step in chain.steps).lstrip()
        return await stage.reward(_going_on(stage, marked), model=self.reward, probability=True)

    def _shared_out(self, chains: Sequence[_Chain]) -> list[_Chain]:
        """As many chains as there are, those of each tree as often as their scores say."""
        trees: dict[int, list[_Chain]] = {}
        for chain in chains:
            trees.setdefault(chain.tree, []).append(chain)
        return [chain for tree in trees.values() for chain in self._gone_on_with(tree)]

    def _gone_on_with(self, tree: Sequence[_Chain]) -> list[_Chain]:
        ranked = sorted(tree, key=lambda chain: -chain.score)
        widths = shares([chain.score for chain in ranked], self.temperature)
        if self.sharing:
            ranked = self._worth_their_cache(ranked, widths)
            widths = shares([chain.score for chain in ranked], self.temperature, len(tree))
        return [chain for chain, width in zip(ranked, widths, strict=True) for _ in range(width)]

    def _worth_their_cache(self, ranked: Sequence[_Chain], widths: Sequence[int]) -> list[_Chain]:
        kept = worth_their_cache(
            [chain.steps for chain in ranked],
            widths,
            sharing=self.sharing,
            diversity=self.diversity,
            clusters=[identity(chain.steps[-1], self.alike or _words) for chain in ranked] if self.diversity else (),
        )
        return [chain for chain in ranked if chain.steps in kept]

    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        """As of samples of which no two share a step but the prompt: how many do depends on the query."""
        steps = min(max(lengths.completion / self.tokens, 1.0), float(self.depth))
        return self._loads(samples, lengths, steps, min(lengths.completion / steps, self.step_tokens))

    def worst_loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        return self._loads(samples, lengths, self.depth, self.step_tokens)

    def _loads(self, samples: Amount, lengths: Lengths, steps: float, tokens: float) -> Sequence[Load]:
        counts, prompt = np.asarray(samples), lengths.prompt
        # The j-th step is drawn after j - 1 others, and scored with them.
        return [
            Load(1, prompt, counts, tokens),
            Load(counts * (steps - 1), prompt + tokens * steps / 2, 1, tokens),
            Load(counts * steps, prompt + tokens * (steps + 1) / 2, 1, 0, self.reward),
        ]


def _going_on(stage: SubtaskRun, text: str) -> list[Message]:
    return [*stage.messages, {"role": "assistant", "content": text}]


def _words(step: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", step.casefold()))
