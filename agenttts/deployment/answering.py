"""A deployed pipeline: answers one input at a time with a fixed allocation, and says how it fared.

It samples as the search did: the same prompts, parsers and aggregators, the same numbers of samples, no metric and no
gold field. Every answer has a sample pool of its own, so nothing is kept of it.

When a model's server is at fault, the subtask falls back to another of its candidate models, the largest that still
fits the budget, with as many samples as fit; a model that failed is left alone for a while. When no candidate is left,
or the time is up, the answer is the output of the last subtask that was done. Either way the answer says so in
`degraded`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypedDict

from agenttts._util.checks import MAPPING, POSITIVE, require
from agenttts._util.locks import LoopLock
from agenttts.deployment.answer import OnStage, PipelineAnswer, StageUse
from agenttts.errors import ConfigError, EndpointError
from agenttts.execution.commands import end_processes
from agenttts.execution.pool import Draw, SamplePool
from agenttts.execution.prompts import check_templates
from agenttts.execution.run import ExampleRun
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.protocols import ChatClient
from agenttts.pipeline import Message, Model, Pipeline, Sampling, Subtask
from agenttts.serving import Serving
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation

TIMEOUT_S = 120.0
"""Seconds that one answer may take."""
REST_S = 30.0
"""Seconds for which a model whose server failed is left alone, while there are others to fall back to."""
_MAX_RETRIES = 1
_PATIENCE = 0.25
"""Share of an answer's time that one request may take, so that a fallback has time left."""
_log = logging.getLogger(__name__)


class MissingField(ConfigError):
    """An input lacks a field that the pipeline reads."""


class DeployedPipeline:
    """Runs one allocation of a pipeline on one input after another.

    Entering it starts the servers that it brings and checks its models; outside of `async with`, a call does both for
    itself. It is used in one event loop at a time. Use `at.deployed` to make one.

    Examples:
        >>> deployed = at.deployed(result.best, environment, space=space)
        >>> answer = asyncio.run(deployed.answer({"question": "Is 7 odd?"}))
        >>> answer.output, answer.allocation == result.best.allocation
        ('yes', True)

    Args:
        allocation: What each subtask gets.
        space: The pipeline, and the budget that a fallback must fit, too.
        client: Where samples are requested.
        serving: Servers to start and stop with it.
        embedder: The model that `SubtaskRun.embed` asks.
        timeout_s: Seconds that one answer may take.
        recorded: What the client's answers are where no model gives them.

    Raises:
        ConfigError: On an allocation that is not in the space.
    """

    def __init__(
        self,
        allocation: Allocation,
        space: SearchSpace,
        *,
        client: ChatClient | None = None,
        serving: Serving | None = None,
        embedder: Model | None = None,
        timeout_s: float = TIMEOUT_S,
        recorded: str = "",
    ) -> None:
        require(POSITIVE, timeout_s, "the seconds that an answer may take (timeout_s)")
        if faults := space.faults(allocation):
            raise ConfigError(f"{allocation} cannot be deployed on pipeline {space.pipeline.name!r}: {faults[0]}")
        self.allocation, self.space, self.pipeline = allocation, space, space.pipeline
        self.timeout_s, self.recorded = timeout_s, recorded
        given: ChatClient = client or OpenAIClient()
        # A person waits for the answer: a model that does not answer soon is replaced.
        if isinstance(given, OpenAIClient):
            given = given.with_limits(timeout_s=timeout_s * _PATIENCE, max_retries=_MAX_RETRIES)
        self.client, self.embedder, self._serving = given, embedder, serving
        self._rested: dict[str, float] = {}
        self._users = 0
        self._gate = LoopLock()

    async def __aenter__(self) -> Self:
        """Start the servers, and ask the endpoints whether they serve the allocation's models; once for all who enter.

        An endpoint that cannot be reached is logged; its models are replaced until it is there.

        Raises:
            ConfigError: On a missing key, or a model that its endpoint does not serve.
        """
        async with self._gate.here:
            if not self._users:
                await self._start()
            self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._gate.here:
            self._users -= 1
            if not self._users:
                await self._stop()

    async def _start(self) -> None:
        if self._serving is not None:
            self.client.route(await self._serving.start())
        try:
            for model in self._used_models:
                await self._check(model)
        except BaseException:
            await self._stop()  # whatever stopped the check must not leave servers running
            raise

    @property
    def _used_models(self) -> tuple[Model, ...]:
        """What the allocation asks: its models, and those of its operators."""
        pairings = [s.pairing(self.allocation[s.name].pairing) for s in self.pipeline.subtasks]
        return tuple(dict.fromkeys(m for each in pairings for m in (each.model, *each.operator.models)))

    async def _stop(self) -> None:
        await end_processes(self.pipeline.started)
        await self.client.close()
        if self._serving is not None:
            await self._serving.stop()

    async def _check(self, model: Model) -> None:
        try:
            self.recorded = await self.client.check([model]) or self.recorded
        except EndpointError as error:
            _log.warning("%s", error)
            self.rest(model)

    def __call__(self, given: Mapping[str, Any] | str) -> PipelineAnswer:
        """The answer to one input, waited for: see `answer`.

        Raises:
            ConfigError: Inside a running event loop, where `await answer(...)` is the way.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.answer(given))
        raise ConfigError("an event loop is running: use `await pipeline.answer(...)` here")

    async def answer(self, given: Mapping[str, Any] | str, *, on_stage: OnStage | None = None) -> PipelineAnswer:
        """The answer to one input.

        Args:
            given: The fields that the pipeline reads of an example, or a text: its field `question`.
            on_stage: Called whenever a subtask is done, with its name, its output and what it used.

        Raises:
            MissingField: When the input lacks a field that the pipeline reads.
            EndpointError: When no subtask could be done because no model answered.
            TimeoutError: When no subtask was done in time.
        """
        fields = _Fields({"question": given} if isinstance(given, str) else given)
        check_input(self.pipeline, fields)
        async with self:
            return await self._answer(_DeployedRun(self, fields, SamplePool(), on_stage))

    async def _answer(self, run: _DeployedRun) -> PipelineAnswer:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self.timeout_s):
                output = await run.walk()
        except (EndpointError, TimeoutError) as error:
            if not run.outputs:
                raise
            last, output = list(run.outputs.items())[-1]
            reason = str(error) or f"the time was up after {self.timeout_s:g} s"
            run.degraded.append(f"cut short after subtask {last!r}, whose output this is: {reason}")
        for loss in run.degraded:
            _log.warning("%s", loss)
        return PipelineAnswer(
            output=output,
            outputs=dict(run.outputs),
            allocation=run.allocation,
            stages=run.stages,
            spend=replace(run.spend, seconds=time.perf_counter() - started),
            degraded=tuple(run.degraded),
            recorded=self.recorded,
        )

    def node(self, into: str = "answer") -> Any:
        """A LangGraph node: reads the pipeline's fields of the state, and writes the output into the field `into`."""

        async def answer(state: Mapping[str, Any]) -> dict[str, Any]:
            return {into: (await self.answer(state)).output}

        return answer

    def graph(self) -> Any:
        """A compiled LangGraph graph: `await graph.ainvoke({"input": {...}})` has `answer`, a `PipelineAnswer`.

        It has a node per subtask with the pipeline's edges, so that `astream` shows `outputs` and `stages` (what each
        used) as they come; a pipeline that is one program (`Pipeline.is_program`) is one node.
        """
        from langgraph.graph import END, START, StateGraph

        from agenttts.deployment.staged import staged_graph

        if not self.pipeline.is_program:
            return staged_graph(self)

        async def answer(state: _GraphState) -> _GraphState:
            return {"answer": await self.answer(state["input"])}

        graph = StateGraph(_GraphState)
        graph.add_node(self.pipeline.name, answer)
        graph.add_edge(START, self.pipeline.name)
        graph.add_edge(self.pipeline.name, END)
        return graph.compile()

    def rest(self, model: Model) -> None:
        """Leave a model alone for a while: its server failed."""
        self._rested[model.name] = time.monotonic() + REST_S

    def resting(self, model: Model) -> bool:
        """Whether a model's server failed a moment ago."""
        return self._rested.get(model.name, 0.0) > time.monotonic()

    def fallback(self, allocation: Allocation, subtask: Subtask) -> Allocation | None:
        """The allocation with the largest other model of a subtask that fits and is not resting; None without any.

        What is done with the samples stays the same.
        """
        now = allocation[subtask.name]
        others = [
            each
            for each in subtask.pairings
            if (each.operator_name, each.options_name) == (now.operator, now.options)
            and each.model.name != now.model
            and not self.resting(each.model)
        ]
        samples = {each.name: self.space.most_samples(allocation, subtask.name, each.name) for each in others}
        left = [each for each in others if samples[each.name]]
        if not left:
            return None
        best = max(left, key=lambda each: subtask.sizes[each.model.name])
        return allocation.replaced(subtask.name, best.name, samples[best.name])


class _DeployedRun(ExampleRun):
    """One input on its way through the graph, with fallbacks for models that do not answer."""

    def __init__(
        self, owner: DeployedPipeline, given: Mapping[str, Any], pool: SamplePool, on_stage: OnStage | None
    ) -> None:
        super().__init__(owner.pipeline, owner.allocation, given, owner.client, pool, owner.embedder)
        self._owner, self._on_stage = owner, on_stage
        self.degraded: list[str] = []
        """What is less than was deployed, in words."""

    @property
    def stages(self) -> dict[str, StageUse]:
        """What each subtask used that drew anything."""
        return {name: self._use(name) for name in self.tallies}

    async def finish(self, subtask: Subtask, output: Any) -> None:
        """As in a search, and tell it."""
        await super().finish(subtask, output)
        if self._on_stage is not None:
            self._on_stage(subtask.name, output, self._use(subtask.name))

    def _use(self, name: str) -> StageUse:
        tally = self.tallies[name]
        return StageUse(
            model=self.allocation[name].model,
            samples=tally.samples,
            unparsable=tally.unparsable,
            prompt_tokens=tally.prompt_tokens,
            completion_tokens=tally.completion_tokens,
        )

    async def draw(
        self,
        subtask: Subtask,
        messages: Sequence[Message],
        sampling: Sampling,
        samples: int | None,
        *,
        model: Model | None = None,
        own: bool,
    ) -> Draw:
        """As in a search, of the first model that answers; an operator's other model has no fallback."""
        if model is not None:
            return await super().draw(subtask, messages, sampling, samples, model=model, own=own)
        model = subtask.model(self.allocation[subtask.name].model)
        if self._owner.resting(model):
            self._replace(subtask, f"model {model.name!r} failed less than {REST_S:g} s ago")
        while True:
            model = subtask.model(self.allocation[subtask.name].model)
            try:
                return await super().draw(subtask, messages, sampling, samples, own=own)
            except EndpointError as error:
                if not error.unavailable:
                    raise
                self._owner.rest(model)
                if not self._replace(subtask, str(error)):
                    raise

    def _replace(self, subtask: Subtask, reason: str) -> bool:
        """Replace a subtask's model by its fallback; whether there is one."""
        found = self._owner.fallback(self.allocation, subtask)
        if found is not None:
            was, now = self.allocation[subtask.name], found[subtask.name]
            self.degraded.append(f"subtask {subtask.name!r} used {now} instead of {was}: {reason}")
            self.allocation = found
        return found is not None


class _Fields(dict[str, Any]):
    """An input's fields: one that is read and missing is the caller's mistake, not a crash."""

    def __missing__(self, name: str) -> Any:
        has = ", ".join(self) or "no field"
        raise MissingField(f"the input lacks the field {name!r}, which the pipeline reads; it has {has}")


def check_input(pipeline: Pipeline, fields: Mapping[str, Any]) -> None:
    """Make sure that an input has what the pipeline's templates name.

    Raises:
        MissingField: When it has not.
    """
    require(MAPPING, fields, "an input")
    try:
        check_templates(pipeline, [fields])
    except ConfigError as error:
        raise MissingField(str(error)) from error


class _GraphState(TypedDict, total=False):
    input: Mapping[str, Any] | str
    answer: PipelineAnswer
