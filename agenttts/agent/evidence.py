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

from agenttts.posterior.curves import FittedCurve
from agenttts.posterior.insights import ALL_INSIGHTS, Hypothesis
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

    def worth(self, option: Option) -> str:
        """What an option gains per tenth of the budget over the cheapest, in words."""
        return next((each.worth for each in self.upgrades if each.model == option.model), "the cheapest")

    def __str__(self) -> str:
        first, *rest = self.options
        behind = f" over {rest[0]}, {self.chance:.0%} sure" if rest else ""
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
        behind = f" over {rest[0]}, {self.chance:.0%} sure" if rest else ""
        return f"{self.question} of {self.subtask}: {first}{behind}"


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
            return f"best at x{peak}, then falls ({curve.falling:.0%} sure, {curve.form})"
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
        return one.dropped and one.insight != ALL_INSIGHTS and together

    def stages(self) -> list[str]:
        """How stages depend on one another."""
        return [f"Stages: {each}." for each in self.interactions]

    def table(self) -> list[str]:
        """Preferences and saturations side by side, one (subtask, model) a line; empty where there are neither."""
        if not self.preferences:
            return [f"Samples: {each}." for each in self.saturations]
        verdicts = {(each.subtask, each.model): each.verdict for each in self.saturations}
        rows = [
            {
                "subtask": each.subtask,
                "model": option.model,
                "best samples that fit": f"x{option.samples}",
                "expected score with them": f"{option.score:.3f} ± {1.96 * option.sd:.3f}",
                "gain over the cheapest, per tenth of the budget": each.worth(option),
                "more samples": verdicts.get((each.subtask, option.model), "not known"),
            }
            for each in self.preferences
            for option in each.options
        ]
        empty = {"more samples"} if not verdicts else set[str]()
        if not any(each.upgrades for each in self.preferences):
            empty.add("gain over the cheapest, per tenth of the budget")
        headings = [heading for heading in rows[0] if heading not in empty]
        sure = [
            f"{each.subtask}: {each.options[0].model} over {each.options[1].model}, {each.chance:.0%} sure"
            for each in self.preferences
            if len(each.options) > 1
        ]
        sure += map(str, self.ways)
        return [
            "Each model at its best within the budget, the rest as in the best trial:",
            " | ".join(headings),
            *(" | ".join(row[heading] for heading in headings) for row in rows),
            *sure,
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the store, as JSON gives it back."""
        data: dict[str, Any] = json.loads(json.dumps({**asdict(self), "incumbent": self.incumbent.as_dict()}))
        return data
