"""The live environment: runs a pipeline on served models, example by example.

Every example walks the graph (`execution.run`). Requests in flight are bounded by the client. A failed example
scores 0 and is counted; only when a server is gone, or every example failed without an answer, is there no
evaluation at all, since it would say nothing of the allocation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType

from agenttts._util.checks import NAME, require
from agenttts._util.locks import LoopLock
from agenttts.environments.examples import load_examples
from agenttts.environments.scored import ExampleOutcome, ScoredRun, evaluation_of
from agenttts.environments.scoring import probe_metrics
from agenttts.environments.silence import told_of_silence
from agenttts.environments.watched import WatchedRun
from agenttts.errors import ConfigError
from agenttts.execution.commands import end_processes
from agenttts.execution.pool import SamplePool
from agenttts.execution.prompts import check_templates
from agenttts.llm.endpoint import shown_url
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.prefix_cache import CacheUse
from agenttts.llm.protocols import ChatClient, Completer, EmbeddingClient
from agenttts.pipeline import Example, Model, Pipeline
from agenttts.pipeline.fingerprint import describe, fingerprint
from agenttts.protocols import Environment
from agenttts.serving import Serving
from agenttts.serving.served import ServedCompleter
from agenttts.space.allocation import Allocation
from agenttts.space.cost import Budget
from agenttts.study.evaluation import Evaluation

_AHEAD, _LEAST_AHEAD = 8, 512
"""Examples under way, for each request that may be and at least: enough that there is always one to make while others
wait for the store, and of a few hundred all; the objects of thousands would keep the garbage collector at work, half a
second at a time."""


@dataclass
class _Session:
    """What an environment and its labelled copy share while they are entered."""

    users: int = 0
    replays: bool = False
    """Whether the metrics have been found to be plain functions."""
    simulated: str = ""
    """What the answers are where no model gives them, as the endpoints said."""
    gate: LoopLock = field(default_factory=LoopLock)


class LiveEnvironment(Environment):
    """Scores allocations by running the pipeline on its endpoints.

    Examples:
        >>> rows = [{"id": str(n), "question": f"Is {n} odd?", "gold": "yes" if n % 2 else "no"} for n in range(3)]
        >>> environment = at.LiveEnvironment(pipeline, rows[:2], held_out=rows[2:])
        >>> environment.examples, environment.held_out
        (('0', '1'), ('2',))

    Args:
        pipeline: What to run.
        examples: The labelled examples to search on: mappings with distinct `id` fields, or the path of a JSON
            Lines file (a missing `id` is the line's number).
        held_out: Other examples, on which the winner is checked with fresh samples.
        client: Where samples are asked for.
        serving: Servers to start and stop with the environment.
        name: Shown in tables; the pipeline's name when empty.
        default_budget: The budget of a search that names none.
        embedder: The model that `SubtaskRun.embed` asks; it has no part in allocations and their cost.
        recorded: What the client's answers are, where it replays a recording and no model runs: shown with
            every result, so that a replay is not taken for a live run. Simulated models say so when they are checked.
        probe: Whether entering it calls each metric, up to five times, with fields of the examples as outputs: a score
            outside [0, 1] shows before anything is paid for; and whether a trial's samples are scored in further ways
            (counterfactual trials). Neither is done with a coroutine function. Say False where a plain function asks an
            LLM or costs something else: that cannot be seen from outside.

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
        probe: bool = True,
    ) -> None:
        self.name = name or pipeline.name
        require(NAME, self.name, "an environment's name")
        self.pipeline = pipeline
        self.default_budget = default_budget
        self.recorded = recorded
        self._probes = probe
        self.client: ChatClient = client or OpenAIClient()
        """Who asks the models."""
        self.embedder = embedder
        if embedder is not None and not isinstance(self.client, EmbeddingClient):
            raise ConfigError(f"environment {self.name!r} needs embeddings, which its client does not offer")
        self.serving = serving
        self._pool = SamplePool()
        self._session = _Session()
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
        """See `protocols.Environment.fingerprints`: the pipeline's parts and the two sets of examples.

        Taken once: what a function keeps in globals while it runs is no change of the pipeline.
        """
        sets = {"the examples": self.examples, "the held-out examples": self.held_out}
        rows = {name: fingerprint(describe([self._rows[id_] for id_ in ids])) for name, ids in sets.items()}
        embedder = {"the embeddings": fingerprint(describe(self.embedder))} if self.embedder else {}
        return {**self.pipeline.fingerprints, **rows, **embedder}

    def route(self, endpoints: Mapping[str, str]) -> None:
        """Ask these models at these endpoints, whatever their `base_url`.

        Args:
            endpoints: Model name (as in allocations) -> base URL.

        Raises:
            ConfigError: On a model that the pipeline does not have, or where the environment brings its own models.
        """
        if self.serving is not None or self.recorded:
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

    def wait(
        self,
        *,
        timeout_s: float | None = None,
        max_retries: int | None = None,
        max_in_flight: int | None = None,
        give_up_after_s: float | None = None,
    ) -> None:
        """Change how endpoints are waited for, before the environment is entered; see `OpenAIClient.wait`."""
        if isinstance(self.client, OpenAIClient):
            self.client.wait(
                timeout_s=timeout_s,
                max_retries=max_retries,
                max_in_flight=max_in_flight,
                give_up_after_s=give_up_after_s,
            )

    @property
    def replays(self) -> bool:
        """See `protocols.Environment.replays`; known once it has been entered."""
        return self._session.replays

    @property
    def waiting(self) -> str:
        """See `protocols.Environment.waiting`."""
        return self.client.waiting if isinstance(self.client, OpenAIClient) else ""

    @property
    def endpoints(self) -> dict[str, str]:
        """Model name -> where it is asked, without anything that may be a secret; empty where it brings its own."""
        if self.serving is not None or not isinstance(self.client, OpenAIClient):
            return {}
        return {model.name: shown_url(self.client.url(model)) for model in self.pipeline.models}

    def serve(self, serving: Serving, *, endpoints: Mapping[str, str] | None = None) -> None:
        """Let these servers answer, instead of those that the environment brings.

        Args:
            serving: Servers to start and stop with the environment.
            endpoints: Where the models that they do not serve are asked, as for `route`.

        Raises:
            ConfigError: Where a recording answers, or on a model that the pipeline does not have.
        """
        if self.recorded:
            raise ConfigError(f"environment {self.name!r} replays a recording: it has no models to serve")
        self.serving = None
        self.route(endpoints or {})
        self.serving = serving

    async def __aenter__(self) -> LiveEnvironment:
        """Start the servers, and check everything that can be checked before anything is paid for.

        An environment that has been entered may be entered again: the servers start once, and stop with the last exit.

        Returns:
            Itself; where the endpoints say that they simulate, a copy whose models have a revision that says so, so
            that neither a study nor a sample pool mixes their answers with those of real models.

        Raises:
            ConfigError: On a missing key, a model that is not served, or a metric that leaves [0, 1].
            EndpointError: When an endpoint cannot be reached.
        """
        async with self._session.gate.here:
            if not self._session.users:
                self._session.simulated = await self._start()
            self._session.users += 1
        return self._labelled(self._session.simulated)

    async def _start(self) -> str:
        """What the answers are where no model gives them."""
        if self._probes:
            self._session.replays = probe_metrics(self.pipeline, [self._rows[name] for name in self.examples])
        ours: Mapping[str, str] = {}
        if self.serving is not None:
            ours = await self.serving.start()
            self.client.route(ours)
        try:
            # Servers of ours have answered already, and may be asleep by now.
            simulated = await self.client.check([m for m in self.pipeline.models if m.served_name not in ours])
            if self.embedder is not None and isinstance(self.client, EmbeddingClient):
                simulated = await self.client.check_embeddings(self.embedder) or simulated
        except BaseException:
            await self._close()  # whatever stopped the check must not leave servers running
            raise
        return simulated

    def _labelled(self, simulated: str) -> LiveEnvironment:
        if not simulated:
            return self
        labelled = copy(self)
        labelled.recorded, labelled.pipeline = simulated, self.pipeline.with_revision(simulated)
        if self.embedder is not None:
            labelled.embedder = replace(self.embedder, revision=simulated)
        labelled.__dict__.pop("fingerprints", None)
        return labelled

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._session.gate.here:
            self._session.users -= 1
            if not self._session.users:
                await self._close()

    async def _close(self) -> None:
        await end_processes(self.pipeline.started)
        await self.client.close()
        if self.serving is not None:
            await self.serving.stop()

    async def evaluate(
        self, allocation: Allocation, examples: Sequence[str] | None = None, *, pool: SamplePool | None = None
    ) -> Evaluation:
        """See `protocols.Environment.evaluate`."""
        names = self.examples if examples is None else examples
        draws = pool or self._pool
        with told_of_silence(self.is_asking) as under_way:

            async def run(name: str) -> ExampleOutcome:
                under_way.add(name)
                try:
                    return await self.run_example(allocation, name, draws)
                finally:
                    under_way.discard(name)

            return await evaluation_of(self.pipeline, allocation, names, run, at_once=self._at_once)

    @property
    def _at_once(self) -> int | None:
        """Examples under way: all of them pass through a model before servers that take turns turn to the next."""
        if not isinstance(self.client, OpenAIClient) or (self.serving is not None and self.serving.takes_turns):
            return None
        return max(_AHEAD * self.client.most_at_once, _LEAST_AHEAD)

    def is_asking(self) -> bool:
        """Whether a model is waited for, or its server, or that is not known."""
        return self.serving is not None or not isinstance(self.client, OpenAIClient) or self.client.is_asking

    async def run_example(self, allocation: Allocation, example: str, pool: SamplePool) -> ExampleOutcome:
        """One example under an allocation.

        Raises:
            ConfigError: When there is no such example, or the pipeline cannot be run.
            LimitReached: See `protocols.Environment.evaluate`.
            EndpointError: When a server is gone.
        """
        row = self.example(example)
        run = ScoredRun(self.pipeline, allocation, row, self.client, pool, self.embedder, completer=self.completer)
        outcome = await run.outcome()
        if outcome.transcript is None:
            return outcome
        return replace(outcome, transcript=replace(outcome.transcript, given=row))

    def watched_run(self, allocation: Allocation, example: str, pool: SamplePool) -> WatchedRun:
        """One example under an allocation, to be run with all that is asked and said on the way."""
        row = self.example(example)
        return WatchedRun(self.pipeline, allocation, row, self.client, pool, self.embedder, completer=self.completer)

    @property
    def completer(self) -> Completer:
        """What is asked for completions: the client, in turns where its servers take turns."""
        return self.client if self.serving is None else ServedCompleter(self.client, self.serving)

    async def prefix_caches(self) -> dict[str, CacheUse]:
        """See `protocols.Environment.prefix_caches`."""
        if not isinstance(self.client, OpenAIClient):
            return {}
        models = {model.name: model for model in self.pipeline.models}
        uses = await asyncio.gather(*map(self.client.prefix_cache, models.values()))
        return {name: use for name, use in zip(models, uses, strict=True) if use is not None}

    def gpus(self, model: Model) -> int:
        """How many GPUs a model's server is spread over; 1 where servers of others answer."""
        return 1 if self.serving is None else self.serving.gpus(model.served_name)

    def example(self, name: str) -> Example:
        """The example of this id.

        Raises:
            ConfigError: When there is none.
        """
        if name not in self._rows:
            raise ConfigError(f"environment {self.name!r} has no example {name!r}")
        return self._rows[name]
