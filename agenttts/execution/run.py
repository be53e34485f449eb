"""One input on its way through a pipeline: what scoring an example and answering a request have in common.

A subtask starts when those it reads are done, draws its samples through the pool, parses each, aggregates, and passes
its output on. A pipeline that is a program of the user's (`Pipeline.run`, `command`) gets a handle for each subtask
instead; `current.current_step` finds the same handles from inside a framework's own objects (see `agenttts.adapters`).
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeVar

from agenttts._util.checks import require_value
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
from agenttts.execution.commands import run_command
from agenttts.execution.contained import contained
from agenttts.execution.current import running, runs_here
from agenttts.execution.drawn import LookedAt, as_drawn, why_unusable
from agenttts.execution.pool import Draw, SamplePool
from agenttts.execution.prompts import render
from agenttts.execution.threads import threads_of
from agenttts.llm.protocols import ChatClient, Completer, EmbeddingClient, RewardClient
from agenttts.llm.samples import Sample, Spend
from agenttts.pipeline import Example, Message, Model, Pipeline, Sampling, Subtask, SubtaskInput
from agenttts.pipeline.ballots import canonical
from agenttts.pipeline.operator import Drawn, usable_of, writes_anew_in_words
from agenttts.pipeline.pairing import Pairing, sampling_with
from agenttts.pipeline.tools import calls_value, read_calls
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
    begun: list[StageRun] = field(default_factory=list)
    """The stages that have drawn samples or given an output, in the order in which they began."""
    _dimension: int = 0
    """Numbers of an embedding; 0 before there is one."""
    unmet: dict[tuple[str, str], AgentTTSError] = field(default_factory=dict)
    """Draws that got no samples -> why: a function of the user's may go on without them, a score may not."""

    async def walk(self) -> Any:
        """The pipeline's output."""
        if self.pipeline.is_program:
            # A program within another's example has its turn already.
            turn = threads_of(asyncio.get_running_loop()).examples if not runs_here() else nullcontext()
            async with turn:
                return await self._program()
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

    async def _program(self) -> Any:
        with contained():
            output = await self._through_steps()
            require_value(output, f"pipeline {self.pipeline.name!r}")
            return output

    async def _through_steps(self) -> Any:
        steps = {s.name: Step(self, s, self._given(s)) for s in self.pipeline.subtasks}
        self.begun += steps.values()
        if (command := self.pipeline.started) is not None:
            return await run_command(command, self.example, steps)
        program: Any = self.pipeline.run
        with running(steps):
            return await program(self.example, steps)

    async def _run(self, subtask: Subtask, parents: Mapping[str, asyncio.Task[Any]]) -> Any:
        inputs = {name: await task for name, task in parents.items()}
        with contained():
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
        self._dimension = self._dimension or len(vector)
        if len(vector) != self._dimension:
            raise ConfigError(
                f"model {self.embedder.name!r} has given embeddings of {self._dimension:,} and of {len(vector):,} "
                "numbers: it must have become another model; give it another revision"
            )
        return vector

    async def reward(self, subtask: Subtask, model: Model, messages: Sequence[Message], *, probability: bool) -> float:
        """Request a reward through the pool."""
        if not isinstance(self.client, RewardClient):
            raise ConfigError(
                f"subtask {subtask.name!r} asks for rewards, which {type(self.client).__name__} cannot ask"
            )
        with self._met(subtask.name, repr((model.name, "reward", messages))):
            given, spend = await self.pool.reward(self.client, model, storable_data(messages), probability=probability)
        self.spend += spend
        return given

    @contextmanager
    def _met(self, drawer: str, prompt: str) -> Iterator[None]:
        """Remember a draw that fails by no fault of its own, until it succeeds."""
        try:
            with contained(EndpointError):
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
        request: Further fields of the requests for it; those that offer the subtask's tools when None.
    """

    def __init__(
        self,
        owner: ExampleRun,
        subtask: Subtask,
        given: SubtaskInput,
        messages: Sequence[Message] | None = None,
        request: Mapping[str, Any] | None = None,
    ) -> None:
        self._owner = owner
        self.subtask = subtask
        self.input = given
        self.messages: Sequence[Message] = render(subtask, given) if messages is None else messages
        offered = {"tools": [dict(tool) for tool in subtask.tools]} if subtask.tools else {}
        self._request = offered if request is None else request
        self._answers: dict[str, list[Drawn]] = {}
        """Model, prompt and sampling -> its samples, parsed: what is looked at again is parsed and counted once."""
        self.looked_at: dict[str, LookedAt] = {}
        """Key of the pool -> the most that was looked at of it."""
        self.result: Any = None
        """Its output, once it has one."""

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
        self._owner.begun.append(self)
        if self._request.get("tools") and self.pairing.operator.writes_anew:
            name = self.pairing.operator.name
            raise ConfigError(f"subtask {self.subtask.name!r} offers tools, and {writes_anew_in_words(name)}")
        try:
            self.result = await self.pairing.operator.run(self)
        except NoUsableSample:
            if self.subtask.default is None:
                raise
            self.result = self.subtask.default
        require_value(self.result, f"subtask {self.subtask.name!r}")
        return self.result

    def drawn_as(self, output: Any) -> Drawn:
        """The first sample that was parsed as this output; the output itself where none was."""
        looked_for = canonical(output)
        for drawn in chain.from_iterable(self._answers.values()):
            if drawn.value is not None and canonical(drawn.value) == looked_for:
                return drawn
        return Drawn(output if isinstance(output, str) else json.dumps(output, default=str), output, 0)

    def _answer(self, sample: Sample) -> Drawn:
        """A sample, parsed."""
        value = self._value(sample)
        if value is None:
            self.count_unparsable()
        return as_drawn(sample, value)

    def _value(self, sample: Sample) -> Any:
        if sample.ended == "called":
            return calls_value(read_calls(sample.text)[1])
        if sample.ended not in ("", "unfinished"):
            return None
        try:
            value = self.subtask.parser(sample.text, self.input)
        except ParseError:
            return None
        require_value(value, f"the parser of subtask {self.subtask.name!r}")
        return value

    def count_unparsable(self) -> None:
        """See `pipeline.SubtaskRun`."""
        self._owner.tallies[self.subtask.name].unparsable += 1

    async def draw(
        self, messages: Sequence[Message], samples: int | None = None, *, sampling: Sampling | None = None
    ) -> list[str]:
        """See `pipeline.SubtaskRun`; a sample that holds nothing to parse has an empty text."""
        return [each.said for each in (await self._drawn(messages, samples, sampling)).samples]

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
        draw = await self._drawn(prompt, samples, sampling, model)
        if not parse:
            return [as_drawn(each, None) for each in draw.samples]
        answers = self._answers.setdefault(repr((model and model.name, prompt, sampling)), [])
        answers += [self._answer(each) for each in draw.samples[len(answers) :]]  # a map ends at a StopIteration
        self.looked_at[draw.key].answers = answers
        return answers[: len(draw.samples)]

    async def usable(self, samples: int | None = None, *, model: Model | None = None) -> list[Drawn]:
        """See `pipeline.SubtaskRun`."""
        return self.require_usable(await self.sample(samples=samples, model=model))

    def require_usable(self, drawn: Sequence[Drawn]) -> list[Drawn]:
        """See `pipeline.SubtaskRun`."""
        usable = usable_of(drawn)
        if not usable:
            raise NoUsableSample(
                f"subtask {self.subtask.name!r}: none of {len(drawn)} samples could be parsed{why_unusable(drawn)}"
            )
        return usable

    async def _drawn(
        self,
        messages: Sequence[Message],
        samples: int | None = None,
        sampling: Sampling | None = None,
        model: Model | None = None,
    ) -> Draw:
        stages = not self.messages or messages is self.messages
        own, how = model is None and stages, sampling or sampling_with(self.subtask.sampling, self.input.options)
        if stages and self._request:
            further = dict(self._request)
            stop = further.pop("stop", how.stop)
            how = replace(how, stop=[stop] if isinstance(stop, str) else stop, extra={**how.extra, **further})
        draw = await self._owner.draw(self.subtask, messages, how, samples, model=model, own=own)
        known = self.looked_at.setdefault(draw.key, LookedAt((model or self.model).name))
        if len(draw.samples) > len(known.samples):
            known.samples = draw.samples
        return draw

    async def embed(self, text: str) -> tuple[float, ...]:
        """See `pipeline.SubtaskRun`."""
        return await self._owner.embed(text)

    async def reward(self, messages: Sequence[Message], *, model: Model, probability: bool = False) -> float:
        """See `pipeline.SubtaskRun`."""
        return await self._owner.reward(self.subtask, model, messages, probability=probability)

    def parse(self, text: str) -> Any:
        """See `pipeline.SubtaskRun`."""
        return self._answer(Sample(text, 0)).value


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
        return (await self.turn(messages)).text

    async def turn(self, messages: Sequence[Message] | str, request: Mapping[str, Any] | None = None) -> Drawn:
        """See `pipeline.StepRun`."""
        run, output = await self._asked(messages, request)
        return run.drawn_as(output)

    async def _asked(
        self, messages: Sequence[Message] | str, request: Mapping[str, Any] | None = None
    ) -> tuple[StageRun, Any]:
        if asyncio.get_running_loop() is not self._loop:  # a framework has begun one of its own, in a thread
            handed_over = asyncio.run_coroutine_threadsafe(self._asked(messages, request), self._loop)
            return await asyncio.wrap_future(handed_over)
        prompt = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        run = StageRun(self._owner, self.subtask, self.input, prompt, request)
        output = await run.output()
        await self._owner.finish(self.subtask, output)
        return run, output

    def wait(self, asking: Coroutine[Any, Any, T]) -> T:
        """What a coroutine of this step returns, waited for from a thread.

        Raises:
            ConfigError: In the thread of the event loop itself, which would wait for ever, and where too many wait.
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
        return threads_of(self._loop).wait(asking, self._loop)
