"""Models that refused every example of a trial: the study goes on without them, at that subtask.

What is ruled out is read from the trials, so that a resumed search knows it, too. Searchers see a space without those
models, and the trials of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agenttts.errors import EndpointError, ModelRefused
from agenttts.space import Allocation, SearchSpace
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Archive, Trial

RuledOut = Mapping[tuple[str, str], str]
"""Subtask and model -> why."""


def failed_evaluation(examples: Sequence[str], refusal: ModelRefused) -> Evaluation:
    """What is recorded of an allocation whose model refused every example."""
    results = [ExampleResult(example=name, score=0.0, error=str(refusal)) for name in examples]
    return Evaluation(results=tuple(results), refused={refusal.subtask: str(refusal)})


def ruled_out(trials: Sequence[Trial]) -> RuledOut:
    """What the trials have ruled out."""
    return {
        (subtask, trial.allocation[subtask].model): why
        for trial in trials
        for subtask, why in trial.evaluation.refused.items()
    }


def space_without(space: SearchSpace, out: RuledOut) -> SearchSpace:
    """The space of the models that are left; the very same one where nothing is ruled out.

    Raises:
        EndpointError: When a subtask has no model left.
    """
    if not out:
        return space
    subtasks = []
    for subtask in space.pipeline.subtasks:
        left = tuple(model for model in subtask.models if (subtask.name, model.name) not in out)
        if not left:
            why = next(why for (name, _), why in out.items() if name == subtask.name)
            raise EndpointError(f"every model of subtask {subtask.name!r} is ruled out: {why}")
        subtasks.append(subtask.only(left))
    only = space.pipeline.only
    if only is not None:
        only = frozenset(key for key in only if not is_ruled_out(Allocation.from_key(key), out))
    return SearchSpace(replace(space.pipeline, subtasks=tuple(subtasks), only=only), space.cost_model, space.budget)


def archive_without(archive: Archive, out: RuledOut) -> Archive:
    """The archive of the models that are left."""
    if not out:
        return archive
    kept, scored = (
        tuple(trial for trial in trials if not is_ruled_out(trial.allocation, out))
        for trials in (archive.trials, archive.counterfactuals)
    )
    return replace(archive, trials=kept, counterfactuals=scored)


def is_ruled_out(allocation: Allocation, out: RuledOut) -> bool:
    """Whether an allocation has a model that is ruled out."""
    return any((subtask, choice.model) in out for subtask, choice in allocation.items())
