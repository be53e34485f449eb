"""What an LLM that drives a search is told, asked, and how its reply is read: one place for the agent and baselines.

The texts are our own words for the content of the paper's prompts (section A.10, figures 16 to 18). They are pure
functions of the space and the archive: the same archive always gives the same prompt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agenttts._util.numbers import Scale
from agenttts._util.text import bounded
from agenttts.llm.chat import Answer, ChatModel
from agenttts.pipeline import Model, Subtask
from agenttts.pipeline.pairing import settings
from agenttts.proposals.checking import SoFar
from agenttts.proposals.reading import read_candidates
from agenttts.space import SearchSpace
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
_MOST_LISTED_AGAIN = 50
"""Rejected proposals that a prompt quotes: the last ones."""
_MOST_OF_A_REPLY = 4000
"""Characters of an unreadable reply that are shown to whoever wrote it."""
_MOST_FAULTS = 3


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
        interval: Whether the score comes with its 95 % interval.
    """
    evaluation = trial.evaluation
    low, high = evaluation.interval
    sure = f"{f'[{low:.3f}, {high:.3f}] ' if interval else ''}on {len(evaluation.results)} examples"
    stages = "".join(f" | {name} {score:.3f}" for name, score in evaluation.subtask_scores.items())
    return f"{trial.allocation} | {scale.number(trial.cost)} | {evaluation.score:.3f} {sure}{stages}"


def guideline_request(questions: Sequence[str]) -> str:
    """Ask for a guideline that answers these questions."""
    asked = "\n".join(f"{number}. {question}" for number, question in enumerate(questions, start=1))
    return f"Write the guideline for the next trials. Answer item by item, very concisely:\n{asked}"


def allocation_request(space: SearchSpace, count: int, so_far: SoFar, *, guided: bool) -> str:
    """Ask for new allocations.

    Args:
        space: What is searched.
        count: How many are wanted.
        so_far: What was proposed for this call before.
        guided: Whether a guideline and trials have been shown.
    """
    parts = to_repair(so_far)
    such = ", following the guideline and not among the trials above" if guided else ""
    choices = form(space)
    parts.append(
        f"Propose {count} new allocation{'s' * (count > 1)} within the budget{such}. Work out each cost with the "
        "formula before you answer. Reply with JSON alone:\n"
        f'{{"candidates": [{{"rationale": "...", "allocation": {choices}}}]}}'
    )
    return "\n\n".join(parts)


def to_repair(so_far: SoFar, *, quoted: int = _MOST_OF_A_REPLY, listed: int = _MOST_LISTED_AGAIN) -> list[str]:
    """What was wrong with what was proposed before, and what of it is kept.

    Args:
        so_far: What was proposed for this call before.
        quoted: Characters of an unreadable reply that are shown.
        listed: Rejected proposals that are, the last ones.
    """
    parts = []
    if so_far.fault:
        reply = bounded(so_far.reply, quoted) or "(nothing)"
        parts.append(f"Your last reply:\n{reply}\n\nIt could not be read, or not all of it: {so_far.fault}.")
    if so_far.rejected:
        lines = [*dict.fromkeys(f"- {each}" for each in so_far.rejected)][-listed:]
        parts.append("These proposals were rejected; fix or replace them:\n" + "\n".join(lines))
    if so_far.accepted:
        lines = [f"- {each.allocation}" for each in so_far.accepted]
        parts.append("These were accepted; do not propose them again:\n" + "\n".join(lines))
    return parts


def form(space: SearchSpace, *, spelled_out: bool = True) -> str:
    """How a reply is to state an allocation: for every subtask, or spelled out for the first alone."""
    first, *others = space.pipeline.subtasks
    stated = [_form(first), *(_form(each) if spelled_out else f'"{each.name}": {{...}}' for each in others)]
    return f"{{{', '.join(stated)}}}"


def _form(subtask: Subtask) -> str:
    operator = ', "operator": "..."' if len(subtask.operators) > 1 else ""
    first = json.dumps({name: values[0] for name, values in subtask.options.items()})
    options = f', "options": {first}' if subtask.options else ""
    return f'"{subtask.name}": {{"model": "...", "samples": {subtask.least_samples}{operator}{options}}}'


@dataclass(frozen=True)
class ReadReply:
    """What a model proposed, as far as it could be read."""

    proposals: list[Proposal]
    fault: str
    """What of the reply could not be read; empty when all could."""
    answer: Answer

    @property
    def text(self) -> str:
        """The proposals, and what could not be read, in words."""
        lines = [f"{proposal.allocation}: {proposal.rationale}" for proposal in self.proposals]
        unread = "not all of the reply could be read" if self.proposals else "unreadable reply"
        return "\n".join([*lines, f"{unread}: {self.fault}"] if self.fault else lines)


async def ask_for_allocations(model: ChatModel, prompt: str, space: SearchSpace) -> ReadReply:
    """Put a prompt that ends in `allocation_request` to a model, and read what comes back.

    Raises:
        EndpointError: When its endpoint rejects the request or keeps failing.
    """
    schema = object_schema({"candidates": {"type": "array", "items": candidate_schema(space)}})
    answer = await model.ask(prompt, system=SYSTEM, schema=schema)
    proposals, faults = read_candidates(answer.text, space)
    return ReadReply(proposals, faults_in_words(faults, answer, proposals), answer)


def faults_in_words(faults: Sequence[str], answer: Answer, proposals: Sequence[Proposal]) -> str:
    """What of a reply could not be read: the first faults, or why the model answered nothing."""
    if answer.fault and not proposals:
        return answer.fault
    return "; ".join([*faults[:_MOST_FAULTS], f"and {len(faults) - _MOST_FAULTS} faults more"][: len(faults)])


def candidate_schema(space: SearchSpace) -> dict[str, Any]:
    """The JSON schema of one allocation with its rationale."""
    subtasks = {
        s.name: object_schema(
            {
                "model": {"type": "string", "enum": [model.name for model in s.models]},
                "samples": {"type": "integer", **_samples_schema(s)},
                **_operator_schema(s),
                **_options_schema(s),
            }
        )
        for s in space.pipeline.subtasks
    }
    return object_schema({"rationale": {"type": "string"}, "allocation": object_schema(subtasks)})


def _operator_schema(subtask: Subtask) -> dict[str, Any]:
    if len(subtask.operators) < 2:
        return {}
    return {"operator": {"type": "string", "enum": [operator.name for operator in subtask.operators]}}


def _options_schema(subtask: Subtask) -> dict[str, Any]:
    if not subtask.options:
        return {}
    return {"options": object_schema({name: {"enum": list(values)} for name, values in subtask.options.items()})}


def _samples_schema(subtask: Subtask) -> dict[str, Any]:
    if subtask.sample_counts is not None:
        return {"enum": list(subtask.sample_counts)}
    return {"minimum": 1, **({"maximum": subtask.max_samples} if subtask.max_samples else {})}


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object that has exactly these."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
