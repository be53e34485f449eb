"""The agent's prompts, in our own words, with the content of the paper's (section A.10, figures 16 to 18).

Three insights are put to the model as things to establish from the trials, not as facts; each can be left out. The
history is a compact table with intervals, and the evidence is the rule planner's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agenttts.agent.planner import Refused, View
from agenttts.allocation import SearchSpace
from agenttts.trial import Trial

SYSTEM = (
    "You are an expert in hyper-parameter optimisation. You tune the test-time compute of a pipeline of LLM calls: "
    "for each subtask, which model it uses and how many samples it draws from that model before they are merged. "
    "The whole pipeline has one compute budget per query. Maximise the final score within the budget."
)
_SHOWN_TRIALS = 40
_SHOWN_GUIDELINES = 3


def reflection(view: View) -> str:
    """Ask for a new guideline."""
    questions = []
    if view.insights.model_preference and view.first:
        questions.append(
            "Model size: for each subtask, compare the trials in which its models had about the same budget. Which "
            "size should be pursued? Take a larger model only if it is clearly better than chance; else the smaller "
            "one, which leaves budget for samples."
        )
    if view.insights.saturation:
        questions.append(
            "Samples: for each subtask, from which number of samples on does more stop helping, or hurt? In which "
            "direction should the search for that point go?"
        )
    if view.insights.interaction:
        questions.append(
            "Stages: the budget is shared and an earlier stage's quality moves the best choice of a later one. If not "
            "every stage can have its optimum, which one comes first, and what should the others do then?"
        )
    questions.append("Where is too little known? Name what to explore if the scores hardly differ.")
    asked = "\n".join(f"{number}. {question}" for number, question in enumerate(questions, start=1))
    return "\n\n".join(
        [
            *_situation(view),
            f"Write the guideline for the next trials. Answer item by item, very concisely:\n{asked}",
        ]
    )


def proposal(view: View, guideline: str, count: int, refused: Sequence[Refused]) -> str:
    """Ask for new allocations."""
    parts = [*_situation(view), f"Guideline:\n{guideline}"]
    if refused:
        lines = [f"- {each.proposal.allocation}: {'; '.join(each.reasons)}" for each in refused]
        parts.append("These proposals were refused; mend or replace them:\n" + "\n".join(lines))
    parts.append(
        f"Propose {count} new allocation{'s' * (count > 1)} that follow the guideline, within the budget, and not "
        "among the trials above. Work out each cost with the formula before you answer. Reply with JSON alone:\n"
        + _form(view.space)
    )
    return "\n\n".join(parts)


def schema(space: SearchSpace, count: int) -> dict[str, Any]:
    """JSON schema of the reply to `proposal`."""
    subtasks = {
        s.name: _object(
            {
                "model": {"type": "string", "enum": [model.name for model in s.models]},
                "samples": {"type": "integer", "minimum": 1, **({"maximum": s.max_samples} if s.max_samples else {})},
            }
        )
        for s in space.pipeline.subtasks
    }
    candidate = _object({"rationale": {"type": "string"}, "allocation": _object(subtasks)})
    return _object({"candidates": {"type": "array", "items": candidate}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _form(space: SearchSpace) -> str:
    choices = ", ".join(f'"{s.name}": {{"model": "...", "samples": 1}}' for s in space.pipeline.subtasks)
    return f'{{"candidates": [{{"rationale": "...", "allocation": {{{choices}}}}}]}}'


def _situation(view: View) -> list[str]:
    evidence = "\n".join(view.evidence.lines())
    return [_task(view.space), _history(view), f"What the trials say, as statistics:\n{evidence}"]


def _task(space: SearchSpace) -> str:
    unit = space.cost_model.unit
    lines = [f"Pipeline {space.pipeline.name!r}; budget {space.budget:g} {unit} per query. Subtasks:"]
    for subtask in space.pipeline.subtasks:
        after = ", ".join(space.pipeline.parents(subtask.name)) or "the input"
        limit = subtask.max_samples or "unlimited"
        lines.append(f"- {subtask.name} (reads {after}; 1 to {limit} samples)")
        for model in subtask.models:
            one, two, three = (float(space.cost_model.cost(subtask, model, n)) for n in (1, 2, 3))
            lines.append(
                f"    {model.name}, {model.parameters:.4g} parameters: costs {one:.4g} {unit} with 1 sample, "
                f"{two:.4g} with 2, and {three - two:.4g} more per further sample"
            )
    lines.append("The cost of an allocation is the sum over its subtasks.")
    return "\n".join(lines)


def _history(view: View) -> str:
    trials = sorted(view.archive.trials, key=lambda trial: -trial.evaluation.score)
    shown = trials[:_SHOWN_TRIALS]
    lines = [f"Trials, best first ({len(shown)} of {len(trials)} shown): allocation | cost | score [95 % interval]"]
    lines += [_trial_line(trial) for trial in shown]
    if view.archive.guidelines:
        recent = view.archive.guidelines[-_SHOWN_GUIDELINES:]
        lines += ["", "Earlier guidelines, newest last:", *(f"- {each.text}" for each in recent)]
    return "\n".join(lines)


def _trial_line(trial: Trial) -> str:
    low, high = trial.evaluation.interval
    stages = "".join(f" | {name} {score:.3f}" for name, score in trial.evaluation.subtask_scores.items())
    score = f"{trial.evaluation.score:.3f} [{low:.3f}, {high:.3f}]"
    return f"{trial.allocation} | {trial.cost:.4g} | {score}{stages}"
