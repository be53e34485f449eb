"""The three insights of the paper as statistics of the archive.

Each is a statement about the posterior (`surrogate.Surrogate`) around the incumbent, the tried allocation with the
highest posterior mean, so that it carries an uncertainty and is dropped as soon as data contradict it:

1. `Preference`   which model a subtask should use, every model at its best within the same budget
2. `Saturation`   from how many samples on more would buy less than a point: the knee of a fitted curve
3. `Interaction`  how the best downstream option moves when the upstream choice changes
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agenttts.agent.candidates import from_allocations, rungs
from agenttts.allocation import Allocation, SearchSpace
from agenttts.pipeline import Subtask
from agenttts.surrogate import Posterior, Surrogate, normal_cdf
from agenttts.trial import Archive

KNEE_GAIN = 0.01
"""A doubling of samples that is expected to gain less than this is beyond the knee."""
_CURVE_POINTS = 4
_RATES = np.geomspace(0.15, 4.0, 25)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One (model, samples) of a subtask and the posterior of the score it leads to."""

    model: str
    samples: int
    score: float
    sd: float

    def __str__(self) -> str:
        return f"{self.model} x{self.samples} ({self.score:.3f} ± {1.96 * self.sd:.3f})"


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Insight 1 for one subtask: each model at its best within the budget that the incumbent leaves it."""

    subtask: str
    options: tuple[Option, ...]
    """Best first."""
    chance: float
    """Probability that the first is really better than the second."""

    def __str__(self) -> str:
        first, *rest = self.options
        behind = f" over {rest[0]}, {self.chance:.0%} sure" if rest else ""
        return f"{self.subtask}: {first}{behind}"


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """Insight 2 for one subtask and model: score(S) = limit - gain * S^(-rate), fitted to the posterior."""

    subtask: str
    model: str
    limit: float
    gain: float
    rate: float
    knee: int
    """Fewest samples from which doubling is expected to gain less than `KNEE_GAIN`, within what fits."""
    most: int
    """Most samples that fit the budget beside the incumbent's other subtasks."""

    def __str__(self) -> str:
        if self.knee >= self.most > 1:
            return f"{self.subtask}, {self.model}: still rising at the {self.most} samples that fit"
        return f"{self.subtask}, {self.model}: flat from x{self.knee} on (limit {self.limit:.3f})"


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """Insight 3 for one upstream choice: the best downstream option behind it, at the incumbent's downstream budget."""

    upstream: str
    choice: str
    downstream: str
    best: Option

    def __str__(self) -> str:
        return f"behind {self.upstream} = {self.choice}, {self.downstream} does best with {self.best}"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the archive says, as of now."""

    incumbent: Allocation
    score: float
    sd: float
    preferences: tuple[Preference, ...] = ()
    saturations: tuple[Saturation, ...] = ()
    interactions: tuple[Interaction, ...] = ()

    def lines(self) -> list[str]:
        """The evidence in words, one statement a line."""
        lines = [f"Best so far: {self.incumbent} (true score {self.score:.3f} ± {1.96 * self.sd:.3f})."]
        lines += [f"Model preference at equal budget: {each}." for each in self.preferences]
        lines += [f"Samples: {each}." for each in self.saturations]
        lines += [f"Stages: {each}." for each in self.interactions]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the store, as JSON gives it back."""
        data: dict[str, Any] = json.loads(json.dumps({**asdict(self), "incumbent": self.incumbent.as_dict()}))
        return data


def gather_evidence(
    archive: Archive, space: SearchSpace, surrogate: Surrogate, *, preference: bool, saturation: bool, interaction: bool
) -> Evidence:
    """The evidence for the insights that are switched on.

    Args:
        archive: Has at least one trial.
        space: What is searched.
        surrogate: Fitted to the archive.
        preference: Whether to report Insight 1.
        saturation: Whether to report Insight 2.
        interaction: Whether to report Insight 3.
    """
    # A study that began under a larger budget holds trials that do not fit this one.
    feasible = [trial for trial in archive.trials if trial.allocation in space]
    incumbent = surrogate.best(feasible).allocation if feasible else space.cheapest
    posterior = surrogate.predict_allocations([incumbent])
    subtasks = space.pipeline.subtasks
    return Evidence(
        incumbent=incumbent,
        score=float(posterior.mean[0]),
        sd=float(posterior.sd[0]),
        preferences=tuple(_preference(s, incumbent, space, surrogate) for s in subtasks) if preference else (),
        saturations=tuple(_saturations(archive, incumbent, space, surrogate)) if saturation else (),
        interactions=tuple(_interactions(archive, incumbent, space, surrogate)) if interaction else (),
    )


def _preference(subtask: Subtask, incumbent: Allocation, space: SearchSpace, surrogate: Surrogate) -> Preference:
    options = [
        option
        for model in subtask.models
        if (option := _best_option(subtask, model.name, incumbent, space, surrogate)) is not None
    ]
    options.sort(key=lambda option: -option.score)
    if len(options) == 1:
        return Preference(subtask=subtask.name, options=tuple(options), chance=1.0)
    first, second = options[:2]
    z = (first.score - second.score) / float(np.hypot(first.sd, second.sd))
    return Preference(subtask=subtask.name, options=tuple(options), chance=float(normal_cdf(z)))


def _best_option(
    subtask: Subtask, model: str, incumbent: Allocation, space: SearchSpace, surrogate: Surrogate
) -> Option | None:
    """The sample count of a model with the highest posterior mean among those that fit; None when none fits."""
    counts, posterior = _curve(subtask, model, incumbent, space, surrogate)
    if not counts:
        return None
    best = int(np.argmax(posterior.mean))
    return Option(model=model, samples=counts[best], score=float(posterior.mean[best]), sd=float(posterior.sd[best]))


def _curve(
    subtask: Subtask, model: str, incumbent: Allocation, space: SearchSpace, surrogate: Surrogate
) -> tuple[list[int], Posterior]:
    """The posterior along the sample counts that fit when the other subtasks stay as they are."""
    most = space.most_samples(incumbent, subtask.name, model)
    counts = [count for count in rungs(subtask) if count <= most]
    if not counts:
        return counts, Posterior(np.zeros(0), np.zeros(0))
    row = from_allocations(space, [incumbent.replaced(subtask.name, model, count) for count in counts])
    return counts, surrogate.predict(surrogate.encoder.arrays(row.models, row.samples.astype(float)))


def _saturations(archive: Archive, incumbent: Allocation, space: SearchSpace, surrogate: Surrogate) -> list[Saturation]:
    """One for every (subtask, model) that has been tried and can have enough sample counts to fit a curve."""
    found = []
    for subtask in space.pipeline.subtasks:
        tried = {trial.allocation[subtask.name].model for trial in archive.trials}
        for model in subtask.models:
            counts, posterior = _curve(subtask, model.name, incumbent, space, surrogate)
            if model.name in tried and len(counts) >= _CURVE_POINTS:
                found.append(fit_saturation(subtask.name, model.name, counts, posterior))
    return found


def fit_saturation(subtask: str, model: str, counts: Sequence[int], posterior: Posterior) -> Saturation:
    """Weighted least squares of limit - gain * S^(-rate), linear but for the rate, which is searched on a grid."""
    samples = np.asarray(counts, dtype=float)
    fits = [_fit_rate(samples, posterior, float(rate)) for rate in _RATES]
    _, limit, gain, rate = min(fits)
    doublings = gain * (samples**-rate - (2 * samples) ** -rate)
    below = np.flatnonzero(doublings < KNEE_GAIN)
    knee = counts[int(below[0])] if len(below) else counts[-1]
    return Saturation(subtask=subtask, model=model, limit=limit, gain=gain, rate=rate, knee=knee, most=counts[-1])


def _fit_rate(samples: NDArray[np.float64], posterior: Posterior, rate: float) -> tuple[float, float, float, float]:
    design = np.stack([np.ones_like(samples), -(samples**-rate)], axis=1)
    weights = 1 / posterior.sd
    solution, *_ = np.linalg.lstsq(design * weights[:, None], posterior.mean * weights, rcond=None)
    error = float(np.sum(((design @ solution - posterior.mean) * weights) ** 2))
    return error, float(solution[0]), float(solution[1]), rate


def _interactions(
    archive: Archive, incumbent: Allocation, space: SearchSpace, surrogate: Surrogate
) -> list[Interaction]:
    """For every edge of the graph, the best downstream option behind each upstream model that was tried."""
    found = []
    for downstream in space.pipeline.subtasks:
        for upstream in space.pipeline.parents(downstream.name):
            for choice in _contrasting(archive, upstream, incumbent):
                option = _best_behind(downstream, incumbent.replaced(upstream, *choice), space, surrogate)
                if option is not None:
                    shown = f"{choice[0]} x{choice[1]}"
                    found.append(Interaction(upstream=upstream, choice=shown, downstream=downstream.name, best=option))
    return found


def _contrasting(archive: Archive, upstream: str, incumbent: Allocation) -> list[tuple[str, int]]:
    """The incumbent's choice, and each other tried model at its most tried sample count."""
    choices = {incumbent[upstream].model: incumbent[upstream].samples}
    for trial in archive.trials:
        choice = trial.allocation[upstream]
        if choice.model != incumbent[upstream].model:
            choices[choice.model] = max(choices.get(choice.model, 0), choice.samples)
    return list(choices.items())


def _best_behind(
    downstream: Subtask, allocation: Allocation, space: SearchSpace, surrogate: Surrogate
) -> Option | None:
    options = [_best_option(downstream, model.name, allocation, space, surrogate) for model in downstream.models]
    return max((option for option in options if option is not None), key=lambda o: o.score, default=None)
