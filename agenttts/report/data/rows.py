"""Plain data of studies and trials, as `--json` prints them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agenttts.db import Store, Study
from agenttts.errors import ConfigError
from agenttts.posterior.frontier import frontier
from agenttts.posterior.insights import recommend
from agenttts.report.findings.spending import study_prices, study_scale, wall_seconds
from agenttts.space.cost import cost_model
from agenttts.space.prices import PriceList
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import AgentStep, Archive, Trial

_NOT_DEPLOYED = {"the metric", "the examples", "the held-out examples"}
"""Parts of an environment that no answer of a deployed pipeline depends on."""


def study_row(store: Store, study: Study) -> dict[str, Any]:
    """One study: its settings, how far it is, what it spent (on held-out checks apart).

    Examples:
        >>> from agenttts import report
        >>> row = report.study_row(store, study)
        >>> row["name"], row["trials"], row["best_observed"]
        ('first', 8, 1.0)
    """
    archive, spend = store.archive(study), store.spend(study)
    checks = [check for trial in archive.trials if (check := store.validation(study, trial.allocation)) is not None]
    best = archive.best
    return {
        "name": study.name,
        "created": study.created.isoformat(),
        "environment": study.spec.environment,
        "recorded": study.details.get("recorded", ""),
        "data": study.details.get("data", ""),
        "method": study.spec.method,
        "budget": study.spec.budget,
        "cost_model": study.spec.cost_model,
        "seed": study.spec.seed,
        "trials": len(archive.trials),
        "refused": len(archive.refusals),
        "best_observed": None if best is None else best.evaluation.score,
        "tokens_bought": spend.tokens,
        "tokens_of_method": store.own_spend(study).tokens,
        "tokens_bought_for_held_out": sum(check.spend.tokens for check in checks),
        "tokens_reused": spend.reused_tokens,
        "usd": spend.usd,
        "seconds": wall_seconds(archive.trials) + sum(check.spend.seconds for check in checks),
    }


def trial_row(trial: Trial, check: Evaluation | None = None) -> dict[str, Any]:
    """One trial, with the check of its allocation on held-out examples where there was one.

    Examples:
        >>> from agenttts import report
        >>> report.trial_row(result.best)["allocation"]
        {'find': {'model': 'small', 'samples': 4}, 'answer': {'model': 'small', 'samples': 5}}
    """
    return {
        "number": trial.number,
        "allocation": trial.allocation.as_dict(),
        "cost": trial.cost,
        **evaluation_row(trial.evaluation),
        "held_out": None if check is None else evaluation_row(check),
        "searcher": trial.searcher,
        "rationale": trial.rationale,
        "created": trial.created.isoformat(),
    }


def evaluation_row(evaluation: Evaluation) -> dict[str, Any]:
    """Score, interval, reasons of failure and spend of an evaluation."""
    return {
        "score": evaluation.score,
        "interval": list(evaluation.interval),
        "examples": len(evaluation.results),
        "failures": evaluation.failures,
        "errors": evaluation.errors,
        "missing": dict(evaluation.missing),
        "subtask_scores": evaluation.subtask_scores,
        "unparsable": {name: usage.unparsable for name, usage in evaluation.usage.items()},
        "refused": {name: usage.refused for name, usage in evaluation.usage.items()},
        "cut": {name: usage.cut for name, usage in evaluation.usage.items()},
        "tokens_bought": evaluation.spend.tokens,
        "tokens_reused": evaluation.spend.reused_tokens,
        "seconds": evaluation.spend.seconds,
    }


def stage_rows(trial: Trial, prices: PriceList) -> list[dict[str, Any]]:
    """Each stage of a trial: what it drew, measured tokens, and the parts of its cost.

    The costs are missing for a study begun before prices were kept, the usage where no model ran.
    """
    rows = []
    for stage, choice in trial.allocation.items():
        price = prices.get(stage, {}).get(choice.pairing)
        parts = {} if price is None else price.parts(choice.samples)._asdict()
        usage = trial.evaluation.usage.get(stage)
        used = {} if usage is None else asdict(usage)
        rows.append(
            {
                "trial": trial.number,
                "stage": stage,
                "model": choice.model,
                "samples": choice.samples,
                "operator": choice.operator,
                "options": choice.options,
                "score": trial.evaluation.subtask_scores.get(stage),
                "prompt_tokens": used.get("prompt_tokens"),
                "completion_tokens": used.get("completion_tokens"),
                "samples_drawn": used.get("samples"),
                "unparsable": used.get("unparsable"),
                **{f"{part}_cost": cost for part, cost in parts.items()},
            }
        )
    return rows


def example_rows(trial: Trial, check: Evaluation | None = None) -> list[dict[str, Any]]:
    """Each example of a trial, then each of the check of its allocation on held-out ones."""
    evaluations = [(False, trial.evaluation), *([] if check is None else [(True, check)])]
    return [
        {
            "trial": trial.number,
            "example": result.example,
            "held_out": held_out,
            "score": result.score,
            **{f"{stage}.score": score for stage, score in result.subtask_scores.items()},
            "error": result.error,
            "output": result.output,
        }
        for held_out, evaluation in evaluations
        for result in evaluation.results
    ]


def trace_rows(store: Store, study: Study, trial_number: int) -> dict[str, Any]:
    """Everything that is known of one trial, and the steps that led to it.

    Examples:
        >>> from agenttts import report
        >>> [step["node"] for step in report.trace_rows(store, study, trial_number=1)["steps"]]
        ['recall', 'initial', 'check']
    """
    (trial,) = (each for each in store.archive(study).trials if each.number == trial_number)
    check = store.validation(study, trial.allocation)
    return {
        **trial_row(trial, check),
        "stages": stage_rows(trial, study_prices(study)),
        "results": example_rows(trial, check),
        "steps": [step_row(step) for step in store.steps(study) if step.round == trial.round],
    }


def recommendation(store: Store, study: Study, budget: float | None = None) -> dict[str, Any]:
    """The recommended allocation of a study, as a person would keep it in a file.

    Examples:
        >>> from agenttts import report
        >>> report.recommendation(store, study)["allocation"]
        {'find': {'model': 'small', 'samples': 4}, 'answer': {'model': 'small', 'samples': 5}}

    Args:
        store: Holds the study.
        study: Which study.
        budget: Within which to recommend, at most the largest of the study; that one when None.

    Raises:
        ConfigError: When the study has no finished trial within the budget, or was not searched that far.
    """
    archive, unit = store.archive(study), cost_model(study.spec.cost_model).unit
    if not archive.trials:
        raise ConfigError(f"study {study.name!r} has no finished trial yet")
    if budget is None:
        budget = study.spec.budget
        trial = recommend(
            study.spec.sizes, archive.trials, archive.untried, budget=budget, experience=archive.experience
        )
    else:
        trial = _recommended_within(budget, study, archive)
    check = store.validation(study, trial.allocation)
    details = study.details
    parts = {part: value for part, value in study.spec.fingerprints.items() if part not in _NOT_DEPLOYED}
    return {
        "pipeline": study.spec.pipeline,
        "environment": details.get("environment") or None,
        "data": details.get("data") or None,
        "fingerprints": parts,
        "allocation": trial.allocation.as_dict(),
        "cost": {
            "per_query": trial.cost,
            "budget": budget,
            "unit": unit,
            "cost_model": study.spec.cost_model,
            **({"throughput": details["throughput"]["models"]} if "throughput" in details else {}),
        },
        "endpoints": details.get("endpoints") or {},
        "searched": _scores(trial.evaluation),
        "held_out": None if check is None else _scores(check),
        "study": study.name,
        "trial": trial.number,
        "recorded": details.get("recorded", ""),
    }


def _recommended_within(budget: float, study: Study, archive: Archive) -> Trial:
    scale = study_scale(study)
    if not budget <= study.spec.budget:
        raise ConfigError(
            f"study {study.name!r} was searched up to {scale.show(study.spec.budget)}, which says nothing of "
            f"{scale.show(budget)}: give a smaller --budget, or search with that one"
        )
    points = frontier(study.spec.sizes, archive.trials, [budget], archive.untried, experience=archive.experience).points
    if not points:
        cheapest = min(trial.cost for trial in archive.trials)
        label = study.details.get("recorded")
        named = f"study {study.name!r} ({label})" if label else f"study {study.name!r}"
        raise ConfigError(f"no trial of {named} fits {scale.show(budget)}: its cheapest costs {scale.show(cheapest)}")
    return points[0].trial


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    row = evaluation_row(evaluation)
    return {name: row[name] for name in ("score", "interval", "examples", "failures")}


def step_row(step: AgentStep) -> dict[str, Any]:
    """One step of the agent.

    Examples:
        >>> from agenttts import report
        >>> [report.step_row(step)["node"] for step in store.steps(study)][:4]
        ['recall', 'initial', 'check', 'recall']
    """
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
