"""The live environment: runs a pipeline on served models, example by example.

Every example walks the graph (`environments.run`). Requests in flight are bounded by the client. A failed example
scores 0 and is counted; only when a server is gone, or every example failed for want of an answer, is there no
evaluation at all, since it would say nothing of the allocation.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agenttts.allocation import Allocation
from agenttts.chat import shown_url
from agenttts.cost import Budget
from agenttts.db import Store
from agenttts.environments.client import ChatClient, Completer, EmbeddingClient, OpenAIClient
from agenttts.environments.deployed import TIMEOUT_S, DeployedPipeline
from agenttts.environments.examples import load_examples
from agenttts.environments.pool import SamplePool
from agenttts.environments.prefix_cache import CacheUse
from agenttts.environments.prompts import check_templates
from agenttts.environments.run import ExampleRun, Tally
from agenttts.environments.served import ServedCompleter
from agenttts.environments.serving import Serving
from agenttts.errors import AgentTTSError, ConfigError, EndpointError, LimitReached, StoreError
from agenttts.evaluation import Evaluation, ExampleResult, Spend, SubtaskUsage
from agenttts.fingerprint import combined, describe, fingerprint
from agenttts.pipeline import Example, Metric, Model, Pipeline, Subtask
from agenttts.space import SearchSpace

_OUTPUT_LIMIT = 500
_SHOWN_OUTPUT = 60
_MOST_UNAVAILABLE = 0.1
"""Share of examples that may fail for the servers' fault before the trial is not recorded (running again is free)."""
_PROBED_EXAMPLES = 5


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
    unavailable: bool
    """... and the server was at fault, not the request: that says nothing of the allocation."""


Runner = Callable[[Allocation, str, SamplePool], Awaitable[ExampleOutcome]]
"""Runs one example (its id) under an allocation; what `LiveEnvironment.run_example` does, elsewhere."""


class LiveEnvironment:
    """Scores allocations by running the pipeline on its endpoints.

    Args:
        pipeline: What to run.
        examples: The labelled examples to search on: mappings with distinct `id` fields, or the path of a JSON
            Lines file (a missing `id` is the line's number).
        held_out: Other examples, on which the winner is checked with fresh samples.
        client: Where samples are bought.
        serving: Servers to start and stop with the environment.
        name: Shown in tables; the pipeline's name when empty.
        default_budget: The budget of a search that names none.
        embedder: The model that `SubtaskRun.embed` asks; it has no part in allocations and their cost.
        recorded: What the client's answers are, where it replays a recording and no model runs: shown to whoever
            searches, so that nobody reads a replay as a purchase. Simulated models are found out when they are checked.

    Raises:
        ConfigError: On no examples, duplicate ids, a broken line, a template that names a missing field, or an
            embedder that the client cannot ask.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        examples: Iterable[Example] | str | Path,
        *,
        held_out: Iterable[Example] | str | Path = (),
        client: ChatClient | None = None,
        serving: Serving | None = None,
        name: str = "",
        default_budget: Budget | None = None,
        embedder: Model | None = None,
        recorded: str = "",
    ) -> None:
        self.name = name or pipeline.name
        self.pipeline = pipeline
        self.default_budget = default_budget
        self.recorded = recorded
        self.client: ChatClient = client or OpenAIClient()
        self.embedder = embedder
        if embedder is not None and not isinstance(self.client, EmbeddingClient):
            raise ConfigError(f"environment {self.name!r} needs embeddings, which its client does not sell")
        self.pool = SamplePool(Store())
        self.runner: Runner | None = None
        """Runs the examples; this process does where there is none."""
        self._serving = serving
        self._entered = 0
        search_rows, held_rows = load_examples(examples), load_examples(held_out, prefix="held-out-")
        if not search_rows:
            raise ConfigError(f"environment {self.name!r} has no examples")
        self._rows = {str(row["id"]): row for row in (*search_rows, *held_rows)}
        if len(self._rows) < len(search_rows) + len(held_rows):
            raise ConfigError(f"environment {self.name!r}: two examples have the same id")
        self.examples = tuple(str(row["id"]) for row in search_rows)
        self.held_out = tuple(str(row["id"]) for row in held_rows)
        check_templates(pipeline, self._rows.values())

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """See `protocols.Itemised`: the pipeline's parts and the two sets of examples.

        Taken once: what a function keeps in globals while it runs is no change of the pipeline.
        """
        sets = {"the examples": self.examples, "the held-out examples": self.held_out}
        rows = {name: fingerprint(describe([self._rows[id_] for id_ in ids])) for name, ids in sets.items()}
        embedder = {"the embeddings": fingerprint(describe(self.embedder))} if self.embedder else {}
        return {**self.pipeline.fingerprints, **rows, **embedder}

    @property
    def fingerprint(self) -> str:
        """One hash of the pipeline and of every example, held-out ones included."""
        return combined(self.fingerprints)

    def route(self, endpoints: Mapping[str, str]) -> None:
        """Ask these models at these endpoints, whatever their `base_url`.

        Args:
            endpoints: Model name (as in allocations) -> base URL.

        Raises:
            ConfigError: On a model that the pipeline does not have, or where the environment brings its own models.
        """
        if self._serving is not None or self.recorded:
            raise ConfigError(
                f"environment {self.name!r} brings its own models: leave --endpoint out, or give --serve with it"
            )
        models = (*self.pipeline.models, *([self.embedder] if self.embedder else []))
        served = {model.name: model.served_name for model in models}
        for name, url in endpoints.items():
            if name not in served:
                raise ConfigError(
                    f"environment {self.name!r} has no model {name!r} to ask at {shown_url(url)}; "
                    f"it has {', '.join(served)}"
                )
        self.client.route({served[name]: url for name, url in endpoints.items()})

    @property
    def endpoints(self) -> dict[str, str]:
        """Model name -> where it is asked, without anything that may be a secret; empty where it brings its own."""
        if self._serving is not None or not isinstance(self.client, OpenAIClient):
            return {}
        return {model.name: shown_url(self.client.url(model)) for model in self.pipeline.models}

    def deployed(self, allocation: Allocation, space: SearchSpace, *, timeout_s: float = TIMEOUT_S) -> DeployedPipeline:
        """One allocation, ready to answer one input at a time: from the same endpoints, without examples or metrics.

        Args:
            allocation: What each subtask gets.
            space: The budget that a stand-in for a model must fit.
            timeout_s: Seconds that one answer may take.

        Raises:
            ConfigError: On an allocation that is not in the space.
        """
        return DeployedPipeline(
            allocation,
            space,
            client=self.client,
            serving=self._serving,
            embedder=self.embedder,
            timeout_s=timeout_s,
            recorded=self.recorded,
        )

    def serve(self, serving: Serving, *, endpoints: Mapping[str, str] | None = None) -> None:
        """Let these servers answer, instead of those that the environment brings.

        Args:
            serving: Servers to start and stop with the environment.
            endpoints: Where the models that they do not serve are asked, as for `route`.

        Raises:
            ConfigError: Where a recording answers, or on a model that the pipeline does not have.
        """
        if self.recorded:
            raise ConfigError(f"environment {self.name!r} replays a recording: leave --serve out")
        self._serving = None
        self.route(endpoints or {})
        self._serving = serving

    async def __aenter__(self) -> Self:
        """Start the servers, and check everything that can be checked before anything is bought.

        An environment that has been entered may be entered again: the servers start once, and stop with the last exit.

        Raises:
            ConfigError: On a missing key, a model that is not served, or a metric that leaves [0, 1].
            EndpointError: When an endpoint cannot be reached.
        """
        if self._entered:
            self._entered += 1
            return self
        self._probe_metrics()
        ours: Mapping[str, str] = {}
        if self._serving is not None:
            ours = await self._serving.start()
            self.client.route(ours)
        try:
            # Servers of ours have answered already, and may be asleep by now.
            simulated = await self.client.check([m for m in self.pipeline.models if m.served_name not in ours])
            if self.embedder is not None and isinstance(self.client, EmbeddingClient):
                simulated = await self.client.check_embeddings(self.embedder) or simulated
        except BaseException:
            await self._close()  # whatever stopped the check must not leave servers running
            raise
        if simulated:
            self._label(simulated)
        self._entered = 1
        return self

    def _label(self, simulated: str) -> None:
        """Say what the answers are, and let neither a study nor a sample pool mix them with those of real models."""
        self.recorded = simulated
        self.pipeline = self.pipeline.with_revision(simulated)
        if self.embedder is not None:
            self.embedder = replace(self.embedder, revision=simulated)
        self.__dict__.pop("fingerprints", None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered -= 1
        if not self._entered:
            await self._close()

    async def _close(self) -> None:
        await self.client.close()
        if self._serving is not None:
            await self._serving.stop()

    def _probe_metrics(self) -> None:
        """Score plausible outputs of a few examples: a metric on another scale shows before anything is bought."""
        scored = [(self.pipeline.metric, f"pipeline {self.pipeline.name!r}")]
        scored += [(s.metric, f"subtask {s.name!r}") for s in self.pipeline.subtasks if s.metric is not None]
        for example in (self._rows[name] for name in self.examples[:_PROBED_EXAMPLES]):
            # A gold answer is usually among the example's own fields.
            outputs = ["", [], (), *(v for v in example.values() if isinstance(v, str | int | float | list | tuple))]
            for (metric, where), output in itertools.product(scored, outputs):
                _probe(metric, output, example, where)

    async def evaluate(self, allocation: Allocation, examples: Sequence[str] | None = None) -> Evaluation:
        """See `protocols.Environment.evaluate`."""
        started = time.perf_counter()
        names, run = (self.examples if examples is None else examples), self.runner or self.run_example
        outcomes = await asyncio.gather(*(run(allocation, name, self.pool) for name in names), return_exceptions=True)
        runs: list[ExampleOutcome] = []
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            runs.append(outcome)
        _require_answers(runs, allocation)
        spend = sum((run.spend for run in runs), start=Spend())
        return Evaluation(
            results=tuple(run.result for run in runs),
            spend=replace(spend, seconds=time.perf_counter() - started),
            usage={s.name: _usage([run.tallies.get(s.name, Tally()) for run in runs]) for s in self.pipeline.subtasks},
        )

    async def run_example(self, allocation: Allocation, example: str, pool: SamplePool) -> ExampleOutcome:
        """One example under an allocation, in this process; a `runner` calls it in another.

        Raises:
            ConfigError: When there is no such example, or the pipeline cannot be run.
            LimitReached: See `protocols.Environment.evaluate`.
            EndpointError: When a server is gone.
        """
        row = self.example(example)
        run = _ScoredRun(self.pipeline, allocation, row, self.client, pool, self.embedder, seller=self.seller)
        result = await run.result()
        return ExampleOutcome(
            result=result,
            spend=run.spend,
            tallies=dict(run.tallies),
            broken=run.broken,
            unanswered=run.unanswered,
            unavailable=run.unavailable,
        )

    @property
    def seller(self) -> Completer:
        """Who is asked for completions: the client, in turns where its servers take turns."""
        return self.client if self._serving is None else ServedCompleter(self.client, self._serving)

    async def prefix_caches(self) -> dict[str, CacheUse]:
        """See `prefix_cache.PrefixCached`."""
        if not isinstance(self.client, OpenAIClient):
            return {}
        models = {model.name: model for model in self.pipeline.models}
        uses = await asyncio.gather(*map(self.client.prefix_cache, models.values()))
        return {name: use for name, use in zip(models, uses, strict=True) if use is not None}

    def gpus(self, model: Model) -> int:
        """How many GPUs a model's server is spread over; 1 where servers of others answer."""
        return 1 if self._serving is None else self._serving.gpus(model.served_name)

    def example(self, name: str) -> Example:
        """The example of this id.

        Raises:
            ConfigError: When there is none.
        """
        if name not in self._rows:
            raise ConfigError(f"environment {self.name!r} has no example {name!r}")
        return self._rows[name]


@dataclass
class _ScoredRun(ExampleRun):
    """One labelled example on its way through the graph, scored."""

    subtask_scores: dict[str, float] = field(default_factory=dict)
    broken: bool = False
    unanswered: bool = False
    unavailable: bool = False

    async def result(self) -> ExampleResult:
        """The example's score; a failure is a score of 0 with its reason."""
        try:
            output = await self.walk()
            score = checked_score(self.pipeline.metric, output, self.example, f"pipeline {self.pipeline.name!r}")
            shown = _shorten(output)
        except (LimitReached, ConfigError, StoreError):
            raise
        except EndpointError as error:
            if error.unreachable:
                raise
            self.unanswered, self.unavailable = True, error.unavailable
            return self._result(0.0, error=str(error))
        except AgentTTSError as error:
            return self._result(0.0, error=str(error))
        except Exception as error:  # the user's own functions may raise anything: a failed example is data
            self.broken = True
            return self._result(0.0, error=f"{type(error).__name__}: {error}")
        return self._result(score, output=shown)

    def _result(self, score: float, *, error: str | None = None, output: str = "") -> ExampleResult:
        return ExampleResult(
            example=str(self.example["id"]),
            score=score,
            error=error,
            subtask_scores=dict(self.subtask_scores),
            output=output,
        )

    def finish(self, subtask: Subtask, output: Any) -> None:
        super().finish(subtask, output)
        if subtask.metric is not None:
            where = f"subtask {subtask.name!r}"
            self.subtask_scores[subtask.name] = checked_score(subtask.metric, output, self.example, where)


def _require_answers(runs: Sequence[ExampleOutcome], allocation: Allocation) -> None:
    """Refuse an evaluation that says more of the servers than of the allocation.

    Raises:
        EndpointError: When no example was answered, or many were not for the servers' fault.
        ConfigError: When the user's own functions raised for every example.
    """
    if len(runs) > 1 and all(run.broken for run in runs):
        raise ConfigError(f"the pipeline's own functions failed for every example: {runs[0].result.error}")
    unavailable = sum(run.unavailable for run in runs)
    if runs and all(run.unanswered for run in runs):
        raise EndpointError(f"every example failed with {allocation}; the first said: {runs[0].result.error}")
    if unavailable > _MOST_UNAVAILABLE * len(runs):
        reason = next(run.result.error for run in runs if run.unavailable)
        raise EndpointError(f"{unavailable} of {len(runs)} examples got no answer with {allocation}: {reason}")


def checked_score(metric: Metric, output: Any, example: Example, where: str) -> float:
    """The metric's value.

    Raises:
        ConfigError: When it is not a number in [0, 1]: every later comparison would be wrong.
    """
    score = float(metric(output, example))
    if math.isnan(score) or not 0 <= score <= 1:
        given = f"for the output {repr(output)[:_SHOWN_OUTPUT]} of example {example['id']!r}"
        raise ConfigError(f"the metric of {where} gave {score!r} {given}: it must be in [0, 1]")
    return score


def _probe(metric: Metric, output: Any, example: Example, where: str) -> None:
    try:
        checked_score(metric, output, example, where)
    except ConfigError:
        raise
    except Exception:  # a metric may rightly expect another type of output; that shows with the first trial
        return


def _usage(tallies: Sequence[Tally]) -> SubtaskUsage:
    requests, samples = sum(t.requests for t in tallies), sum(t.samples for t in tallies)
    return SubtaskUsage(
        prompt_tokens=sum(t.prompt_tokens for t in tallies) / max(requests, 1),
        completion_tokens=sum(t.completion_tokens for t in tallies) / max(samples, 1),
        samples=samples,
        unparsable=sum(t.unparsable for t in tallies),
    )


def _shorten(output: Any) -> str:
    text = output if isinstance(output, str) else repr(output)
    return text if len(text) <= _OUTPUT_LIMIT else text[: _OUTPUT_LIMIT - 3] + "..."
