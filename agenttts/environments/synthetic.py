"""Synthetic problems with a known optimum, to compare search methods on. No model runs, and no score is a model's.

A problem is drawn from a family by its seed. Stage i with a model of relative log size r in [0, 1] and S samples has
the quality

    q_i(r, S) = a + lift (1 - a) (1 - S^(-rate u)) - over max(0, log2(S / knee)),    a = base + gain r^shape

where u = 1/2 + the mean quality of the stages before it: behind better stages, samples saturate sooner (the paper's
Insight 3). The pipeline's true score is the product of 1 - w_i (1 - q_i): what an early stage loses, no later one
recovers. base, gain, shape, lift, rate, over, knee and w are drawn per stage; half of the stages over-fuse.

Each example's score is a coin with that chance, drawn once per example and allocation ("coin"), with a difficulty of
the example's own that all allocations share ("shared"), or the true score itself ("exact"). Some families break an
insight on purpose: no preference by size ("sizes"), nothing gained before some 16 samples ("late"), or stages that add
up and do not depend on one another ("independent").
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agenttts.errors import ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.pipeline.fingerprint import identified
from agenttts.protocols import Environment
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.combinations import Options
from agenttts.space.cost import Budget, FlopsCost
from agenttts.study.evaluation import Evaluation, ExampleResult

Floats = NDArray[np.float64]
_SMALLEST = 3e9
_LARGEST = 72e9
_MFLOP = 1e6
DIFFICULTY_SD = 1.2


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of problem."""

    name: str
    stages: int = 3
    models: int = 4
    counts: tuple[int, ...] = (1, 4, 16)
    """Numbers of samples that a stage may have."""
    examples: int = 100
    share: float = 0.35
    """Share of all allocations that fit the budget."""
    noise: Literal["coin", "shared", "exact"] = "coin"
    twist: Literal["", "sizes", "late", "independent"] = ""
    """Which insight is false."""
    stage_metrics: bool = False
    """Whether every stage but the last reports a score of its own: a coin with its quality as the chance."""


_LADDER = (1, 2, 3, 5, 8, 13, 21, 34, 55, 100)
FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(name="table"),
        Family(name="exact", noise="exact"),
        Family(name="shared", noise="shared"),
        Family(name="tight", share=0.08),
        Family(name="loose", share=0.8),
        Family(name="two-stage", stages=2, models=6, counts=_LADDER, noise="shared", examples=200),
        Family(name="four-stage", stages=4, models=3, counts=(1, 3, 9, 27), examples=60),
        Family(name="ladder", models=3, counts=_LADDER, examples=30),
        Family(name="many-examples", models=2, counts=_LADDER, examples=500, noise="shared"),
        Family(name="stage-metrics", stage_metrics=True),
        Family(name="no-size-preference", twist="sizes"),
        Family(name="late-saturation", twist="late", counts=_LADDER, models=3),
        Family(name="no-interaction", twist="independent"),
    )
}
"""The families that the benchmark compares on; the last three break an insight each."""


UNITS = ("base", "gain", "shape", "lift", "rate", "over", "knee", "weight")
"""What a stage is made of, beside the deviations and the order of its models; each lies in [0, 1] before it is used."""


class SyntheticStage(NamedTuple):
    """A stage, or the same stage of many problems."""

    skill: Floats
    """One-sample quality by model, shape (models,) or (problems, models)."""
    lift: Floats
    """A number or, like all that follow, of shape (problems, 1)."""
    rate: Floats
    over: Floats
    knee: Floats
    weight: Floats


class SyntheticEnvironment(Environment):
    """One problem of a family (`protocols.Environment`); `true_score` and `optimum` are what a search cannot see.

    Args:
        family: What kind of problem.
        seed: Which one.
    """

    recorded = "synthetic problem; no model runs"

    def __init__(self, family: Family, seed: int) -> None:
        self.family, self._seed = family, seed
        self.name = f"synthetic-{family.name}-{seed}"
        rng = np.random.default_rng([20250801, seed, zlib.crc32(family.name.encode())])
        sizes = np.geomspace(_SMALLEST, _LARGEST, family.models)
        self._stages = [_drawn_stage(family, rng) for _ in range(family.stages)]
        self._difficulty = rng.normal(0, DIFFICULTY_SD, family.examples)
        models = tuple(Model(f"m{i + 1}", float(size)) for i, size in enumerate(sizes))
        self.pipeline = Pipeline(
            self.name, tuple(_subtask(i, models, family, rng) for i in range(family.stages)), metric=_never
        )
        self.examples = tuple(str(i) for i in range(family.examples))
        self.default_budget: Budget = _budget(self.pipeline, family)

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """One part: the problem."""
        return {"the problem": self.fingerprint}

    @property
    def fingerprint(self) -> str:
        """The problem's name: it is a function of family and seed."""
        return f"{self.name}:{zlib.crc32(repr(self.family).encode()):08x}"

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Nothing: the pipeline is not run."""
        return ()

    async def evaluate(
        self, allocation: Allocation, examples: Sequence[str] | None = None, *, pool: SamplePool | None = None
    ) -> Evaluation:
        """See `protocols.Environment.evaluate`."""
        scores, of_stages = self.scores(allocation), self._stage_scores(allocation)
        names = self.examples if examples is None else examples
        if unknown := [name for name in names if name not in self.examples]:
            raise ConfigError(f"environment {self.name!r} has no example {unknown[0]!r}")
        results = [
            ExampleResult(
                example=name,
                score=float(scores[int(name)]),
                subtask_scores={stage: float(values[int(name)]) for stage, values in of_stages.items()},
            )
            for name in names
        ]
        return Evaluation(results=tuple(results))

    def scores(self, allocation: Allocation) -> Floats:
        """Every example's score."""
        truth = self.true_score(allocation)
        if self.family.noise == "exact":
            return np.full(self.family.examples, truth)
        rng = np.random.default_rng([self._seed, zlib.crc32(allocation.key.encode())])
        chances = np.full(self.family.examples, truth)
        if self.family.noise == "shared":
            chances = _with_difficulty(truth, self._difficulty)
        result: Floats = (rng.random(self.family.examples) < chances).astype(float)
        return result

    def _stage_scores(self, allocation: Allocation) -> dict[str, Floats]:
        """Stage -> every example's score by its own metric: the same for all that is behind the same choices."""
        if not self.family.stage_metrics:
            return {}
        qualities, names = self._qualities(*self._arrays(allocation)), list(allocation)
        scores = {}
        for i, name in enumerate(names[:-1]):
            before = Allocation({each: allocation[each] for each in names[: i + 1]})
            rng = np.random.default_rng([self._seed, zlib.crc32(before.key.encode())])
            scores[name] = (rng.random(self.family.examples) < qualities[i][0]).astype(float)
        return scores

    def true_score(self, allocation: Allocation) -> float:
        """The expected score."""
        return float(self._truth(*self._arrays(allocation))[0])

    def _arrays(self, allocation: Allocation) -> tuple[NDArray[np.int64], Floats]:
        """Its models and numbers of samples, both of shape (1, stages)."""
        names = [[model.name for model in subtask.models] for subtask in self.pipeline.subtasks]
        choices = [allocation[subtask.name] for subtask in self.pipeline.subtasks]
        models = np.array([[names[i].index(choice.model) for i, choice in enumerate(choices)]])
        return models, np.array([[choice.samples for choice in choices]], dtype=float)

    def optimum(self, space: SearchSpace) -> float:
        """The highest expected score within a budget."""
        return float(self._truth(*feasible(space)).max())

    def _qualities(self, models: NDArray[np.int64], samples: Floats) -> list[Floats]:
        return _qualities(self.family, self._stages, models, samples)

    def _truth(self, models: NDArray[np.int64], samples: Floats) -> Floats:
        return true_scores(self.family, self._stages, models, samples)


def stage_of(family: Family, units: Floats, deviations: Floats, order: NDArray[np.int64]) -> SyntheticStage:
    """The stage that is made of what was drawn, or the same stage of many problems.

    Args:
        family: Of what kind the problem is.
        units: `UNITS`, uniform in [0, 1], but `over` is 0 in half of all stages; shape (8,) or (problems, 1, 8).
        deviations: Of the models' skills, standard normal, shape (models,) or (problems, models).
        order: Whose place by size each model has, of the same shape: its own but where size says nothing.
    """
    base, gain, shape, lift, rate, over, knee, weight = np.moveaxis(units, -1, 0)
    rank = np.linspace(0, 1, family.models)[order] ** _between(0.5, 1.5, shape)
    skill = _between(0.3, 0.6, base) + _between(0.05, 0.4, gain) * rank + 0.02 * deviations
    return SyntheticStage(
        skill=np.clip(skill, 0.05, 0.97),
        lift=_between(0.15, 0.6, lift),
        rate=_between(0.3, 1.2, rate),
        over=_between(0.0, 0.04, over),
        knee=2 ** _between(1, 4, knee),
        weight=_between(0.4, 1.0, weight),
    )


def true_scores(family: Family, stages: Sequence[SyntheticStage], models: NDArray[np.int64], samples: Floats) -> Floats:
    """Expected scores of allocations whose models and samples are of shape (allocations, stages).

    Returns:
        Shape (allocations,) or (problems, allocations).
    """
    qualities, weights = _qualities(family, stages, models, samples), [stage.weight for stage in stages]
    if family.twist == "independent":
        weighted = [weight * quality for weight, quality in zip(weights, qualities, strict=True)]
        result: Floats = np.sum(weighted, axis=0) / np.sum(weights, axis=0)
        return result
    kept = [1 - weight * (1 - quality) for weight, quality in zip(weights, qualities, strict=True)]
    product: Floats = np.prod(kept, axis=0)
    return product


def feasible(space: SearchSpace) -> tuple[NDArray[np.int64], Floats]:
    """Models and numbers of samples of every allocation within the budget, both of shape (allocations, stages)."""
    models, samples, costs = np.zeros((1, 0), dtype=int), np.zeros((1, 0)), np.zeros(1)
    least = [float(options.costs.min()) for options in space.options]
    for level, options in enumerate(space.options):
        models, samples, costs = _joined(models, samples, costs, options)
        kept = costs + sum(least[level + 1 :]) <= space.limit
        models, samples, costs = models[kept], samples[kept], costs[kept]
    return models, samples


def _drawn_stage(family: Family, rng: np.random.Generator) -> SyntheticStage:
    of_models = rng.random(3)
    order = rng.permutation(family.models) if family.twist == "sizes" else np.arange(family.models)
    deviations = rng.standard_normal(family.models)
    of_samples = rng.random(2)
    over = rng.random() if rng.random() < 0.5 else 0.0
    return stage_of(family, np.array([*of_models, *of_samples, over, *rng.random(2)]), deviations, order)


def _between(low: float, high: float, unit: Floats) -> Floats:
    return low + (high - low) * unit


def _qualities(
    family: Family, stages: Sequence[SyntheticStage], models: NDArray[np.int64], samples: Floats
) -> list[Floats]:
    """The quality of every stage, each of shape (allocations,) or (problems, allocations)."""
    qualities: list[Floats] = []
    for i, stage in enumerate(stages):
        alone = not qualities or family.twist == "independent"
        upstream = np.full(len(models), 0.5) if alone else np.mean(qualities, axis=0)
        quality = _quality(stage, stage.skill[..., models[:, i]], samples[:, i], upstream, family.twist == "late")
        qualities.append(np.clip(quality, 0.02, 0.99))
    return qualities


def _quality(stage: SyntheticStage, skill: Floats, samples: Floats, upstream: Floats, late: bool) -> Floats:
    if late:
        gained = 1 / (1 + np.exp(-2 * (np.log2(samples) - 4.5)))
    else:
        gained = 1 - samples ** (-stage.rate * (0.5 + upstream))
    excess = 0.0 if late else stage.over * np.maximum(0, np.log2(samples / stage.knee))
    result: Floats = skill + stage.lift * (1 - skill) * gained - excess
    return result


def _subtask(index: int, models: tuple[Model, ...], family: Family, rng: np.random.Generator) -> Subtask:
    return Subtask(
        f"stage{index + 1}",
        models,
        "synthetic",
        prompt_tokens=float(np.exp(rng.uniform(np.log(128), np.log(2048)))),
        completion_tokens=float(np.exp(rng.uniform(np.log(32), np.log(512)))),
        sample_counts=family.counts,
        max_samples=None,
    )


def _with_difficulty(truth: float, difficulty: Floats) -> Floats:
    """Chances whose mean is `truth`, higher where the example is easier."""
    low, high = -12.0, 12.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if float(_logistic(middle + difficulty).mean()) < truth else (low, middle)
    return _logistic(low + difficulty)


def _logistic(z: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-z))
    return result


def _joined(
    models: NDArray[np.int64], samples: Floats, costs: Floats, options: Options
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Every allocation of some stages with every option of the next."""
    rows = np.repeat(np.arange(len(costs)), len(options.costs))
    columns = np.tile(np.arange(len(options.costs)), len(costs))
    return (
        np.concatenate([models[rows], options.pairings[columns, None]], axis=1),
        np.concatenate([samples[rows], options.samples[columns, None]], axis=1),
        costs[rows] + options.costs[columns],
    )


def _budget(pipeline: Pipeline, family: Family) -> Budget:
    """What the family's share of all allocations costs at most."""
    everything = SearchSpace(pipeline, FlopsCost(), _everything(pipeline))
    totals = np.zeros(1)
    for options in everything.options:
        totals = (totals[:, None] + options.costs[None, :]).ravel()
    return Budget(float(np.quantile(totals, family.share)), "flops")


def _everything(pipeline: Pipeline) -> float:
    """A budget that everything fits."""
    cost = FlopsCost()
    most = [max(float(cost.cost(s, m, max(s.sample_counts or (1,)))) for m in s.models) for s in pipeline.subtasks]
    return sum(most)


@identified("synthetic.never", version=1)
def _never(output: object, example: object) -> float:
    raise AssertionError("a synthetic problem has no outputs")
