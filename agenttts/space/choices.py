"""Whether a subtask takes a choice, whatever it costs."""

from __future__ import annotations

from agenttts.pipeline import Subtask
from agenttts.pipeline.pairing import option_faults, read_options, write_options
from agenttts.space.allocation import Allocation, Choice
from agenttts.space.counts import samples_in_words


def choice_faults(subtask: Subtask, allocation: Allocation) -> list[str]:
    """Why the allocation's choice for a subtask is none that the subtask takes, in sentences."""
    if subtask.name not in allocation:
        return [f"subtask {subtask.name!r} is missing"]
    choice, models = allocation[subtask.name], [model.name for model in subtask.models]
    faults = []
    if choice.model not in models:
        faults.append(f"subtask {subtask.name!r} has no model {choice.model!r}; choose one of {', '.join(models)}")
    if subtask.samples_up_to(choice.samples) != choice.samples:
        faults.append(f"subtask {subtask.name!r} takes {samples_in_words(subtask)}, not {choice.samples}")
    if choice.operator:
        faults += _operator_faults(subtask, choice)
    if choice.options:
        faults += _option_faults(subtask, choice)
    return faults


def _operator_faults(subtask: Subtask, choice: Choice) -> list[str]:
    known = {each.operator_name or each.operator.name: each for each in subtask.pairings}
    if choice.operator not in known:
        return [f"subtask {subtask.name!r} has no operator {choice.operator!r}; choose one of {', '.join(known)}"]
    if not known[choice.operator].operator_name:
        return [f"operator {choice.operator!r} is the first of subtask {subtask.name!r}: leave it out"]
    if choice.samples < (least := known[choice.operator].least_samples):
        return [f"operator {choice.operator!r} of subtask {subtask.name!r} takes {least} samples or more"]
    return []


def _option_faults(subtask: Subtask, choice: Choice) -> list[str]:
    faults = list(option_faults(subtask.options, choice.options, f"subtask {subtask.name!r}"))
    canonical = write_options(subtask.options, read_options(choice.options))
    if not faults and canonical != choice.options:
        return [f"subtask {subtask.name!r}: write its options as {canonical!r}, not {choice.options!r}"]
    return faults
