"""The agent's prompts: the paper's content (`dialogue`), with intervals and the rule planner's own evidence beside it.

Three insights are put to the model as things to establish from the trials, not as facts; each can be left out. The
history is a compact table with intervals, by posterior mean.
"""

from __future__ import annotations

import numpy as np

from agenttts.agent.planner import View
from agenttts.proposals import dialogue
from agenttts.proposals.checking import SoFar
from agenttts.proposals.meaning import meaning

_SHOWN_TRIALS = 40
_SHOWN_GUIDELINES = 3
_SHOWN_UNTRIED = 8


def reflection(view: View) -> str:
    """Ask for a new guideline."""
    questions = [dialogue.MODEL_SIZE] * (view.insights.model_preference and view.first)
    questions += [dialogue.SATURATION] * view.insights.saturation
    questions += [dialogue.INTERACTION] * view.insights.interaction
    questions.append(dialogue.EXPLORATION)
    return "\n\n".join([*_situation(view), dialogue.guideline_request(questions)])


def proposal(view: View, guideline: str, count: int, so_far: SoFar) -> str:
    """Ask for new allocations."""
    request = dialogue.allocation_request(view.space, count, so_far, guided=True)
    return "\n\n".join([*_situation(view), f"Guideline:\n{guideline}", request])


def _situation(view: View) -> list[str]:
    return [dialogue.task(view.space), meaning(view.space.pipeline), _history(view), _statistics(view), _untried(view)]


def _statistics(view: View) -> str:
    evidence = view.evidence
    lines = [*evidence.around(), *evidence.table(), *evidence.stages()]
    return "What the trials say, as statistics:\n" + "\n".join(lines)


def _untried(view: View) -> str:
    scale = view.space.scale
    lines = [
        f"{each.allocation} | {scale.number(view.space.cost(each.allocation))} | {each.mean:.3f} ± {1.96 * each.sd:.3f}"
        for each in view.ranking.best(_SHOWN_UNTRIED)
    ]
    head = f"Untried allocations that the statistics rank highest: allocation | cost in {scale.unit} | expected score"
    return "\n".join([head, *lines])


def _history(view: View) -> str:
    trials = view.archive.trials
    expected = view.ranking.surrogate.predict_allocations([trial.allocation for trial in trials]).mean
    order = np.argsort(-expected, kind="stable")[:_SHOWN_TRIALS]
    lines = [
        f"Trials, by expected score ({len(order)} of {len(trials)} shown): allocation | cost | "
        "score [95 % interval] on so many examples | stages | expected score, by which the best is recommended"
    ]
    lines += [
        f"{dialogue.trial_line(trials[place], view.space.scale, interval=True)} | expected {expected[place]:.3f}"
        for place in order
    ]
    if view.archive.guidelines:
        recent = view.archive.guidelines[-_SHOWN_GUIDELINES:]
        lines += ["", "Earlier guidelines, newest last:", *(f"- {each.text}" for each in recent)]
    return "\n".join(lines)
