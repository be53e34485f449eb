"""What a search will take, before it takes anything: requests, tokens and dollars of each model, and minutes.

To expect: a search that tries allocations at random is played through, with a pool in which a stage that has the same
choices before it asks the same again. Upstream choices that differ often give the same output, which is then reused,
too: how much was reused is taken from earlier studies of the pipeline in the store, where there are any, and what
their trials asked is not asked again.
At most: every trial sees all examples, asks for the dearest that the budget allows, reuses nothing, and every sample is
as long as `max_tokens`.
Token lengths are those that earlier studies measured, else the declared ones. What a planner takes is not in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

from agenttts.db import Store
from agenttts.llm.samples import Spend
from agenttts.pipeline import Model, Subtask
from agenttts.pipeline.pairing import Pairing, sampling_with
from agenttts.pipeline.tariff import Tariff, tariff
from agenttts.searching.plan import SearchPlan
from agenttts.searching.pricing import known_lengths, space_at
from agenttts.space import Allocation, Choice, SearchSpace
from agenttts.study.lengths import declared_lengths, measured_lengths
from agenttts.study.trial import Trial

_PLAYED = 8
"""Random searches that are played through."""
_LOOKS = 2
"""Looks that a trial of a race gets in the mean."""


@dataclass
class Amount:
    """What one model is asked for."""

    requests: float = 0.0
    prompt: float = 0.0
    """Tokens."""
    completion: float = 0.0

    def add(self, requests: float, prompt: float, completion: float) -> None:
        """Count further requests, of so many tokens in all."""
        self.requests += requests
        self.prompt += prompt
        self.completion += completion

    @property
    def tokens(self) -> float:
        """Of prompts and completions."""
        return self.prompt + self.completion

    def usd(self, model: Model) -> float:
        """What that costs; 0 where the price is not known."""
        prices = tariff(model)
        return prices.usd(self.prompt, self.completion) if prices else 0.0


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What a store has of earlier studies of a pipeline."""

    trials: tuple[Trial, ...] = ()
    studies: int = 0
    paid: Spend = Spend()
    """What the trials that paid for tokens took, and reused."""
    samples: int = 0
    """Samples that the store's pool holds, of whatever pipeline."""

    @classmethod
    def read(cls, store: Store, pipeline: str) -> Earlier:
        """What there is."""
        named = [study for study in store.studies() if study.spec.pipeline == pipeline]
        studies = [study for study in named if not _simulated(study.details)]
        trials = [trial for study in studies for trial in store.archive(study).trials]
        paid = [trial.evaluation.spend for trial in trials if trial.evaluation.spend.tokens]
        return cls(
            trials=tuple(trials),
            studies=len(studies),
            paid=sum(paid, start=Spend()),
            samples=store.samples.count(),
        )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a search will take."""

    models: Mapping[str, Model]
    expected: Mapping[str, Amount]
    """Model -> what to expect."""
    most: Mapping[str, Amount]
    """Model -> at most, if it is asked wherever it can be."""
    most_tokens: float
    """Of all models together."""
    most_usd: float
    earlier: Earlier = field(default_factory=Earlier)

    @property
    def tokens(self) -> float:
        """To expect."""
        return sum(amount.tokens for amount in self.expected.values())

    @property
    def usd(self) -> float:
        """To expect, of the models whose prices are known."""
        return sum(amount.usd(self.models[name]) for name, amount in self.expected.items())

    @property
    def tariffs(self) -> dict[str, Tariff]:
        """Model -> prices, where they are known."""
        return {name: found for name, model in self.models.items() if (found := tariff(model)) is not None}

    @property
    def seconds(self) -> float | None:
        """At the rate of the earlier studies; None where there is none."""
        paid = self.earlier.paid
        return self.tokens * paid.seconds / paid.tokens if paid.tokens and paid.seconds else None


def forecast(plan: SearchPlan, earlier: Earlier | None = None) -> Forecast:
    """What the search of a plan will take, from its first trial.

    Raises:
        BudgetTooSmall: When no allocation is within the budget at the lengths that earlier studies measured.
    """
    known = earlier or Earlier()
    space = space_at(plan.space, known_lengths(plan.space, known.trials))
    examples, held_out = len(plan.environment.examples), len(plan.environment.held_out) if plan.validate else 0
    seen = examples if plan.racing is None else min(examples, _LOOKS * plan.racing.look)
    play = _Play(space, _measured(space, known.trials))
    for number in range(_PLAYED):
        tried = space.sample(np.random.default_rng(number), min(plan.limits.trials, space.size))
        play.search(tried, seen / _PLAYED, play.held(known.trials, set(plan.environment.examples), seen))
        play.search(tried[:1], held_out / _PLAYED, {})
    worst = _worst_by_model(space, plan.limits.trials * examples + held_out * len(plan.spaces))
    return Forecast(
        models={model.name: model for model in plan.space.pipeline.models},
        expected=play.expected(known.paid),
        most=_summed(amounts for stage in worst for amounts in stage),
        most_tokens=sum(max(sum(each.tokens for each in amounts.values()) for amounts in stage) for stage in worst),
        most_usd=sum(max(_usd(amounts) for amounts in stage) for stage in worst),
        earlier=known,
    )


Amounts = dict[Model, Amount]
Prompt = tuple[str, str, tuple[object, ...]]
"""What decides a stage's prompt: the stage, who is asked and how, and the choices of the stages before it."""


@dataclass
class _Play:
    """Searches that are played through."""

    space: SearchSpace
    stages: Mapping[str, Subtask]
    """With the lengths that are expected."""
    amounts: Amounts = field(default_factory=lambda: defaultdict(Amount))
    drawn: float = 0.0
    """Tokens of all draws, those that the pool answers included."""

    def held(self, trials: Sequence[Trial], examples: Set[str], count: int) -> dict[Prompt, int]:
        """How many samples of which prompts the pool has of trials that saw so many of these examples."""
        held: dict[Prompt, int] = {}
        for trial in trials:
            if len(examples & {result.example for result in trial.evaluation.results}) >= count:
                for prompt, choice in self._prompts(trial.allocation):
                    held[prompt] = max(held.get(prompt, 0), choice.samples)
        return held

    def search(self, tried: Sequence[Allocation], examples: float, held: dict[Prompt, int]) -> None:
        """Try allocations one after the other, with a pool that holds this, and then what they have brought."""
        for allocation in tried:
            for prompt, choice in self._prompts(allocation):
                had = held.get(prompt, 0)
                held[prompt] = max(had, choice.samples)
                self._ask(self.stages[prompt[0]], choice, had, examples)

    def _prompts(self, allocation: Allocation) -> Iterator[tuple[Prompt, Choice]]:
        for subtask in self.space.pipeline.order:
            if (choice := allocation.get(subtask.name)) is not None:
                before = tuple((name, allocation.get(name)) for name in _ancestors(self.space, subtask.name))
                yield (subtask.name, choice.pairing, before), choice

    def _ask(self, subtask: Subtask, choice: Choice, had: int, examples: float) -> None:
        """Ask for the samples beyond those that the same prompts have brought."""
        pairing, new = subtask.pairing(choice.pairing), max(choice.samples - had, 0) / choice.samples
        for load in pairing.operator.loads(choice.samples, subtask.lengths(pairing.model, pairing.options)):
            requests = examples * float(load.requests)
            prompt, completion = requests * float(load.prompt), requests * float(load.choices) * float(load.completion)
            self.drawn += prompt + completion
            if new:
                self.amounts[load.model or pairing.model].add(requests, prompt, completion * new)

    def expected(self, paid: Spend) -> dict[str, Amount]:
        """Model -> what to expect, where earlier studies reused as large a share as they did."""
        tokens, scale = sum(each.tokens for each in self.amounts.values()), 1.0
        if paid.tokens and tokens:
            scale = min(paid.tokens / (paid.tokens + paid.reused_tokens) * self.drawn / tokens, 1.0)
        return {
            model.name: Amount(each.requests * scale, each.prompt * scale, each.completion * scale)
            for model, each in self.amounts.items()
        }


def _measured(space: SearchSpace, trials: Sequence[Trial]) -> dict[str, Subtask]:
    """The subtasks with whatever lengths were measured."""
    found: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    declared = declared_lengths(space.pipeline)
    for (subtask, model), measured in measured_lengths(trials).items():
        if model in declared.get(subtask, {}):
            found[subtask][model] = measured.prompt.mean, measured.completion.mean
    return {subtask.name: subtask.with_lengths(found[subtask.name]) for subtask in space.pipeline.subtasks}


def _ancestors(space: SearchSpace, subtask: str) -> list[str]:
    parents = space.pipeline.parents(subtask)
    return sorted({each for parent in parents for each in (parent, *_ancestors(space, parent))})


def _worst_by_model(space: SearchSpace, examples: int) -> list[list[Amounts]]:
    """Of each stage, what its dearest query with each pairing asks of each model, times the examples."""
    return [
        [
            _worst(options.subtask, options.subtask.pairings[index], int(samples.max()), examples)
            for index in dict.fromkeys(options.pairings.tolist())
            for samples in [options.samples[options.pairings == index]]
        ]
        for options in space.options
    ]


def _worst(subtask: Subtask, pairing: Pairing, samples: int, examples: int) -> Amounts:
    found: Amounts = defaultdict(Amount)
    for load in pairing.operator.worst_loads(samples, subtask.lengths(pairing.model, pairing.options)):
        requests, model = examples * float(load.requests), load.model or pairing.model
        longest = max(
            float(load.completion), model.sampling(sampling_with(subtask.sampling, pairing.options)).max_tokens or 0
        )
        found[model].add(requests, requests * float(load.prompt), requests * float(load.choices) * longest)
    return found


def _usd(amounts: Amounts) -> float:
    return sum(amount.usd(model) for model, amount in amounts.items())


def _summed(parts: Iterable[Amounts]) -> dict[str, Amount]:
    """Model -> the dearest of what its stages may ask of it, stage by stage."""
    found: dict[str, Amount] = defaultdict(Amount)
    for amounts in parts:
        for model, each in amounts.items():
            found[model.name].add(each.requests, each.prompt, each.completion)
    return dict(found)


def _simulated(details: Mapping[str, object]) -> bool:
    return str(details.get("recorded") or "").startswith("simulated")
