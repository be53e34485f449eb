"""The live environment: runs a pipeline on served models, example by example.

Every example walks the graph: a subtask starts when those it reads are done, draws its samples through the pool,
parses each, aggregates, and passes its output on. Requests in flight are bounded by the client. A failed example
scores 0 and is counted; only when a server is gone, or every example failed for want of an answer, is there no
evaluation at all, since it would say nothing of the allocation.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agenttts.aggregators import MajorityVote
from agenttts.allocation import Allocation, Choice
from agenttts.chat import shown_url
from agenttts.db import Store
from agenttts.environments.client import ChatClient, Completer, EmbeddingClient, OpenAIClient
from agenttts.environments.examples import load_examples
from agenttts.environments.pool import Draw, SamplePool
from agenttts.environments.prompts import check_templates, render
from agenttts.environments.served import ServedCompleter
from agenttts.environments.serving import Serving
from agenttts.errors import AgentTTSError, ConfigError, EndpointError, LimitReached, ParseError, StoreError
from agenttts.fingerprint import combined, describe, fingerprint
from agenttts.pipeline import Example, Message, Metric, Model, Pipeline, Sampling, Subtask, SubtaskInput
from agenttts.trial import Budget, Evaluation, ExampleResult, Spend, SubtaskUsage

_OUTPUT_LIMIT = 500
_SHOWN_OUTPUT = 60
_MOST_UNAVAILABLE = 0.1
"""Share of examples that may fail for the servers' fault before the trial is not recorded (running again is free)."""
_PROBED_EXAMPLES = 5
_DEFAULT_AGGREGATOR = MajorityVote()


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
        """See `trial.Itemised`: the pipeline's parts and the two sets of examples.

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
                await self.client.check_embeddings(self.embedder)
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
        """See `trial.Environment.evaluate`."""
        started = time.perf_counter()
        rows = [self.example(name) for name in (self.examples if examples is None else examples)]
        seller: Completer = self.client if self._serving is None else ServedCompleter(self.client, self._serving)
        runs = [
            _ExampleRun(self.pipeline, allocation, row, self.client, seller, self.pool, self.embedder) for row in rows
        ]
        outcomes = await asyncio.gather(*(run.result() for run in runs), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        results = tuple(outcome for outcome in outcomes if isinstance(outcome, ExampleResult))
        _require_answers(runs, results, allocation)
        spend = sum((run.spend for run in runs), start=Spend())
        return Evaluation(
            results=results,
            spend=replace(spend, seconds=time.perf_counter() - started),
            usage={s.name: _usage([run.tallies[s.name] for run in runs]) for s in self.pipeline.subtasks},
        )

    def example(self, name: str) -> Example:
        """The example of this id.

        Raises:
            ConfigError: When there is none.
        """
        if name not in self._rows:
            raise ConfigError(f"environment {self.name!r} has no example {name!r}")
        return self._rows[name]


@dataclass
class _Tally:
    """What one subtask used for one example."""

    requests: int = 0
    prompt_tokens: int = 0
    samples: int = 0
    completion_tokens: int = 0
    unparsable: int = 0


@dataclass
class _ExampleRun:
    """One example on its way through the graph."""

    pipeline: Pipeline
    allocation: Allocation
    example: Example
    client: ChatClient
    seller: Completer
    """The client, in its turn."""
    pool: SamplePool
    embedder: Model | None = None
    spend: Spend = Spend()
    tallies: dict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    subtask_scores: dict[str, float] = field(default_factory=dict)
    broken: bool = False
    """It failed in a function of the user's."""
    unanswered: bool = False
    """It failed because a server gave no completion."""
    unavailable: bool = False
    """... and the server was at fault, not the request: that says nothing of the allocation."""

    async def result(self) -> ExampleResult:
        """The example's score; a failure is a score of 0 with its reason."""
        try:
            output = await self._walk()
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

    async def _walk(self) -> Any:
        tasks: dict[str, asyncio.Task[Any]] = {}
        for subtask in self.pipeline.order:
            parents = {name: tasks[name] for name in self.pipeline.parents(subtask.name)}
            tasks[subtask.name] = asyncio.ensure_future(self._run(subtask, parents))
        # A failure must not cut off a sibling whose purchase is under way.
        outcomes = await asyncio.gather(*tasks.values(), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return tasks[self.pipeline.final.name].result()

    async def _run(self, subtask: Subtask, parents: Mapping[str, asyncio.Task[Any]]) -> Any:
        inputs = {name: await task for name, task in parents.items()}
        run = _SubtaskRun(self, subtask, self.allocation[subtask.name], SubtaskInput(self.example, inputs))
        output = await run.output()
        if subtask.metric is not None:
            where = f"subtask {subtask.name!r}"
            self.subtask_scores[subtask.name] = checked_score(subtask.metric, output, self.example, where)
        return output

    async def draw(
        self,
        subtask: Subtask,
        model: Model,
        messages: Sequence[Message],
        sampling: Sampling,
        samples: int,
        *,
        own: bool,
    ) -> Draw:
        """Draw through the pool; `own` draws are the subtask's, the others its aggregator's: cost models part them."""
        drawn = await self.pool.draw(self.seller, model, messages, sampling, samples)
        self.spend += drawn.spend
        if not own:
            return drawn
        tally = self.tallies[subtask.name]
        tally.requests += 1
        tally.prompt_tokens += drawn.prompt_tokens
        tally.samples += len(drawn.samples)
        tally.completion_tokens += sum(sample.completion_tokens for sample in drawn.samples)
        return drawn

    async def embed(self, text: str) -> tuple[float, ...]:
        """Buy an embedding through the pool."""
        if self.embedder is None or not isinstance(self.client, EmbeddingClient):
            raise ConfigError("a subtask asks for an embedding: give the LiveEnvironment an embedder")
        vector, spend = await self.pool.embed(self.client, self.embedder, text)
        self.spend += spend
        return vector


class _SubtaskRun:
    """The handle of `pipeline.SubtaskRun`: one subtask of one example."""

    def __init__(self, owner: _ExampleRun, subtask: Subtask, choice: Choice, given: SubtaskInput) -> None:
        self._owner = owner
        self.subtask = subtask
        self.model = subtask.model(choice.model)
        self.samples = choice.samples
        self.input = given
        self.messages: Sequence[Message] = render(subtask, given)

    async def output(self) -> Any:
        if self.subtask.run is not None:
            return await self.subtask.run(self)
        parsed = [value for text in await self.draw(self.messages) if (value := self._parsed(text)) is not None]
        if not parsed and self.subtask.default is not None:
            return self.subtask.default
        if not parsed:
            raise ParseError(f"subtask {self.subtask.name!r}: none of {self.samples} samples could be parsed")
        return await (self.subtask.aggregator or _DEFAULT_AGGREGATOR).aggregate(parsed, self)

    def _parsed(self, text: str) -> Any:
        try:
            value = self.subtask.parser(text, self.input)
        except ParseError:
            value = None
        if value is None:
            self.count_unparsable()
        return value

    def count_unparsable(self) -> None:
        self._owner.tallies[self.subtask.name].unparsable += 1

    async def draw(
        self, messages: Sequence[Message], samples: int | None = None, *, sampling: Sampling | None = None
    ) -> list[str]:
        drawn = await self._owner.draw(
            self.subtask,
            self.model,
            messages,
            sampling or self.subtask.sampling,
            samples or self.samples,
            own=self.subtask.run is not None or messages is self.messages,
        )
        return [sample.text for sample in drawn.samples]

    async def embed(self, text: str) -> tuple[float, ...]:
        return await self._owner.embed(text)


def _require_answers(runs: Sequence[_ExampleRun], results: Sequence[ExampleResult], allocation: Allocation) -> None:
    """Refuse an evaluation that says more of the servers than of the allocation.

    Raises:
        EndpointError: When no example was answered, or many were not for the servers' fault.
        ConfigError: When the user's own functions raised for every example.
    """
    if len(runs) > 1 and all(run.broken for run in runs):
        raise ConfigError(f"the pipeline's own functions failed for every example: {results[0].error}")
    unavailable = sum(run.unavailable for run in runs)
    if runs and all(run.unanswered for run in runs):
        raise EndpointError(f"every example failed with {allocation}; the first said: {results[0].error}")
    if unavailable > _MOST_UNAVAILABLE * len(runs):
        reason = next(result.error for run, result in zip(runs, results, strict=True) if run.unavailable)
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


def _usage(tallies: Sequence[_Tally]) -> SubtaskUsage:
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
