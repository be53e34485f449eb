"""One example under an allocation, scored; and when scores say more of the servers than of the allocation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import stdev
from typing import Any

from agenttts._util.text import bounded, without_keys
from agenttts.environments.scoring import checked_score, copied, shown
from agenttts.errors import AgentTTSError, ConfigError, EndpointError, LimitReached, ModelRefused, StoreError
from agenttts.execution.contained import contained
from agenttts.execution.run import ExampleRun, Tally
from agenttts.execution.transcribed import transcribed
from agenttts.llm.endpoint import secret_variables
from agenttts.llm.samples import Spend
from agenttts.pipeline import Example, Pipeline, Subtask
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult, SubtaskUsage
from agenttts.study.transcript import Transcript

_OUTPUT_LIMIT = 500
_OF_THE_MODEL = (403, 404, 405, 410, 451)
"""Statuses by which a server says that it will never answer a model's requests, with the first of them."""
_REFUSALS = (*_OF_THE_MODEL, 400, 413, 415, 422)
"""Those, and others that may be of one request."""
_BEGIN_AT_ONCE = 16
"""Examples: enough that there are always some to ask for, and few enough that no answer waits long to be read."""


@dataclass(frozen=True, kw_only=True)
class ExampleOutcome:
    """One example that was run and scored, and what that took."""

    result: ExampleResult
    spend: Spend
    tallies: Mapping[str, Tally]
    broken: bool
    """It failed in a function of the user's."""
    unanswered: bool
    """It failed because a server gave no completion."""
    missing: bool
    """... and the server was at fault, not the request: that says nothing of the allocation, and is no result."""
    refused: Mapping[str, tuple[int | None, str]] = field(default_factory=dict)
    """Subtask whose model refused it -> the status and the reason."""
    transcript: Transcript | None = None
    """None where no study is charged: there is nowhere to look it up."""


@dataclass
class ScoredRun(ExampleRun):
    """One labelled example on its way through the graph, scored."""

    subtask_scores: dict[str, float] = field(default_factory=dict)
    broken: bool = False
    unanswered: bool = False
    missing: bool = False
    labelled: Example = field(init=False)
    """The example as metrics are given it, whatever the pipeline's functions do to theirs."""

    def __post_init__(self) -> None:
        self.labelled, self.example = self.example, copied(self.example)

    async def outcome(self) -> ExampleOutcome:
        """The example run and scored, and what that took."""
        result = await self.result()
        return ExampleOutcome(
            result=result,
            spend=self.spend,
            tallies=dict(self.tallies),
            transcript=None if self.pool.study_id is None else transcribed(self.begun),
            broken=self.broken,
            unanswered=self.unanswered,
            missing=self.missing,
            refused={
                name: (error.status, str(error)) for name, error in self.refusals.items() if error.status in _REFUSALS
            },
        )

    async def result(self) -> ExampleResult:
        """The example's score; a failure is a score of 0 with its reason."""
        try:
            output = await self.walk()
            self._require_draws()
            where = f"pipeline {self.pipeline.name!r}"
            with contained():
                score = await checked_score(self.pipeline.metric, output, self.labelled, where)
            return self._result(score, output=_shorten(output))
        except (LimitReached, ConfigError, StoreError):
            raise
        except Exception as error:  # the user's own functions may raise anything: a failed example is data
            return self._failure(self._draw_error() or error)

    def _draw_error(self) -> AgentTTSError | None:
        """Why a draw got no samples, whatever the user's functions made of that."""
        return next(iter(self.unmet.values()), None)

    def _require_draws(self) -> None:
        """Let no output pass that was made without the samples it asked for."""
        if (error := self._draw_error()) is not None:
            raise error

    def _failure(self, error: Exception) -> ExampleResult:
        if isinstance(error, LimitReached | StoreError) or (isinstance(error, EndpointError) and error.final):
            raise error
        if isinstance(error, EndpointError):
            self.unanswered, self.missing = True, error.unavailable
        self.broken = not isinstance(error, AgentTTSError)
        said = f"{type(error).__name__}: {_said(error)}" if self.broken else str(error)
        return self._result(0.0, error=without_keys(bounded(said), secret_variables(self.pipeline.models)))

    def _result(self, score: float, *, error: str | None = None, output: str = "") -> ExampleResult:
        return ExampleResult(
            example=str(self.labelled["id"]),
            score=score,
            error=error,
            subtask_scores=dict(self.subtask_scores),
            output=output,
        )

    async def finish(self, subtask: Subtask, output: Any) -> None:
        await super().finish(subtask, output)
        if subtask.metric is not None:
            where = f"subtask {subtask.name!r}"
            self.subtask_scores[subtask.name] = await checked_score(subtask.metric, output, self.labelled, where)


async def evaluation_of(
    pipeline: Pipeline,
    allocation: Allocation,
    examples: Sequence[str],
    run: Callable[[str], Awaitable[ExampleOutcome]],
    *,
    at_once: int | None = None,
) -> Evaluation:
    """Run every example of an allocation, and sum up.

    They begin a few at a time: the first wait for their models while the prompts of later ones are being written.

    Args:
        pipeline: What they run through.
        allocation: With what.
        examples: Their ids.
        run: Runs one.
        at_once: Most examples under way; all when None.

    Raises:
        EndpointError: As `require_answers`, or when a server is gone.
        ConfigError: When the pipeline cannot be run.
        LimitReached: When a limit stopped a request.
    """
    started, beginning = time.perf_counter(), asyncio.Semaphore(_BEGIN_AT_ONCE)
    left, found = iter(enumerate(examples)), dict[int, ExampleOutcome | BaseException]()

    async def one_by_one() -> None:
        for place, example in left:
            async with beginning:
                await asyncio.sleep(0)
            # What ends one cuts off none of what others have asked for.
            (found[place],) = await asyncio.gather(run(example), return_exceptions=True)
            if isinstance(found[place], BaseException):
                return

    await asyncio.gather(*(one_by_one() for _ in examples[:at_once]))
    outcomes = []
    for _, outcome in sorted(found.items()):
        if isinstance(outcome, BaseException):
            raise outcome
        outcomes.append(outcome)
    require_answers(outcomes, allocation)
    spend = sum((outcome.spend for outcome in outcomes), start=Spend())
    return Evaluation(
        results=tuple(outcome.result for outcome in outcomes if not outcome.missing),
        spend=replace(spend, seconds=time.perf_counter() - started),
        usage=usage_by_subtask(pipeline, outcomes),
        missing={each.result.example: each.result.error or "" for each in outcomes if each.missing},
        transcripts={each.result.example: each.transcript for each in outcomes if each.transcript and not each.missing},
    )


def require_answers(runs: Sequence[ExampleOutcome], allocation: Allocation) -> None:
    """Reject an evaluation that says nothing of the allocation.

    Raises:
        ModelRefused: When one stage's model refused every example.
        EndpointError: When no example was answered.
        ConfigError: When the user's own functions raised for every example.
    """
    if len(runs) > 1 and all(run.broken for run in runs):
        raise ConfigError(f"the pipeline's own functions failed for every example: {runs[0].result.error}")
    if runs and all(run.unanswered for run in runs):
        _require_no_refusal(runs, allocation)
        raise EndpointError(f"every example failed with {allocation}; the first said: {runs[0].result.error}")


def _require_no_refusal(runs: Sequence[ExampleOutcome], allocation: Allocation) -> None:
    for subtask, (status, reason) in runs[0].refused.items():
        alike = all(subtask in run.refused for run in runs)
        if alike and (len(runs) > 1 or status in _OF_THE_MODEL):
            model = allocation[subtask].model
            raise ModelRefused(
                f"model {model!r} of subtask {subtask!r} refused every example; the first time it said: {reason}",
                subtask=subtask,
                status=status,
            )


def usage_by_subtask(pipeline: Pipeline, runs: Sequence[ExampleOutcome]) -> dict[str, SubtaskUsage]:
    """What each subtask used."""
    return {s.name: _usage([run.tallies.get(s.name, Tally()) for run in runs]) for s in pipeline.subtasks}


def _usage(tallies: Sequence[Tally]) -> SubtaskUsage:
    requests, samples = sum(t.requests for t in tallies), sum(t.samples for t in tallies)
    return SubtaskUsage(
        prompt_tokens=sum(t.prompt_tokens for t in tallies) / max(requests, 1),
        completion_tokens=sum(t.completion_tokens for t in tallies) / max(samples, 1),
        samples=samples,
        unparsable=sum(t.unparsable for t in tallies),
        refused=sum(t.refused for t in tallies),
        cut=sum(t.cut for t in tallies),
        empty=sum(t.empty for t in tallies),
        examples=len(drawn := [t for t in tallies if t.samples]),
        prompt_deviation=_deviation([t.prompt_tokens / t.requests for t in drawn]),
        completion_deviation=_deviation([t.completion_tokens / t.samples for t in drawn]),
    )


def _deviation(figures: Sequence[float]) -> float:
    return stdev(figures) if len(figures) > 1 else 0.0


def _shorten(output: Any) -> str:
    text = output if isinstance(output, str) else shown(output)
    return text if len(text) <= _OUTPUT_LIMIT else text[: _OUTPUT_LIMIT - 3] + "..."


def _said(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # the user's own class
        return "it cannot be said"
