"""What an adviser is told and asked, in at most about 1,500 tokens a time.

Costs are in units of which the budget has 100, worked out here. Trials are shown by posterior mean, as many as there is
space for; what is worth trying next is a list with numbers, which may be answered with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agenttts._util.text import bounded, one_line
from agenttts.agent.memory import Outcome, earlier_advice, last_batch
from agenttts.agent.planner import Insights, Situation, View
from agenttts.agent.price_table import price_table, units
from agenttts.agent.ranking import Ranked
from agenttts.proposals import dialogue
from agenttts.proposals.checking import SoFar
from agenttts.proposals.meaning import meaning
from agenttts.protocols import FailedExample
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Trial

SHORTLIST = 6
"""Allocations that are offered by number."""
FAILURES = 3
"""Examples that the best trial fails, where they may be shown."""
NOTE_WORDS = 80
_MOST_CHARACTERS = 4000
"""Of a prompt, beside the system's: fewer trials are shown where more do not fit. About 1,350 tokens."""
_MOST_OF_A_FIELD, _MOST_OF_AN_EXAMPLE = 60, 300
_LEAST_TRIALS, _MOST_TRIALS, _MOST_OUTCOMES, _LEAST_OFFERED = 3, 12, 4, 2


def beginning(situation: Situation, design: Sequence[Allocation], others: Sequence[Allocation]) -> str:
    """Ask for first trials, beside those of the rule's design; `others` are offered by number."""
    space = situation.space
    parts = [
        *_problem(situation),
        "No trial has been made. A rule makes the first half of the initial trials:\n" + _rows(space, design),
        "It would go on with these:\n" + _numbered(space, others),
        _request(situation, len(others), "what you expect of each stage, from what you know of such tasks and models"),
    ]
    return "\n\n".join(parts)


def planning(
    view: View, shortlist: Sequence[Ranked], count: int, so_far: SoFar, failures: Sequence[FailedExample]
) -> tuple[str, Sequence[Ranked]]:
    """Ask what has been learned, and for new allocations; and as much of the shortlist as there is space to offer."""
    before = [*_problem(view), f"You are asked because {view.occasion}."] if view.occasion else _problem(view)
    asked = [*_earlier(view), *dialogue.to_mend(so_far), _request(view, count, _conclusions(view.insights))]
    fewest = len(_history(view, 0))
    offered, failing, outcomes = list(shortlist), list(failures), last_batch(view.archive)[:_MOST_OUTCOMES]
    # Where it is too long, the first of these is shortened first.
    shrinking: list[tuple[list[Any], int]] = [(offered, _LEAST_OFFERED), (failing, 1), (outcomes, 1)]
    while True:
        known = [*_outcomes(view.space, outcomes), _statistics(view), *_failing(failing)]
        after = [*known, _worth_trying(view.space, offered), *asked]
        left = _MOST_CHARACTERS - sum(map(len, (*before, *after)))
        spare = next((part for part, least in shrinking if len(part) > least), None)
        if left >= fewest or spare is None:
            return "\n\n".join([*before, _history(view, left), *after]), offered
        spare.pop()


def explanation(view: View, best: Trial) -> str:
    """Ask why the trial is recommended, in plain words."""
    before = [*_problem(view), f"The search has ended. Recommended, by posterior mean, is: {best.allocation}."]
    after = [
        _statistics(view),
        f"Explain in at most {NOTE_WORDS} plain words, to somebody who knows the pipeline but no statistics, why each "
        "stage gets what it gets, how sure that is, and what was not tried. Claim nothing that is not above.",
    ]
    left = _MOST_CHARACTERS - sum(map(len, (*before, *after)))
    return "\n\n".join([*before, _history(view, left), *after])


def _problem(situation: Situation) -> list[str]:
    return [price_table(situation.space), meaning(situation.space.pipeline), _course(situation)]


def _course(situation: Situation) -> str:
    """Which trial of how many, how many at once, how they race, and what is recommended."""
    outlook, archive = situation.outlook, situation.archive
    ends = "At the end the trial with the highest posterior mean is recommended, not the luckiest."
    if outlook is None:
        return f"{len(archive.trials)} trials have been made. {ends}"
    examples = f" of {archive.examples}" if archive.examples else ""
    races = (
        f"A trial first sees {outlook.look}{examples} examples, and more only while it may still be the best. "
        if outlook.look
        else f"Every trial sees all{examples} examples. "
    )
    at_once = f"{outlook.at_once} trials are" if outlook.at_once > 1 else "one trial is"
    return f"Trial {len(archive.trials) + 1} of {outlook.trials} is next; {at_once} made at a time. {races}{ends}"


def _history(view: View, characters: int) -> str:
    """The trials by posterior mean, as many as fit."""
    trials = view.archive.trials
    expected = view.ranking.expected([trial.allocation for trial in trials])
    order = sorted(range(len(trials)), key=lambda place: -expected[place].mean)[:_MOST_TRIALS]
    lines = [_trial(view.space, trials[place], expected[place]) for place in order]
    fitting = int(np.sum(np.cumsum([len(line) + 1 for line in lines]) < characters))
    shown = lines[: max(fitting, _LEAST_TRIALS)]
    about = f"Trials by posterior mean, {len(shown)} of {len(trials)}"
    head = f"{about}: {_stages(view.space)} | units | score (of the stages), examples | posterior"
    return "\n".join([head, *shown])


def _trial(space: SearchSpace, trial: Trial, expected: Ranked) -> str:
    return f"{_row(space, trial.allocation)} | {_observed(space, trial)} | {expected.mean:.3f} ± {_half(expected.sd)}"


def _observed(space: SearchSpace, trial: Trial) -> str:
    """The score, those of the stages in their order where any has one, and of how many examples."""
    evaluation = trial.evaluation
    own = [evaluation.subtask_scores.get(subtask.name) for subtask in space.pipeline.subtasks]
    shown = " | ".join("-" if one is None else f"{one:.2f}" for one in own)
    scored = f" ({shown})" if set(own) != {None} else ""
    return f"{evaluation.score:.3f}{scored}, n={len(evaluation.results)}"


def _outcomes(space: SearchSpace, outcomes: Sequence[Outcome]) -> list[str]:
    """What was expected of the last batch, and what came."""
    lines = [
        f"{_row(space, each.trial.allocation)} | {each.mean:.3f} ± {_half(each.sd)} | {_observed(space, each.trial)}"
        for each in outcomes
    ]
    head = f"Expected and observed in the last round: {_stages(space)} | units | expected | score, examples"
    return ["\n".join([head, *lines])] if lines else []


def _statistics(view: View) -> str:
    evidence = view.evidence
    best = f"{_row(view.space, evidence.incumbent)} | {evidence.score:.3f} ± {_half(evidence.sd)}"
    return "\n".join([f"What the trials say, as statistics around the best ({best}):", *evidence.brief()])


def _half(sd: float) -> str:
    """Half a 95 % interval."""
    return f"{1.96 * sd:.3f}"


def _failing(failures: Sequence[FailedExample]) -> list[str]:
    """What the best trial gets wrong: the example's fields, and what each stage made of it."""
    lines = []
    for each in failures:
        given = "; ".join(f"{name}: {_short(value)}" for name, value in each.given.items())
        scores = {name: f" ({score:.2f})" for name, score in each.stage_scores.items()}
        said = [f"{stage}{scores.get(stage, '')}: {_short(output)}" for stage, output in each.outputs.items()]
        lines.append(bounded(f"- {each.score:.2f} | {' | '.join([given, *said])}", _MOST_OF_AN_EXAMPLE))
    head = "Examples that the best trial fails: score | example | each stage's output"
    return ["\n".join([head, *lines])] if lines else []


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _MOST_OF_A_FIELD else f"{line[:_MOST_OF_A_FIELD]} ..."


def _worth_trying(space: SearchSpace, shortlist: Sequence[Ranked]) -> str:
    lines = [
        f"{number}. {_row(space, each.allocation)} | {each.mean:.3f} ± {_half(each.sd)} | {each.improvement:.4f}"
        for number, each in enumerate(shortlist, start=1)
    ]
    head = f"Shortlist, untried: {_stages(space)} | units | expected score | expected improvement"
    return "\n".join([head, *lines])


def _earlier(view: View) -> list[str]:
    said = earlier_advice(view.archive)
    return [f"Your last notes, after {said[-1].round} trials: {said[-1].text}"] if said and said[-1].text else []


def _rows(space: SearchSpace, allocations: Sequence[Allocation]) -> str:
    return "\n".join([f"{_stages(space)} | units", *(_row(space, each) for each in allocations)])


def _numbered(space: SearchSpace, allocations: Sequence[Allocation]) -> str:
    return "\n".join(f"{number}. {_row(space, each)}" for number, each in enumerate(allocations, start=1))


def _stages(space: SearchSpace) -> str:
    return " | ".join(subtask.name for subtask in space.pipeline.subtasks)


def _row(space: SearchSpace, allocation: Allocation) -> str:
    """The choices in the order of the stages, and what they cost."""
    return " | ".join([*map(str, allocation.values()), units(space, space.cost(allocation))])


def _conclusions(insights: Insights) -> str:
    """What the notes are to settle: the paper's insights that are used, as questions."""
    questions = ["which model size each stage needs"] * insights.model_preference
    questions += ["from how many samples on more stop helping"] * insights.saturation
    questions += ["how an earlier stage moves a later one's best choice"] * insights.interaction
    return ", ".join([*questions, "where too little is known"])


def _request(situation: Situation, count: int, about: str) -> str:
    space = situation.space
    few = f" Only {len(space.listed)} allocations can be tried." if space.listed is not None else ""
    return (
        f"Propose {count} allocation{'s' * (count > 1)}: numbers of the list, or free ones of at most 100 units that "
        f"are in no table above.{few} notes: {about}; at most {NOTE_WORDS} words. Reply with JSON alone:\n"
        '{"notes": "...", "candidates": [{"rationale": "...", "number": 1}, '
        f'{{"rationale": "...", "allocation": {dialogue.form(space)}}}]}}'
    )
