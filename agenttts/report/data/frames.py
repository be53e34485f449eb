"""Tidy pandas frames of a study: one row per trial, example, stage, step or sample (extra `report`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from agenttts._util.extras import imported
from agenttts.pipeline.tools import message_text
from agenttts.report.data.rows import evaluation_row, example_rows, stage_rows, step_row
from agenttts.report.findings.findings import Findings
from agenttts.study.trial import Trial

if TYPE_CHECKING:
    from pandas import DataFrame


def trials_frame(found: Findings) -> DataFrame:
    """One row per trial: `<stage>.model`, `<stage>.samples`, cost, expected and observed score, spend, origin.

    A stage whose operator was varied has the column `<stage>.operator` too, one whose options were `<stage>.options`.

    Examples:
        >>> from agenttts import report
        >>> report.trials_frame(found)[["trial", "find.model", "find.samples", "cost", "score"]].head(2)
           trial find.model  find.samples   cost  score
        0      1      large             1  304.0    1.0
        1      2      small             4  316.0    1.0
    """
    return _frame(_trial(found, trial) for trial in found.trials)


def examples_frame(found: Findings) -> DataFrame:
    """One row per trial and example; `held_out` tells those of the check apart.

    Examples:
        >>> from agenttts import report
        >>> report.examples_frame(found).groupby("held_out").score.mean()
        held_out
        False    1.0
        True     1.0
        Name: score, dtype: float64
    """
    checks = found.checks
    return _frame(row for trial in found.trials for row in example_rows(trial, checks.get(trial.allocation.key)))


def stages_frame(found: Findings) -> DataFrame:
    """One row per trial and stage: model, samples, measured tokens, unparsable samples, and the parts of the cost.

    Examples:
        >>> from agenttts import report
        >>> report.stages_frame(found)[["trial", "stage", "model", "samples", "completion_tokens"]].head(2)
           trial   stage  model  samples  completion_tokens
        0      1    find  large        1                1.0
        1      1  answer  small        5                1.0
    """
    return _frame(row for trial in found.trials for row in stage_rows(trial, found.prices))


def steps_frame(found: Findings) -> DataFrame:
    """One row per step of the agent; `trials` are the numbers of those that came of its round.

    Examples:
        >>> from agenttts import report
        >>> report.steps_frame(found)[["round", "node", "planner"]].head(2)
           round     node planner
        0      0   recall   rules
        1      0  initial   rules
    """
    numbers = {each.number: [trial.number for trial in each.trials] for each in found.rounds}
    return _frame({**step_row(step), "trials": numbers[step.round]} for step in found.steps)


def samples_frame(found: Findings) -> DataFrame:
    """One row per completion in the sample pool of the study's store, which its studies share; empty where a recording
    was replayed.

    Examples:
        >>> from agenttts import report
        >>> report.samples_frame(found)[["model", "position", "text"]].head(2)
           model  position text
        0  large         0  yes
        1  small         0  yes
    """
    return _frame(
        {
            "model": prompt.model,
            "namespace": prompt.namespace,
            "prompt": message_text(prompt.messages[-1]),
            "position": position,
            "text": sample.text,
            "completion_tokens": sample.completion_tokens,
        }
        for prompt, position, sample in found.store.samples.everything()
    )


def _trial(found: Findings, trial: Trial) -> dict[str, Any]:
    row, expected = evaluation_row(trial.evaluation), found.expected[trial.number]
    check = found.checks.get(trial.allocation.key)
    every = [(stage, choice) for each in found.trials for stage, choice in each.allocation.items()]
    varied = {(stage, kind) for stage, choice in every for kind in ("operator", "options") if getattr(choice, kind)}
    choices = {
        f"{stage}.{kind}": getattr(choice, kind)
        for stage, choice in trial.allocation.items()
        for kind in ("model", "samples", "operator", "options")
        if kind in ("model", "samples") or (stage, kind) in varied
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
    pandas: Any = imported("pandas", "frames need pandas", extra="report")
    return pandas.DataFrame(list(rows))
