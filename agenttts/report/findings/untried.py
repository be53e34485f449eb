"""Models that no trial of a study used at some stage, and why, as far as the study can tell."""

from __future__ import annotations

from agenttts._util.numbers import counted, interval
from agenttts.report.findings.findings import Findings
from agenttts.report.findings.scaling import scaling_curves


def untried_models(found: Findings) -> list[str]:
    """A sentence for each; none for a study begun before prices were kept."""
    return [
        f"No trial used {model} at {stage}: {_why(found, stage, model)}."
        for stage, models in found.study.spec.sizes.items()
        for model in models
        if found.prices and not any(trial.allocation[stage].pairing == model for trial in found.trials)
    ]


def _why(found: Findings, stage: str, model: str) -> str:
    if model not in found.prices.get(stage, {}):
        return "it does not fit the budget, even with the fewest samples and the other stages at their cheapest"
    curve = next((each for each in scaling_curves(found, stage) if each.model == model), None)
    if curve is None:
        return "it fits the budget only where other stages cost less than in the recommended allocation"
    count, best = max(zip(curve.counts, curve.expected, strict=True), key=lambda each: each[1].score)
    recommended = found.expected[found.best.number].score
    promised = (
        f"beside the recommended other stages it is expected at {best.score:.3f} ({interval(best.interval)}) with "
        f"{counted(count, 'sample')}, the recommended allocation at {recommended:.3f}"
    )
    worth = "its turn did not come" if best.interval.high > recommended else "trials went where more was expected"
    return f"{promised}; {worth} in {counted(len(found.trials), 'trial')}"
