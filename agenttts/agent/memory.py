"""What the guidelines of a study keep for later rounds: what was expected of a batch, and what an adviser said.

All is read from the archive, so that a resumed search goes on as it would have and pays for no answer twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agenttts.agent.evidence import Evidence
from agenttts.agent.planner import RoundPlan, Thought
from agenttts.agent.ranking import Ranked
from agenttts.posterior.insights import ALL_INSIGHTS, Hypothesis, hypothesis_name
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Archive, Guideline, Proposal, Trial

START = "the search begins"
_BETWEEN, _AFTER_NOTHING = 8, 4
"""Trials between two questions, and after one that brought nothing usable."""
_STOOD = 6
"""Trials after which a posterior whose best is the same has stalled."""


class Outcome(NamedTuple):
    """What was expected of a trial when it was proposed."""

    trial: Trial
    mean: float
    sd: float

    def __str__(self) -> str:
        evaluation = self.trial.evaluation
        low, high = evaluation.interval
        return (
            f"trial {self.trial.number} ({self.trial.allocation}): expected {self.mean:.3f} ± {1.96 * self.sd:.3f}, "
            f"observed {evaluation.score:.3f} [{low:.3f}, {high:.3f}] on {len(evaluation.results)} examples"
        )


def expectations(ranked: Sequence[Ranked]) -> list[dict[str, Any]]:
    """What is expected of allocations, as plain data."""
    return [
        {"allocation": each.allocation.key, "mean": each.mean, "sd": each.sd, "improvement": each.improvement}
        for each in ranked
    ]


def with_expected(evidence: Any, expected: list[dict[str, Any]]) -> Any:
    """The evidence of a guideline, and what is expected of the trials that came of it."""
    return {**evidence, "expected": expected} if isinstance(evidence, dict) else evidence or {"expected": expected}


def last_batch(archive: Archive) -> list[Outcome]:
    """Expected and observed of the trials of the last round for which something was expected."""
    for number in sorted({guideline.round for guideline in archive.guidelines}, reverse=True):
        told = [_kept(each).get("expected", ()) for each in archive.guidelines if each.round == number]
        expected = {each["allocation"]: each for one in told for each in one}
        trials = [trial for trial in archive.trials if trial.round == number]
        if known := [trial for trial in trials if trial.allocation.key in expected]:
            return [Outcome(t, *(expected[t.allocation.key][name] for name in ("mean", "sd"))) for t in known]
    return []


def advice_kept(plan: RoundPlan, occasion: str) -> dict[str, Any]:
    """What an adviser said, as a guideline's evidence keeps it."""
    thought = plan.thought
    candidates = [{"allocation": each.allocation.as_dict(), "rationale": each.rationale} for each in plan.proposals]
    kept = {**(thought.evidence or {}), "occasion": occasion, "candidates": candidates}
    return {**kept, "fault": thought.fault, "reply": thought.reply, "failed": thought.failed} if thought.fault else kept


def advice(archive: Archive) -> list[Guideline]:
    """The guidelines that an adviser wrote."""
    return [guideline for guideline in archive.guidelines if "candidates" in _kept(guideline)]


def earlier_advice(archive: Archive) -> list[Guideline]:
    """Those of earlier rounds: what it said in this one, of a search that was killed, changes no prompt."""
    return [guideline for guideline in advice(archive) if guideline.round < archive.round]


def advised(guideline: Guideline) -> RoundPlan:
    """What an adviser said then."""
    kept = _kept(guideline)
    proposals = [Proposal(Allocation.from_dict(each["allocation"]), each["rationale"]) for each in kept["candidates"]]
    fault, reply, failed = kept.get("fault", ""), kept.get("reply", ""), kept.get("failed", False)
    return RoundPlan(Thought(guideline.text, kept, reply=reply, fault=fault, failed=failed), proposals)


def occasion(archive: Archive, evidence: Evidence) -> str:
    """Why an adviser is asked in this round; empty where it is not."""
    said = earlier_advice(archive)
    if not said:
        return "you have not been asked before"
    since = archive.round - said[-1].round
    useful = any(_kept(each)["candidates"] for each in said if each.round == said[-1].round)
    if not useful:
        return "your last answer held nothing usable" if since >= _AFTER_NOTHING else ""
    if since < _BETWEEN:
        return ""
    before = {each.insight for each in _hypotheses(said[-1]) if not each.believed}
    if fallen := sorted(each.insight for each in evidence.hypotheses if each.dropped and each.insight not in before):
        return f"the trials now speak against {' and '.join(map(_named, fallen))}"
    stood = _stood(archive, evidence.incumbent)
    return f"the posterior has stalled: the best is the same for {stood} trials" if stood >= _STOOD else ""


def _named(insight: int) -> str:
    return "the insights together" if insight == ALL_INSIGHTS else hypothesis_name(insight)


def _stood(archive: Archive, incumbent: Allocation) -> int:
    """Trials since the one of the incumbent."""
    places = [place for place, trial in enumerate(archive.trials, start=1) if trial.allocation == incumbent]
    return len(archive.trials) - places[0] if places else 0


def _hypotheses(guideline: Guideline) -> list[Hypothesis]:
    return [Hypothesis(**each) for each in _kept(guideline).get("hypotheses", ())]


def _kept(guideline: Guideline) -> Mapping[str, Any]:
    return guideline.evidence if isinstance(guideline.evidence, dict) else {}
