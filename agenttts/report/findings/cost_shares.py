"""Where the cost of a query goes: stage by stage, of the recommended allocation and of the baseline."""

from __future__ import annotations

from dataclasses import dataclass

from agenttts.report.findings.findings import Findings
from agenttts.space.prices import Parts
from agenttts.study.trial import BASELINE, Trial


@dataclass(frozen=True, kw_only=True)
class CostShare:
    """One stage of an allocation."""

    stage: str
    trial: Trial
    parts: Parts

    @property
    def label(self) -> str:
        """The stage and what it gets, and whether it is the baseline's."""
        whose = "baseline, " if self.trial.searcher == BASELINE else ""
        return f"{whose}{self.stage}: {self.trial.allocation[self.stage]}"


def cost_shares(found: Findings) -> list[CostShare]:
    """The recommended allocation's, then the baseline's if that is another; none where no prices were kept."""
    baseline = found.archive.baseline
    shown = [found.best, *([baseline] if baseline is not None and baseline.number != found.best.number else [])]
    return [
        CostShare(stage=stage, trial=trial, parts=found.prices[stage][choice.pairing].parts(choice.samples))
        for trial in shown
        for stage, choice in trial.allocation.items()
        if found.prices
    ]
