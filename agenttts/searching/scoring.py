"""Evaluations as a search may take them from any environment, a plug-in's too."""

from __future__ import annotations

from collections.abc import Sequence

from agenttts.errors import ConfigError, EndpointError
from agenttts.execution.pool import SamplePool
from agenttts.protocols import Environment
from agenttts.space import Allocation
from agenttts.study.evaluation import Evaluation


async def evaluated(
    environment: Environment, allocation: Allocation, examples: Sequence[str], pool: SamplePool
) -> Evaluation:
    """The allocation on these examples: each of them a result or missing, and at least one a result.

    Raises:
        ConfigError: When the environment gives something else; the message names it and the example.
        EndpointError: When no example was answered.
        LimitReached: When a limit stopped a request.
    """
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
