"""The three insights of the paper as statistics of the archive.

Each is a statement about the posterior (`surrogate.Surrogate`) around the incumbent, the tried allocation with the
highest posterior mean, so that it carries an uncertainty; the assumption behind it is a `Hypothesis` that is dropped as
soon as data contradict it:

1. `Preference`   which model a subtask should use, every model at its best within the same budget
2. `Saturation`   from how many samples on more would gain less than a point: the knee of a fitted curve
3. `Interaction`  how the best downstream option moves when the upstream choice, and so its quality, changes

A fourth question joins them where a subtask lists several operators, or values of an option: which of them it prefers
(`WayPreference`). Everywhere the name of a model stands for a pairing, a model with its operator and options
(`Pairing.name`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agenttts._util.numbers import chance
from agenttts.posterior.curves import FittedCurve
from agenttts.posterior.insights import ALL_INSIGHTS, EXPERIENCE_NUMBER, Hypothesis
from agenttts.space.allocation import Allocation, Choice

_LIKELY = 0.5
_LEAST_SHARE = 0.01
"""Of the budget: a gain is not divided by a smaller step of the cost."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One (model, samples) of a subtask and the posterior of the score it leads to."""

    model: str
    samples: int
    score: float
    sd: float

    def __str__(self) -> str:
        return f"{Choice.of(self.model, self.samples)} ({self.score:.3f} ± {1.96 * self.sd:.3f})"


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """What a dearer option of a subtask gains over the cheapest one."""

    model: str
    samples: int
    gain: float
    sd: float
    share: float
    """How much more it costs, as a share of the budget."""

    @property
    def rate(self) -> float:
        """Gain per tenth of the budget; a step of less than a hundredth of it counts as one."""
        return self.gain / max(self.share, _LEAST_SHARE) / 10

    def __str__(self) -> str:
        per = "" if self.share < _LEAST_SHARE else " per tenth of the budget"
        return f"{Choice.of(self.model, self.samples)} gains {self.worth}{per}"

    @property
    def worth(self) -> str:
        """The rate with its interval; of a step that costs next to nothing there is none, only the gain."""
        if self.share < _LEAST_SHARE:
            return f"{self.gain:.3f} ± {1.96 * self.sd:.3f} at next to no cost"
        return f"{self.rate:.3f} ± {1.96 * self.sd / self.share / 10:.3f}"


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Insight 1 for one subtask: each model at its best within the budget that the incumbent leaves it."""

    subtask: str
    options: tuple[Option, ...]
    """Best first."""
    chance: float
    """Probability that the first is really better than the second."""
    upgrades: tuple[Upgrade, ...]
    """Of the options that cost more than the cheapest, by gain per cost, the highest first."""

    def __str__(self) -> str:
        first, *rest = self.options
        behind = f" over {rest[0]}, {chance(self.chance)} sure" if rest else ""
        worth = f"; {self.upgrades[0]}" if self.upgrades else ""
        return f"{self.subtask}: {first}{behind}{worth}"


@dataclass(frozen=True, kw_only=True)
class WayPreference:
    """Which operator, or value of an option, one subtask prefers: each with its best model and samples within what the
    incumbent leaves it.
    """

    subtask: str
    question: str
    """"operator", or the name of the option."""
    ways: tuple[str, ...]
    """Best first."""
    options: tuple[Option, ...]
    """The best of each."""
    chance: float
    """Probability that the first is really better than the second."""

    def __str__(self) -> str:
        first, *rest = (f"{name}: {best}" for name, best in zip(self.ways, self.options, strict=True))
        behind = f" over {rest[0]}, {chance(self.chance)} sure" if rest else ""
        return f"{self.question} of {self.subtask}: {first}{behind}"

    def brief(self) -> str:
        """The two best, each with its score alone."""
        best = (f"{name} {option.score:.3f}" for name, option in zip(self.ways[:2], self.options, strict=False))
        return f"{self.question} of {self.subtask}: {' over '.join(best)}, {chance(self.chance)} sure"


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """Insight 2 for one subtask and model, within what fits the budget beside the incumbent's other subtasks."""

    subtask: str
    model: str
    curve: FittedCurve

    @property
    def verdict(self) -> str:
        """What more samples bring, in words."""
        curve, most = self.curve, self.curve.counts[-1]
        if curve.falling > _LIKELY:
            peak = curve.counts[int(np.argmax(curve.mean))]
            return f"best at x{peak}, then falls ({chance(curve.falling)} sure, {curve.form})"
        if curve.knee >= most > 1:
            return f"still rising at the {most} samples that fit ({curve.form})"
        sure = f"x{curve.knee_low} to x{curve.knee_high}, 80 % sure"
        return f"flat from x{curve.knee} on ({sure}; {curve.form})"

    def __str__(self) -> str:
        return f"{self.subtask}, {self.model}: {self.verdict}"


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """Insight 3 for one upstream choice: the best downstream option behind it, within what it leaves of the budget."""

    upstream: str
    choice: str
    quality: float | None
    """Mean score of the upstream subtask under that choice; None where it declares no metric or was not tried so."""
    downstream: str
    best: Option

    def __str__(self) -> str:
        quality = "" if self.quality is None else f" (scores {self.quality:.3f} itself)"
        return f"behind {self.upstream} = {self.choice}{quality}, {self.downstream} does best with {self.best}"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the archive says, as of now."""

    incumbent: Allocation
    score: float
    sd: float
    budget: str
    """The budget of the round, in words: of a search with several, one has its turn."""
    hypotheses: tuple[Hypothesis, ...] = ()
    preferences: tuple[Preference, ...] = ()
    ways: tuple[WayPreference, ...] = ()
    saturations: tuple[Saturation, ...] = ()
    interactions: tuple[Interaction, ...] = ()

    def lines(self) -> list[str]:
        """The evidence in words, one statement a line."""
        lines = self.around()
        lines += [f"Model preference at equal budget: {each}." for each in self.preferences]
        lines += [f"What is done with samples: {each}." for each in self.ways]
        lines += [f"Samples: {each}." for each in self.saturations]
        return lines + self.stages()

    def around(self) -> list[str]:
        """The incumbent, and what the trials say of the insights."""
        best = (
            f"Best so far within {self.budget}: {self.incumbent} (true score {self.score:.3f} ± {1.96 * self.sd:.3f})."
        )
        return [best, *(f"{each}." for each in self.hypotheses if not self._overruled(each))]

    def _overruled(self, one: Hypothesis) -> bool:
        """Whether it is dropped on its own, but the insights together are favoured: it is then in use all the same."""
        together = any(each.insight == ALL_INSIGHTS and not each.dropped for each in self.hypotheses)
        return one.dropped and one.insight not in (ALL_INSIGHTS, EXPERIENCE_NUMBER) and together

    def stages(self) -> list[str]:
        """How stages depend on one another."""
        return [f"Stages: {each}." for each in self.interactions]

    def brief(self, *, options: int, ways: int, related: int) -> list[str]:
        """What of it a prompt needs: what is decided, one line a stage, and where stages depend on one another.

        Args:
            options: How many of a stage's are named; of one alone it is not said where samples stop helping it.
            ways: How many answers to what is done with samples, the surest.
            related: How many dependencies of stages.
        """
        decided = [f"{each}." for each in self.hypotheses if each.decided and not self._overruled(each)]
        stages = [self._stage(each, options) for each in self.preferences]
        if not stages:
            stages = [f"Samples: {each}." for each in self.saturations]
        elsewhere = [each for each in self.interactions if not self._as_it_is(each)]
        surest = sorted((each for each in self.ways if len(each.ways) > 1), key=lambda each: -each.chance)
        done = [each.brief() for each in surest[:ways]]
        return [*decided, *stages, *done, *(f"{each}." for each in elsewhere[:related])]

    def _stage(self, preference: Preference, most: int) -> str:
        """A stage's models at their best, the rest as in the best trial, and where samples stop helping the first."""
        options = ", ".join(f"{Choice.of(o.model, o.samples)} {o.score:.3f}" for o in preference.options[:most])
        first = preference.options[0]
        knees = (each.verdict for each in self.saturations if _of(each) == (preference.subtask, first.model))
        more = [f"{chance(preference.chance)} sure of the first"] * (len(preference.options) > 1)
        more += [f"more samples of it: {verdict}" for verdict in knees if most > 1]
        return "; ".join([f"{preference.subtask}: {options}", *more])

    def _as_it_is(self, one: Interaction) -> bool:
        """Whether it says of the downstream stage what the best trial has anyway."""
        return self.incumbent[one.downstream] == Choice.of(one.best.model, one.best.samples)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the store, as JSON gives it back."""
        data: dict[str, Any] = json.loads(json.dumps({**asdict(self), "incumbent": self.incumbent.as_dict()}))
        return data


def _of(saturation: Saturation) -> tuple[str, str]:
    return saturation.subtask, saturation.model
