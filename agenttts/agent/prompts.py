"""What an adviser is told and asked, in at most about 1,500 tokens a time.

Costs are in units of which the budget has 100, worked out here. Trials are shown by posterior mean; what is worth a try
next is a list with numbers, which may be answered with. Where all that is known is too long, less of it is told
(`_HowMuch`), in a fixed order, and in the end as many trials as there is space for. A repair tells less from the start:
what is asked for again was told of before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from agenttts._util.text import bounded, one_line
from agenttts.agent.memory import Outcome, earlier_advice, last_batch
from agenttts.agent.planner import Insights, Situation, View
from agenttts.agent.price_table import price_table, units
from agenttts.agent.ranking import Ranked
from agenttts.proposals import dialogue
from agenttts.proposals.checking import SoFar
from agenttts.proposals.meaning import MOST_TOLD, meaning
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
"""Of a prompt, beside the system's: about 1,350 tokens."""
_WANTED, _OF_AN_EXPLANATION = 3500, 3000
"""As many, where nothing has to be left out for it: four questions with their answers then take 6,000 tokens."""
_MOST_OF_A_FIELD, _MOST_OF_AN_EXAMPLE = 60, 300


@dataclass(frozen=True, kw_only=True)
class _HowMuch:
    """How much of each part is told."""

    trials: int = 12
    related: int = 4
    """Dependencies of stages."""
    outcomes: int = 4
    """Trials of the last batch, expected and observed."""
    offered: int = SHORTLIST
    failing: int = FAILURES
    options: int = 4
    """Of each stage, at their best; without any there are no statistics."""
    ways: int = 8
    """What operators and options are preferred."""
    told: int = MOST_TOLD
    """Characters of what each prompt says."""
    priced: int = 6
    """Numbers of samples of each choice."""
    noted: int = 800
    """Characters of the last notes."""
    rejected: int = 8
    """Rejected proposals."""
    quoted: int = 1200
    """Characters of a reply that could not be read."""
    spelled_out: int = 1
    """Whether the form of a reply is, for every stage."""


_Order = Sequence[tuple[str, int]]
_REPAIR = _HowMuch(trials=3, related=0, outcomes=0, failing=0, options=2, noted=0)
_GIVEN_UP: _Order = (
    ("trials", 3),
    ("related", 0),
    ("outcomes", 1),
    ("offered", 3),
    ("options", 2),
    ("priced", 3),
    ("ways", 2),
    ("failing", 1),
    ("quoted", 300),
    ("rejected", 2),
    ("told", 80),
    ("priced", 2),
    ("noted", 200),
    ("offered", 2),
    ("told", 40),
    ("spelled_out", 0),
)
"""What is told less of, one after another, each by halves down to so much, until the rest has the characters wanted.
What statistics say goes before what the stages do: of that an LLM may know more.
"""
_LEFT_OUT: _Order = (
    ("outcomes", 0),
    ("trials", 1),
    ("options", 1),
    ("noted", 0),
    ("ways", 0),
    ("told", 20),
    ("failing", 0),
    ("offered", 1),
)
"""The same, until it has no more than it may have."""
_OF_A_REPAIR: _Order = (*_LEFT_OUT, ("options", 0), ("trials", 0))


def _fitted(
    parts: Callable[[_HowMuch], Sequence[str]],
    amount: _HowMuch = _HowMuch(),
    *,
    left_out: _Order = _LEFT_OUT,
    wanted: int = _WANTED,
) -> tuple[str, _HowMuch]:
    """A prompt of these parts that is as long as it may be, and how much of each it tells."""

    def told(of: _HowMuch) -> str:
        return "\n\n".join(filter(None, parts(of)))

    trials = amount.trials
    for most, order in ((wanted, _GIVEN_UP), (_MOST_CHARACTERS, left_out)):
        for name, least in order:
            while len(told(amount)) > most and (now := getattr(amount, name)) > least:
                amount = replace(amount, **{name: max(now // 2, least)})
    while amount.trials < trials and len(told(more := replace(amount, trials=amount.trials + 1))) <= wanted:
        amount = more
    return told(amount), amount


def beginning(situation: Situation, design: Sequence[Allocation], others: Sequence[Allocation]) -> str:
    """Ask for first trials, beside those of the rule's design; `others` are offered by number."""
    space = situation.space
    problem = _ToldProblem(situation)
    about = "what you expect of each stage, from what you know of such tasks and models"

    def parts(amount: _HowMuch) -> list[str]:
        rows = _rows(space, design[: amount.trials])
        return [
            *problem(amount),
            f"No trial has been made. A rule makes the first half of the initial trials, these among them:\n{rows}",
            "It would go on with these:\n" + _numbered(space, others),
            _request(situation, len(others), about, amount),
        ]

    return _fitted(parts)[0]


def planning(
    view: View, shortlist: Sequence[Ranked], count: int, so_far: SoFar, failures: Sequence[FailedExample]
) -> tuple[str, Sequence[Ranked]]:
    """Ask what has been learned, and for new allocations; and as much of the shortlist as there is space to offer."""
    problem, history, outcomes = _ToldProblem(view), _ToldTrials(view), last_batch(view.archive)
    occasion = f"You are asked because {view.occasion}." if view.occasion else ""
    about = _conclusions(view.insights)

    def parts(amount: _HowMuch) -> list[str]:
        return [
            *problem(amount),
            occasion,
            history(amount),
            _outcomes(view.space, outcomes[: amount.outcomes]),
            _statistics(view, history.first, amount),
            _failing(failures[: amount.failing]),
            _worth_trying(view.space, shortlist[: amount.offered]),
            _earlier(view, amount.noted),
            *dialogue.to_repair(so_far, quoted=amount.quoted, listed=amount.rejected),
            _request(view, count, about, amount),
        ]

    again = so_far.fault or so_far.rejected
    prompt, amount = _fitted(parts, _REPAIR, left_out=_OF_A_REPAIR) if again else _fitted(parts)
    return prompt, shortlist[: amount.offered]


def explanation(view: View, best: Trial) -> str:
    """Ask why the trial is recommended, in plain words."""
    problem, history = _ToldProblem(view), _ToldTrials(view)
    ended = f"The search has ended. Recommended, by posterior mean, is: {best.allocation}."
    request = (
        f"Explain in at most {NOTE_WORDS} plain words, to somebody who knows the pipeline but no statistics, why each "
        "stage gets what it gets, how sure that is, and what was not tried. Claim nothing that is not above."
    )

    def parts(amount: _HowMuch) -> list[str]:
        return [*problem(amount), ended, history(amount), _statistics(view, history.first, amount), request]

    return _fitted(parts, wanted=_OF_AN_EXPLANATION)[0]


class _ToldProblem:
    """What is searched, what its choices cost, and how."""

    def __init__(self, situation: Situation) -> None:
        self._space = situation.space
        self._prices = cache(partial(price_table, situation.space))
        stages = " | ".join(subtask.name for subtask in situation.space.pipeline.subtasks)
        self._course = f"{_course(situation)}\n\nAllocations are rows of: {stages} | units"

    def __call__(self, amount: _HowMuch) -> list[str]:
        return [self._prices(amount.priced), meaning(self._space.pipeline, amount.told), self._course]


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


class _ToldTrials:
    """The trials by posterior mean."""

    def __init__(self, view: View) -> None:
        trials = view.archive.trials
        expected = view.ranking.expected([trial.allocation for trial in trials])
        order = sorted(range(len(trials)), key=lambda place: -expected[place].mean)[: _HowMuch().trials]
        self._lines = [_trial(view.space, trials[place], expected[place]) for place in order]
        self._of = len(trials)
        self.first = trials[order[0]].allocation

    def __call__(self, amount: _HowMuch) -> str:
        if not (shown := self._lines[: amount.trials]):
            return ""
        head = f"Trials by posterior mean, {len(shown)} of {self._of}: row | score (of the stages), n | posterior"
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


def _outcomes(space: SearchSpace, outcomes: Sequence[Outcome]) -> str:
    """What was expected of the last batch, and what came."""
    lines = [
        f"{_row(space, each.trial.allocation)} | {each.mean:.3f} ± {_half(each.sd)} | {_observed(space, each.trial)}"
        for each in outcomes
    ]
    head = "Expected and observed in the last round: row | expected | score, n"
    return "\n".join([head, *lines]) if lines else ""


def _statistics(view: View, first: Allocation, amount: _HowMuch) -> str:
    evidence = view.evidence
    if not amount.options:
        return ""
    shown = "the first of these" if evidence.incumbent == first else _row(view.space, evidence.incumbent)
    known = evidence.brief(options=amount.options, ways=amount.ways, related=amount.related)
    best = f"the best ({shown} | {evidence.score:.3f} ± {_half(evidence.sd)})"
    return "\n".join([f"What the trials say, as statistics around {best}:", *known])


def _half(sd: float) -> str:
    """Half a 95 % interval."""
    return f"{1.96 * sd:.3f}"


def _failing(failures: Sequence[FailedExample]) -> str:
    """What the best trial gets wrong: the example's fields, and what each stage made of it."""
    lines = []
    for each in failures:
        given = "; ".join(f"{name}: {_short(value)}" for name, value in each.given.items())
        scores = {name: f" ({score:.2f})" for name, score in each.stage_scores.items()}
        said = [f"{stage}{scores.get(stage, '')}: {_short(output)}" for stage, output in each.outputs.items()]
        lines.append(bounded(f"- {each.score:.2f} | {' | '.join([given, *said])}", _MOST_OF_AN_EXAMPLE))
    head = "Examples that the best trial fails: score | example | each stage's output"
    return "\n".join([head, *lines]) if lines else ""


def _short(text: str, most: int = _MOST_OF_A_FIELD) -> str:
    line = one_line(text)
    return line if len(line) <= most else f"{line[:most]} ..."


def _worth_trying(space: SearchSpace, shortlist: Sequence[Ranked]) -> str:
    lines = [
        f"{number}. {_row(space, each.allocation)} | {each.mean:.3f} ± {_half(each.sd)} | {each.improvement:.4f}"
        for number, each in enumerate(shortlist, start=1)
    ]
    return "\n".join(["Shortlist, untried: row | expected score | expected improvement", *lines])


def _earlier(view: View, most: int) -> str:
    said = earlier_advice(view.archive)
    if not most or not said or not said[-1].text:
        return ""
    return f"Your last notes, after {said[-1].round} trials: {_short(said[-1].text, most)}"


def _rows(space: SearchSpace, allocations: Sequence[Allocation]) -> str:
    return "\n".join(_row(space, each) for each in allocations)


def _numbered(space: SearchSpace, allocations: Sequence[Allocation]) -> str:
    return "\n".join(f"{number}. {_row(space, each)}" for number, each in enumerate(allocations, start=1))


def _row(space: SearchSpace, allocation: Allocation) -> str:
    """The choices in the order of the stages, and what they cost."""
    return " | ".join([*map(str, allocation.values()), units(space, space.cost(allocation))])


def _conclusions(insights: Insights) -> str:
    """What the notes are to settle: the paper's insights that are used, as questions."""
    questions = ["which model size each stage needs"] * insights.model_preference
    questions += ["from how many samples on more stop helping"] * insights.saturation
    questions += ["how an earlier stage moves a later one's best choice"] * insights.interaction
    return ", ".join([*questions, "where too little is known"])


def _request(situation: Situation, count: int, about: str, amount: _HowMuch) -> str:
    space = situation.space
    form = dialogue.form(space, spelled_out=bool(amount.spelled_out))
    few = f" Only {len(space.listed)} allocations can be tried." if space.listed is not None else ""
    return (
        f"Propose {count} allocation{'s' * (count > 1)}: numbers of the list, or free ones of at most 100 units that "
        f"are in no table above.{few} notes: {about}; at most {NOTE_WORDS} words. Reply with JSON alone:\n"
        '{"notes": "...", "candidates": [{"rationale": "...", "number": 1}, '
        f'{{"rationale": "...", "allocation": {form}}}]}}'
    )
