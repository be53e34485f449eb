"""Tidy pandas frames of a study: one row per trial, example, stage, step or sample (extra `report`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from agenttts.db import Store
from agenttts.errors import ConfigError
from agenttts.report.findings import Findings
from agenttts.report.rows import evaluation_row, step_row

if TYPE_CHECKING:
    from pandas import DataFrame


def trials_frame(found: Findings) -> DataFrame:
    """One row per trial: `<stage>.model`, `<stage>.samples`, cost, expected and observed score, spend, origin."""
    return _frame(_trial(found, number) for number in range(len(found.trials)))


def examples_frame(found: Findings) -> DataFrame:
    """One row per trial and example; `held_out` tells those of the check apart."""
    evaluations = [(trial.number, False, trial.evaluation) for trial in found.trials]
    for trial in found.trials:
        if trial.allocation.key in found.checks:
            evaluations.append((trial.number, True, found.checks[trial.allocation.key]))
    return _frame(
        {
            "trial": number,
            "example": result.example,
            "held_out": held_out,
            "score": result.score,
            "error": result.error,
            "output": result.output,
            **{f"{stage}.score": score for stage, score in result.subtask_scores.items()},
        }
        for number, held_out, evaluation in evaluations
        for result in evaluation.results
    )


def stages_frame(found: Findings) -> DataFrame:
    """One row per trial and stage: model, samples, measured tokens, unparsable samples, and cost by parts."""
    return _frame(stage_row(found, number, stage) for number in range(len(found.trials)) for stage in found.trials[number].allocation)


def steps_frame(found: Findings) -> DataFrame:
    """One row per step of the agent; `trials` are the numbers of those that came of its round."""
    numbers = {each.number: [trial.number for trial in each.trials] for each in found.rounds}
    return _frame({**step_row(step), "trials": numbers[step.round]} for step in found.steps)


def samples_frame(store: Store) -> DataFrame:
    """One row per completion in the store's sample pool, of whatever study; empty where a recording was replayed."""
    return _frame(
        {
            "model": prompt.model,
            "namespace": prompt.namespace,
            "prompt": prompt.messages[-1]["content"],
            "position": position,
            "text": sample.text,
            "completion_tokens": sample.completion_tokens,
        }
        for prompt, position, sample in store.samples.everything()
    )


def stage_row(found: Findings, index: int, stage: str) -> dict[str, Any]:
    """One stage of one trial, as plain data; costs are missing for a study begun before prices were kept."""
    trial = found.trials[index]
    choice, usage = trial.allocation[stage], trial.evaluation.usage.get(stage)
    price = found.prices.get(stage, {}).get(choice.model)
    parts = {} if price is None else price.parts(choice.samples)._asdict()
    return {
        "trial": trial.number,
        "stage": stage,
        "model": choice.model,
        "samples": choice.samples,
        "score": trial.evaluation.subtask_scores.get(stage),
        "prompt_tokens": usage and usage.prompt_tokens,
        "completion_tokens": usage and usage.completion_tokens,
        "drawn": usage and usage.samples,
        "unparsable": usage and usage.unparsable,
        **{f"cost.{part}": cost for part, cost in parts.items()},
    }


def _trial(found: Findings, index: int) -> dict[str, Any]:
    trial = found.trials[index]
    row, expected = evaluation_row(trial.evaluation), found.expected[trial.number]
    check = found.checks.get(trial.allocation.key)
    choices = {
        f"{stage}.{name}": value
        for stage, choice in trial.allocation.items()
        for name, value in (("model", choice.model), ("samples", choice.samples))
    }
    return {
        "trial": trial.number,
        **choices,
        "cost": trial.cost,
        "expected": expected.score,
        "expected_low": expected.interval.low,
        "expected_high": expected.interval.high,
        **{name: row[name] for name in ("score", "examples", "failures", "tokens_bought", "tokens_reused", "seconds")},
        "held_out": None if check is None else check.score,
        "searcher": trial.searcher,
        "rationale": trial.rationale,
        "round": trial.round,
        "created": trial.created,
    }


def _frame(rows: Iterable[dict[str, Any]]) -> DataFrame:
    try:
        import pandas
    except ImportError as error:
        raise ConfigError("frames need pandas: pip install 'agenttts[report]'") from error
    return pandas.DataFrame(list(rows))
