"""The evidence of the agent's guidelines, as it was journaled, with the trials behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agenttts.posterior.frontier import Expected, bounded
from agenttts.report.findings.findings import Findings
from agenttts.space.allocation import Choice
from agenttts.study.trial import Guideline


@dataclass(frozen=True, kw_only=True)
class WeighedModel:
    """Insight 1: one model at its best within the budget that the incumbent leaves the stage."""

    subtask: str
    model: str
    samples: int
    expected: Expected
    chance: float | None
    """Of the stage's first: the probability that it is really better than the second; None for the others."""
    trials: int
    """Trials with this model at this stage, whatever the samples."""
    examples: int
    """Example evaluations of those trials."""

    @property
    def choice(self) -> str:
        """Model and samples."""
        return str(Choice.of(self.model, self.samples))

    def __str__(self) -> str:
        score, (low, high) = self.expected
        return f"{self.choice}: {score:.3f} ({low:.3f} to {high:.3f}), {self.trials} trials"


def told_guideline(found: Findings) -> Guideline | None:
    """The last guideline about the recommended allocation, else the last with evidence; None where there is none.

    A study of several budgets has guidelines about the best allocation of each.
    """
    kept = [guideline for guideline in found.archive.guidelines if "incumbent" in (guideline.evidence or {})]
    about = [guideline for guideline in kept if guideline.evidence["incumbent"] == found.best.allocation.as_dict()]
    return (about or kept)[-1] if kept else None


def told_evidence(found: Findings) -> dict[str, Any]:
    """Of `told_guideline`; empty where there is none."""
    guideline = told_guideline(found)
    return {} if guideline is None else dict(guideline.evidence)


def weighed_models(found: Findings) -> list[WeighedModel]:
    """Stage by stage, the best first."""
    return [
        _weighed(found, preference["subtask"], option, preference["chance"] if place == 0 else None)
        for preference in told_evidence(found).get("preferences", ())
        for place, option in enumerate(preference["options"])
    ]


def _weighed(found: Findings, subtask: str, option: dict[str, Any], chance: float | None) -> WeighedModel:
    mine = [trial.evaluation for trial in found.trials if trial.allocation[subtask].pairing == option["model"]]
    return WeighedModel(
        subtask=subtask,
        model=option["model"],
        samples=option["samples"],
        expected=bounded(option["score"], option["sd"]),
        chance=chance,
        trials=len(mine),
        examples=sum(len(evaluation.results) for evaluation in mine),
    )
