"""What an LLM that drives a search is told, asked, and how its reply is read: one place for the agent and baselines.

The texts are our own words for the content of the paper's prompts (section A.10, figures 16 to 18). They are pure
functions of the space and the archive: the same archive always gives the same prompt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from agenttts._util.numbers import Scale
from agenttts._util.text import MOST_KEPT, bounded
from agenttts.errors import ConfigError, ParseError
from agenttts.llm.chat import Answer, ChatModel
from agenttts.pipeline import Model, Subtask, SubtaskInput
from agenttts.pipeline.pairing import settings, write_options
from agenttts.pipeline.parsers import json_object
from agenttts.proposals.checking import Rejected
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.counts import samples_in_words
from agenttts.study.trial import Proposal, Trial

SYSTEM = (
    "You are an expert in hyper-parameter optimisation. You tune the test-time compute of a pipeline of LLM calls: "
    "for each subtask, which model it uses, how many samples it draws from that model, and how they are merged. "
    "The whole pipeline has one compute budget per query. Maximise the final score within the budget."
)

# The paper's insights, as questions that the trials are to answer, and what it asks where they answer little.
MODEL_SIZE = (
    "Model size: for each subtask, compare the trials in which its models had about the same budget. Which size "
    "should be pursued? Take a larger model only if it is clearly better than chance; else the smaller one, which "
    "leaves budget for samples."
)
SATURATION = (
    "Samples: for each subtask, from which number of samples on does more stop helping, or hurt? In which direction "
    "should the search for that point go?"
)
INTERACTION = (
    "Stages: the budget is shared and an earlier stage's quality moves the best choice of a later one. If not every "
    "stage can have its optimum, which one comes first, and what should the others do then?"
)
EXPLORATION = (
    "Where is too little known? If the scores hardly differ, name what to explore: good trials crossed, one choice "
    "changed, or somewhere new."
)

_MOST_LISTED = 100
_PRICED_WITH = 8
"""Samples with which the prices of operators are compared."""
_MOST_PROPOSALS = 200
"""What a reply holds beyond that is not looked at."""
_MOST_QUOTED = 50
"""Rejected proposals that a prompt quotes: the last ones."""
_SHOWN_FAULT = 300
_MOST_SAMPLES = 10**9
"""A reply with more samples than any budget allows is unreadable, not a number to reckon with."""


def task(space: SearchSpace) -> str:
    """The pipeline, its subtasks with their models and lengths, and what everything costs."""
    lines = [f"Pipeline {space.pipeline.name!r}; budget {space.scale.rate(space.budget)}. Subtasks:"]
    for subtask in space.pipeline.subtasks:
        lines += _subtask(space, subtask)
    lines.append("The cost of an allocation is the sum over its subtasks.")
    if space.listed is not None:
        shown = "; ".join(map(str, space.listed[:_MOST_LISTED]))
        lines.append(f"Only {len(space.listed)} allocations within the budget can be tried. The first of them: {shown}")
    return "\n".join(lines)


def _subtask(space: SearchSpace, subtask: Subtask) -> list[str]:
    scale = space.scale
    after = ", ".join(space.pipeline.parents(subtask.name)) or "the input"
    stage = replace(subtask, model_lengths={}).lengths(subtask.models[0])
    lengths = f"about {stage.prompt:.4g} tokens of prompt and {stage.completion:.4g} of each sample"
    lines = [f"- {subtask.name} (reads {after}; {lengths}; {samples_in_words(subtask)})"]
    for model in subtask.models:
        own = ""
        if model.name in subtask.model_lengths:
            own = " ({:.4g} and {:.4g} tokens)".format(*subtask.model_lengths[model.name])
        one, two, three = (float(space.cost_model.cost(subtask, model, n)) for n in (1, 2, 3))
        lines.append(
            f"    {model.name}, {_size(model)}{own}: costs {scale.show(one)} with 1 sample, "
            f"{scale.number(two)} with 2, and {scale.number(three - two)} more per further sample"
        )
    return lines + _operators(space, subtask) + _options(space, subtask)


def _operators(space: SearchSpace, subtask: Subtask) -> list[str]:
    """One line for each operator, where there are several."""
    if len(subtask.operators) < 2:
        return []
    lines = [f"    operators, of which {subtask.pairings[0].operator.name!r} is meant where none is named:"]
    smallest = min(subtask.models, key=lambda model: subtask.sizes[model.name])
    for operator in {pairing.operator.name: pairing.operator for pairing in subtask.pairings}.values():
        count = max(_PRICED_WITH, operator.least_samples)
        cost = float(space.cost_model.cost(subtask, smallest, count, operator))
        lines.append(
            f"      {operator.name}: costs {space.scale.show(cost)} with {count} samples of {smallest.name}, "
            f"takes {operator.least_samples} or more"
        )
    return lines


def _options(space: SearchSpace, subtask: Subtask) -> list[str]:
    """One line for each option of the subtask."""
    smallest = min(subtask.models, key=lambda model: subtask.sizes[model.name])
    lines, first = [], settings(subtask.options)[0]
    for option, values in subtask.options.items():
        chosen = [{**first, option: value} for value in values]
        prices = [float(space.cost_model.cost(subtask, smallest, 1, options=each)) for each in chosen]
        costs = [f"{value} ({space.scale.show(price)})" for value, price in zip(values, prices, strict=True)]
        lines.append(
            f"    option {option!r}: {', '.join(costs)}; in brackets the cost of 1 sample of {smallest.name}; "
            f"{values[0]} is meant where it is not named"
        )
    return lines


def _size(model: Model) -> str:
    known = "unknown size" if model.parameters is None else f"{model.parameters:.4g} parameters"
    variant = ", ".join(f"{name} {value}" for name, value in model.own_fields.items())
    return f"{known}, {variant}" if variant else known


def trial_line(trial: Trial, scale: Scale, *, interval: bool) -> str:
    """One trial: allocation | cost | score | scores of the subtasks that have one.

    Args:
        trial: The trial.
        scale: How its cost is shown.
        interval: Whether the score comes with its 95 % interval, or else with the number of examples it is a mean of.
    """
    evaluation = trial.evaluation
    low, high = evaluation.interval
    sure = f"[{low:.3f}, {high:.3f}]" if interval else f"on {len(evaluation.results)} examples"
    stages = "".join(f" | {name} {score:.3f}" for name, score in evaluation.subtask_scores.items())
    return f"{trial.allocation} | {scale.number(trial.cost)} | {evaluation.score:.3f} {sure}{stages}"


def guideline_request(questions: Sequence[str]) -> str:
    """Ask for a guideline that answers these questions."""
    asked = "\n".join(f"{number}. {question}" for number, question in enumerate(questions, start=1))
    return f"Write the guideline for the next trials. Answer item by item, very concisely:\n{asked}"


def allocation_request(space: SearchSpace, count: int, rejected: Sequence[Rejected], *, guided: bool) -> str:
    """Ask for new allocations.

    Args:
        space: What is searched.
        count: How many are wanted.
        rejected: What was proposed for this call and rejected.
        guided: Whether a guideline and trials have been shown.
    """
    parts = []
    if rejected:
        lines = [*dict.fromkeys(f"- {each}" for each in rejected)][-_MOST_QUOTED:]
        parts.append("These proposals were rejected; fix or replace them:\n" + "\n".join(lines))
    such = ", following the guideline and not among the trials above" if guided else ""
    choices = ", ".join(map(_form, space.pipeline.subtasks))
    parts.append(
        f"Propose {count} new allocation{'s' * (count > 1)} within the budget{such}. Work out each cost with the "
        "formula before you answer. Reply with JSON alone:\n"
        f'{{"candidates": [{{"rationale": "...", "allocation": {{{choices}}}}}]}}'
    )
    return "\n\n".join(parts)


def _form(subtask: Subtask) -> str:
    """How a reply is to state a choice."""
    operator = ', "operator": "..."' if len(subtask.operators) > 1 else ""
    first = json.dumps({name: values[0] for name, values in subtask.options.items()})
    options = f', "options": {first}' if subtask.options else ""
    return f'"{subtask.name}": {{"model": "...", "samples": {subtask.least_samples}{operator}{options}}}'


@dataclass(frozen=True)
class ReadReply:
    """What a model proposed, as far as it could be read."""

    proposals: list[Proposal]
    fault: str
    """Why the reply could not be read; empty when it could."""
    answer: Answer

    @property
    def text(self) -> str:
        """The proposals, or why there are none, in words."""
        lines = [f"{proposal.allocation}: {proposal.rationale}" for proposal in self.proposals]
        return f"unreadable reply: {self.fault}" if self.fault else "\n".join(lines)


async def ask_for_allocations(model: ChatModel, prompt: str, space: SearchSpace) -> ReadReply:
    """Put a prompt that ends in `allocation_request` to a model, and read what comes back.

    Raises:
        EndpointError: When its endpoint rejects the request or keeps failing.
    """
    answer = await model.ask(prompt, system=SYSTEM, schema=_schema(space))
    try:
        return ReadReply(read_allocations(answer.text, space), "", answer)
    except ParseError as error:
        return ReadReply([], str(error), answer)


def _schema(space: SearchSpace) -> dict[str, Any]:
    subtasks = {
        s.name: _object(
            {
                "model": {"type": "string", "enum": [model.name for model in s.models]},
                "samples": {"type": "integer", **_samples_schema(s)},
                **_operator_schema(s),
                **_options_schema(s),
            }
        )
        for s in space.pipeline.subtasks
    }
    candidate = _object({"rationale": {"type": "string"}, "allocation": _object(subtasks)})
    return _object({"candidates": {"type": "array", "items": candidate}})


def _operator_schema(subtask: Subtask) -> dict[str, Any]:
    if len(subtask.operators) < 2:
        return {}
    return {"operator": {"type": "string", "enum": [operator.name for operator in subtask.operators]}}


def _options_schema(subtask: Subtask) -> dict[str, Any]:
    if not subtask.options:
        return {}
    return {"options": _object({name: {"enum": list(values)} for name, values in subtask.options.items()})}


def _samples_schema(subtask: Subtask) -> dict[str, Any]:
    if subtask.sample_counts is not None:
        return {"enum": list(subtask.sample_counts)}
    return {"minimum": 1, **({"maximum": subtask.max_samples} if subtask.max_samples else {})}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


class _ReplyChoice(BaseModel):
    model: str
    samples: int = Field(ge=1, le=_MOST_SAMPLES)
    operator: str = ""
    options: dict[str, bool | int | float | str] = {}


class _ReplyCandidate(BaseModel):
    rationale: str = ""
    allocation: dict[str, _ReplyChoice]


class _Reply(BaseModel):
    candidates: list[_ReplyCandidate]


def read_allocations(reply: str, space: SearchSpace) -> list[Proposal]:
    """Proposals in a reply, whatever stands around the JSON. They may well be infeasible.

    Raises:
        ParseError: When there is no JSON of the asked form.
    """
    data = _object_of(reply)
    try:
        found = _Reply.model_validate(data if "candidates" in data else {"candidates": [data]})
        usable = [each for each in found.candidates[:_MOST_PROPOSALS] if each.allocation]
        return [Proposal(_allocation(each, space), each.rationale) for each in usable]
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ParseError(bounded(f"{where}: {first['msg']}", _SHOWN_FAULT)) from error
    except ConfigError as error:
        raise ParseError(bounded(str(error), _SHOWN_FAULT)) from error


def _object_of(reply: str) -> dict[str, Any]:
    try:
        return json_object(reply[:MOST_KEPT], SubtaskInput({}))
    except ParseError as error:
        if len(reply) < MOST_KEPT:
            raise
        raise ParseError(f"{error} within its first {MOST_KEPT:,} characters: keep it shorter") from error


def _allocation(candidate: _ReplyCandidate, space: SearchSpace) -> Allocation:
    subtasks = {subtask.name: subtask for subtask in space.pipeline.subtasks}
    chosen = {name: _choice(choice, subtasks.get(name)) for name, choice in candidate.allocation.items()}
    # Known subtasks in the pipeline's order; unknown ones stay, for the check to name them.
    names = [subtask.name for subtask in space.pipeline.subtasks]
    ordered = sorted(chosen, key=lambda name: (name not in names, names.index(name) if name in names else 0))
    return Allocation({name: chosen[name] for name in ordered})


def _choice(choice: _ReplyChoice, subtask: Subtask | None) -> Choice:
    """A choice as allocations write it: what is first of its kind goes unnamed."""
    first = subtask.pairings[0].operator.name if subtask else ""
    options = write_options(subtask.options if subtask else {}, choice.options)
    return Choice(choice.model, choice.samples, "" if choice.operator == first else choice.operator, options)
