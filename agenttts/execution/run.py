"""One input on its way through a pipeline: what scoring an example and answering a request have in common.

A subtask starts when those it reads are done, draws its samples through the pool, parses each, aggregates, and passes
its output on. A pipeline that is one function of the user's (`Pipeline.run`) gets a handle for each of its subtasks
instead; `current_step` finds the same handles from inside a framework's own objects (see `agenttts.adapters`).
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

from agenttts._util.text import storable, storable_data
from agenttts.errors import (
    AgentTTSError,
    ConfigError,
    EndpointError,
    LimitReached,
    NoUsableSample,
    ParseError,
    StoreError,
)
from agenttts.execution.pool import Draw, SamplePool
from agenttts.execution.prompts import render
from agenttts.llm.protocols import ChatClient, Completer, EmbeddingClient
from agenttts.llm.samples import Sample, Spend
from agenttts.pipeline import Example, Message, Model, Pipeline, Sampling, Subtask, SubtaskInput
from agenttts.pipeline.operators import Drawn
from agenttts.pipeline.pairing import Pairing, sampling_with
from agenttts.space.allocation import Allocation

T = TypeVar("T")


@dataclass
class Tally:
    """What one subtask used for one example."""

    requests: int = 0
    prompt_tokens: int = 0
    samples: int = 0
    completion_tokens: int = 0
    unparsable: int = 0
    refused: int = 0
    """Samples in which the model refused, or a content filter did."""
    cut: int = 0
    """Samples that were cut at `max_tokens`."""
    empty: int = 0
    """Samples that held no text."""


@dataclass
class ExampleRun:
    """One example on its way through the graph."""

    pipeline: Pipeline
    allocation: Allocation
    example: Example
    client: ChatClient
    pool: SamplePool
    embedder: Model | None = None
    completer: Completer | None = None
    """What is asked for samples, where that is not simply the client: servers may have to be waited for."""
    spend: Spend = Spend()
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    outputs: dict[str, Any] = field(default_factory=dict)
    """Outputs of the subtasks that are done, in the order in which they were."""
    _counted: dict[tuple[str, str], int] = field(default_factory=dict)
    """Subtask and prompt -> how many of its samples are counted."""
    refusals: dict[str, EndpointError] = field(default_factory=dict)
    """Subtask -> the last error of a draw from its own model."""
    unmet: dict[tuple[str, str], AgentTTSError] = field(default_factory=dict)
    """Draws that got no samples -> why: a function of the user's may go on without them, a score may not."""

    async def walk(self) -> Any:
        """The pipeline's output."""
        if self.pipeline.run is not None:
            steps = {s.name: Step(self, s, self._given(s)) for s in self.pipeline.subtasks}
            with _current(steps):
                return await self.pipeline.run(self.example, steps)
        tasks: dict[str, asyncio.Task[Any]] = {}
        for subtask in self.pipeline.order:
            parents = {name: tasks[name] for name in self.pipeline.parents(subtask.name)}
            tasks[subtask.name] = asyncio.ensure_future(self._run(subtask, parents))
        # A failure must not cut off a sibling whose request is under way.
        outcomes = await asyncio.gather(*tasks.values(), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return tasks[self.pipeline.final.name].result()

    async def _run(self, subtask: Subtask, parents: Mapping[str, asyncio.Task[Any]]) -> Any:
        inputs = {name: await task for name, task in parents.items()}
        output = await StageRun(self, subtask, self._given(subtask, inputs)).output()
        await self.finish(subtask, output)
        return output

    def _given(self, subtask: Subtask, inputs: Mapping[str, Any] | None = None) -> SubtaskInput:
        options = subtask.pairing(self.allocation[subtask.name].pairing).options
        return SubtaskInput(self.example, inputs or {}, options)

    async def finish(self, subtask: Subtask, output: Any) -> None:
        """Take in the output of a subtask that is done."""
        self.outputs[subtask.name] = output

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
        """Draw through the pool; `own` draws are the subtask's, the others its operator's: cost models part them.

        Args:
            subtask: Whose draw it is.
            messages: The prompt.
            sampling: How to sample.
            samples: How many; the allocation's number when None.
            model: Who is asked; the allocation's model when None.
            own: Whether the subtask's token lengths are measured by it.
        """
        choice = self.allocation[subtask.name]
        model, wanted = model or subtask.model(choice.model), choice.samples if samples is None else samples
        with self._met(subtask.name, repr((model.name, messages))):
            try:
                drawn = await self.pool.draw(
                    self.completer or self.client, model, storable_data(messages), sampling, wanted
                )
            except EndpointError as error:
                if model.name == choice.model:
                    self.refusals[subtask.name] = error
                raise
        self.spend += drawn.spend
        self._count(subtask, drawn, (subtask.name, repr((model.name, messages, sampling))), own=own)
        return drawn

    def _count(self, subtask: Subtask, drawn: Draw, prompt: tuple[str, str], *, own: bool) -> None:
        """Count the samples of a draw that no draw of the same prompt has brought before."""
        fresh = drawn.samples[self._counted.get(prompt, 0) :]
        self._counted[prompt] = max(self._counted.get(prompt, 0), len(drawn.samples))
        tally = self.tallies[subtask.name]
        tally.refused += sum(sample.ended == "refused" for sample in fresh)
        tally.cut += sum(sample.ended in ("cut", "unfinished") for sample in fresh)
        tally.empty += sum(sample.ended == "empty" for sample in fresh)
        if own and fresh:
            tally.requests += 1
            tally.prompt_tokens += drawn.prompt_tokens
            tally.samples += len(fresh)
            tally.completion_tokens += sum(sample.completion_tokens for sample in fresh)

    async def embed(self, text: str) -> tuple[float, ...]:
        """Request an embedding through the pool."""
        if self.embedder is None or not isinstance(self.client, EmbeddingClient):
            raise ConfigError("a subtask asks for an embedding: give the LiveEnvironment an embedder")
        with self._met("", text):
            vector, spend = await self.pool.embed(self.client, self.embedder, storable(text))
        self.spend += spend
        return vector

    @contextmanager
    def _met(self, drawer: str, prompt: str) -> Iterator[None]:
        """Remember a draw that fails by no fault of its own, until it succeeds."""
        try:
            yield
        except (EndpointError, LimitReached, StoreError) as error:
            if not isinstance(error, EndpointError) or error.unavailable:
                self.unmet[drawer, prompt] = error
            raise
        self.unmet.pop((drawer, prompt), None)


class StageRun:
    """The handle of `pipeline.SubtaskRun`: one subtask of one example.

    Args:
        owner: The example.
        subtask: The subtask.
        given: What it sees.
        messages: The prompt; rendered when None, and empty where the whole stage is a coroutine.
    """

    def __init__(
        self, owner: ExampleRun, subtask: Subtask, given: SubtaskInput, messages: Sequence[Message] | None = None
    ) -> None:
        self._owner = owner
        self.subtask = subtask
        self.input = given
        self.messages: Sequence[Message] = render(subtask, given) if messages is None else messages
        self._answers: dict[str, list[Drawn]] = {}
        """Model, prompt and sampling -> its samples, parsed: what is looked at again is parsed and counted once."""

    @property
    def model(self) -> Model:
        """The allocation's model."""
        return self.subtask.model(self._owner.allocation[self.subtask.name].model)

    @property
    def samples(self) -> int:
        """The allocation's number of samples."""
        return self._owner.allocation[self.subtask.name].samples

    @property
    def pairing(self) -> Pairing:
        """The allocation's model and operator."""
        return self.subtask.pairing(self._owner.allocation[self.subtask.name].pairing)

    async def output(self) -> Any:
        """The subtask's one output."""
        try:
            return await self.pairing.operator.run(self)
        except NoUsableSample:
            if self.subtask.default is None:
                raise
            return self.subtask.default

    def text_of(self, output: Any) -> str:
        """The whole first sample that was parsed as this output; the output itself where none was."""
        for drawn in chain.from_iterable(self._answers.values()):
            if drawn.value is not None and drawn.value == output:
                return drawn.text
        return output if isinstance(output, str) else json.dumps(output, default=str)

    def _answer(self, sample: Sample) -> Drawn:
        """A sample, parsed."""
        try:
            value = self.subtask.parser(sample.text, self.input) if sample.ended in ("", "unfinished") else None
        except ParseError:
            value = None
        if value is None:
            self.count_unparsable()
        return _as_drawn(sample, value)

    def count_unparsable(self) -> None:
        """See `pipeline.SubtaskRun`."""
        self._owner.tallies[self.subtask.name].unparsable += 1

    async def draw(
        self, messages: Sequence[Message], samples: int | None = None, *, sampling: Sampling | None = None
    ) -> list[str]:
        """See `pipeline.SubtaskRun`; a sample that holds nothing to parse has an empty text."""
        return [each.said for each in await self._drawn(messages, samples, sampling)]

    async def sample(
        self,
        messages: Sequence[Message] | None = None,
        samples: int | None = None,
        *,
        model: Model | None = None,
        sampling: Sampling | None = None,
        parse: bool = True,
    ) -> list[Drawn]:
        """See `pipeline.SubtaskRun`."""
        prompt = self.messages if messages is None else messages
        drawn = await self._drawn(prompt, samples, sampling, model)
        if not parse:
            return [_as_drawn(each, None) for each in drawn]
        answers = self._answers.setdefault(repr((model and model.name, prompt, sampling)), [])
        answers += map(self._answer, drawn[len(answers) :])
        return answers[: len(drawn)]

    async def usable(self, samples: int | None = None, *, model: Model | None = None) -> list[Drawn]:
        """See `pipeline.SubtaskRun`."""
        return self.require_usable(await self.sample(samples=samples, model=model))

    def require_usable(self, drawn: Sequence[Drawn]) -> list[Drawn]:
        """See `pipeline.SubtaskRun`."""
        usable = [each for each in drawn if each.value is not None]
        if not usable:
            raise NoUsableSample(
                f"subtask {self.subtask.name!r}: none of {len(drawn)} samples could be parsed{_why(drawn)}"
            )
        # Where an answer was cut off, what it seems to say may be another than what it would have said.
        return [each for each in usable if not each.ended] or usable

    async def _drawn(
        self,
        messages: Sequence[Message],
        samples: int | None = None,
        sampling: Sampling | None = None,
        model: Model | None = None,
    ) -> Sequence[Sample]:
        own = model is None and (not self.messages or messages is self.messages)
        how = sampling or sampling_with(self.subtask.sampling, self.input.options)
        return (await self._owner.draw(self.subtask, messages, how, samples, model=model, own=own)).samples

    async def embed(self, text: str) -> tuple[float, ...]:
        """See `pipeline.SubtaskRun`."""
        return await self._owner.embed(text)


def _as_drawn(sample: Sample, value: Any) -> Drawn:
    return Drawn(sample.said, value, sample.completion_tokens, sample.ended)


def _why(drawn: Sequence[Drawn]) -> str:
    """How many samples had nothing to parse, in words."""
    counts = {
        "refused": sum(each.ended == "refused" for each in drawn),
        "used up max_tokens before saying anything": sum(each.ended == "cut" for each in drawn),
        "empty": sum(each.ended == "empty" for each in drawn),
    }
    named = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f" ({named})" if named else ""


class Step(StageRun):
    """The handle of `pipeline.StepRun`: one subtask of a pipeline that is a function."""

    def __init__(self, owner: ExampleRun, subtask: Subtask, given: SubtaskInput) -> None:
        super().__init__(owner, subtask, given, messages=())
        self._loop = asyncio.get_running_loop()

    async def ask(self, messages: Sequence[Message] | str) -> Any:
        """See `pipeline.StepRun`."""
        return (await self._asked(messages))[1]

    async def reply(self, messages: Sequence[Message] | str) -> str:
        """See `pipeline.StepRun`."""
        run, output = await self._asked(messages)
        return run.text_of(output)

    async def _asked(self, messages: Sequence[Message] | str) -> tuple[StageRun, Any]:
        prompt = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        run = StageRun(self._owner, self.subtask, self.input, prompt)
        output = await run.output()
        await self._owner.finish(self.subtask, output)
        return run, output

    def wait(self, asking: Coroutine[Any, Any, T]) -> T:
        """What a coroutine of this step returns, waited for from a thread.

        Raises:
            ConfigError: In the thread of the event loop itself, which would wait for ever.
        """
        try:
            if asyncio.get_running_loop() is self._loop:
                asking.close()
                raise ConfigError(
                    f"step {self.subtask.name!r} was asked by a blocking call inside the event loop: use the "
                    "framework's async call (ainvoke, acall), or run the blocking one in a thread"
                )
        except RuntimeError:
            pass  # a thread without a loop: as it should be
        return asyncio.run_coroutine_threadsafe(asking, self._loop).result()


_STEPS: ContextVar[Mapping[str, Step]] = ContextVar("agenttts_steps")


@contextmanager
def _current(steps: Mapping[str, Step]) -> Iterator[None]:
    token = _STEPS.set(steps)
    try:
        yield
    finally:
        _STEPS.reset(token)


def current_step(name: str) -> Step:
    """The handle of a subtask of the pipeline that is being run here.

    Raises:
        ConfigError: Outside of a run, or when the pipeline has no such subtask.
    """
    steps = _STEPS.get(None)
    if steps is None:
        raise ConfigError(f"the model of step {name!r} can be asked only while its pipeline (Pipeline.run) is run")
    if name not in steps:
        raise ConfigError(f"there is no step {name!r}; the pipeline's subtasks are {', '.join(steps)}")
    return steps[name]
