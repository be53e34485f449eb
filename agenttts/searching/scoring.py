"""Evaluations as a search may take them from any environment, a plug-in's too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agenttts._util.plugins import blamed
from agenttts.errors import ConfigError, EndpointError
from agenttts.execution.pool import SamplePool
from agenttts.protocols import Environment
from agenttts.space import Allocation
from agenttts.study.evaluation import Evaluation, SubtaskUsage
from agenttts.study.trial import Trial


async def evaluated(
    environment: Environment, allocation: Allocation, examples: Sequence[str], pool: SamplePool
) -> Evaluation:
    """The allocation on these examples: each of them a result or missing, and at least one a result.

    Raises:
        ConfigError: When the environment gives something else; the message names it and the example.
        EndpointError: When no example was answered.
        LimitReached: When a limit stopped a request.
    """
    with blamed(f"environment {environment.name!r}", environment):
        try:
            evaluation = await environment.evaluate(allocation, examples, pool=pool)
        except ConfigError as error:
            raise ConfigError(f"environment {environment.name!r}: {error}") from error
    if not isinstance(evaluation, Evaluation):
        raise ConfigError(f"environment {environment.name!r} gave {evaluation!r} instead of an Evaluation")
    given = {*(result.example for result in evaluation.results), *evaluation.missing}
    for example in [*examples, *sorted(given)]:
        if (example in given) != (example in examples):
            what = "has no result" if example in examples else "was not asked for"
            raise ConfigError(f"environment {environment.name!r} was evaluated, but example {example!r} {what}")
    if examples and not evaluation.results:
        reason = next(iter(evaluation.missing.values()))
        raise EndpointError(f"every example failed with {allocation}; the first said: {reason}")
    return evaluation


def missing_in_words(*evaluations: Evaluation) -> str:
    """How many examples got no answer, and why the first did not."""
    reasons = [reason for each in evaluations for reason in each.missing.values()]
    return f"{len(reasons)} example{'s' if len(reasons) > 1 else ''} got no answer ({reasons[0]})"


def unusable_in_words(trials: Iterable[Trial]) -> list[str]:
    """Of each subtask with samples that were cut at `max_tokens` or held no text: how many, in one sentence."""
    usage: dict[str, SubtaskUsage] = {}
    for trial in trials:
        for name, used in trial.evaluation.usage.items():
            usage[name] = usage.get(name, SubtaskUsage()) + used
    return [f"subtask {name!r}: {sentence}" for name, used in usage.items() if (sentence := _unusable(used))]


def _unusable(used: SubtaskUsage) -> str:
    kinds = [f"{used.cut:,} of {used.samples:,} samples were cut at max_tokens"] if used.cut else []
    kinds += [f"{used.empty:,} of {used.samples:,} samples held no text"] if used.empty else []
    return " and ".join(kinds)
