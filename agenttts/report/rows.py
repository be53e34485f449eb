"""Plain data of studies and trials, as `--json` prints them."""

from __future__ import annotations

from typing import Any

from agenttts.db import Store, Study
from agenttts.trial import AgentStep, Evaluation, Trial


def study_row(store: Store, study: Study) -> dict[str, Any]:
    """One study: its settings, how far it is, what it spent."""
    archive, spend = store.archive(study), store.spend(study)
    best = archive.best
    return {
        "name": study.name,
        "created": study.created.isoformat(),
        "environment": study.spec.environment,
        "method": study.spec.method,
        "budget": study.spec.budget,
        "cost_model": study.spec.cost_model,
        "seed": study.spec.seed,
        "trials": len(archive.trials),
        "refused": len(archive.refusals),
        "best_observed": None if best is None else best.evaluation.score,
        "tokens_bought": spend.tokens,
        "tokens_reused": spend.reused_tokens,
        "usd": spend.usd,
        "seconds": spend.seconds,
    }


def trial_row(trial: Trial) -> dict[str, Any]:
    """One trial."""
    return {
        "number": trial.number,
        "allocation": trial.allocation.as_dict(),
        "cost": trial.cost,
        **evaluation_row(trial.evaluation),
        "searcher": trial.searcher,
        "rationale": trial.rationale,
        "created": trial.created.isoformat(),
    }


def evaluation_row(evaluation: Evaluation) -> dict[str, Any]:
    """Score, interval and spend of an evaluation."""
    return {
        "score": evaluation.score,
        "interval": list(evaluation.interval),
        "examples": len(evaluation.results),
        "failures": evaluation.failures,
        "first_error": evaluation.first_error,
        "subtask_scores": evaluation.subtask_scores,
        "unparsable": {name: usage.unparsable for name, usage in evaluation.usage.items()},
        "tokens_bought": evaluation.spend.tokens,
        "tokens_reused": evaluation.spend.reused_tokens,
        "seconds": evaluation.spend.seconds,
    }


def step_row(step: AgentStep) -> dict[str, Any]:
    """One step of the agent."""
    return {
        "round": step.round,
        "node": step.node,
        "planner": step.planner,
        "text": step.text,
        "evidence": step.evidence,
        "prompt": step.prompt,
        "reply": step.reply,
        "tokens": step.spend.tokens,
        "seconds": step.spend.seconds,
    }
